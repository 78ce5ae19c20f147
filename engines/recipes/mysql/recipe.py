"""Which work belongs to which step of a MySQL or MariaDB recovery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack

import msgspec

from engines.checks import Check
from engines.errors import Refused, RestoreError
from engines.mysql import server
from engines.mysql.errors import meaning
from engines.mysql.hold import Hold, hold
from engines.mysql.queries import NotSaid
from engines.mysql.rates import Rates, estimate
from engines.mysql.replay import programs as replaying
from engines.mysql.replication import logging_told
from engines.mysql.schema import ghosts
from engines.mysql.stage.swap import position
from engines.recipes import afterwards, around, measuring
from engines.recipes.drills.estimating import by_drill
from engines.recipes.mysql import ground, loading, nodes, plans, pulling, reach, rewound, staging, undoing, validating
from engines.recipes.mysql.facts import Found
from engines.recipes.mysql.loading import planned_swap
from engines.recipes.mysql.opened import end_earlier, turn_off, turned_on
from engines.recipes.mysql.until import replay_of
from engines.session.plan import Plan, PlanKind, Step
from engines.session.recipe import Finding
from engines.session.state import SessionState
from engines.session.work import Work
from engines.targets import Ghosts, MysqlTarget

Facts = Mapping[str, object]
Action = Callable[[Work, MysqlTarget], Facts]

ACTIONS: Mapping[str, Action] = {
    "look": ground.look_at_server,
    "check-space": ground.check_space,
    "check-ground": ground.check_ground,
    "stage": staging.stage_dump,
    "read-dump": staging.read_dump,
    "stage-logs": staging.stage_logs,
    "prove-unused": loading.prove_unused,
    "keep-logs": loading.keep_last_logs,
    "snapshot": loading.keep_safe,
    "load": loading.load_live,
    "load-staged": loading.load_staged,
    "replay": loading.replay,
    "check-tables": loading.check_tables,
    "compare-staged": validating.compare_staged,
    "swap": loading.go_live,
    "compare-live": validating.compare_live,
    "look-at-replicas": validating.look_at_replicas,
    "compare-nodes": validating.compare_nodes,
    afterwards.JOBS: rewound.put_aside,
    afterwards.SESSIONS: rewound.put_aside,
    afterwards.IDS: rewound.skip_ids,
    afterwards.BACKUP: rewound.take_backup,
    measuring.METRICS: measuring.perform,
    measuring.FUNCTIONAL: measuring.perform,
    "agree": lambda _work, _target: {},
    "clear-up": undoing.clear_up,
    "keep-present": undoing.keep_present,
    "put-back": undoing.put_old_back,
    "compare-undone": undoing.compare_undone,
    "clear-undone": undoing.clear_undone,
}


class MysqlRecipe:
    """The runbook's MySQL and MariaDB recovery, for one target."""

    def __init__(self, target: MysqlTarget) -> None:
        self._target = target
        self._held = ExitStack()
        self._hold: Hold | None = None

    def prepare(self, state: SessionState) -> Plan:
        return plans.prepare_plan(state, self._target)

    def restore(self, state: SessionState) -> Plan:
        return plans.restore_plan(state, self._target, find_out(state, self._target))

    def undo(self, state: SessionState) -> Plan:
        reason = state.undo_asked.reason if state.undo_asked else ""
        with reach.reached(self._target) as connection:
            details = ground.described(ground.look(connection, self._target))
        return plans.undo_plan(state, self._target, details, undoing.written_since(state, self._target), reason)

    def leave(self, state: SessionState) -> tuple[str, ...]:
        return undoing.leave(state, self._target)

    def perform(self, work: Work) -> Facts:
        action = work.step.action
        if action not in ACTIONS:
            return around.perform(work, self._target.application)
        if work.state.plan is not None and work.state.plan.kind is not PlanKind.PREPARE:
            self._keep_others_out()
        import pymysql

        try:
            return ACTIONS[action](work, self._target)
        except (pymysql.err.MySQLError, NotSaid) as error:  # its text may hold what is in a row
            why = error.why if isinstance(error, NotSaid) else meaning(error)
            raise RestoreError(
                f"The server ended the step: {why}. How far it came is not known.",
                "Look at the server and the network between here and there, then try again (r), or undo (u).",
            ) from None

    def _keep_others_out(self) -> None:
        """GET_LOCK on the server, as long as this runner lives: no second bastion restores the same schema.

        A cluster's member knows only its own locks: it is taken on each that answers.
        """
        if self._hold is not None and self._hold.held():
            return
        self._held.close()
        target = self._target
        login = reach.login_of(target)
        own = self._held.enter_context(hold(reach.place_of(target), login, target.database))
        with reach.reached(target) as connection:
            members = nodes.members(target, server.look(connection))
        for place in members:
            try:
                self._held.enter_context(hold(place, login, target.database))
            except Refused as error:
                self._held.close()
                raise Refused(f"On {place}: {error.message}", error.hint) from None
            except RestoreError:
                continue  # that it can't be reached is a check of its own, which blocks
        self._hold = own

    def quiet(self, state: SessionState) -> tuple[str, ...]:
        """End the connections of a runner that died, and set back what it had turned on."""
        running = state.running
        if running is None or not (running.facts.get("connections") or turned_on(state) or pulling.left(state)):
            return ()
        told: list[str] = []
        try:
            with reach.reached(self._target) as connection:
                removed = pulling.remove(connection, state)
                ended = end_earlier(connection, state)
            told += [f"channel {name} of the dead runner is removed" for name in removed]
            told += [f"connection {number} of the dead runner is ended" for number in ended]
            if turned_on(state):
                turn_off(self._target)
                told.append("local_infile is off again")
        except RestoreError as error:
            raise Refused(
                f"What the dead runner had running on the server can't be ended: {error.message} Nothing was begun.",
                error.hint,
            ) from error
        return tuple(told)

    def probe(self, step: Step, state: SessionState) -> Finding:
        planned = planned_swap(state)
        if step.action in ("swap", "put-back") and planned is not None:
            with reach.reached(self._target) as connection:
                standing = position(connection, planned)
            return Finding(False, f"{self._target.database}: {standing.told}")
        if step.action in ("load", "load-staged", "replay", "put-back"):
            done = _texts(state.facts(step.action).get("tables"))
            return Finding(False, f"unfinished: {len(done)} tables are complete; the others are done again")
        if step.action in ACTIONS:
            return Finding(False, "it leaves nothing half-done: it is done again from its start")
        return around.probe(step, self._target.application)

    def check(self, name: str, state: SessionState) -> Check:
        target = self._target
        again = (
            validating.check_again(name, target, state)
            or afterwards.check_again(name, target, state)
            or around.check_again(name, target.application, state)
            or measuring.check_again(name, target, state)
            or next((check for check in ground.all_checks(target, state) if check.name == name), None)
        )
        if again is None:
            raise RestoreError(
                f"{name!r} is answered by a step, not by itself.", "Do that step again, or choose another backup (b)."
            )
        return again


