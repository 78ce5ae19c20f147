"""Lists what lies in a folder or a bucket: dumps for the catalogue, binary logs for the replay."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from engines.backups import bucket, catalogue
from engines.backups.catalogue import Catalogue, Kind, Status, no_listing
from engines.backups.checksums import Digest, shown
from engines.backups.places import BucketFolder, Location, Place
from engines.backups.staging import Staged, stage
from engines.hooks import At, Progress, Say, Stop, never, nowhere, silent, unmeasured

LOGS = "*.[0-9][0-9][0-9][0-9][0-9][0-9]*"  # binlog.000123, and packed ones: binlog.000123.gz
_NUMBERS = re.compile(r"(\d+)")


def backups(
    location: Location,
    pattern: str,
    checksums: str = "checksums.txt",
    zone: tzinfo = UTC,
    kind: Kind = "dump",
) -> Catalogue:
    """The backups in a folder or a bucket, newest first. Raises RestoreError when it can't be listed."""
    if isinstance(location, BucketFolder):
        return bucket.read(location, pattern, checksums, zone, kind)
    return catalogue.read(location, pattern, checksums, zone, kind)


@dataclass(frozen=True, slots=True)
class ListedLog:
    """A binary log where it is kept. What is in it is not known before it is fetched."""

    name: str
    place: Place
    written_at: datetime  # UTC: when it was put there; copying changes it
    expected: Digest | None  # where something lists it

    @property
    def size(self) -> int:
        """Bytes, packed ones as they are."""
        return self.place.size

    @property
    def version(self) -> str:
        """Of the object; empty for a file, and where the bucket keeps no versions."""
        return getattr(self.place, "version", "")


@dataclass(frozen=True, slots=True)
class Logs:
    """The binary logs of a place, in the order of their names and numbers."""

    folder: str  # for people
    logs: tuple[ListedLog, ...]
    problems: tuple[str, ...]  # among them logs that can't be used


def listed_logs(location: Location, pattern: str = LOGS, checksums: str = "checksums.txt") -> Logs:
    """The binary logs in a folder or a bucket. Raises RestoreError when it can't be listed."""
    found = backups(location, pattern, checksums, kind="binary log")
    usable, problems = [], [problem for problem in found.problems if problem != no_listing(checksums)]
    for one in found.backups:
        if one.contradicted or one.status in (Status.UNREADABLE, Status.MISSING_FILE, Status.MISMATCH):
            problems.append(f"{shown(one.name)}: {one.evidence}")
        else:
            usable.append(ListedLog(one.name, one.place, one.taken_at, one.expected))
    usable.sort(key=lambda log: _in_order(log.name))
    return Logs(found.folder, tuple(usable), tuple(dict.fromkeys(problems)))


def fetch_listed(
    logs: Sequence[ListedLog],
    into: Path,
    *,
    connections: int | None = None,
    part: int | None = None,
    say: Say = silent,
    progress: Progress = unmeasured,
    stop: Stop = never,
    at: At = nowhere,
) -> tuple[Staged, ...]:
    """Brings the chosen logs into the folder `into`, under their own names, in order.

    As `stage` does, one by one: what is there from an earlier run is used again. Their events are not looked at.
    `progress`: bytes of all of them.
    """
    total, before = sum(log.size for log in logs), 0
    staged = []
    for log in logs:

        def told(done: int, _size: int, before: int = before) -> None:
            progress(before + done, total)

        staged.append(
            stage(
                log.place,
                into,
                log.expected,
                connections=connections,
                part=part,
                say=say,
                progress=told,
                stop=stop,
                at=at,
            )
        )
        say(f"{log.name}: {staged[-1].sha256[:16]}…")
        before += log.size
    return tuple(staged)


def _in_order(name: str) -> tuple[tuple[int, str], ...]:
    """binlog.999999 before binlog.1000000."""
    return tuple((int(piece), "") if piece.isdecimal() else (0, piece) for piece in _NUMBERS.split(name))
