"""The folder of safety snapshots: what is in it, what is due, and removing what is due and ours.

Each snapshot has NAME.toml beside it. What that file says is checked, never trusted: a path in it that leads
elsewhere makes it damaged, and damaged ones are reported, not deleted. What a snapshot holds is its engine's work;
the same in a bucket is `backups.kept`'s, with the same descriptions.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from engines.errors import Problem, Refused, RestoreError, UsageError
from engines.hooks import At, nowhere
from engines.text import drawable, parse_stamp

ENDINGS = (".sqlite", ".sql.zst")  # of the files that engines keep: a description may name no other
_FORMAT = "reinstate-snapshot-1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\Z")
_RESERVED = (*ENDINGS, ".toml", ".part", ".raw")


@dataclass(frozen=True, slots=True)
class RawFile:
    """One file of a raw copy."""

    name: str
    size: int  # bytes
    sha256: str
    version: str = ""  # of an object in a bucket, as `Snapshot` has it
    etag: str = ""


@dataclass(frozen=True, slots=True)
class RawCopy:
    """Files kept as they were found, in a folder of their own: a database with its sidecars, binary logs."""

    folder: str
    files: tuple[RawFile, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A safety snapshot, as far as every engine has it. `path` is None where only raw files could be kept.

    An engine adds fields: those that are text or numbers are written into the description under their own names.
    In a bucket `folder` and `path` are s3://…, and `version` and `etag` say which object it is.
    """

    name: str
    folder: str
    path: str | None
    sha256: str
    size: int  # bytes
    taken_at: str  # RFC 3339, UTC
    keep_until: str  # RFC 3339, UTC
    target: str
    session: str
    kind: str
    of: str  # the database it was taken of: a path, or where its server is and its name
    raw: RawCopy | None
    version: str = field(default="", kw_only=True)  # empty: a file, or a bucket that keeps no versions
    etag: str = field(default="", kw_only=True)  # empty: a file


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed, and what could not be though it is due."""

    removed: tuple[str, ...]
    problems: tuple[Problem, ...] = ()


S = TypeVar("S", bound=Snapshot)
_WRITTEN = ("sha256", "size", "taken_at", "keep_until", "target", "session", "kind", "of")
_PINS = ("version", "etag")


@dataclass(frozen=True, slots=True)
class Listing(Generic[S]):
    """What a snapshot folder holds, newest first, and descriptions that can't be believed."""

    snapshots: tuple[S, ...]
    damaged: tuple[Problem, ...]


def open_folder(folder: str) -> None:
    """Makes the folder (0700), or refuses one that is a symlink or that others can write. Raises RestoreError."""
    place = Path(folder)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = place.lstat()
    except OSError as error:
        raise RestoreError(
            f"The snapshot folder {drawable(folder)} can't be used: {error.strerror}. Nothing was changed.",
            "Configure a folder on a disk with room, or make this one.",
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
        raise Refused(
            f"The snapshot folder {drawable(folder)} is a symlink, or others can write to it. Nothing was changed.",
            f"chown it to this user and chmod 0700 {drawable(folder)}.",
        )


def refuse_taken(folder: str, name: str) -> None:
    """A name is used once, and is a plain one."""
    refuse_odd(name)
    if os.path.lexists(Path(folder, f"{name}.toml")):
        raise Refused(
            f"A snapshot {drawable(name)} exists already in {drawable(folder)}. Nothing was changed.",
            "Use another name; snapshots are never replaced.",
        )


def refuse_odd(name: str) -> None:
    """A name that is plain, and can't be taken for a file that lies beside a snapshot. Raises UsageError."""
    if not _NAME.match(name) or name.endswith(_RESERVED):
        raise UsageError(f"{drawable(name)} can't name a snapshot. Nothing was changed.", "Use letters, digits, . _ -")


def describe(snapshot: Snapshot) -> None:
    """Writes NAME.toml beside the snapshot: whole or not at all, 0600, durable."""
    path = Path(snapshot.folder, f"{snapshot.name}.toml")
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(described(snapshot))
        file.flush()
        os.fsync(handle)
    part.rename(path)
    sync_folder(snapshot.folder)


def moved(snapshot: S, folder: str) -> S:
    """The same snapshot in another folder, each file compared with its hash there, and described there at last.

    Raises RestoreError, and then nothing there counts as a snapshot.
    """
    open_folder(folder)
    refuse_taken(folder, snapshot.name)
    raw = snapshot.raw
    try:
        if raw is not None:
            inside = Path(folder, Path(raw.folder).name)
            inside.mkdir(mode=0o700, exist_ok=True)
            for entry in raw.files:
                _move(Path(raw.folder, entry.name), inside / entry.name, entry.sha256)
            sync_folder(inside)
            raw = replace(raw, folder=str(inside))
        path = snapshot.path and str(Path(folder, Path(snapshot.path).name))
        if snapshot.path and path:
            _move(Path(snapshot.path), Path(path), snapshot.sha256)
        sync_folder(folder)
        there = replace(snapshot, folder=folder, path=path, raw=raw)
        describe(there)
        Path(snapshot.folder, f"{snapshot.name}.toml").unlink(missing_ok=True)
    except OSError as error:
        raise RestoreError(
            f"The snapshot {drawable(snapshot.name)} can't be brought to {drawable(folder)}: "
            f"{error.strerror or error}. Nothing was changed.",
            "Make room there, or mend what it says; then start the step again.",
        ) from error
    return there


def _move(source: Path, to: Path, sha256: str) -> None:
    try:
        source.rename(to)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = to.with_name(f"{to.name}.part")
        try:
            _copy(source, part)
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)
        source.unlink()
    with to.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
            return
    raise RestoreError(
        f"{drawable(str(to))} does not read back as it was written. Nothing was changed.",
        "The disk or its controller is damaged: start the step again, with the state folder on another one.",
    )


