"""The steps after a rewind, on a schema of a MySQL or MariaDB server."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from engines.backups.adding import add_to_bucket, add_to_folder, added_earlier
from engines.backups.places import BucketFolder, located
from engines.mysql import aftermath, snapshot
from engines.mysql.programs import Tool, find
from engines.mysql.queries import value_of
from engines.recipes import afterwards, points
from engines.recipes.mysql import reach
from engines.recipes.mysql.loading import right_server
from engines.session.work import Work
from engines.targets import MysqlTarget
from engines.text import utc_now

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_THERE = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s"


class _Live:
    def __init__(self, connection: Connection[Cursor]) -> None:
        self._connection = connection

    def has(self, table: str) -> bool:
        return bool(value_of(self._connection, _THERE, (table,)))

    def put_aside(self, table: str, kept: str) -> tuple[int, Sequence[str]]:
        columns = aftermath.columns_of(self._connection, table)
        return aftermath.put_aside(self._connection, table, kept), aftermath.back_sql(table, kept, columns)

    def skip_ids(self, by: int, leave: Collection[str]) -> Mapping[str, int]:
        return aftermath.skip_ids(self._connection, by, tuple(leave))


def put_aside(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    with right_server(work, target), reach.reached(target, target.database) as connection:
        return afterwards.put_aside(work, _Live(connection))


def skip_ids(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    with right_server(work, target), reach.reached(target, target.database) as connection:
        return afterwards.skip_ids(work, _Live(connection))


def take_backup(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    """A consistent dump among the backups, read to its end and listed; the application may run."""
    if target.application.full_backup:
        return afterwards.by_command(work, target)
    with right_server(work, target):
        pass
    name, earlier = afterwards.named(work, target, snapshot.ENDING, target.database)
    at = located(target.backups, points.service_of(target))
    # In a bucket the earlier attempt's is written over: it has the same name.
    if earlier and not isinstance(at, BucketFolder) and added_earlier(at, name, earlier, target.checksums):
        return afterwards.proven(work, target, name)
    making = reach.staging_of(target, work.state) / "new-backup"
    shutil.rmtree(making, ignore_errors=True)  # what a killed attempt left
    try:
        with work.children("mysqldump") as started:
            taken = snapshot.take(
                snapshot.Asked(
                    program=find(Tool.DUMP, reach.flavour_of(target)),
                    place=reach.place_of(target),
                    login=reach.login_of(target),
                    schema=target.database,
                    folder=str(making),
                    name="dump",
                    keep_until=utc_now() + timedelta(days=1),
                    target=target.name,
                    session=work.state.id,
                    private=reach.private(work),
                    kind=afterwards.BACKUP,
                    quiet=False,
                ),
                started=started,
                say=work.say,
                progress=lambda done, total: work.progress(done, total, text="dumping"),
                stop=work.stopped,
            )
        work.found(sha256=taken.sha256)
        _add(work, target, Path(str(taken.path)), name, taken.sha256)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return afterwards.proven(work, target, name)


def _add(work: Work, target: MysqlTarget, dump: Path, name: str, sha256: str) -> None:
    at = located(target.backups, points.service_of(target))
    if isinstance(at, BucketFolder):
        add_to_bucket(
            dump,
            at,
            name,
            sha256,
            say=work.say,
            progress=lambda done, total: work.progress(done, total, text="uploading, and reading it back"),
            stop=work.stopped,
        )
        return
    add_to_folder(dump, at, name, sha256, target.checksums, stop=work.stopped)
