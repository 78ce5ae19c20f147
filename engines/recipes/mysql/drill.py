"""A drill of a MySQL or MariaDB target: the staged load's own steps, on a drill server, into a schema of its own.

Its target is on the drill server, and the live one is not in the session at all. Nothing is swapped: the schema beside
where a live one would be is loaded, checked and compared, and dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from engines.checks import Check
from engines.errors import Refused
from engines.mysql.schema import look_at_schema
from engines.recipes.drills import steps as drills
from engines.recipes.mysql import reach
from engines.recipes.mysql.recipe import MysqlRecipe
from engines.session.plan import Plan, Step
from engines.session.recipe import Finding
from engines.session.state import SessionState
from engines.session.work import Work
from engines.targets import MysqlTarget

# The recovery's steps that a drill carries out, under the name that is true of them there; empty: as it is.
_PREPARING = {
    "look": "Look at the drill server",
    "check-space": "",
    "stage": "",
    "read-dump": "",
    "check-ground": "",
}
_RESTORING = {
    "load-staged": "Load the dump into a scratch schema",
    "check-tables": "",
    "compare-staged": "Compare the scratch schema with what is expected",
}


class MysqlDrill:
    """The recovery of one scratch schema, without anybody to ask."""

    def __init__(self, target: MysqlTarget) -> None:
        self._target = target
        self._recipe = MysqlRecipe(target)
        self._folder = Path(target.staging)

    def prepare(self, state: SessionState) -> Plan:
        plan = self._recipe.prepare(state)
        return replace(plan, steps=(drills.make_folder(self._folder), *drills.kept(plan.steps, _PREPARING)))

    def restore(self, state: SessionState) -> Plan:
        plan = self._recipe.restore(state)
        schema = reach.names_of(self._target, state).stage
        clear = drills.clear_folder(
            self._folder, f"drop schema {schema} and its account", title="Remove the scratch schema and folder"
        )
        steps = (*drills.kept(plan.steps, _RESTORING, left=("load-staged",)), clear, *drills.telling(state))
        return replace(plan, steps=steps, needs_approval=False)

    def undo(self, state: SessionState) -> Plan:
        return self._recipe.undo(state)  # never asked for: a drill takes no such command

    def perform(self, work: Work) -> Mapping[str, object]:
        match work.step.action:
            case "clear-scratch":
                removed = self.leave(work.state)
                return {"removed": list(removed), "message": f"removed {', '.join(removed)}"}
            case action if action in drills.ACTIONS:
                return drills.ACTIONS[action](work, self._folder)
            case "look":
                self._refuse_live()
        return self._recipe.perform(work)

    def _refuse_live(self) -> None:
        """A server that has the schema may be the live one by another name, or a replica of it."""
        target = self._target
        with reach.reached(target) as connection:
            if look_at_schema(connection, target.database).exists:
                raise Refused(
                    f"The drill server {reach.place_of(target)} has a schema {target.database}: it may be the live "
                    "server by another name. Nothing was loaded.",
                    "Name a server that has none of that name, as a throwaway one.",
                )

    def quiet(self, state: SessionState) -> tuple[str, ...]:
        return self._recipe.quiet(state)

    def probe(self, step: Step, state: SessionState) -> Finding:
        if step.action in drills.ACTIONS:
            return Finding(False, "it was cut off")
        return self._recipe.probe(step, state)

    def leave(self, state: SessionState) -> tuple[str, ...]:
        return (*self._recipe.leave(state), *drills.remove(self._folder, state.id))

    def check(self, name: str, state: SessionState) -> Check:
        return self._recipe.check(name, state)
