"""Lists a folder of backups, newest first, with what is known of each before a byte of it is read.

One stat a file; nothing but the checksum listings is opened. Comparing hashes is `verify`'s work.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Literal

from engines.backups.checksums import Digest, Listing, parse, parse_sidecar, shown, stronger
from engines.backups.moments import named
from engines.backups.reading import not_a_file, read_small
from engines.errors import RestoreError

Kind = Literal["sqlite", "safety snapshot"]
TakenFrom = Literal["name", "mtime"]

SIDECAR = ".sha256"
_BESIDE = (SIDECAR, "-wal", "-shm", "-journal")  # belong to a backup and are none, whatever the pattern says
LARGEST_LISTING = 16 << 20  # bytes; 10,000 names need about 1 MB
LARGEST_SIDECAR = 64 << 10
_EMPTY = Listing({}, ())
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Status(StrEnum):
    """How far a backup can be trusted. Only VERIFIED can be restored without an override."""

    VERIFIED = "VERIFIED"
    WEAK = "WEAK"  # md5 or sha1 equals: good against accidents, not against people
    MISMATCH = "MISMATCH"
    NOT_LISTED = "NOT LISTED"
    MISSING_FILE = "MISSING FILE"
    UNREADABLE = "UNREADABLE"
    UNCHECKED = "UNCHECKED"
    CHECKING = "CHECKING"

    @property
    def restorable(self) -> bool:
        return self is Status.VERIFIED


@dataclass(frozen=True, slots=True)
class Backup:
    """One artefact of the catalogue. Names are as the file system has them: draw them with `shown`."""

    name: str
    path: Path
    kind: Kind
    taken_at: datetime  # UTC
    taken_at_from: TakenFrom
    size: int  # bytes
    mtime_ns: int
    inode: int
    device: int
    expected: Digest | None
    status: Status
    evidence: str
    done: float | None = None  # 0 to 1 while CHECKING
    actual: Digest | None = None  # what its bytes gave, once they have been read

    @property
    def restorable(self) -> bool:
        return self.status.restorable


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A place with backups, as it was when it was read."""

    folder: str  # where, for people: a folder's path
    backups: tuple[Backup, ...]  # newest first
    problems: tuple[str, ...]


def read(
    folder: Path,
    pattern: str = "*.sqlite",
    checksums: str = "checksums.txt",
    zone: tzinfo = UTC,
    kind: Kind = "sqlite",
) -> Catalogue:
    """The backups in `folder` whose names match `pattern` as in a shell, and listed ones that are not there.

    `zone` is the one of times in names that do not tell theirs. Raises RestoreError when the folder can't be
    listed.
    """
    found = _scan(folder)
    listing, listed_at, problems = _listing(folder, checksums)
    wanted = _matcher(pattern)
    backups: list[Backup] = []
    for name, facts in found.items():
        if not wanted(name) or name == checksums or name.endswith(_BESIDE):
            continue
        sidecar = _EMPTY
        if name + SIDECAR in found:
            sidecar = _sidecar(folder, name)
            problems.extend(sidecar.problems)
        if isinstance(facts, OSError):
            backups.append(_row(folder, name, kind, zone, None, None, Status.UNREADABLE, _reason(facts)))
            continue
        expected, status, evidence = _expectation(name, listing, sidecar, checksums)
        if bad := unusable(name, facts):
            status, evidence = Status.UNREADABLE, bad
        elif status is Status.MISMATCH:
            problems.append(f"{shown(name)}: {evidence}")
        if log := _own_log(name, found):
            problems.append(log)
        backups.append(_row(folder, name, kind, zone, facts, expected, status, evidence))
    for name, digest in listing.entries.items():
        if name in found or not wanted(name):
            continue
        if "/" in name:
            problems.append(f"{digest.where}: {shown(name)!r} is in a sub-folder, which is not read")
            continue
        evidence = f"{digest.where} lists it, but it is not in the folder"
        row = _row(folder, name, kind, zone, None, digest, Status.MISSING_FILE, evidence, listed_at)
        backups.append(row)
    backups.sort(key=lambda backup: (backup.taken_at, backup.name), reverse=True)
    return Catalogue(shown(str(folder)), tuple(backups), tuple(problems))


def unusable(name: str, facts: os.stat_result) -> str | None:
    """Why a file of this name and these facts is never opened, or None when it may be."""
    if kind := not_a_file(facts.st_mode):
        return f"It is {kind}, no regular file; it was not opened"
    if shown(name) != name:
        return "Its name has control characters or is not UTF-8; it was not opened. Rename it to use it"
    if facts.st_size == 0:
        return "It is empty (0 bytes): there is no database in it"
    return None


def _scan(folder: Path) -> dict[str, os.stat_result | OSError]:
    """Everything in the folder with its own facts, links not followed."""
    found: dict[str, os.stat_result | OSError] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    found[entry.name] = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # gone since it was listed
                except OSError as error:
                    found[entry.name] = error
    except OSError as error:
        raise _cannot_list(folder, error) from error
    return found


