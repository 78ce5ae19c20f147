"""Keeps the server's latest binary logs: they hold what was written since the dump, and the server purges them.

What is fetched and verified lies among the snapshots with a description and a date: the server's own expiry can't
reach it, and it is pruned as they are.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from engines.errors import RestoreError
from engines.hooks import At, Progress, Say, Stop, never, nowhere, silent, unmeasured
from engines.mysql.binlogs.fetch import fetch_logs, listing
from engines.mysql.binlogs.logs import name_parts
from engines.mysql.connect import Login, Place, connected
from engines.mysql.snapshot import Snapshot
from engines.shelf import RawCopy, RawFile, describe, open_folder, refuse_taken, sync_folder
from engines.text import count, drawable, size, stamp, utc_now

KIND = "binary-logs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The logs that are to be kept."""

    place: Place
    login: Login
    schema: str
    folder: str  # of snapshots
    name: str
    keep_until: datetime
    target: str
    session: str
    since: str = ""  # the first that is wanted, as the dump's coordinates name it; empty: all that there are


@dataclass(frozen=True, slots=True)
class KeptLogs:
    """What was kept, and what the server did not have any more."""

    snapshot: Snapshot
    missing: tuple[str, ...] = ()
    flaws: tuple[str, ...] = ()  # what is wrong in one of them, and from which byte on


def keep_logs(
    wanted: Wanted,
    *,
    say: Say = silent,
    progress: Progress = unmeasured,
    stop: Stop = never,
    at: At = nowhere,
) -> KeptLogs:
    """FLUSH BINARY LOGS; fetch, verify and describe every log from `since` on. `progress`: bytes.

    A log that was purged meanwhile is named, and the others are kept all the same. Killed, it goes on with what is
    whole; without a description nothing counts. Raises RestoreError.
    """
    open_folder(wanted.folder)
    refuse_taken(wanted.folder, wanted.name)
    with connected(wanted.place, wanted.login) as connection:
        names = [one.name for one in listing(connection)]
    since, missing = _begin(names, wanted.since)
    if missing:
        say(f"the server does not have {', '.join(map(drawable, missing))} any more: look in the bucket")
    folder = Path(wanted.folder, f"{wanted.name}.raw")
    at("logs.fetch.before")
    fetched = fetch_logs(wanted.place, wanted.login, folder, since=since, progress=progress, stop=stop, at=at)
    if fetched.purged:
        say(f"purged while they were fetched: {', '.join(map(drawable, fetched.purged))}")
    files = []
    for log in fetched.logs:
        if stop():
            raise RestoreError("Keeping the logs was stopped. Nothing was changed.", "Start the step again when ready.")
        with log.path.open("rb") as file:
            files.append(RawFile(log.name, log.size, hashlib.file_digest(file, "sha256").hexdigest()))
        say(f"{log.name}: {size(log.size)}, {count(log.transactions)} transactions, sha256 {files[-1].sha256}")
    flaws = tuple(drawable(str(log.flaw)) for log in fetched.logs if log.flaw)
    for flaw in flaws:
        say(f"DAMAGED {flaw}")
    _drop_others(folder, {file.name for file in files})
    sync_folder(folder)
    sync_folder(wanted.folder)
    at("logs.fetched")
    snapshot = Snapshot(
        name=wanted.name,
        folder=wanted.folder,
        path=None,
        sha256="",
        size=fetched.size,
        taken_at=stamp(utc_now()),
        keep_until=stamp(wanted.keep_until),
        target=wanted.target,
        session=wanted.session,
        kind=KIND,
        of=f"{wanted.place}/{wanted.schema}",
        raw=RawCopy(str(folder), tuple(files)),
        log_file=files[0].name if files else "",
    )
    describe(snapshot)
    at("logs.describe.after")
    return KeptLogs(snapshot, (*missing, *fetched.purged), flaws)


def _begin(names: list[str], since: str) -> tuple[str | None, tuple[str, ...]]:
    """From which log on to fetch (None: the oldest), and which wanted ones are gone."""
    if not since or since in names:
        return since or None, ()
    first, wanted = name_parts(names[0]), name_parts(since)
    if first is None or wanted is None or first[0] != wanted[0] or wanted[1] >= first[1]:
        return None, (since,)  # of another server, or numbered anew: how many are missing can't be told
    width = len(since) - len(wanted[0]) - 1
    return None, tuple(f"{first[0]}.{number:0{width}}" for number in range(wanted[1], first[1]))


def _drop_others(folder: Path, names: set[str]) -> None:
    """What a killed attempt left that the server has purged since stays in no description: it goes."""
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
