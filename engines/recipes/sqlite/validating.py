"""Is the data right? The staged copy and the live database, counted and asked."""

from __future__ import annotations

from collections.abc import Mapping

from engines.checks import Check
from engines.errors import RestoreError
from engines.recipes import expected, report
from engines.recipes.expected import LIVE, STAGED, Database
from engines.recipes.recalling import recall
from engines.recipes.sqlite.ground import writer
from engines.session.state import SessionState
from engines.session.work import Work
from engines.sqlite import connect, swap
from engines.sqlite.ask import Answer, ask
from engines.sqlite.inspect import look
from engines.sqlite.proof import Proof, count_tables
from engines.sqlite.stage import Staged
from engines.targets import SqliteTarget
from engines.text import drawable


def database(path: str, where: str) -> Database:
    return Database(where, lambda sql: _asked(path, sql), connect.quoted)


def _asked(path: str, sql: str) -> Answer | str:
    """The answer, or why there is none."""
    try:
        return ask(path, sql)
    except RestoreError as error:
        return drawable(error.message)


def compare_staged(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    staged = recall(work.state, "stage", "staged", Staged)
    proof = recall(work.state, "prove", "proof", Proof)
    restored = {table.table: table.rows for table in proof.tables}
    return expected.compare(work, target.critical_tables, restored, database(staged.path, STAGED))


def compare_live(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    """Counted in the live file itself: what the staged copy had says nothing about what is at the path now."""
    path = str(target.database)
    restored = {table.table: table.rows for table in count_tables(path, stop=work.stopped)}
    return expected.compare(work, target.critical_tables, restored, database(path, LIVE))


def try_to_write(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    uid, gid, groups = writer(target, look(str(target.database)))
    check = work.check(swap.write_probe(str(target.database), uid, gid, groups))
    return {"message": check.evidence}


def check_again(name: str, target: SqliteTarget, state: SessionState) -> Check | None:
    """A validation check, asked once more; None where it can't be asked by itself."""
    if name == "Write probe":
        uid, gid, groups = writer(target, look(str(target.database)))
        return swap.write_probe(str(target.database), uid, gid, groups)
    again = report.check_again(name, state)
    if again is not None:
        return again
    for where in (LIVE, STAGED):
        if not name.startswith(f"{where}: "):
            continue
        path = str(target.database) if where == LIVE else recall(state, "stage", "staged", Staged).path
        restored = {table.table: table.rows for table in count_tables(path)}
        return expected.check_again(name, database(path, where), target.critical_tables, state, restored)
    return None
