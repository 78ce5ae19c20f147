"""Which work belongs to which step of an SQLite recovery."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec

from engines.checks import Check
from engines.errors import RestoreError
from engines.recipes import afterwards, around, measuring
from engines.recipes.sqlite import ground, plans, replacing, rewound, undoing, validating
from engines.recipes.sqlite.facts import describe, find_out, planned_swap
from engines.session.plan import Plan, Step
from engines.session.recipe import Finding
from engines.session.state import SessionState
from engines.session.work import Work
from engines.sqlite.inspect import look
from engines.sqlite.swap import where
from engines.targets import SqliteTarget

Facts = Mapping[str, object]
Action = Callable[[Work, SqliteTarget], Facts]

ACTIONS: Mapping[str, Action] = {
    "look": ground.look_at_live,
    "check-space": ground.check_space,
    "check-ground": ground.check_ground,
    "stage": replacing.stage_backup,
    "prove": replacing.prove_staged,
    "compare-staged": validating.compare_staged,
    "prove-unused": replacing.prove_unused,
    "snapshot": replacing.keep_safe,
    "replace": replacing.go_live,
    "compare-live": validating.compare_live,
    "write-probe": validating.try_to_write,
    afterwards.JOBS: rewound.put_aside,
    afterwards.SESSIONS: rewound.put_aside,
    afterwards.IDS: rewound.skip_ids,
    afterwards.BACKUP: rewound.take_backup,
    measuring.METRICS: measuring.perform,
    measuring.FUNCTIONAL: measuring.perform,
    "agree": lambda _work, _target: {},
    "clear-up": replacing.clear_up,
    "keep-present": undoing.keep_present,
    "put-back": undoing.put_old_back,
    "compare-undone": undoing.compare_undone,
    "clear-undone": undoing.clear_up,
}


class SqliteRecipe:
    """The runbook's SQLite recovery, for one target."""

    def __init__(self, target: SqliteTarget) -> None:
        self._target = target

    def prepare(self, state: SessionState) -> Plan:
        return plans.prepare_plan(state, self._target)

    def restore(self, state: SessionState) -> Plan:
        found = find_out(state, self._target)
        plan = plans.restore_plan(state, self._target, found)
        swap = msgspec.to_builtins(found.swap)
        # The exact files are part of what gets approved.
        steps = tuple(
            replace(step, params={**step.params, "swap": swap}) if step.action == "replace" else step
            for step in plan.steps
        )
        return replace(plan, steps=steps)

    def undo(self, state: SessionState) -> Plan:
        reason = state.undo_asked.reason if state.undo_asked else ""
        written = undoing.written_since(state, planned_swap(state)) if state.did("replace") else ()
        return plans.undo_plan(state, self._target, describe(look(str(self._target.database))), written, reason)

    def leave(self, state: SessionState) -> tuple[str, ...]:
        return undoing.leave(state, self._target)

    def perform(self, work: Work) -> Facts:
        action = work.step.action
        if action in ACTIONS:
            return ACTIONS[action](work, self._target)
        return around.perform(work, self._target.application)

    def quiet(self, _state: SessionState) -> tuple[str, ...]:
        return ()  # its work runs in the runner and in its children alone

    def probe(self, step: Step, state: SessionState) -> Finding:
        if step.action in ("replace", "put-back"):
            swap = planned_swap(state)
            return Finding(False, f"{swap.live}: the {where(swap)} database is live")
        if step.action in ACTIONS:
            return Finding(False, "it leaves nothing half-done: it is done again from its start")
        return around.probe(step, self._target.application)

    def check(self, name: str, state: SessionState) -> Check:
        again = (
            validating.check_again(name, self._target, state)
            or afterwards.check_again(name, self._target, state)
            or around.check_again(name, self._target.application, state)
            or measuring.check_again(name, self._target, state)
            or next((check for check in ground.all_checks(self._target, state) if check.name == name), None)
        )
        if again is None:
            raise RestoreError(
                f"{name!r} is answered by a step, not by itself.", "Do that step again, or choose another backup (b)."
            )
        return again
