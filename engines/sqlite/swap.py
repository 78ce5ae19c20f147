"""Replaces a live database with a staged one, in an order in which a crash at any instant leaves the old or the new.

Held under the exclusive lock: a second name for the old file, folder synced, rename over the live path, folder
synced. The way back is `undo`. Where the old file can't be opened there is no lock; the order is the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.errors import Refused, RestoreError
from engines.hooks import At, Say, nowhere, silent
from engines.sqlite import files
from engines.sqlite.changes import (
    Change,
    Fingerprint,
    Mark,
    Written,
    changed_since,
    differences,
    fingerprint,
    mark,
    refuse_written,
)
from engines.sqlite.dress import dress, refuse_undressed
from engines.sqlite.file_facts import live_header
from engines.sqlite.holders import holders, refuse_holders
from engines.sqlite.lock import locked, quiesce, set_journal_mode
from engines.sqlite.positions import Position, Swap, foreign, prepare, watched, where
from engines.sqlite.probe import write_probe
from engines.sqlite.undo import clear, put_back
from engines.text import drawable

__all__ = [
    "Change",
    "Fingerprint",
    "Mark",
    "Position",
    "Swap",
    "Written",
    "changed_since",
    "clear",
    "differences",
    "dress",
    "fingerprint",
    "mark",
    "prepare",
    "put_back",
    "quiesce",
    "replace",
    "where",
    "write_probe",
]


def replace(
    swap: Swap,
    *,
    since: Mark | None = None,
    timeout: float = 5.0,
    accept_unseen: bool = False,
    say: Say = silent,
    at: At = nowhere,
) -> Position:
    """Makes the staged copy the live database; goes on from wherever a crash left it. Returns NEW.

    Raises Refused where somebody has the database open, the staged copy is not as verified, or the swap was undone;
    the message says which database is live then. Raises Written where the old one was written to since `since`, when
    it was kept. `accept_unseen`: the commander accepted that some processes can't be looked into.
    """
    position = where(swap)
    match position:
        case Position.FOREIGN:
            raise foreign(swap)
        case Position.BACK:
            raise Refused(
                f"This replacement of {drawable(swap.live)} was undone; the old database is live. Nothing was changed.",
                "Start a new session and stage the backup again.",
            )
        case Position.OLD | Position.LINKED:
            refuse_undressed(swap)
            try:
                _go_over(swap, since, timeout, accept_unseen, say, at)
            except OSError as error:
                raise _failed(swap, error) from error
        case Position.NEW | Position.UNDOING | Position.SETTLED:
            try:
                _complete(swap, position, timeout, say, at)
            except OSError as error:
                raise _failed(swap, error) from error
    _verify(swap)
    say(f"{drawable(swap.live)} is the new database, inode {swap.new[1]}")
    return where(swap)


def _go_over(swap: Swap, since: Mark | None, timeout: float, accept_unseen: bool, say: Say, at: At) -> None:
    with _held(swap, since, timeout, say, at):
        if files.key(swap.live) != swap.old:
            raise foreign(swap)
        refuse_holders(watched(swap), "old", accept_unseen=accept_unseen)
        if swap.old is None:
            _move_old_sidecars(swap, at)
            at("swap.link.before")
            os.link(swap.staged, swap.live, follow_symlinks=False)  # unlike rename, fails if somebody was faster
            at("swap.link.after")
            files.sync_folder(swap.live)
            at("swap.link-sync.after")
            Path(swap.staged).unlink()
            at("swap.unlink.after")
        else:
            if files.key(swap.kept) != swap.old:
                at("swap.link.before")
                os.link(swap.live, swap.kept, follow_symlinks=False)
                at("swap.link.after")
            _move_old_sidecars(swap, at)
            files.sync_folder(swap.live)
            at("swap.link-sync.after")
            _last_look(swap)
            at("swap.rename.before")
            Path(swap.staged).rename(swap.live)
            at("swap.rename.after")
        files.sync_folder(swap.live)
        at("swap.rename-sync.after")
        left = files.present(files.sidecars(swap.live))
        if left and swap.lockable:
            raise RestoreError(
                f"{drawable(swap.live)} is the new database, but {', '.join(map(drawable, left))} appeared beside it "
                "while it was replaced.",
                "Something opened it in that instant. Stop it, then undo, or prove the new database again.",
            )
        refuse_holders(watched(swap), "new", accept_unseen=accept_unseen)


@contextmanager
def _held(swap: Swap, since: Mark | None, timeout: float, say: Say, at: At) -> Iterator[None]:
    """The exclusive lock on the old database, where there is one that can be locked."""
    if not swap.lockable:
        if since is not None:
            refuse_written(swap.live, since)
        say(f"the old database is {swap.before_kind}: it is moved aside without a lock")
        yield
        return
    with locked(swap.live, since=since, timeout=timeout, say=say, at=at):
        yield


def _move_old_sidecars(swap: Swap, at: At) -> None:
    """Gives -wal, -shm and -journal of an unopenable (or missing) database the kept name, as a set with it.

    Under the lock there are none. First the second names, durable; only then are the first ones taken away.
    """
    found = () if swap.lockable else files.present(files.sidecars(swap.live))
    for sidecar, kept in zip(files.sidecars(swap.live), files.sidecars(swap.kept), strict=True):
        if sidecar in found and files.key(kept) != files.key(sidecar):
            os.link(sidecar, kept, follow_symlinks=False)
            at(f"swap.link{sidecar.removeprefix(swap.live)}.after")
    if not found:
        return
    files.sync_folder(swap.live)
    at("swap.link-sidecars-sync.after")
    for sidecar in found:
        Path(sidecar).unlink()
        at(f"swap.unlink{sidecar.removeprefix(swap.live)}.after")


def _last_look(swap: Swap) -> None:
    """Just before the rename: same files, same device, no sidecars."""
    left = files.present(files.sidecars(swap.live))
    if left:
        raise Refused(
            f"{', '.join(map(drawable, left))} appeared beside the live database. It was not replaced.",
            "Something opened it in that instant. Stop it, then go on.",
        )
    if files.key(swap.live) != swap.old or files.key(swap.staged) != swap.new:
        raise foreign(swap)


def _complete(swap: Swap, position: Position, timeout: float, say: Say, at: At) -> None:
    """After the rename: makes it durable, and takes back what an undo had begun."""
    files.sync_folder(swap.live)
    if position is Position.UNDOING:
        Path(swap.undone).unlink()
        files.sync_folder(swap.live)
        at("swap.stop-undoing.after")
    if files.key(swap.staged) == swap.new:
        Path(swap.staged).unlink()
        files.sync_folder(swap.live)
        at("swap.unlink.after")
    head = live_header(swap.live)
    interrupted = files.present(files.sidecars(swap.live))
    if head is None or (head.wal == (swap.journal_mode == "wal") and not interrupted):
        return
    # An undo was interrupted, or the application is up. What it has set itself while it runs is its own choice.
    if holders(watched(swap)).found:
        say("the new database is in use; its journal mode is left as it is")
        return
    set_journal_mode(swap.live, swap.journal_mode, timeout=timeout)
    say(f"journal mode {swap.journal_mode}")


def _verify(swap: Swap) -> None:
    if files.key(swap.live) != swap.new:
        raise foreign(swap)


def _failed(swap: Swap, error: OSError) -> RestoreError:
    live = {swap.old: "old", swap.new: "new"}.get(files.key(swap.live), "neither the old nor the new")
    return RestoreError(
        f"The replacement failed: {error.strerror}. The {live} database is live, and neither is lost.",
        "Mend what the message says, then go on or undo.",
    )
