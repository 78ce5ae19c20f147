"""Safety snapshots in a bucket: kept, listed and pruned as `engines.shelf` does it in a folder.

Each has the same description beside it, NAME.toml, which goes there last: an object without one counts for nothing. It
says which objects they are, by version where the bucket keeps versions and by ETag; only those are read or removed.
"""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from engines import checks, shelf
from engines.backups.bucket import Listed, read_small, scan
from engines.backups.checksums import shown
from engines.backups.places import SCHEME, BucketFolder, ObjectAt, Service
from engines.backups.s3 import S3, connected, unanswered
from engines.backups.uploading import any_there, client_of, content_of, is_there, remove, small, take_away, upload
from engines.checks import Check
from engines.errors import Problem, Refused, RestoreError
from engines.hooks import At, Progress, Say, Stop, never, nowhere, silent, unmeasured
from engines.shelf import Pruned, RawCopy, RawFile, Snapshot
from engines.text import size

WRITABLE = "Snapshot bucket"
_TOML = ".toml"
_LARGEST = 4 << 20  # bytes of a description
_AT_ONCE = 8

S = TypeVar("S", bound=Snapshot)


@dataclass(frozen=True, slots=True)
class Shelf(Generic[S]):
    """What a bucket's folder holds: snapshots, newest first; descriptions not believed; objects as they are now."""

    snapshots: tuple[S, ...]
    damaged: tuple[Problem, ...]
    objects: Mapping[str, Listed]  # by name; none below it


def described(folder: BucketFolder, name: str) -> bool:
    """Is there a snapshot of this name? Raises RestoreError where the bucket does not tell."""
    with client_of(folder.service) as client:
        return any_there(client, _at(folder, f"{name}{_TOML}"))


def keep(
    snapshot: S,
    folder: BucketFolder,
    *,
    say: Say = silent,
    progress: Progress = unmeasured,
    stop: Stop = never,
    at: At = nowhere,
) -> S:
    """Bring a snapshot that lies in a folder of this machine into the bucket; describe it once all of it is proven.

    Each object is read back and compared with the hash that it had here. `progress`: bytes sent and read back. Raises
    RestoreError, and then nothing there counts as a snapshot; what was sent is removed where the bucket allows it.
    """
    shelf.refuse_odd(snapshot.name)
    sent: list[ObjectAt] = []
    with client_of(folder.service) as client:
        try:
            return _kept(client, snapshot, folder, sent, say, progress, stop, at)
        except BaseException:
            if sent and not _may_count(client, snapshot, folder, say):
                for place in reversed(sent):
                    take_away(client, place, say)
            raise


def _may_count(client: S3, snapshot: Snapshot, folder: BucketFolder, say: Say) -> bool:
    """Could a description be there all the same? Then what it describes has to be, too."""
    try:
        found = any_there(client, _at(folder, f"{snapshot.name}{_TOML}"))
    except RestoreError as error:
        say(f"what was sent is left there: {error.message}")
        return True
    if found:
        say(f"what was sent is left there: {snapshot.name}{_TOML} describes it")
    return found


def _kept(
    client: S3,
    snapshot: S,
    folder: BucketFolder,
    sent: list[ObjectAt],
    say: Say,
    progress: Progress,
    stop: Stop,
    at: At,
) -> S:
    if any_there(client, _at(folder, f"{snapshot.name}{_TOML}")):
        raise Refused(
            f"A snapshot {shown(snapshot.name)} exists already in {shown(str(folder))}. Nothing was changed.",
            "Start the step again: it takes another name. Snapshots are never replaced.",
        )
    told = {"keep-until": snapshot.keep_until, "session": snapshot.session}
    raw = snapshot.raw
    total = 2 * ((snapshot.size if snapshot.path else 0) + sum(file.size for file in (raw.files if raw else ())))
    before = 0

    def send(path: Path, name: str, length: int, sha256: str) -> ObjectAt:
        nonlocal before
        with content_of(path, length, sha256) as content:
            place = upload(
                client,
                content,
                folder,
                name,
                told=told,
                say=say,
                progress=lambda done, _all: progress(before + done, total),
                stop=stop,
                at=at,
            )
        sent.append(place)
        before += 2 * length
        version = f", version {place.version}" if place.version else ""
        say(f"{place}: {size(length)}, sha256 {sha256}, read back{version}")
        return place

    if raw is not None:
        inside = Path(raw.folder).name
        files = []
        for file in raw.files:
            place = send(Path(raw.folder, file.name), f"{inside}/{file.name}", file.size, file.sha256)
            files.append(replace(file, version=place.version, etag=place.etag))
        raw = RawCopy(f"{folder}{inside}", tuple(files))
    kept = replace(snapshot, folder=str(folder), raw=raw)
    if snapshot.path is not None:
        path = Path(snapshot.path)
        place = send(path, path.name, snapshot.size, snapshot.sha256)
        kept = replace(kept, path=str(place), version=place.version, etag=place.etag)
    at("keep.describe.before")
    upload(client, small(shelf.described(kept).encode()), folder, f"{kept.name}{_TOML}", say=say, stop=stop, at=at)
    at("keep.describe.after")
    return kept


