"""Is the ground ready? Preparation, disk space, prerequisites, and the plan that is to be approved."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Container
from textual.reactive import var
from textual.screen import Screen
from textual.widgets import Static

from engines.checks import Panel
from engines.session.plan import PlanKind
from engines.session.state import SessionState, Status, StepState
from engines.text import drawable, duration, span
from tui.keys import Pressed, bindings
from tui.theme import BOLD
from tui.view import Page, View
from tui.widgets.checks import about, of_panel, show_checks
from tui.widgets.frame import framed, show_frame
from tui.widgets.progress import ProgressLine
from tui.widgets.rows import Rows
from tui.widgets.steps import show_steps
from tui.widgets.words import tell

PAGE = Page.READINESS


class ReadinessScreen(Screen[None]):
    BINDINGS = bindings(PAGE)
    DEFAULT_CSS = """
    ReadinessScreen #steps { height: auto; max-height: 7; }
    ReadinessScreen.-prepared #steps { max-height: 3; }
    ReadinessScreen #panels { height: 1fr; layout: vertical; }
    ReadinessScreen.-wide #panels { layout: horizontal; }
    ReadinessScreen #space { height: auto; min-height: 2; max-height: 35%; }
    ReadinessScreen.-wide #space { height: 1fr; max-height: 100%; width: 44%; margin-right: 1; }
    ReadinessScreen #about { height: auto; max-height: 5; padding: 0 1; }
    """

    view: var[View] = var(View(), init=False)
    composed = False  # from on_mount on there is something to draw on

    def compose(self) -> ComposeResult:
        yield from framed(
            PAGE,
            Rows("Preparation", id="steps", empty="The runner is about to begin."),
            Container(
                Rows("Disk space", id="space", empty="not asked yet"),
                Rows("Prerequisites", id="prerequisites", empty="not asked yet"),
                id="panels",
            ),
            Static("", id="about", markup=False),
            ProgressLine(),
        )

    def on_mount(self) -> None:
        self.composed = True
        self.query_one("#prerequisites", Rows).focus()
        self.watch_view(self.view)

    def watch_view(self, view: View) -> None:
        if not self.composed:
            return
        state = view.state
        steps = prepared(state)
        # Once nothing is being prepared, because it is done or because a step failed, the checks need the room more.
        self.set_class(_stands_still(steps), "-prepared")
        panel = self.query_one("#steps", Rows)
        show_steps(panel, steps, view, "Preparation")
        show_checks(self.query_one("#space", Rows), of_panel(state, Panel.SPACE), "Disk space")
        show_checks(self.query_one("#prerequisites", Rows), of_panel(state, Panel.PREREQUISITES), "Prerequisites")
        self.query_one(ProgressLine).show(view)
        self._show_selected()

    def on_rows_moved(self) -> None:
        self._show_selected()

    def on_descendant_focus(self) -> None:
        self._show_selected()

    def _show_selected(self) -> None:
        if not self.composed:
            return
        view = self.view
        text = self._about(view)
        tell(self.query_one("#about", Static), text)
        show_frame(self, PAGE, view, self.subject)

    def _about(self, view: View) -> Text:
        known = view.state.checks.get(self.subject)
        if known is not None:
            return about(known)
        step = view.state.step(self.subject)
        if step is None:
            return _plan(view.state)
        return Text(drawable(f"{step.message} {step.hint}".strip() or "; ".join(step.step.shows)))

    @property
    def subject(self) -> str:
        """The selected check or, while the preparation's panel has the arrows, the selected step."""
        if isinstance(self.focused, Rows):
            return self.focused.selected
        return self.query_one("#prerequisites", Rows).selected

    def action_press(self, key: str) -> None:
        self.post_message(Pressed(key, self.subject))


def prepared(state: SessionState) -> tuple[StepState, ...]:
    """The steps that prepared the backup which is chosen now; none while their plan is still to be made."""
    if state.plan is None:
        return ()
    steps = [known for known in state.steps if known.plan is PlanKind.PREPARE]
    latest = max((known.revision for known in steps), default=0)
    return tuple(known for known in steps if known.revision == latest)


def _stands_still(steps: tuple[StepState, ...]) -> bool:
    failed = any(known.status in (Status.FAILED, Status.UNKNOWN) for known in steps)
    return failed or (bool(steps) and all(known.status.settled for known in steps))


def _plan(state: SessionState) -> Text:
    plan = state.plan
    if plan is None or plan.kind is PlanKind.PREPARE:
        return Text("")
    loss = f", loses {span(plan.loss.seconds)}" if plan.loss else ""
    estimate = f", about {duration(plan.estimate)}" if plan.estimate else ""
    return Text(f"Plan {plan.revision}: {len(plan.steps)} steps{estimate}{loss}. v reads it.", style=BOLD)
