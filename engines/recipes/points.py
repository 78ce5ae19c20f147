"""The restore points of a target: its backups, and the safety snapshots that earlier sessions left."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from engines import shelf
from engines.backups import catalogue, listed
from engines.backups import kept as in_bucket
from engines.backups.bucket import Listed
from engines.backups.catalogue import Backup, Catalogue, Status
from engines.backups.checksums import Digest
from engines.backups.places import SCHEME, BucketFolder, FileAt, Location, ObjectAt, Place, Service, located
from engines.backups.verify import asked
from engines.errors import RestoreError
from engines.recipes.mysql.until import Until
from engines.targets import MysqlTarget, Target
from engines.text import parse_stamp, stamp


def restore_points(target: Target) -> Catalogue:
    """Everything that `target` can be restored from, newest first.

    Raises RestoreError when the folder or bucket of backups can't be listed.
    """
    found = backups_of(target)
    snapshots, problems = _snapshots(target)
    both = sorted((*found.backups, *snapshots), key=lambda backup: (backup.taken_at, backup.name), reverse=True)
    return Catalogue(found.folder, tuple(both), (*found.problems, *problems))


def backups_of(target: Target) -> Catalogue:
    """The backups alone."""
    if isinstance(target, MysqlTarget):
        return listed.backups(located(target.backups, service_of(target)), target.pattern, target.checksums)
    return catalogue.read(target.backups, target.pattern, target.checksums)


def service_of(target: MysqlTarget) -> Service:
    """The S3 service that the target's buckets are at."""
    return Service(target.s3_endpoint or "", target.s3_region or "", target.s3_profile or "")


def snapshots_at(target: Target) -> Location:
    """Where the target's safety snapshots are kept."""
    return located(target.snapshots, service_of(target)) if isinstance(target, MysqlTarget) else target.snapshots


def spare_of(target: Target) -> Path | None:
    """The folder with what an undo kept while the bucket of snapshots did not take it."""
    if not isinstance(target, MysqlTarget) or target.spare == Path():
        return None
    return target.spare if isinstance(snapshots_at(target), BucketFolder) else None


def _snapshots(target: Target) -> tuple[list[Backup], list[str]]:
    """Safety snapshots as restore points. Their descriptions give the hash that staging compares with."""
    at = snapshots_at(target)
    if isinstance(at, BucketFolder):
        spare = spare_of(target)
        (found, problems), (here, wrong) = _in_bucket(target, at), _in_folder(target, spare) if spare else ([], [])
        return [*found, *here], [*problems, *wrong]
    return _in_folder(target, at)


def _in_folder(target: Target, at: Path) -> tuple[list[Backup], list[str]]:
    if not at.is_dir():
        return [], []
    listing = shelf.listed(str(at), shelf.Snapshot)
    found = [_as_backup(kept) for kept in listing.snapshots if kept.path is not None and kept.target == target.name]
    return found, [str(problem) for problem in listing.damaged]


def _in_bucket(target: Target, folder: BucketFolder) -> tuple[list[Backup], list[str]]:
    """The same of a bucket. Where that can't be listed, the backups are restore points all the same."""
    try:
        there = in_bucket.listed(folder, shelf.Snapshot)
    except RestoreError as error:
        return [], [f"the safety snapshots are not listed: {error.message} {error.hint}"]
    mine = [kept for kept in there.snapshots if kept.path is not None and kept.target == target.name]
    found = [_object_as_backup(kept, in_bucket.place_of(kept, folder.service), there.objects) for kept in mine]
    return found, [str(problem) for problem in there.damaged]


def _object_as_backup(kept: shelf.Snapshot, place: ObjectAt, objects: Mapping[str, Listed]) -> Backup:
    """An older version can be fetched though another has been put on top of it; without versions it is gone."""
    now, where = objects.get(place.name), f"{kept.name}.toml"
    if not place.version and now is None:
        status, evidence = Status.MISSING_FILE, f"{where} describes it, but it is not in the bucket"
    elif not place.version and now is not None and now.place.etag != place.etag:
        status, evidence = Status.MISMATCH, f"it is not the object that {where} describes: its ETag is another"
    else:
        status, evidence = Status.UNCHECKED, _told(kept)
    return _row(kept, place, status, evidence)


def _told(kept: shelf.Snapshot) -> str:
    return f"safety snapshot, kept until {kept.keep_until[:10]}; hash in {kept.name}.toml"


def _as_backup(kept: shelf.Snapshot) -> Backup:
    path = Path(str(kept.path))
    where = f"{kept.name}.toml"
    try:
        facts = path.stat()
    except OSError as error:
        place = FileAt(path, kept.size)
        status, evidence = Status.MISSING_FILE, f"{where} describes it, but: {error.strerror}"
    else:
        place = FileAt(path, facts.st_size, facts.st_mtime_ns, facts.st_ino, facts.st_dev)
        status, evidence = Status.UNCHECKED, _told(kept)
    return _row(kept, place, status, evidence)


