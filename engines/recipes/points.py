"""The restore points of a target: its backups, and the safety snapshots that earlier sessions left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from engines.backups import catalogue
from engines.backups.catalogue import Backup, Catalogue, Status
from engines.backups.checksums import Digest
from engines.errors import RestoreError, UsageError
from engines.recipes.mysql.until import Until
from engines.sqlite import snapshot
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
        raise UsageError("MySQL and MariaDB are not available in this version.", "reinstate --version")
    return catalogue.read(target.backups, target.pattern, target.checksums)


def _snapshots(target: Target) -> tuple[list[Backup], list[str]]:
    """Safety snapshots as restore points. Their descriptions give the hash that staging compares with."""
    if not target.snapshots.is_dir():
        return [], []
    listing = snapshot.listed(str(target.snapshots))
    found = [_as_backup(kept) for kept in listing.snapshots if kept.path is not None and kept.target == target.name]
    return found, [str(problem) for problem in listing.damaged]


def _as_backup(kept: snapshot.Snapshot) -> Backup:
    path = Path(str(kept.path))
    where = f"{kept.name}.toml"
    try:
        facts = path.stat()
    except OSError as error:
        size, mtime, inode, device = kept.size, 0, 0, 0
        status, evidence = Status.MISSING_FILE, f"{where} describes it, but: {error.strerror}"
    else:
        size, mtime, inode, device = facts.st_size, facts.st_mtime_ns, facts.st_ino, facts.st_dev
        status, evidence = Status.UNCHECKED, f"safety snapshot, kept until {kept.keep_until[:10]}; hash in {where}"
    return Backup(
        name=path.name,
        path=path,
        kind="safety snapshot",
        taken_at=parse_stamp(kept.taken_at),
        taken_at_from="name",
        size=size,
        mtime_ns=mtime,
        inode=inode,
        device=device,
        expected=Digest("sha256", kept.sha256, where),
        status=status,
        evidence=evidence,
    )


def find(points: Catalogue, name: str) -> Backup:
    """The restore point with this name. Raises RestoreError naming the nearest ones."""
    for backup in points.backups:
        if backup.name == name:
            return backup
    newest = ", ".join(backup.name for backup in points.backups[:3])
    raise RestoreError(
        f"There is no backup {name!r} in {points.folder}. Nothing was changed.",
        f"The newest are: {newest or 'none'}. List them: reinstate backups.",
    )


def to_table(backup: Backup, until: Until | None = None, reason: str = "") -> dict[str, object]:
    """The restore point as the journal keeps it: what was chosen, and how far it was trusted then."""
    chosen: dict[str, object] = {
        "name": backup.name,
        "path": str(backup.path),
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