def _cannot_list(folder: Path, error: OSError) -> RestoreError:
    place = shown(str(folder))
    match error:
        case FileNotFoundError():
            what, hint = "does not exist", "Is its volume mounted? Is `backups` right in the configuration?"
        case NotADirectoryError():
            what, hint = "is not a folder", "Let `backups` in the configuration name a folder."
        case PermissionError():
            what, hint = (
                "can't be read by this user",
                "Run as a user who may list it.",
            )
        case _:
            what, hint = f"can't be read: {_reason(error)}", "Look after its file system first (dmesg)."
    return RestoreError(f"The backup folder {place} {what}. Nothing was changed.", hint)


def _listing(folder: Path, checksums: str) -> tuple[Listing, datetime, list[str]]:
    """The folder's listing, when it was written, and what is wrong with it."""
    path = folder / checksums
    try:
        content = read_small(path, LARGEST_LISTING)
        written = _from_mtime(path.lstat().st_mtime_ns)
    except FileNotFoundError:
        return (
            _EMPTY,
            _EPOCH,
            [f"{checksums} is missing: only backups with a {SIDECAR} file can be VERIFIED"],
        )
    except OSError as error:
        return _EMPTY, _EPOCH, [f"{checksums} can't be used: {_reason(error)}"]
    listing = parse(content, checksums)
    problems = list(listing.problems)
    if not listing.entries:
        problems.append(f"{checksums} lists no file")
    return listing, written, problems


def _sidecar(folder: Path, name: str) -> Listing:
    file = name + SIDECAR
    try:
        return parse_sidecar(read_small(folder / file, LARGEST_SIDECAR), shown(file), name)
    except OSError as error:
        reason = f"{shown(file)} can't be used: {_reason(error)}"
        return Listing({}, (reason,), {name: reason})


def _expectation(name: str, listing: Listing, sidecar: Listing, checksums: str) -> tuple[Digest | None, Status, str]:
    """What a file is to be compared with. A contradiction is never settled by choosing a side."""
    if reason := listing.rejected.get(name) or sidecar.rejected.get(name):
        return None, Status.NOT_LISTED, reason
    listed, beside = listing.entries.get(name), sidecar.entries.get(name)
    if listed and beside:
        if listed.algorithm == beside.algorithm:
            if listed != beside:
                evidence = f"{listed.where} says {listed}, but {beside.where} says {beside}"
                return None, Status.MISMATCH, evidence
            both = Digest(listed.algorithm, listed.hex, f"{listed.where} and {beside.where}")
            return both, Status.UNCHECKED, f"Not compared yet with {both.where}"
        expected = stronger(listed, beside)
        return expected, Status.UNCHECKED, f"Not compared yet with {expected.where}"
    if one := listed or beside:
        return one, Status.UNCHECKED, f"Not compared yet with {one.where}"
    return None, Status.NOT_LISTED, f"Neither {checksums} nor a {SIDECAR} file names it"


def _own_log(name: str, found: dict[str, os.stat_result | OSError]) -> str | None:
    """A copy of an open database may have left its newest rows in a log, which no checksum covers."""
    for suffix in ("-wal", "-journal"):
        facts = found.get(name + suffix)
        if isinstance(facts, os.stat_result) and facts.st_size > 0:
            return f"{shown(name)} has a {suffix} file beside it; rows in there are not part of the backup"
    return None


def _row(
    folder: Path,
    name: str,
    kind: Kind,
    zone: tzinfo,
    facts: os.stat_result | None,
    expected: Digest | None,
    status: Status,
    evidence: str,
    otherwise: datetime = _EPOCH,
) -> Backup:
    written = _from_mtime(facts.st_mtime_ns) if facts else otherwise
    taken_at, taken_at_from = _taken(name, written, zone)
    return Backup(
        name=name,
        path=folder / name,
        kind=kind,
        taken_at=taken_at,
        taken_at_from=taken_at_from,
        size=facts.st_size if facts else 0,
        mtime_ns=facts.st_mtime_ns if facts else 0,
        inode=facts.st_ino if facts else 0,
        device=facts.st_dev if facts else 0,
        expected=expected,
        status=status,
        evidence=evidence,
    )


def _taken(name: str, written: datetime, zone: tzinfo) -> tuple[datetime, TakenFrom]:
    """When the backup was taken. A date alone is made exact by a modification time of the same day."""
    told = named(name, zone)
    if told is None:
        return written, "mtime"
    if not told.has_time and told.at.astimezone(zone).date() == written.astimezone(zone).date():
        return written, "mtime"
    return told.at, "name"


def _from_mtime(nanoseconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
    except (ValueError, OverflowError, OSError):
        return _EPOCH  # some file systems keep times that no calendar has


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Does a name match, as in a shell: hidden files only where the pattern asks for them."""
    compiled = re.compile(fnmatch.translate(pattern))
    hidden = pattern.startswith(".")
    return lambda name: (hidden or not name.startswith(".")) and compiled.match(name) is not None


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
