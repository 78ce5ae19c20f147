"""Draws steps: mark, number, title, and how long each took."""

from __future__ import annotations

from collections.abc import Sequence

from engines.session.plan import GateKind, Step
from engines.session.state import Status, StepState
from engines.text import duration
from tui.theme import BOLD, DIM, PLAIN, style_of
from tui.view import View
from tui.widgets.cells import Line, fit, width_of
from tui.widgets.rows import Rows

_MARKS = {
    Status.PENDING: " ",
    Status.RUNNING: "▶",
    Status.DONE: "✔",
    Status.FAILED: "✖",
    Status.SKIPPED: "-",
    Status.UNKNOWN: "?",
}


def show_steps(rows: Rows, steps: Sequence[StepState], view: View, heading: str) -> None:
    """The steps in `rows`; the cursor follows the one under way, else the next one."""
    here = view.state.running or view.state.next_step
    done = sum(known.status.settled for known in steps)
    rows.show(
        [known.id for known in steps],
        lambda index, width: step_line(steps[index], view, width),
        heading=heading,
        note=f"{done} of {len(steps)}" if steps else "",
        prefer=here.id if here else "",
    )


def step_line(known: StepState, view: View, width: int) -> Line:
    told = _told(known, view)
    style = style_of(str(known.status)) if known.status in (Status.FAILED, Status.UNKNOWN) else PLAIN
    if known.status is Status.RUNNING:
        style = BOLD
    if known.status is Status.SKIPPED or not known.step.configured:
        style = DIM
    name = f"{known.id} {known.step.title}"
    space = width - 2 - width_of(told) - 1
    return ((f"{_MARKS[known.status]} ", style), (fit(name, space), style), (f" {told}", style))


def _told(known: StepState, view: View) -> str:
    """The right-hand word: a time, or why there is none."""
    match known.status:
        case Status.RUNNING:
            since = duration((view.now - known.started).total_seconds()) if known.started else ""
            progress = view.progress
            if progress is not None and progress.step == known.id and progress.total:
                return f"{100 * progress.done // progress.total} % {since}"
            return since
        case Status.DONE:
            return duration(known.seconds)
        case Status.FAILED:
            return "FAILED"
        case Status.UNKNOWN:
            return "UNKNOWN"
        case Status.SKIPPED:
            return "skipped"
        case Status.PENDING:
            if not known.step.configured:
                return "not set"
            return f"~{duration(known.step.estimate)}" if known.step.estimate else ""


def exact(step: Step) -> list[str]:
    """Everything that is known of a step before it runs."""
    if not step.configured:
        lines = ["Nothing is done: it is not configured for this target, and is recorded as skipped.", ""]
    else:
        lines = ["Exactly this is done:", *(f"  {line}" for line in step.shows), ""]
        # Not "nothing is changed": what a configured command does is not known here.
        back = "none needed" + (": it takes back what an earlier step changed" if step.params.get("puts_right") else "")
        lines.append(f"Undo: {step.undo or back}")
    if step.note:
        lines.append(f"Note: {step.note}")
    lines.append(
        f"By: {step.role}" + (", destructive" if step.destructive else "") + (", optional" if step.optional else "")
    )
    lines += [
        f"Needs: {known.kind} by the {known.role}: {known.text}"
        for known in step.gates
        if known.kind is not GateKind.CONFIRM
    ]
    if step.estimate:
        lines.append(f"Estimate: {duration(step.estimate)}")
    return lines