def _row(kept: shelf.Snapshot, place: Place, status: Status, evidence: str) -> Backup:
    return Backup(
        name=place.name,
        place=place,
        kind="safety snapshot",
        taken_at=parse_stamp(kept.taken_at),
        taken_at_from="name",
        expected=Digest("sha256", kept.sha256, f"{kept.name}.toml"),
        status=status,
        evidence=evidence,
    )


def find(points: Catalogue, name: str) -> Backup:
    """The restore point with this name. Raises RestoreError naming the newest ones.

    Of an object that nothing lists, the bucket is asked for its own checksum: staging compares with that.
    """
    for backup in points.backups:
        if backup.name == name:
            return asked(backup) if backup.expected is None else backup
    newest = ", ".join(backup.name for backup in points.backups[:3])
    raise RestoreError(
        f"There is no backup {name!r} in {points.folder}. Nothing was changed.",
        f"The newest are: {newest or 'none'}. List them: reinstate backups.",
    )


def likely(points: Catalogue, before: datetime | None, chosen: str = "") -> Backup | None:
    """The one to begin with: what is chosen already, else the newest good one from before the incident.

    While none is known to be good, the newest that has not been read yet. Safety snapshots come last: what an earlier
    session kept may be what was wrong. None where nothing is from before the incident.
    """
    early = [backup for backup in points.backups if before is None or backup.taken_at <= before]
    usual = [backup for backup in early if backup.kind != "safety snapshot"]
    named = [backup for backup in points.backups if backup.name == chosen]
    good = [backup for backup in usual if backup.status is Status.VERIFIED]
    unread = [backup for backup in usual if backup.status in (Status.UNCHECKED, Status.CHECKING)]
    return next(iter((*named, *(good or unread), *usual, *early)), None)


def to_table(backup: Backup, until: Until | None = None, reason: str = "") -> dict[str, object]:
    """The restore point as the journal keeps it: what was chosen, and how far it was trusted then."""
    chosen: dict[str, object] = {
        "name": backup.name,
        **_place_table(backup.place),
        "kind": backup.kind,
        "taken_at": stamp(backup.taken_at),
        "taken_at_from": backup.taken_at_from,
        "size": backup.size,
        "status": str(backup.status),
        "evidence": backup.evidence,
        "algorithm": backup.expected.algorithm if backup.expected else "",
        "digest": backup.expected.hex if backup.expected else "",
        "listed_in": backup.expected.where if backup.expected else "",
    }
    return going_to(chosen, until, reason)


def going_to(chosen: Mapping[str, object], until: Until | None, reason: str = "") -> dict[str, object]:
    """The same backup with another end. What is left out on the way is a deviation, with its reason."""
    point = {key: value for key, value in chosen.items() if key not in ("until", "deviations", "reason")}
    if until is None or not until.replays:
        return point
    point["until"] = msgspec.to_builtins(until)
    if until.exclude:
        point["deviations"] = [f"transaction {name} is left out of the replay" for name in until.exclude]
        point["reason"] = reason
    return point


def _place_table(place: Place) -> dict[str, object]:
    """Where the bytes are, and which ones they are: enough for `place_of`."""
    match place:
        case FileAt():
            seen = {"mtime_ns": place.mtime_ns, "inode": place.inode, "device": place.device}
            return {"path": str(place.path), **seen}
        case ObjectAt():
            return {"path": str(place), "uri": str(place), "version": place.version, "etag": place.etag}


def place_of(table: Mapping[str, object], target: MysqlTarget) -> Place:
    """The place that `to_table` wrote, so that staging takes those bytes and no others.

    The service is the target's: it is configuration, and not chosen with a backup. Raises RestoreError for a table
    without a place.
    """
    try:
        if "uri" not in table:
            numbers = (_number(table, name) for name in ("size", "mtime_ns", "inode", "device"))
            return FileAt(Path(str(table["path"])), *numbers)
        bucket, _, key = str(table["uri"]).removeprefix(SCHEME).partition("/")
        version, etag = str(table["version"]), str(table["etag"])
        return ObjectAt(service_of(target), bucket, key, _number(table, "size"), version, etag)
    except (KeyError, ValueError) as error:
        raise RestoreError(
            "The chosen backup's entry does not say where it is. Nothing was changed.", "Choose the backup again (b)."
        ) from error


def _number(table: Mapping[str, object], name: str) -> int:
    value = table[name]
    if not isinstance(value, int):
        raise ValueError(name)  # noqa: TRY004 - a table from outside, not a caller's mistake
    return value
