"""A folder of backups for tests: files, listings and the catalogue that comes of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engines.backups.catalogue import Backup, Catalogue, Status, TakenFrom, read
from engines.backups.places import FileAt
from engines.backups.verify import verify

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOBODY = 65_534


def fill(folder: Path, files: Mapping[str, bytes], listed: bool = True, algorithm: str = "sha256") -> None:
    """Writes `files`, and checksums.txt with all of them unless told otherwise."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if listed:
        lines = [f"{hashlib.new(algorithm, content).hexdigest()}  {name}\n" for name, content in files.items()]
        (folder / "checksums.txt").write_text("".join(lines))


def only(catalogue: Catalogue) -> Backup:
    (backup,) = catalogue.backups
    return backup


def verified(folder: Path) -> Backup:
    """The folder's one backup after verification."""
    return verify(only(read(folder)), lambda _done, _total: None, lambda: False)


def copy(
    hours_ago: float,
    status: Status = Status.VERIFIED,
    size: int = 1000,
    taken_at_from: TakenFrom = "name",
) -> Backup:
    """A backup that exists only as facts, taken so long before NOON."""
    name = f"{hours_ago:g}-hours-ago.sqlite"
    return Backup(
        name=name,
        place=FileAt(Path("/backups") / name, size, 0, 1, 1),
        kind="sqlite",
        taken_at=NOON - timedelta(hours=hours_ago),
        taken_at_from=taken_at_from,
        expected=None,
        status=status,
        evidence=f"made {status} for a test",
    )


def catalogue(*backups: Backup) -> Catalogue:
    newest_first = sorted(backups, key=lambda backup: backup.taken_at, reverse=True)
    return Catalogue("/backups", tuple(newest_first), ())


def with_status(backup: Backup, status: Status) -> Backup:
    return replace(backup, status=status)


@contextmanager
def without_rights() -> Iterator[None]:
    """As root nothing is forbidden, so root becomes nobody for a moment; files must also have no rights for us."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
