"""Drills in words and as a small chart, the same on the screens and at the command line. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from engines.recipes.drills.outcome import Drilled, Outcome
from engines.text import duration, span

BARS = "▁▂▃▄▅▆▇█"
NO_PROOF = "✗"  # a drill that did not prove its backup


def told(one: Drilled, now: datetime) -> str:
    """`restored in a drill 2 d 1 h ago in 4:10`."""
    ago = _ago(one, now)
    if one.outcome is Outcome.PROVEN:
        return f"restored in a drill {ago}" + (f" in {duration(one.seconds)}" if one.seconds is not None else "")
    return f"did NOT restore in a drill {ago}: {one.reason}"


def summary(found: Sequence[Drilled], now: datetime) -> str:
    """The last drill of a target, and the last proof where that is another one: short. `found` is newest first."""
    over = [one for one in found if one.outcome is not Outcome.UNDER_WAY]
    if not over:
        return "its first drill is under way"
    proven = next((one for one in over if one.outcome is Outcome.PROVEN), None)
    if over[0] is proven:
        return told(proven, now)
    last = f"last drill {outcome(over[0])} {_ago(over[0], now)}"
    return f"{last}; proven {_ago(proven, now)}" if proven else f"{last}; none has proved a backup"


def _ago(one: Drilled, now: datetime) -> str:
    return f"{span(max((now - one.at).total_seconds(), 0))} ago"


def with_proof(evidence: str, proof: Drilled | None, now: datetime) -> str:
    """What is known of a backup, with its last proof."""
    return evidence if proof is None else f"{evidence}; {told(proof, now)}"


def outcome(one: Drilled) -> str:
    """In capitals what needs somebody."""
    return str(one.outcome) if one.outcome in (Outcome.PROVEN, Outcome.UNDER_WAY) else str(one.outcome).upper()


def met(value: float | None, objective: float | None) -> str:
    """`4:10 of 1 h`, `MISSED 4:10 of 2 min`, and what is not known is not said."""
    return _against(value, objective, duration)


def aged(value: float | None, objective: float | None) -> str:
    """The same of an age."""
    return _against(value, objective, span)


def _against(value: float | None, objective: float | None, words: Callable[[float], str]) -> str:
    if value is None:
        return ""
    if objective is None:
        return words(value)
    return f"{'' if value <= objective else 'MISSED '}{words(value)} of {span(objective)}"


def bars(values: Sequence[float | None]) -> str:
    """One mark for each value, from nothing to the largest; a cross for none."""
    top = max((value for value in values if value is not None), default=0.0)
    return "".join(NO_PROOF if value is None else _bar(value, top) for value in values)


def _bar(value: float, top: float) -> str:
    share = value / top if top > 0 else 0.0
    return BARS[min(int(share * len(BARS)), len(BARS) - 1)]


def chart(found: Sequence[Drilled], width: int = 40) -> Iterator[str]:
    """Restore time and age of the backup over the last drills of one target, oldest first. `found` is newest first.

    Without a proof there is nothing to draw.
    """
    shown = [one for one in reversed(found[:width]) if one.outcome is not Outcome.UNDER_WAY]
    last = next((one for one in found if one.outcome is Outcome.PROVEN), None)
    if last is None:
        return
    yield f"RTO  {bars([one.seconds for one in shown])}  last {met(last.seconds, last.rto)}"
    yield f"RPO  {bars([_age(one) for one in shown])}  last {aged(last.age, last.rpo)}"


def _age(one: Drilled) -> float | None:
    return one.age if one.outcome is Outcome.PROVEN else None
