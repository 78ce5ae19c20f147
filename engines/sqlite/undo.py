"""Takes a replacement back, and after sign-off removes what made that possible. The mirror of `swap`."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from engines.errors import Refused, RestoreError
from engines.hooks import At, Say, nowhere, silent
from engines.sqlite import files
from engines.sqlite.changes import Mark, differences, mark, refuse_written
from engines.sqlite.holders import refuse_holders
from engines.sqlite.inspect import look
from engines.sqlite.lock import locked, set_journal_mode
from engines.sqlite.positions import Position, Swap, foreign, watched, where
from engines.text import drawable


def put_back(
    swap: Swap,
    *,
    since: Mark | None = None,
    timeout: float = 5.0,
    accept_unseen: bool = False,
    say: Say = silent,
    at: At = nowhere,
) -> Position:
    """Makes the database from before the swap live again: its file, owner, mode and journal mode. From every position.

    The new file is moved aside, not deleted; what was missing is missing again. Returns OLD or BACK. The caller keeps
    the present state (raw copy, snapshot) first. Raises Refused where the old file is gone or somebody holds a file,
    Written where the new one was written to since `since`, when it was kept.
    """
    try:
        match where(swap):
            case Position.FOREIGN:
                raise foreign(swap)
            case Position.SETTLED:
                raise Refused(
                    f"The old database of {drawable(swap.live)} is gone: this was signed off. Nothing was changed.",
                    "Restore the safety snapshot, which is listed as a restore point.",
                )
            case Position.NEW | Position.UNDOING:
                refuse_holders(watched(swap), "new", accept_unseen=accept_unseen)
                _go_back(swap, since, timeout, accept_unseen, say, at)
            case Position.OLD | Position.LINKED | Position.BACK:
                pass
        _return_sidecars(swap, at)
        _drop_second_name(swap, at)
        _restore_form(swap, timeout, say, at)
    except OSError as error:
        live = {swap.old: "old", swap.new: "new"}.get(files.key(swap.live), "neither the old nor the new")
        raise RestoreError(
            f"The undo failed: {error.strerror}. The {live} database is live, and neither is lost.",
            "Mend what the message says, then undo again.",
        ) from error
    position = where(swap)
    if position not in (Position.OLD, Position.BACK):
        raise foreign(swap)
    say(f"{drawable(swap.live)} is as before" + (" (missing)" if swap.old is None else f", inode {swap.old[1]}"))
    return position


def clear(swap: Swap, *, kept: Mark | None = None, at: At = nowhere) -> tuple[str, ...]:
    """After sign-off or abandoning: removes what is left of this swap's files, and returns their paths.

    From there on there is no undo but the safety snapshot. `kept`: the replaced file as it was once the new one was
    live; written to after that, by somebody who still had it open, it is left. Raises Refused while the swap is half
    done.
    """
    position = where(swap)
    if position in (Position.LINKED, Position.UNDOING, Position.FOREIGN):
        raise Refused(
            f"The replacement of {drawable(swap.live)} is unfinished ({position}). Nothing was removed.",
            "Go on with it or undo it first.",
        )
    removed = []
    for path in (swap.staged, swap.kept, swap.undone):
        if path == swap.kept and kept is not None and files.key(path) is not None and differences(kept, mark(path)):
            continue
        for name in files.present((*files.sidecars(path), path)):
            Path(name).unlink()
            removed.append(name)
            at("clear.unlink.after")
    if removed:
        files.sync_folder(swap.live)
    return tuple(removed)


def _go_back(swap: Swap, since: Mark | None, timeout: float, accept_unseen: bool, say: Say, at: At) -> None:
    """From the new database live to the old one live. The path never vanishes, unless nothing was there before."""
    if swap.before_kind == "database" and swap.before_journal_mode is not None:
        set_journal_mode(swap.kept, swap.before_journal_mode, timeout=timeout)  # still aside: nobody has it open
        at("undo.journal-mode.after")
    with ExitStack() as held:
        if look(swap.live).kind == "database":
            held.enter_context(locked(swap.live, since=since, timeout=timeout, say=say, at=at))
        else:
            if since is not None:
                refuse_written(swap.live, since)
            say("the new database can't be opened: it is moved aside with its sidecars, without a lock")
        refuse_holders(watched(swap), "new", accept_unseen=accept_unseen)
        if swap.old is not None and files.key(swap.undone) != swap.new:
            at("undo.link.before")
            os.link(swap.live, swap.undone, follow_symlinks=False)
            at("undo.link.after")
        _move_new_sidecars(swap, at)
        files.sync_folder(swap.live)
        at("undo.link-sync.after")
        if files.key(swap.live) != swap.new or files.present(files.sidecars(swap.live)):
            raise foreign(swap)
        at("undo.rename.before")
        if swap.old is None:
            Path(swap.live).rename(swap.undone)
        else:
            Path(swap.kept).rename(swap.live)
        at("undo.rename.after")
        files.sync_folder(swap.live)
        at("undo.rename-sync.after")


def _move_new_sidecars(swap: Swap, at: At) -> None:
    """Sidecars of a new database that can't be opened any more go aside with it; under the lock there are none."""
    for sidecar, aside in zip(files.sidecars(swap.live), files.sidecars(swap.undone), strict=True):
        if files.key(sidecar) is not None:
            Path(sidecar).rename(aside)
            at("undo.move-sidecar.after")


def _return_sidecars(swap: Swap, at: At) -> None:
    """What was moved aside with an unopenable old database goes back to it, second names first."""
    pairs = [
        (kept, sidecar)
        for kept, sidecar in zip(files.sidecars(swap.kept), files.sidecars(swap.live), strict=True)
        if files.key(kept) is not None
    ]
    for kept, sidecar in pairs:
        if files.key(sidecar) is None:
            os.link(kept, sidecar, follow_symlinks=False)
            at("undo.return-sidecar.after")
    if pairs:
        files.sync_folder(swap.live)
    for kept, _ in pairs:
        Path(kept).unlink()
        at("undo.unlink-sidecar.after")


def _drop_second_name(swap: Swap, at: At) -> None:
    if swap.old is not None and files.key(swap.kept) == swap.old:
        Path(swap.kept).unlink()
        at("undo.unlink.after")
    files.sync_folder(swap.live)


def _restore_form(swap: Swap, timeout: float, say: Say, at: At) -> None:
    """Journal mode, owner and mode of the old file; a swap that got no further than its lock left the former DELETE."""
    if swap.before is None:
        return
    if swap.before_kind == "database" and swap.before_journal_mode is not None:
        set_journal_mode(swap.live, swap.before_journal_mode, timeout=timeout)
        at("undo.journal-mode-live.after")
        say(f"journal mode {swap.before_journal_mode}")
    status = Path(swap.live).lstat()
    if (status.st_uid, status.st_gid) != (swap.before.uid, swap.before.gid):
        os.chown(swap.live, swap.before.uid, swap.before.gid, follow_symlinks=False)
    if status.st_mode & 0o7777 != swap.before.mode:
        os.chmod(swap.live, swap.before.mode)  # noqa: PTH101 - the inode was compared; no link can be here
