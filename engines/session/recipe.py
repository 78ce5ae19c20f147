"""What the session asks of an engine. `recipes` answers it; nothing here knows a database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from engines.checks import Check
from engines.session.plan import Plan, Step
from engines.session.state import SessionState
from engines.session.work import Work


@dataclass(frozen=True, slots=True)
class Finding:
    """What is true of a step whose runner died: proven done, or not, with the evidence."""

    done: bool
    evidence: str
    facts: Mapping[str, object] = field(default_factory=dict)


class Recipe(Protocol):
    """The runbook for one kind of target. Every step's work can be begun again from its start."""

    def prepare(self, state: SessionState) -> Plan:
        """The harmless part: stage, prove, check."""

    def restore(self, state: SessionState) -> Plan:
        """The plan that gets approved, made from what preparing found."""

    def undo(self, state: SessionState) -> Plan:
        """The way back from wherever the session stands."""

    def perform(self, work: Work) -> Mapping[str, object]:
        """Carry out a step and return the facts it found. Raises RestoreError when it failed."""

    def quiet(self, state: SessionState) -> tuple[str, ...]:
        """End what a dead runner left running elsewhere, as connections on a server, and say what was ended.

        Raises Refused where something can't be ended: nothing is begun beside it.
        """

    def probe(self, step: Step, state: SessionState) -> Finding:
        """Look, without changing anything, whether a step that was cut off had its effect."""

    def leave(self, state: SessionState) -> tuple[str, ...]:
        """Before a session is abandoned: remove what is only its own, as a staged copy, and say what was removed."""

    def check(self, name: str, state: SessionState) -> Check:
        """Ask one check again."""