def _copy(source: Path, part: Path) -> None:
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with source.open("rb") as found, os.fdopen(handle, "wb") as file:
        shutil.copyfileobj(found, file, 1 << 20)
        file.flush()
        os.fsync(handle)


def listed(folder: str, kind: type[S]) -> Listing[S]:
    """The snapshots that are described in `folder`, newest first. A folder that is not there holds none."""
    found, damaged = [], []
    try:
        names = sorted(entry for entry in os.listdir(folder) if entry.endswith(".toml"))  # noqa: PTH208 - names only
    except FileNotFoundError:
        return Listing((), ())
    for name in names:
        try:
            found.append(_read(folder, name.removesuffix(".toml"), kind))
        except (OSError, ValueError, KeyError, TypeError) as error:
            damaged.append(not_believed(str(Path(folder, name)), error))
    return Listing(newest_first(found), tuple(damaged))


def not_believed(where: str, error: Exception) -> Problem:
    hint = "It is left alone, and so is what it describes. Mend it, or remove both by hand."
    return Problem(where, "", f"not a snapshot's description: {error}", hint)


def newest_first(snapshots: Iterable[S]) -> tuple[S, ...]:
    return tuple(sorted(snapshots, key=lambda shot: shot.taken_at, reverse=True))


def over(snapshots: Iterable[S], now: datetime) -> tuple[S, ...]:
    """Those of `snapshots`, which are newest first, whose time is over; oldest first."""
    return tuple(reversed([shot for shot in snapshots if parse_stamp(shot.keep_until) <= now]))


def due(folder: str, now: datetime) -> tuple[Snapshot, ...]:
    """Those whose time is over, oldest first."""
    return over(listed(folder, Snapshot).snapshots, now)


def prune(folder: str, now: datetime, *, at: At = nowhere) -> tuple[str, ...]:
    """Removes what is due and ours, and returns the paths removed. The description goes last, so it can be repeated.

    A file of another size than described is somebody's: it and its description stay.
    """
    removed: list[str] = []
    for shot in due(folder, now):
        parts = [] if shot.path is None else [(shot.path, shot.size)]
        if shot.raw is not None:
            parts += [(str(Path(shot.raw.folder, entry.name)), entry.size) for entry in shot.raw.files]
        if not all(_ours(path, size) for path, size in parts):
            continue
        for path, _ in parts:
            if os.path.lexists(path):
                Path(path).unlink()
                removed.append(path)
                at("prune.unlink.after")
        if shot.raw is not None and Path(shot.raw.folder).is_dir() and not any(Path(shot.raw.folder).iterdir()):
            Path(shot.raw.folder).rmdir()
        description = Path(folder, f"{shot.name}.toml")
        sync_folder(folder)
        description.unlink()
        removed.append(str(description))
        at("prune.forget.after")
    if removed:
        sync_folder(folder)
    return tuple(removed)