def find_out(state: SessionState, target: MysqlTarget) -> Found:
    """Everything that preparing found, on the server as it is now. Raises RestoreError where something is missing."""
    dump, staged = ground.needed_dump(state), staging.staged_dump(state)
    with reach.reached(target) as connection:
        now = ground.look(connection, target)
    planned = state.facts("look").get("identity")
    identity = server.identity(now.server)
    if identity != planned:
        raise Refused(
            f"Another server answers now: {identity}; {planned} was looked at. Nothing was changed.",
            "Find out which one it is, then choose the backup again.",
        )
    is_staged = ground.is_staged(state, target)
    intent, names = ground.intent_of(target, state, staged=is_staged), reach.names_of(target, state)
    replay, rates = replay_of(state), state.facts("check-ground").get("rates")
    pulls = replay is not None and pulling.pulls(state)
    return Found(
        server=identity,
        dump=str(state.backup.get("name")),
        dump_size=staged.size,
        sha256=staged.sha256,
        tables=len(dump.tables),
        table_names=tuple(table.name for table in dump.tables),
        way=ground.way_of(target),
        logging=logging_told(now.server, intent),
        staged=is_staged,
        stage=names.stage,
        parked=names.parked,
        readable=now.readable,
        rebuilds=target.ghosts is Ghosts.REBUILD,
        ghosts=ghosts(now.schema, dump),
        logs_kept=now.server.log_bin,
        replay=() if replay is None else pulling.shows(state, replay) if pulls else replaying.shows(replay),
        pulls=pulls,
        replicated=now.replicated or bool(target.nodes),
        nodes=nodes.foretold(target, now.server, intent),
        reaches=replay.reaches if replay is not None else None,
        estimate=by_drill(state, staged.size) or (estimate(msgspec.convert(rates, Rates), dump) if rates else None),
        details={**ground.described(now), "method": _method(state)},
    )


def _method(state: SessionState) -> str:
    for action in ("stage-logs", "read-dump"):
        if told := state.facts(action).get("method"):
            return str(told)
    return ""


def _texts(found: object) -> tuple[str, ...]:
    return tuple(str(one) for one in found) if isinstance(found, (list, tuple)) else ()
