"""Readiness of a server: what it is, what the restore will need of it, and which method that allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from engines import checks
from engines.application.probe import configured, reached
from engines.backups import kept as in_bucket
from engines.checks import Check
from engines.errors import RestoreError
from engines.hooks import Progress, Stop, never, unmeasured
from engines.mysql import privileges, readiness, replication, server, sessions, space, tools
from engines.mysql import rates as speed
from engines.mysql.counting import count_tables
from engines.mysql.dumps.facts import DumpFacts
from engines.mysql.dumps.guards import guards
from engines.mysql.grants import Grants, grants_of
from engines.mysql.intent import Intent
from engines.mysql.queries import value_of
from engines.mysql.schema import SchemaFacts, look_at_schema
from engines.mysql.server import ServerFacts
from engines.recipes import deploys, points, report, used
from engines.recipes.drills.estimating import recovery_time
from engines.recipes.mysql import keeping, nodes, pulling, reach
from engines.recipes.mysql.until import replay_of, until_of
from engines.recipes.readiness import clock, fresh, incident_of, right_target, verdicts
from engines.recipes.steps import objective
from engines.session.launch import survival, survival_check
from engines.session.state import SessionState, Status
from engines.session.work import Work
from engines.targets import Ghosts, LoadClient, Method, MysqlTarget
from engines.text import count, size, utc_now

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor


SCHEMA = "The live schema"


@dataclass(frozen=True, slots=True)
class Ground:
    """The server and its schema as they are now."""

    server: ServerFacts
    schema: SchemaFacts
    grants: Grants | None

    @property
    def readable(self) -> bool:
        """Is there anything to take a snapshot of?"""
        return self.schema.exists and bool(self.schema.tables or self.schema.views)

    @property
    def replicated(self) -> bool:
        return bool(self.server.replicas or self.server.replica_of or self.server.cluster)


def look(connection: Connection[Cursor], target: MysqlTarget) -> Ground:
    facts = server.look(connection)
    return Ground(
        facts, look_at_schema(connection, target.database), grants_of(connection, literal=facts.partial_revokes)
    )


def look_at_server(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    with reach.reached(target) as connection:
        found = look(connection, target)
    details = described(found)
    for name, value in details.items():
        work.say(f"{name}: {value}")
    counts: Mapping[str, int | None] = {}
    if found.schema.exists:
        wanted = expected_tables(work.state, target)
        counted = count_tables(
            reach.place_of(target),
            reach.login_of(target),
            target.database,
            wanted,
            connections=reach.connections_of(target),
            progress=lambda done, total: work.progress(done, total, "rows", "counting"),
            stop=work.stopped,
        )
        counts = {table: rows for table, rows in counted.rows.items() if rows is not None}
        work.say(counted.how)
    return {
        "identity": server.identity(found.server),
        "credentials": used.of_server(target, found.server.account),
        "details": dict(details),
        "schema": msgspec.to_builtins(found.schema),
        "before": dict(counts),
        "message": f"{found.server.version}, {told_schema(found.schema)}",
    }


def described(found: Ground) -> Mapping[str, str]:
    """The target's identity card."""
    facts = found.server
    told = {
        "version": ".".join(map(str, facts.version.numbers)),
        "server": server.identity(facts),
        "account": facts.account,
        "schema": told_schema(found.schema),
        "binary log": f"{facts.binlog_format.lower()} format" if facts.log_bin else "off",
    }
    if facts.replicas:
        told["replicas"] = ", ".join(map(str, facts.replicas))
    if facts.cluster is not None:
        told["cluster"] = f"{facts.cluster.kind}, {facts.cluster.size} members, {facts.cluster.state}"
    return told


def told_schema(schema: SchemaFacts) -> str:
    if not schema.exists:
        return f"{schema.schema} does not exist"
    return f"{schema.schema}: {count(len(schema.tables))} tables, {size(schema.size)}"


def expected_tables(state: SessionState, target: MysqlTarget) -> tuple[str, ...]:
    """Tables that are counted: the incident report's, then the critical ones."""
    incident = incident_of(state)
    named = [one.name for one in incident.tables] if incident else []
    return tuple(dict.fromkeys((*named, *target.critical_tables)))


