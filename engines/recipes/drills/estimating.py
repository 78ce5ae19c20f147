"""How long a restore will take, by the last drill of its target. Pure."""

from __future__ import annotations

from datetime import datetime

from engines import checks
from engines.checks import Check
from engines.session.state import SessionState
from engines.text import clock, duration, parse_stamp, size, span

NAME = "Recovery time"


def by_drill(state: SessionState, wanted: int) -> float | None:
    """Seconds to stage, load and prove `wanted` bytes: the drill's time, larger or smaller as the backup is.

    None where no drill is known.
    """
    last = state.begun.last_drill if state.begun is not None else {}
    seconds, then = last.get("seconds"), last.get("size")
    if not isinstance(seconds, int | float):
        return None
    return seconds * wanted / then if isinstance(then, int) and then > 0 and wanted > 0 else float(seconds)


def recovery_time(state: SessionState, now: datetime, objective: float | None) -> Check | None:
    """Readiness' line about it; None where no drill is known. A time over the objective is a warning, not a bar."""
    last, wanted = (state.begun.last_drill if state.begun is not None else {}), state.backup.get("size")
    seconds = by_drill(state, wanted if isinstance(wanted, int) else 0)
    if seconds is None:
        return None
    at, then = parse_stamp(str(last.get("at"))), last.get("size")
    told = (
        f"about {duration(seconds)} to stage, load and prove, by the drill of {clock(at)} "
        f"({span(max((now - at).total_seconds(), 0))} ago): {size(then if isinstance(then, int) else 0)} took "
        f"{duration(float(str(last.get('seconds'))))}; people's waiting and the safety snapshot apart"
    )
    if objective is not None and seconds > objective:
        hint = "Tell the incident commander: the restore itself takes longer than the objective."
        return checks.warn(NAME, f"{told}. The objective is {span(objective)}", hint)
    return checks.ok(NAME, told)
