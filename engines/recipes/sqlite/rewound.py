"""The steps after a rewind, on an SQLite database."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from engines.backups.adding import add_to_folder, added_earlier
from engines.recipes import afterwards
from engines.recipes.recalling import token
from engines.session.work import Work
from engines.sqlite import aftermath, snapshot
from engines.sqlite.proof import count_tables
from engines.targets import SqliteTarget
from engines.text import utc_now


class _Live:
    def __init__(self, target: SqliteTarget) -> None:
        self._path = str(target.database)

    def has(self, table: str) -> bool:
        return any(one.table == table for one in count_tables(self._path))

    def put_aside(self, table: str, kept: str) -> tuple[int, Sequence[str]]:
        return aftermath.put_aside(self._path, table, kept), aftermath.back_sql(table, kept)

    def skip_ids(self, by: int, _leave: Collection[str]) -> Mapping[str, int]:
        return aftermath.skip_ids(self._path, by)  # what was put aside counts nothing by itself


def put_aside(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    return afterwards.put_aside(work, _Live(target))


def skip_ids(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    return afterwards.skip_ids(work, _Live(target))


def take_backup(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    """A consistent copy of the live database among the backups, proven and listed; the application may run."""
    if target.application.full_backup:
        return afterwards.by_command(work, target)
    name, earlier = afterwards.named(work, target, ".sqlite", target.name)
    if earlier and added_earlier(target.backups, name, earlier, target.checksums):
        return afterwards.proven(work, target, name)
    making = target.snapshots / f"new-backup-{token(work.state)}"
    shutil.rmtree(making, ignore_errors=True)  # what a killed attempt left
    try:
        taken = snapshot.take(
            str(target.database),
            str(making),
            "copy",
            utc_now() + timedelta(days=1),
            target=target.name,
            session=work.state.id,
            kind="full-backup",
            quiet=False,
            progress=lambda done, total: work.progress(done, total, text="copying"),
            stop=work.stopped,
        )
        work.found(sha256=taken.sha256)
        add_to_folder(Path(str(taken.path)), target.backups, name, taken.sha256, target.checksums, stop=work.stopped)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return afterwards.proven(work, target, name)
