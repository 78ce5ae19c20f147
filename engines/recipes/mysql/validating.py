"""Is the data right? The staged and the live schema, counted in one snapshot and asked."""

from __future__ import annotations

import time
from collections.abc import Mapping

from engines import checks
from engines.checks import Check, Panel
from engines.errors import RestoreError
from engines.hooks import never, unmeasured
from engines.mysql import server
from engines.mysql.ask import Answer, ask
from engines.mysql.connect import quoted
from engines.mysql.counting import Counts, count_tables
from engines.mysql.queries import rows_of, value_of
from engines.recipes import expected, report
from engines.recipes.expected import LIVE, STAGED, Database
from engines.recipes.mysql import nodes, reach, same
from engines.recipes.mysql.ground import expected_tables
from engines.session.state import SessionState
from engines.session.work import Work
from engines.targets import MysqlTarget
from engines.text import drawable, duration

REPLICATION = "Replication"
_TRIPS = 5
_SLOW = 0.5  # seconds for the simplest question


def database(target: MysqlTarget, schema: str, where: str) -> Database:
    with reach.reached(target) as connection:
        cased = int(value_of(connection, "SELECT @@lower_case_table_names")) == 0
    return Database(where, lambda sql: _asked(target, schema, sql), quoted, cased)


def _asked(target: MysqlTarget, schema: str, sql: str) -> Answer | str:
    """The answer, or why there is none."""
    try:
        with reach.reached(target, schema) as connection:
            return ask(connection, sql)
    except RestoreError as error:
        return drawable(error.message)


def compare_staged(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    found = _compare(work, target, reach.names_of(target, work.state).stage, STAGED)
    if not any(known.blocks for name, known in work.state.checks.items() if name.startswith(f"{STAGED}: ")):
        return found
    # The next steps take the application out of service: not for a copy that can't go live.
    return {
        **found,
        "message": f"{found['message']}. It can't go live like this: decide first (4), nothing is down yet",
    }


def compare_live(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    return _compare(work, target, target.database, LIVE)


def _compare(work: Work, target: MysqlTarget, schema: str, where: str) -> Mapping[str, object]:
    counted = _counted(work.state, target, schema, work)
    work.say(counted.how)
    restored = {table: rows for table, rows in counted.rows.items() if rows is not None}
    return expected.compare(work, target.critical_tables, restored, database(target, schema, where))


def _counted(state: SessionState, target: MysqlTarget, schema: str, work: Work | None = None) -> Counts:
    return count_tables(
        reach.place_of(target),
        reach.login_of(target),
        schema,
        expected_tables(state, target),
        connections=reach.connections_of(target),
        progress=(lambda done, total: work.progress(done, total, "rows", "counting")) if work else unmeasured,
        stop=work.stopped if work else never,
    )


def look_at_replicas(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    check = work.check(replication(target))
    return {"message": f"{check.evidence}; {same.compare(work, target)}"}


def compare_nodes(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    return {"message": same.compare(work, target)}


def replication(target: MysqlTarget) -> Check:
    """How far behind the server is where it is a replica, who follows it, and how long a question takes."""
    with reach.reached(target) as connection:
        facts = server.look(connection)
        trips = []
        for _ in range(_TRIPS):
            begun = time.monotonic()
            rows_of(connection, "SELECT 1")
            trips.append(time.monotonic() - begun)
    trip = sorted(trips)[_TRIPS // 2]
    told = f"a question takes {trip * 1000:.1f} ms"
    stopped = [str(one) for one in facts.replica_of or () if not one.applying or not one.receiving]
    if facts.replicas is None:
        hint = "GRANT REPLICATION CLIENT to the login, or look with SHOW REPLICAS."
        return checks.unknown(REPLICATION, f"{told}; the login may not see the replicas", hint, Panel.VALIDATION)
    followers = ", ".join(map(str, facts.replicas)) or "no replica is connected"
    if stopped:
        return checks.fail(
            REPLICATION,
            f"{told}; replication from {', '.join(stopped)} does not run",
            "SHOW REPLICA STATUS says why.",
            Panel.VALIDATION,
        )
    if trip > _SLOW:
        hint = "Look at the server's load: SHOW PROCESSLIST."
        return checks.warn(REPLICATION, f"{told} ({duration(trip)}); {followers}", hint, Panel.VALIDATION)
    return checks.ok(REPLICATION, f"{told}; {followers}", Panel.VALIDATION)


def check_again(name: str, target: MysqlTarget, state: SessionState) -> Check | None:
    """A validation check, asked once more; None where it can't be asked by itself."""
    if (again := report.check_again(name, state)) is not None:
        return again
    if name == REPLICATION:
        return replication(target)
    if (again := same.check_again(name, target, state) or nodes.check_again(name, target)) is not None:
        return again
    for where, schema in ((LIVE, target.database), (STAGED, reach.names_of(target, state).stage)):
        if not name.startswith(f"{where}: "):
            continue
        counted = _counted(state, target, schema)
        restored = {table: rows for table, rows in counted.rows.items() if rows is not None}
        return expected.check_again(name, database(target, schema, where), target.critical_tables, state, restored)
    return None
