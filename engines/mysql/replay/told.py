"""A replay's plan in lines for the operator: what both ways have in common. Pure."""

from __future__ import annotations

from engines.mysql.replay.plan import ReplayPlan
from engines.text import count, drawable, size, stamp

_NAMED = 4  # logs that are named


def amount(plan: ReplayPlan) -> str:
    reach = f", the last committed {stamp(plan.reaches)}" if plan.reaches else ""
    return f"{count(plan.transactions)} transactions of {drawable(plan.source)}, {size(plan.size)} of log{reach}"


def stretch(plan: ReplayPlan) -> str:
    (first, begin), (last, end) = plan.start, plan.stop
    return f"from {drawable(first)}:{begin} up to {drawable(last)}:{end}"


def rest(plan: ReplayPlan) -> tuple[str, ...]:
    """Which logs, without what, and what becomes of the target's own log."""
    logs = [f"{drawable(part.name)} ({part.begin} to {part.end})" for part in plan.parts]
    if len(logs) > _NAMED:
        logs = [*logs[:2], f"{len(logs) - 3} more", logs[-1]]
    return (
        f"fed with {', '.join(logs)}",
        *(f"without {drawable(one.name)} ({drawable(one.file)}, {one.begin} to {one.end})" for one in plan.excluded),
        "the target writes it to its binary log" if plan.binary_log else "it is left out of the target's binary log",
        *plan.notes,
    )