def way_of(target: MysqlTarget) -> str:
    """How a dump is loaded."""
    if target.client is not LoadClient.OWN:
        return "by the server's client program"
    return f"over {reach.connections_of(target)} connections, indexes afterwards"


# -- which method ----------------------------------------------------------------------------------------


def intent_of(target: MysqlTarget, state: SessionState, *, staged: bool) -> Intent:
    names = reach.names_of(target, state)
    return Intent(
        schema=target.database,
        staged=staged,
        binary_log=reach.logs_all(target),
        replays=until_of(state).replays,
        stage=names.stage,
        parked=names.parked,
        own_client=target.client is LoadClient.OWN,
        local_infile=target.local_infile,
        keeps_logs=True,
    )


def is_staged(state: SessionState, target: MysqlTarget) -> bool:
    """As it was decided while preparing; before that, as it is configured."""
    if target.method is Method.AUTO:
        if until_of(state).replays and (found := state.facts("stage-logs").get("staged")) is not None:
            return bool(found)
        found = state.facts("read-dump").get("staged")
        return bool(found) if found is not None else True
    return target.method is Method.STAGED


def decide(
    state: SessionState, target: MysqlTarget, found: Ground, dump: DumpFacts | None, free: space.Free
) -> tuple[bool, str]:
    """Staged where it is configured, or where rights and room allow it; and why. `dump` is None before it is read."""
    if target.method is not Method.AUTO:
        return target.method is Method.STAGED, "configured"
    if target.client is not LoadClient.OWN:
        return False, "in place: the server's own client program loads into the live schema only"
    if found.schema.ties_in:
        return False, f"in place: {found.schema.ties_in[0]} refers to it from another schema"
    intent = intent_of(target, state, staged=True)
    for check in (
        privileges.privileges(found.server, found.grants, intent, dump),
        *_room(target, state, found, dump, intent, free),
    ):
        if check.verdict.blocks:
            return False, f"in place: beside the live schema, {check.name.lower()}: {check.evidence}"
    return True, "staged: rights and room allow it; the live schema is untouched until the swap"


# -- the checks -------------------------------------------------------------------------------------------