def place_of(snapshot: Snapshot, service: Service) -> ObjectAt:
    """The very object that holds a snapshot's dump."""
    bucket, _, key = str(snapshot.path).removeprefix(SCHEME).partition("/")
    return ObjectAt(service, bucket, key, snapshot.size, snapshot.version, snapshot.etag)


def listed(folder: BucketFolder, kind: type[S]) -> Shelf[S]:
    """What is described there. Raises RestoreError where the bucket can't be listed."""
    with connected(folder.service, connections=_AT_ONCE) as client:
        objects, _folders = scan(client, folder)
        names = sorted(name for name in objects if name.endswith(_TOML))
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="descriptions") as pool:
            read = list(pool.map(lambda name: _described(client, folder, objects[name].place, kind), names))
    found = [one for one in read if not isinstance(one, Problem)]
    damaged = tuple(one for one in read if isinstance(one, Problem))
    return Shelf(shelf.newest_first(found), damaged, objects)


def _described(client: S3, folder: BucketFolder, place: ObjectAt, kind: type[S]) -> S | Problem:
    try:
        table = tomllib.loads(read_small(client, place, _LARGEST).decode())
        name = place.name.removesuffix(_TOML)
        return shelf.parsed(table, name, str(folder), lambda inside: f"{folder}{inside}", kind)
    except RestoreError as error:
        return Problem(shown(str(place)), "", error.message, error.hint)
    except (ValueError, KeyError, TypeError) as error:
        return shelf.not_believed(shown(str(place)), error)


def due(folder: BucketFolder, now: datetime) -> tuple[Snapshot, ...]:
    """Those whose time is over, oldest first. Raises RestoreError."""
    return shelf.over(listed(folder, Snapshot).snapshots, now)


def prune(folder: BucketFolder, now: datetime, *, at: At = nowhere) -> Pruned:
    """Removes what is due and described, and says what was removed. The description goes last: it can be repeated.

    A snapshot of which one object is another than described stays, and so does its description. In a bucket with
    versions the described version goes for good; others of that name are somebody's. What can't be removed keeps no
    other from going, unless the service does not answer at all. Raises RestoreError where the bucket can't be listed.
    """
    found = listed(folder, Snapshot)
    removed: list[str] = []
    problems: list[Problem] = []
    with client_of(folder.service) as client:
        for snapshot in shelf.over(found.snapshots, now):
            try:
                for place in _removable(client, snapshot, folder, found.objects[f"{snapshot.name}{_TOML}"].place):
                    remove(client, place)
                    removed.append(str(place))
                    at("prune.remove.after")
            except RestoreError as error:
                problems.append(Problem(snapshot.name, "", error.message, error.hint))
                if unanswered(error):
                    break
    return Pruned(tuple(removed), tuple(problems))


def _removable(client: S3, snapshot: Snapshot, folder: BucketFolder, description: ObjectAt) -> tuple[ObjectAt, ...]:
    """What of it is still there, the description last; nothing where one object is somebody's now."""
    try:
        return (*(place for place in _places(snapshot, folder) if is_there(client, place)), description)
    except Refused:
        return ()


def _places(snapshot: Snapshot, folder: BucketFolder) -> list[ObjectAt]:
    """Every object that a description names."""
    places = [] if snapshot.path is None else [place_of(snapshot, folder.service)]
    if snapshot.raw is not None:
        inside = snapshot.raw.folder.removeprefix(str(folder))
        places += [_raw(folder, inside, file) for file in snapshot.raw.files]
    return places


def _raw(folder: BucketFolder, inside: str, file: RawFile) -> ObjectAt:
    return replace(_at(folder, f"{inside}/{file.name}"), size=file.size, version=file.version, etag=file.etag)


def _at(folder: BucketFolder, name: str) -> ObjectAt:
    return ObjectAt(folder.service, folder.bucket, folder.prefix + name, 0, "", "")


def writable(folder: BucketFolder) -> Check:
    """Can a snapshot be kept there? A few bytes are written as one is, read back and removed."""
    name = f".reinstate-{secrets.token_hex(8)}"
    where = shown(str(folder))
    try:
        with client_of(folder.service) as client:
            any_there(client, _at(folder, name))
            place = upload(client, small(b"Reinstate asks whether it may write here.\n"), folder, name)
            try:
                remove(client, place)
            except RestoreError as error:
                told = f"{where}: written and read back; but {error.message}"
                return checks.warn(WRITABLE, told, f"{error.hint} Without it nothing is pruned; remove {name} by hand.")
    except RestoreError as error:
        return checks.fail(WRITABLE, error.message, error.hint)
    return checks.ok(WRITABLE, f"{where}: a few bytes were written, read back and removed")
