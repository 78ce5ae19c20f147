"""Lists a folder of backups, newest first, with what is known of each before a byte of it is read.

One stat a file; nothing but the checksum listings is opened. Comparing hashes is `verify`'s work; `bucket` lists
the same of a bucket.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Literal

from engines.backups.checksums import Digest, Listing, parse, parse_sidecar, shown, stronger
from engines.backups.moments import named
from engines.backups.places import FileAt, ObjectAt, Place
from engines.backups.reading import not_a_file, read_small
from engines.errors import RestoreError

Kind = Literal["sqlite", "dump", "binary log", "safety snapshot"]
TakenFrom = Literal["name", "mtime"]  # of an object: when it was uploaded last

SIDECAR = ".sha256"
# These belong to a backup and are none, whatever the pattern says.
_BESIDE = (SIDECAR, ".sha512", ".sha1", ".md5", ".asc", ".sig", "-wal", "-shm", "-journal")
LARGEST_LISTING = 16 << 20  # bytes; 10,000 names need about 1 MB
LARGEST_SIDECAR = 64 << 10
EMPTY = Listing({}, ())
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    place: Place
    kind: Kind
    taken_at: datetime  # UTC
    taken_at_from: TakenFrom
    expected: Digest | None
    status: Status
    evidence: str
    done: float | None = None  # 0 to 1 while CHECKING
    actual: Digest | None = None  # what its bytes gave, once they have been read
    contradicted: bool = False  # its witnesses disagree, or one with itself: no other witness settles that

    @property
    def size(self) -> int:
        """Bytes."""
        return self.place.size

    @property
    def where(self) -> str:
        """Its path or URI: no two backups of a catalogue have the same."""
        return str(self.place)

    @property
    def path(self) -> Path:
        """Of one that is a file. Raises TypeError for one in a bucket."""
        if not isinstance(self.place, FileAt):
            raise TypeError(f"{self.where} is in a bucket")
        return self.place.path

    @property
    def restorable(self) -> bool:
        return self.status.restorable

    @property
    def unread(self) -> bool:
        """In a bucket, and so not read unless somebody asks for it: staging compares its bytes."""
        return isinstance(self.place, ObjectAt) and self.status in (Status.UNCHECKED, Status.CHECKING)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A place with backups, as it was when it was read."""

    folder: str  # where, for people: a folder's path, or s3://bucket/prefix/
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
    wanted = matcher(pattern)
    backups: list[Backup] = []
    for name, facts in found.items():
        if not wanted(name) or belongs(name, checksums):
            continue
        sidecar = EMPTY
        if name + SIDECAR in found:
            sidecar = _sidecar(folder, name)
            problems.extend(sidecar.problems)
        if isinstance(facts, OSError):
            known = Expectation(None, Status.UNREADABLE, _reason(facts))
            backups.append(row(name, FileAt(folder / name), kind, zone, EPOCH, known))
            continue
        known = expectation(name, listing, sidecar, checksums)
        if bad := unusable(name, facts):
            known = replace(known, status=Status.UNREADABLE, evidence=bad)
        elif known.status is Status.MISMATCH:
            problems.append(f"{shown(name)}: {known.evidence}")
        if log := _own_log(name, found):
            problems.append(log)
        place = FileAt(folder / name, facts.st_size, facts.st_mtime_ns, facts.st_ino, facts.st_dev)
        backups.append(row(name, place, kind, zone, _from_mtime(facts.st_mtime_ns), known))
    for name, digest in missing(listing, found, wanted, problems):
        known = Expectation(digest, Status.MISSING_FILE, f"{digest.where} lists it, but it is not in the folder")
        backups.append(row(name, FileAt(folder / name), kind, zone, listed_at, known))
    return Catalogue(shown(str(folder)), newest_first(backups), tuple(problems))


def newest_first(backups: Iterable[Backup]) -> tuple[Backup, ...]:
    return tuple(sorted(backups, key=lambda backup: (backup.taken_at, backup.name), reverse=True))


def belongs(name: str, checksums: str) -> bool:
    """Does it say something about backups, and is none itself?"""
    return name == checksums or name.endswith(_BESIDE)