def check_space(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    with reach.reached(target) as connection:
        found = look(connection, target)
        free = space.free_on_server(connection, reach.place_of(target), found.server, target.space_command)
    intent = intent_of(target, work.state, staged=target.method is Method.STAGED)
    told = [work.check(check) for check in _room(target, work.state, found, None, intent, free)]
    return {"message": verdicts(told)}


def _room(
    target: MysqlTarget,
    state: SessionState,
    found: Ground,
    dump: DumpFacts | None,
    intent: Intent,
    free: space.Free,
) -> Iterator[Check]:
    wanted = state.backup.get("size", 0)
    done = any(known.step.action == "stage" and known.status is Status.DONE for known in state.current)
    logs = state.facts("stage-logs").get("size", 0) if intent.replays else 0
    yield from space.space_checks(
        found.server,
        found.schema,
        dump,
        intent,
        free,
        staging=target.staging,
        snapshots=None if (bucket := keeping.bucket_of(target)) else keeping.folder_of(target, state),
        bucket=str(bucket or ""),
        to_stage=wanted if isinstance(wanted, int) and not done else 0,
        replayed=logs if isinstance(logs, int) else 0,
    )


def check_ground(work: Work, target: MysqlTarget) -> Mapping[str, object]:
    told = [
        work.check(check)
        for check in all_checks(
            target,
            work.state,
            lambda done, total: work.progress(done, total, text="looking at the newest backup"),
            work.stopped,
        )
    ]
    if not is_staged(work.state, target):  # else the comparison of the staged schema says it
        for check in report.before(work.state):
            told.append(work.check(check))
    rates = measured(work, target)
    dump = needed_dump(work.state)
    return {
        **pulling.try_it(work, target, replay_of(work.state)),
        **({"rates": msgspec.to_builtins(rates)} if rates else {}),
        "message": verdicts(told) + (f"; {speed.told(rates, dump)}" if rates else ""),
    }


def measured(work: Work, target: MysqlTarget) -> speed.Rates | None:
    """How fast this server takes rows now: a small table in a schema of its own, loaded for a second and dropped."""
    try:
        with reach.reached(target) as connection:
            is_on = bool(int(value_of(connection, "SELECT @@GLOBAL.local_infile")))
        return speed.probe(
            reach.place_of(target),
            reach.login_of(target),
            reach.probe_of(target, work.state),
            connections=reach.connections_of(target),
            bulk=is_on and target.client is LoadClient.OWN,
            binary_log=reach.logs_all(target),
            stop=work.stopped,
            at=work.at,
        )
    except RestoreError as error:
        work.say(f"no estimate: {error.message}")
        return None


def all_checks(
    target: MysqlTarget, state: SessionState, progress: Progress = unmeasured, stop: Stop = never
) -> Iterator[Check]:
    """Every check that can be asked by itself, at any time, without changing anything that stays.

    Whether a bucket of snapshots can be written is found out by writing a few bytes there and removing them.
    """
    dump = dump_of(state)
    intent = intent_of(target, state, staged=is_staged(state, target))
    planned = state.facts("look").get("identity")
    with reach.reached(target) as connection:
        found = look(connection, target)
        free = space.free_on_server(connection, reach.place_of(target), found.server, target.space_command)
        usage = sessions.users_of(connection, target.database)
    yield from _room(target, state, found, dump, intent, free)
    yield _live(found)
    yield sessions.seen(usage)
    yield from tools.tools(found.server.version, tools.look_for(found.server.version.flavour, tools.wanted(intent)))
    yield privileges.privileges(found.server, found.grants, intent, dump)
    yield from replication.replication(found.server, intent, dump)
    yield from nodes.readiness(target, found.server, intent)
    if dump is None:
        yield readiness.right_server(found.server, str(planned) if planned else None)
    else:
        yield from _of_the_dump(target, found, dump, intent, planned)
    yield from reached(target.application)
    for check in configured(target.application):
        yield replace(check, name=f"command {check.name}")
    yield from deploys.ready(target.application)
    yield survival_check(survival())
    names = (target.database, target.name)
    hosts = tuple(one for one in (target.host, found.server.hostname) if one)
    yield right_target(
        target.environment,
        target.engine,
        names,
        incident_of(state),
        hosts=hosts,
        identity=found.server.uid or str(found.server.server_id),
    )
    yield clock()
    if (foretold := recovery_time(state, utc_now(), objective(state, target))) is not None:
        yield foretold
    if bucket := keeping.bucket_of(target):
        yield in_bucket.writable(bucket)
    # Last, since it may read a dump: whoever asks for another check does not wait for it.
    yield fresh(partial(points.backups_of, target), target.every, progress, stop)


def _live(found: Ground) -> Check:
    """Is there a schema of this name? Where it was dropped a restore makes it; a name typed wrongly looks the same."""
    told = told_schema(found.schema)
    if found.readable:
        return checks.ok(SCHEMA, told)
    hint = "Is `database` right in the configuration? If it is, the restore fills it; nothing is there to keep first."
    return checks.warn(SCHEMA, told, hint)


def _of_the_dump(
    target: MysqlTarget, found: Ground, dump: DumpFacts, intent: Intent, planned: object
) -> Iterator[Check]:
    facts = found.server
    yield from guards(dump, target.database, facts.version)
    for check in readiness.readiness(facts, found.schema, dump, intent, planned=str(planned) if planned else None):
        if check.name == readiness.GHOSTS:
            rebuilds = target.ghosts is Ghosts.REBUILD
            yield readiness.ghost_tables(found.schema, dump, rebuilds=rebuilds)
        else:
            yield check
    yield privileges.creators(facts, found.grants, dump)


def dump_of(state: SessionState) -> DumpFacts | None:
    """What the chosen dump is; None before it has been read."""
    found = state.facts("read-dump").get("dump")
    return msgspec.convert(found, DumpFacts) if found else None


def needed_dump(state: SessionState) -> DumpFacts:
    dump = dump_of(state)
    if dump is None:
        raise RestoreError("The dump has not been read yet.", "Do that step again (r).")
    return dump


def told_names(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
