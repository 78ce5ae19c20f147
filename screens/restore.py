"""The steps under way, their log, and the one key that comes next."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container
from textual.reactive import var
from textual.screen import Screen

from engines.session.plan import PlanKind, log_name
from engines.session.state import Status, StepState
from tui.keys import Pressed, bindings
from tui.view import LogSeen, Page, View
from tui.widgets.frame import framed, show_frame
from tui.widgets.log import LogPane
from tui.widgets.progress import ProgressLine
from tui.widgets.rows import Rows
from tui.widgets.steps import exact, show_steps

PAGE = Page.RESTORE


class RestoreScreen(Screen[None]):
    BINDINGS = bindings(PAGE)
    DEFAULT_CSS = """
    RestoreScreen #body { height: 1fr; layout: horizontal; }
    RestoreScreen #steps { width: 44%; max-width: 52; }
    RestoreScreen #log { width: 1fr; margin-left: 1; }
    RestoreScreen.-narrow #body { layout: vertical; }
    RestoreScreen.-narrow #steps { width: 100%; max-width: 100%; height: 45%; }
    RestoreScreen.-narrow #log { width: 100%; margin-left: 0; }
    """

    view: var[View] = var(View(), init=False)
    composed = False  # from on_mount on there is something to draw on

    def compose(self) -> ComposeResult:
        body = Container(Rows("Steps", id="steps", empty="The plan is not made yet."), LogPane(), id="body")
        yield from framed(PAGE, body, ProgressLine())

    def on_mount(self) -> None:
        self.composed = True
        self.query_one(Rows).focus()
        self.watch_view(self.view)

    def watch_view(self, view: View) -> None:
        if not self.composed:
            return
        steps = self.query_one("#steps", Rows)
        show_steps(steps, shown_steps(view), view, _heading(view))
        self._show_log(view)
        self.query_one(ProgressLine).show(view)
        show_frame(self, PAGE, view, self.subject)

    def on_rows_moved(self) -> None:
        self._show_log(self.view)
        show_frame(self, PAGE, self.view, self.subject)

    @property
    def subject(self) -> str:
        return self.query_one("#steps", Rows).selected

    def action_press(self, key: str) -> None:
        self.post_message(Pressed(key, self.subject))

    def _show_log(self, view: View) -> None:
        known = view.state.step(self.subject)
        name = f"{known.id} {known.step.title}" if known else "Log"
        mine = known is not None and view.log.file == log_name(known.step)
        self.query_one(LogPane).show(name, view.log if mine else _instead(known), text=not mine)


def shown_steps(view: View) -> tuple[StepState, ...]:
    """The restore's steps and, once it is asked for, those of the undo. Preparation has its own page."""
    return tuple(known for known in view.state.steps if known.plan is not PlanKind.PREPARE)


def _heading(view: View) -> str:
    plan = view.state.plan
    return "Steps of the undo" if plan is not None and plan.kind is PlanKind.UNDO else "Steps"


def _instead(known: StepState | None) -> LogSeen:
    """What stands where there is no log: exactly what a step that has not begun will do."""
    if known is None:
        return LogSeen()
    if known.status is Status.SKIPPED:
        return LogSeen(known.id, (f"Skipped: {known.skipped_for}",))
    if not known.attempt:
        return LogSeen(known.id, tuple(exact(known.step)))
    return LogSeen(known.id, tuple(line for line in (known.message, known.hint) if line))
