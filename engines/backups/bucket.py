"""Lists a bucket of backups, as `catalogue` lists a folder: the same rows, without reading a byte of them.

Asked of the service: is it versioned, the listing page by page, checksums.txt, and the newest sidecars. Nothing is
asked for each object: of a hundred thousand objects that would take an hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any

from engines.backups.catalogue import (
    EMPTY,
    EPOCH,
    LARGEST_LISTING,
    LARGEST_SIDECAR,
    SIDECAR,
    Backup,
    Catalogue,
    Expectation,
    Kind,
    Status,
    belongs,
    expectation,
    matcher,
    missing,
    newest_first,
    no_listing,
    row,
)
from engines.backups.checksums import Listing, parse, parse_sidecar, shown
from engines.backups.places import BucketFolder, ObjectAt
from engines.backups.s3 import S3, asking, connected, denied, gone
from engines.errors import RestoreError
from engines.text import size

SIDECARS_READ = 500  # of the newest backups; the others' are read when one of them is verified
_AT_ONCE = 8  # sidecars that are fetched at the same time
_ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE"})  # storage classes that can't be read before they are restored
_LONGEST_NAME = 200  # bytes: staged as a file of that name, with an ending of our own, in 255


@dataclass(frozen=True, slots=True)
class Listed:
    """One object, as the listing has it."""

    place: ObjectAt
    written: datetime  # UTC: when it was uploaded last
    archived: str  # its storage class, where that can't be read at once


def read(
    folder: BucketFolder,
    pattern: str = "*.sql*",
    checksums: str = "checksums.txt",
    zone: tzinfo = UTC,
    kind: Kind = "dump",
) -> Catalogue:
    """The backups in `folder` whose names match `pattern` as in a shell, and listed ones that are not there.

    `zone` is the one of times in names that do not tell theirs. Raises RestoreError when the bucket can't be listed.
    """
    with connected(folder.service, connections=_AT_ONCE) as client:
        found, folders = scan(client, folder)
        listing, problems = _listing(client, folder, found.get(checksums), checksums)
        wanted = matcher(pattern)
        names = [name for name in found if wanted(name) and not belongs(name, checksums)]
        beside, unread = _sidecars(client, found, names)
    written = found[checksums].written if checksums in found else EPOCH
    backups: list[Backup] = []
    for name in names:
        sidecar = beside.get(name, EMPTY)
        problems.extend(sidecar.problems)
        known = expectation(name, listing, sidecar, checksums)
        if bad := unusable(name, found[name].place.size):
            known = replace(known, status=Status.UNREADABLE, evidence=bad)
        elif known.status is Status.MISMATCH:
            problems.append(f"{shown(name)}: {known.evidence}")
        elif name in unread and known.digest is None:
            known = replace(known, evidence=f"Its {SIDECAR} file is read when it is verified")
        if found[name].archived:
            known = replace(
                known, evidence=f"{known.evidence}; it is in {found[name].archived}: have it restored first"
            )
        backups.append(row(name, found[name].place, kind, zone, found[name].written, known))
    for name, digest in missing(listing, found, wanted, problems):
        known = Expectation(digest, Status.MISSING_FILE, f"{digest.where} lists it, but it is not in the bucket")
        place = ObjectAt(folder.service, folder.bucket, folder.prefix + name, 0, "", "")
        backups.append(row(name, place, kind, zone, written, known))
    if unread:
        problems.append(f"{len(unread):,} {SIDECAR} files of older backups are read when one of them is verified")
    if not names and folders:
        problems.append(f"{len(folders):,} folders below it are not read, such as {shown(min(folders))}")
    return Catalogue(shown(str(folder)), newest_first(backups), tuple(problems))


def scan(client: S3, folder: BucketFolder) -> tuple[dict[str, Listed], set[str]]:
    """Every object in `folder` by its name there, and the names of folders in it. Raises RestoreError."""
    with asking(f"{shown(str(folder))} can't be listed"):
        try:
            versioned = client.get_bucket_versioning(Bucket=folder.bucket).get("Status")
            return _scan(folder, (_latest if versioned else _plain)(client, folder))
        except Exception as error:
            if not denied(error):
                raise
        # Versions may be kept from these credentials; the ETag alone pins an object then.
        return _scan(folder, _plain(client, folder))


_Page = tuple[Iterable[Mapping[str, Any]], Iterable[Mapping[str, Any]]]  # objects, and what is a folder


def _scan(folder: BucketFolder, pages: Iterable[_Page]) -> tuple[dict[str, Listed], set[str]]:
    found: dict[str, Listed] = {}
    folders: set[str] = set()
    begin = len(folder.prefix)
    for entries, prefixes in pages:
        folders.update(str(prefix["Prefix"])[begin:] for prefix in prefixes)
        for entry in entries:
            name = str(entry["Key"])[begin:]
            if name:  # what is called like the folder itself is a mark that it is one
                found[name] = _listed(folder, entry)
    return found, folders


def _plain(client: S3, folder: BucketFolder) -> Iterator[_Page]:
    for page in client.get_paginator("list_objects_v2").paginate(**_asked(folder)):
        yield page.get("Contents", ()), page.get("CommonPrefixes", ())


def _latest(client: S3, folder: BucketFolder) -> Iterator[_Page]:
    """Older versions are left out; so is a deleted object, whose latest version is a mark without bytes."""
    for page in client.get_paginator("list_object_versions").paginate(**_asked(folder)):
        yield (one for one in page.get("Versions", ()) if one.get("IsLatest")), page.get("CommonPrefixes", ())


def _asked(folder: BucketFolder) -> dict[str, str]:
    return {"Bucket": folder.bucket, "Prefix": folder.prefix, "Delimiter": "/"}


def _listed(folder: BucketFolder, entry: Mapping[str, Any]) -> Listed:
    written: datetime = entry["LastModified"]
    kept_as = str(entry.get("StorageClass", ""))
    place = ObjectAt(
        folder.service,
        folder.bucket,
        str(entry["Key"]),
        int(entry["Size"]),
        str(entry.get("VersionId", "")),
        str(entry.get("ETag", "")).strip('"'),
    )
    return Listed(place, written.astimezone(UTC), kept_as if kept_as in _ARCHIVED else "")


def unusable(name: str, length: int) -> str | None:
    """Why an object of this name (without its folder's) and this size is never read, or None when it may be."""
    if shown(name) != name or name in (".", ".."):
        return "Its name has control characters or is none for a file; it was not read. Rename it to use it"
    if len(name.encode()) > _LONGEST_NAME:
        return "Its name is longer than a file's may be; it was not read. Rename it to use it"
    if length == 0:
        return "It is empty (0 bytes): there is no database in it"
    return None


def _listing(client: S3, folder: BucketFolder, listed: Listed | None, checksums: str) -> tuple[Listing, list[str]]:
    """What the folder's checksums.txt says, and what is wrong with it."""
    if listed is None:
        return EMPTY, [no_listing(checksums)]
    try:
        content = read_small(client, listed.place, LARGEST_LISTING)
    except RestoreError as error:
        return EMPTY, [f"{checksums} can't be used: {error.message}"]
    listing = parse(content, checksums)
    return listing, [*listing.problems, *([] if listing.entries else [f"{checksums} lists no file"])]


def _sidecars(client: S3, found: Mapping[str, Listed], names: Iterable[str]) -> tuple[dict[str, Listing], set[str]]:
    """What the newest sidecars say, by the name that they are about; and the names whose sidecar was not read."""
    having = [name for name in names if name + SIDECAR in found]
    having.sort(key=lambda name: found[name].written, reverse=True)
    now, later = having[:SIDECARS_READ], having[SIDECARS_READ:]
    if not now:
        return {}, set()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sidecars") as pool:
        said = pool.map(lambda name: read_sidecar(client, found[name + SIDECAR].place, name), now)
        return dict(zip(now, said, strict=True)), set(later)


def with_sidecar(client: S3, backup: Backup) -> Backup:
    """A backup that nothing was known to list, with what its sidecar says: of older ones it was not read."""
    place = backup.place
    if not isinstance(place, ObjectAt) or backup.expected or backup.contradicted:
        return backup
    beside = replace(place, key=place.key + SIDECAR, version="", etag="")
    try:
        content = _content(client, beside, LARGEST_SIDECAR)
    except Exception as error:
        if gone(error) or denied(error):
            return backup  # a service that may not list says "denied" of what is not there
        raise
    known = expectation(backup.name, EMPTY, parse_sidecar(content, shown(beside.name), backup.name), "")
    return replace(
        backup,
        expected=known.digest,
        status=known.status,
        evidence=known.evidence if known.digest or known.contradicted else backup.evidence,
        contradicted=known.contradicted,
    )


def read_sidecar(client: S3, place: ObjectAt, name: str) -> Listing:
    """What the sidecar at `place` says of `name`."""
    try:
        return parse_sidecar(read_small(client, place, LARGEST_SIDECAR), shown(place.name), name)
    except RestoreError as error:
        reason = f"{shown(place.name)} can't be used: {error.message}"
        return Listing({}, (reason,), {name: reason})


def read_small(client: S3, place: ObjectAt, limit: int) -> bytes:
    """All bytes of an object of at most `limit` bytes. Raises RestoreError, also for a larger one."""
    with asking(f"{shown(str(place))} can't be read"):
        return _content(client, place, limit)


def _content(client: S3, place: ObjectAt, limit: int) -> bytes:
    with closing(client.get_object(Bucket=place.bucket, Key=place.key)["Body"]) as body:
        content: bytes = body.read(limit + 1)
    if len(content) > limit:
        raise RestoreError(
            f"{shown(str(place))} is larger than {size(limit)}.", "Let it list backups and nothing else."
        )
    return content