def missing(
    listing: Listing, found: Container[str], wanted: Callable[[str], bool], problems: list[str]
) -> Iterator[tuple[str, Digest]]:
    """What is listed and not there. What is listed for a sub-folder becomes a problem."""
    for name, digest in listing.entries.items():
        if name in found or not wanted(name):
            continue
        if "/" in name:
            problems.append(f"{digest.where}: {shown(name)!r} is in a sub-folder, which is not read")
            continue
        yield name, digest


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
        return EMPTY, EPOCH, [no_listing(checksums)]
    except OSError as error:
        return EMPTY, EPOCH, [f"{checksums} can't be used: {_reason(error)}"]
    listing = parse(content, checksums)
    problems = list(listing.problems)
    if not listing.entries:
        problems.append(f"{checksums} lists no file")
    return listing, written, problems


def no_listing(checksums: str) -> str:
    return f"{checksums} is missing: only backups with a {SIDECAR} file can be VERIFIED"


def _sidecar(folder: Path, name: str) -> Listing:
    file = name + SIDECAR
    try:
        return parse_sidecar(read_small(folder / file, LARGEST_SIDECAR), shown(file), name)
    except OSError as error:
        reason = f"{shown(file)} can't be used: {_reason(error)}"
        return Listing({}, (reason,), {name: reason})


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a backup is to be compared with, and how far that goes before a byte is read."""

    digest: Digest | None
    status: Status
    evidence: str
    contradicted: bool = False


def expectation(name: str, listing: Listing, sidecar: Listing, checksums: str) -> Expectation:
    """What a backup is to be compared with. A contradiction is never settled by choosing a side."""
    if reason := listing.rejected.get(name) or sidecar.rejected.get(name):
        return Expectation(None, Status.NOT_LISTED, reason, contradicted=True)
    listed, beside = listing.entries.get(name), sidecar.entries.get(name)
    if listed and beside:
        if listed.algorithm == beside.algorithm:
            if listed != beside:
                evidence = f"{listed.where} says {listed}, but {beside.where} says {beside}"
                return Expectation(None, Status.MISMATCH, evidence, contradicted=True)
            both = Digest(listed.algorithm, listed.hex, f"{listed.where} and {beside.where}")
            return Expectation(both, Status.UNCHECKED, f"Not compared yet with {both.where}")
        expected = stronger(listed, beside)
        return Expectation(expected, Status.UNCHECKED, f"Not compared yet with {expected.where}")
    if one := listed or beside:
        return Expectation(one, Status.UNCHECKED, f"Not compared yet with {one.where}")
    return Expectation(None, Status.NOT_LISTED, f"Neither {checksums} nor a {SIDECAR} file names it")


def _own_log(name: str, found: dict[str, os.stat_result | OSError]) -> str | None:
    """A copy of an open database may have left its newest rows in a log, which no checksum covers."""
    for suffix in ("-wal", "-journal"):
        facts = found.get(name + suffix)
        if isinstance(facts, os.stat_result) and facts.st_size > 0:
            return f"{shown(name)} has a {suffix} file beside it; rows in there are not part of the backup"
    return None


def row(name: str, place: Place, kind: Kind, zone: tzinfo, written: datetime, known: Expectation) -> Backup:
    """One backup of a catalogue. `written` is when its bytes were, where the name tells no time."""
    taken_at, taken_at_from = _taken(name, written, zone)
    return Backup(
        name=name,
        place=place,
        kind=kind,
        taken_at=taken_at,
        taken_at_from=taken_at_from,
        expected=known.digest,
        status=known.status,
        evidence=known.evidence,
        contradicted=known.contradicted,
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
        return EPOCH  # some file systems keep times that no calendar has


def matcher(pattern: str) -> Callable[[str], bool]:
    """Does a name match, as in a shell: hidden files only where the pattern asks for them."""
    compiled = re.compile(fnmatch.translate(pattern))
    hidden = pattern.startswith(".")
    return lambda name: (hidden or not name.startswith(".")) and compiled.match(name) is not None


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
