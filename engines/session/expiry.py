"""Session folders that are past their time: why one is kept, keeping its record, and removing it.

Only `reinstate prune --sessions --yes` removes one. Whether a snapshot still leans on a session is `engines.recipes`'
to know.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

from engines.errors import Refused, RestoreError
from engines.session.journal import replace_file, sync_folder
from engines.session.seal import SEAL
from engines.session.store import Known, claim_runner, open_session, sessions_root
from engines.session.verify import verify
from engines.text import clock, drawable

RECORDS = ("session.toml", SEAL, "report.md")
_GOING = ".pruned-"  # no session's name begins like this: one that is half removed is in no list


def why_kept(known: Known, keep: timedelta, now: datetime) -> str:
    """Why this session is not removed; empty when it is past its time. Pure: reads nothing."""
    state = known.state
    if known.error:
        return f"its journal can't be read: {known.error}"
    if state.begun is None:
        return "its journal is empty: whether it began is not known"
    if state.ended is None or state.ended_at is None:
        return "it is unfinished: resume, undo or abandon it"
    if known.alive:
        return "its runner is still there"
    if now < state.ended_at + keep:
        return f"it is kept until {clock(state.ended_at + keep)}"
    return ""


def does_not_hold(folder: Path) -> str:
    """Why the record is no proof of this session; empty when it holds. What was tampered with is evidence."""
    try:
        wrong = verify(folder).wrong
    except RestoreError as error:
        wrong = error.message
    return f"its record does not hold: {wrong}" if wrong else ""


@contextmanager
def claimed(known: Known) -> Iterator[Known]:
    """The session as it is now, and no runner on it meanwhile. Raises Refused, RestoreError."""
    try:
        fd = claim_runner(known.folder)
    except OSError as error:
        raise RestoreError(
            f"Session {known.id} can't be taken: {error.strerror}. It was not removed.",
            "Run as the user who began it, or as root.",
        ) from error
    try:
        now = open_session(known.folder)
        yield Known(now.folder, now.state, alive=False, error=now.error)
    finally:
        os.close(fd)


def keep_record(folder: Path, records: Path) -> Path:
    """Copy record, signature and report to a folder of the session's name in `records`, and return that.

    Raises Refused where another record of that name is there.
    """
    kept = records / folder.name
    try:
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in RECORDS:
            if not (folder / name).is_file() or (folder / name).is_symlink():
                continue
            content = (folder / name).read_bytes()
            if (kept / name).exists() and (kept / name).read_bytes() != content:
                raise Refused(
                    f"{drawable(str(kept / name))} is another one than the session's. Nothing was removed.",
                    "Name another folder with --records, or move that file.",
                )
            replace_file(kept / name, content)
        sync_folder(records)
    except OSError as error:
        raise RestoreError(
            f"The record of {folder.name} can't be kept in {drawable(str(records))}: {error.strerror}. "
            "Nothing was removed.",
            "Make room there, or name another folder with --records.",
        ) from error
    return kept


def remove(folder: Path) -> None:
    """Remove a session's folder. Killed on the way, it is in no list any more, and `sweep` removes the rest."""
    going = folder.with_name(f"{_GOING}{folder.name}")
    try:
        folder.rename(going)
        sync_folder(folder.parent)
        shutil.rmtree(going)
    except OSError as error:
        where = going if going.exists() else folder
        raise RestoreError(
            f"{drawable(str(where))} can't be removed: {error.strerror}. What is left of it is there.",
            "Run as the user who began it, or as root; then prune again.",
        ) from error


def sweep(state_dir: Path) -> None:
    """Remove what an earlier `remove` left when it was killed."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in sessions_root(state_dir).iterdir():
            if path.name.startswith(_GOING) and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