def sync_folder(folder: str | Path) -> None:
    """Makes the names in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _ours(path: str, size: int) -> bool:
    """As described, or already gone."""
    try:
        status = Path(path).lstat()
    except FileNotFoundError:
        return True
    return stat.S_ISREG(status.st_mode) and status.st_size == size


def _read(folder: str, name: str, kind: type[S]) -> S:
    with Path(folder, f"{name}.toml").open("rb") as file:
        table: dict[str, Any] = tomllib.load(file)
    return parsed(table, name, folder, lambda inside: str(Path(folder, inside)), kind)


def parsed(table: Mapping[str, Any], name: str, folder: str, within: Callable[[str], str], kind: type[S]) -> S:
    """The snapshot that `table` describes; `within` tells where a plain name lies.

    Raises ValueError, KeyError or TypeError for a description that was not made by `described`, or was changed.
    """
    if table["format"] != _FORMAT or table["name"] != name or not _NAME.match(name):
        raise ValueError("format or name differ from what was written")
    parse_stamp(table["keep_until"])
    parse_stamp(table["taken_at"])
    own_files = [f"{name}{ending}" for ending in ENDINGS]
    if not isinstance(table["size"], int) or table.get("file", own_files[0]) not in own_files:
        raise ValueError("its file is not the one of that name")
    raw = None
    if "raw_folder" in table:
        entries = tuple(_raw_file(row) for row in table.get("raw", ()))
        inside = str(table["raw_folder"])
        if any(part in ("", ".", "..") or "/" in part for part in (inside, *(entry.name for entry in entries))):
            raise ValueError("a name in it leads elsewhere")
        raw = RawCopy(within(inside), entries)
    path = within(table["file"]) if "file" in table else None
    common: dict[str, Any] = {key: str(table[key]) for key in _WRITTEN} | {"size": table["size"]}
    common |= {key: str(table.get(key, "")) for key in _PINS}
    return kind(name=name, folder=folder, path=path, raw=raw, **common, **_own(table, kind))


def _raw_file(row: Mapping[str, Any]) -> RawFile:
    pins = (str(row.get(key, "")) for key in _PINS)
    return RawFile(str(row["name"]), int(row["size"]), str(row["sha256"]), *pins)


def _own(table: Mapping[str, Any], kind: type[Snapshot]) -> dict[str, Any]:
    """The fields that an engine has added, as far as a description holds them."""
    common = {one.name for one in fields(Snapshot)}
    own = [one for one in fields(kind) if one.name not in common]
    must = {one.name for one in own if one.default is MISSING and one.default_factory is MISSING}
    found = {one.name: table[one.name] for one in own if one.name in table or one.name in must}
    if not all(isinstance(value, str | int) for value in found.values()):
        raise ValueError("a field in it is neither text nor a number")
    return found


def described(snapshot: Snapshot) -> str:
    """The description of a snapshot, as `parsed` reads it."""
    written: dict[str, str | int] = {"format": _FORMAT, "name": snapshot.name}
    if snapshot.path is not None:
        written["file"] = Path(snapshot.path).name
    written |= {key: getattr(snapshot, key) for key in _WRITTEN}
    common = {one.name for one in fields(Snapshot)}
    for one in fields(snapshot):
        value = getattr(snapshot, one.name)
        if one.name not in common and isinstance(value, str | int):
            written[one.name] = value
    written |= {key: value for key in _PINS if (value := getattr(snapshot, key))}
    if snapshot.raw is not None:
        written["raw_folder"] = Path(snapshot.raw.folder).name
    lines = [f"{key} = {_value(value)}" for key, value in written.items()]
    for entry in () if snapshot.raw is None else snapshot.raw.files:
        lines += ["", "[[raw]]", f"name = {_value(entry.name)}", f"size = {entry.size}"]
        lines.append(f"sha256 = {_value(entry.sha256)}")
        lines += [f"{key} = {_value(value)}" for key in _PINS if (value := getattr(entry, key))]
    return "\n".join(lines) + "\n"


def _value(value: str | int) -> str:
    """A JSON string is a TOML basic string, but for DEL, which TOML wants escaped, and lone surrogates."""
    if isinstance(value, int):
        return str(value)
    sound = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return json.dumps(sound, ensure_ascii=False).replace("\x7f", "\\u007f")
