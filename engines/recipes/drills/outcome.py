"""What came of a drill, folded from its journal: did the backup restore, how fast, and how old was it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from engines.checks import Panel
from engines.session.events import Ending
from engines.session.moves import blocking_checks
from engines.session.state import SessionState, Status
from engines.text import parse_stamp


class Outcome(StrEnum):
    PROVEN = "proven"
    NOT_PROVEN = "not proven"  # it was tried, and the backup did not restore to what is expected
    REFUSED = "refused"  # there was no room or no place to try it in
    CUT_OFF = "cut off"  # its runner died, or somebody ended it: nothing is known of the backup
    UNDER_WAY = "under way"


EXIT_CODES: Mapping[Outcome, int] = {
    Outcome.PROVEN: 0,
    Outcome.CUT_OFF: 1,
    Outcome.REFUSED: 3,
    Outcome.NOT_PROVEN: 4,
    Outcome.UNDER_WAY: 1,
}


@dataclass(frozen=True, slots=True)
class Drilled:
    """One drill of a target. `seconds`: from its beginning to the proof; `age`: of the backup then, in seconds."""

    session: str
    target: str
    at: datetime
    outcome: Outcome
    reason: str
    backup: str
    sha256: str
    size: int  # bytes
    seconds: float | None
    age: float | None
    rto: float | None  # seconds: the target's objectives
    rpo: float | None
    expectations: str


def drilled(state: SessionState) -> Drilled | None:
    """The drill that `state` is; None where it is none, or has not begun."""
    begun, at = state.begun, state.begun_at
    if begun is None or at is None or not begun.drill:
        return None
    plan = state.plan.backup if state.plan is not None else None
    outcome = _outcome(state)
    return Drilled(
        session=state.id,
        target=str(begun.target.get("name", "")),
        at=at,
        outcome=outcome,
        reason=state.ended.reason if state.ended is not None else "",
        backup=str(state.backup.get("name", "")),
        sha256=plan.sha256 if plan is not None else str(_staged(state).get("sha256", "")),
        size=_whole(state.backup.get("size")),
        seconds=_seconds(state, at) if outcome is Outcome.PROVEN else None,
        age=_age(state, at),
        rto=_number(begun.decided.get("rto_seconds")),
        rpo=_number(begun.decided.get("rpo_seconds")),
        expectations=str(begun.decided.get("expectations", "")),
    )


def latest(found: Iterable[Drilled]) -> Mapping[str, Drilled]:
    """The last proof of each backup, by its name; `found` is newest first."""
    proofs: dict[str, Drilled] = {}
    for one in found:
        if one.outcome in (Outcome.PROVEN, Outcome.NOT_PROVEN):
            proofs.setdefault(one.backup, one)
    return proofs


def _outcome(state: SessionState) -> Outcome:
    if state.ended is None:
        return Outcome.UNDER_WAY
    if state.ended.how is Ending.PROVEN:
        return Outcome.PROVEN
    if state.ended.how is not Ending.FAILED or any(known.status is Status.UNKNOWN for known in state.steps):
        return Outcome.CUT_OFF
    if not state.did("stage") or blocking_checks(state, (Panel.SPACE,)):
        return Outcome.REFUSED
    return Outcome.NOT_PROVEN


def _seconds(state: SessionState, begun: datetime) -> float | None:
    """Up to the end of the last comparison: clearing up and telling people is no part of a restore."""
    ends = [known.ended for known in state.steps if known.step.action in _LAST and known.ended is not None]
    return round((max(ends) - begun).total_seconds(), 3) if ends else None


_LAST = ("compare-staged", "compare-live", "write-probe")


def _age(state: SessionState, at: datetime) -> float | None:
    try:
        return round((at - parse_stamp(str(state.backup.get("taken_at", "")))).total_seconds(), 3)
    except (ValueError, OverflowError):
        return None


def _staged(state: SessionState) -> Mapping[str, object]:
    staged = state.facts("stage").get("staged")
    return staged if isinstance(staged, Mapping) else {}


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _number(written: object) -> float | None:
    try:
        return float(str(written)) if written else None
    except ValueError:
        return None
