"""A drill of an SQLite target: the recovery's own steps, on a database in a scratch folder.

Its target is that scratch database. The live one is not in the session at all, so no step can reach it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from engines.checks import Check
from engines.recipes.drills import steps as drills
from engines.recipes.sqlite.recipe import SqliteRecipe
from engines.session.plan import Plan, Step
from engines.session.recipe import Finding
from engines.session.state import SessionState
from engines.session.work import Work
from engines.targets import SqliteTarget

# The recovery's steps that a drill carries out, under the name that is true of them there; empty: as it is.
# What touches an application or keeps something of a live database is none of them.
_PREPARING = {
    "look": "Look at the scratch place",
    "check-space": "",
    "stage": "",
    "prove": "",
    "compare-staged": "Compare with what is expected",
}
_RESTORING = {
    "replace": "Put the copy in its scratch place",
    "compare-live": "Compare the restored database with what is expected",
    "write-probe": "Try to write to it",
}


class SqliteDrill:
    """The recovery of one scratch database, without anybody to ask."""

    def __init__(self, target: SqliteTarget) -> None:
        self._recipe = SqliteRecipe(target)
        self._folder = Path(target.database).parent

    def prepare(self, state: SessionState) -> Plan:
        plan = self._recipe.prepare(state)
        return replace(plan, steps=(drills.make_folder(self._folder), *drills.kept(plan.steps, _PREPARING)))

    def restore(self, state: SessionState) -> Plan:
        plan = self._recipe.restore(state)
        steps = (*drills.kept(plan.steps, _RESTORING), drills.clear_folder(self._folder), *drills.telling(state))
        return replace(plan, steps=steps, needs_approval=False)

    def undo(self, state: SessionState) -> Plan:
        return self._recipe.undo(state)  # never asked for: a drill takes no such command

    def perform(self, work: Work) -> Mapping[str, object]:
        own = drills.ACTIONS.get(work.step.action)
        if own is not None:
            return own(work, self._folder)
        found = self._recipe.perform(work)
        if work.step.action == "replace":
            return {**found, "message": "the restored database is in its scratch place"}
        return found

    def quiet(self, state: SessionState) -> tuple[str, ...]:
        return self._recipe.quiet(state)

    def probe(self, step: Step, state: SessionState) -> Finding:
        if step.action in drills.ACTIONS:
            return Finding(False, "it was cut off")
        return self._recipe.probe(step, state)

    def leave(self, state: SessionState) -> tuple[str, ...]:
        return drills.remove(self._folder, state.id)

    def check(self, name: str, state: SessionState) -> Check:
        return self._recipe.check(name, state)
