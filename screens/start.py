"""Where the operator begins: what can be restored, and which sessions are not finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.app import ComposeResult
from textual.reactive import var
from textual.screen import Screen
from textual.widgets import Static

from engines.recipes.drills.outcome import Drilled
from engines.session.store import Known
from engines.targets import Target
from engines.text import both_zones, drawable
from tui.drilled import chart, summary
from tui.keys import Pressed, bindings
from tui.pages import Next, at_stake
from tui.theme import BOLD, DIM, PLAIN, REVERSE, style_of
from tui.view import Page, View
from tui.widgets.cells import Line, fit, fit_end
from tui.widgets.frame import framed, show_frame
from tui.widgets.header import Header
from tui.widgets.rows import Rows
from tui.widgets.words import tell

PAGE = Page.START


@dataclass(frozen=True, slots=True)
class Choices:
    """What there is to begin with."""

    targets: tuple[Target, ...] = ()
    sessions: tuple[Known, ...] | None = None  # None while they are being read
    incident: str = ""  # in a few words; empty when none was given
    drills: tuple[Drilled, ...] = ()  # newest first
    trouble: str = ""


class StartScreen(Screen[None]):
    BINDINGS = bindings(PAGE)
    DEFAULT_CSS = """
    StartScreen #incident { height: auto; max-height: 2; padding: 0 1; margin-bottom: 1; }
    StartScreen #targets { height: auto; max-height: 45%; margin-bottom: 1; }
    StartScreen #drills { height: auto; max-height: 3; padding: 0 1; margin-bottom: 1; display: none; }
    StartScreen #sessions { height: 1fr; }
    """

    view: var[View] = var(View(), init=False)
    _begun = False  # the cursor was put where it is likely wanted
    composed = False  # from on_mount on there is something to draw on
    choices: var[Choices] = var(Choices(), init=False)

    def compose(self) -> ComposeResult:
        yield from framed(
            PAGE,
            Static("", id="incident", markup=False),
            Rows("Targets", id="targets", empty="The configuration has no target."),
            Static("", id="drills", markup=False),
            Rows("Sessions", id="sessions", empty="reading …"),
        )

    def on_mount(self) -> None:
        self.composed = True
        self.query_one("#targets", Rows).focus()
        self.watch_choices(self.choices)

    def watch_view(self, _view: View) -> None:
        self._show_selected()

    def watch_choices(self, choices: Choices) -> None:
        if not self.composed:
            return
        targets = choices.targets
        self.query_one("#targets", Rows).show(
            [f"target:{target.name}" for target in targets],
            lambda index, width: target_line(targets[index], width),
            note=str(len(targets)),
        )
        sessions = self.query_one("#sessions", Rows)
        sessions.show(
            [f"session:{known.folder}" for known in choices.sessions or ()],
            lambda index, width: session_line((choices.sessions or ())[index], width),
            note=_unfinished(choices.sessions or ()),
            empty="none yet" if choices.sessions is not None else "reading …",
        )
        self._begin_at_unfinished(sessions, choices)
        incident = f"Incident: {choices.incident}" if choices.incident else "No incident report is loaded (--incident)."
        tell(self.query_one("#incident", Static), Text(drawable(incident), BOLD if choices.incident else DIM))
        self._show_selected()

    def _begin_at_unfinished(self, sessions: Rows, choices: Choices) -> None:
        """Whoever comes back in the middle of a restore finds it under the cursor."""
        first = next((known for known in choices.sessions or () if known.unfinished), None)
        if first is not None and self.query_one("#targets", Rows).has_focus and not self._begun:
            self._begun = True
            sessions.select(f"session:{first.folder}")
            sessions.focus()

    def on_rows_moved(self) -> None:
        self._show_selected()

    def on_descendant_focus(self) -> None:
        self._show_selected()

    def _show_selected(self) -> None:
        if not self.composed:
            return
        self.query_one(Header).tell("", "reinstate")
        self._show_drills()
        coming = self._next()
        show_frame(self, PAGE, self.view, self.subject, coming)

    def _show_drills(self) -> None:
        """Those of the target that is selected, or was last."""
        name = self.query_one("#targets", Rows).selected.partition(":")[2]
        own = tuple(one for one in self.choices.drills if one.target == name)
        lines = (f"{name}: {summary(own, self.view.now)}", *chart(own)) if own else ()
        pane = self.query_one("#drills", Static)
        pane.display = bool(own)
        tell(pane, Text("\n".join(map(drawable, lines)), DIM))

    def _next(self) -> Next:
        subject = self.subject
        kind, _, rest = subject.partition(":")
        if kind == "target":
            return Next(f"Enter shows the backups of {rest}. Nothing is changed by looking.", "backups")
        known = next((k for k in self.choices.sessions or () if f"session:{k.folder}" == subject), None)
        if known is None:
            return Next(self.choices.trouble)
        if known.error:
            return Next(f"This session's journal can't be used: {known.error}")
        if not known.unfinished:
            return Next("Enter reads this session's pages. It is over.", "read")
        if known.alive:
            return Next("Enter joins this session: its runner is alive.", "join")
        return Next("This session's runner is gone. Enter shows where it stood; nothing is begun by that.", "look")

    @property
    def subject(self) -> str:
        if isinstance(self.focused, Rows):
            return self.focused.selected
        return self.query_one("#targets", Rows).selected

    def action_press(self, key: str) -> None:
        self.post_message(Pressed(key, self.subject))


def _unfinished(sessions: Sequence[Known]) -> str:
    count = sum(known.unfinished for known in sessions)
    return f"{count} UNFINISHED" if count else ""


def target_line(target: Target, width: int) -> Line:
    environment = str(target.environment).upper()
    rest = max(width - 12 - 18 - 8, 0)
    badge = REVERSE if environment == "PRODUCTION" else PLAIN
    return (
        (f"{environment}", badge),
        (" " * max(12 - len(environment), 1), PLAIN),
        (fit(target.name, 17) + " ", BOLD),
        (fit(target.engine, 7) + " ", PLAIN),
        (fit(fit_end(at_stake(target.engine, target.address), rest), rest), DIM),
    )


def session_line(known: Known, width: int) -> Line:
    if known.error:
        return ((fit(f"{known.id}  UNREADABLE: {known.error}", width), style_of("FAIL")),)
    begun = known.state.begun
    name = str(begun.target.get("name", "")) if begun else ""
    when = both_zones(known.state.begun_at) if known.state.begun_at else ""
    if known.state.ended is not None:
        word = str(known.state.ended.how)
    else:
        word = "runner alive" if known.alive else "runner GONE"
    style = style_of("GONE") if known.unfinished and not known.alive else BOLD if known.unfinished else DIM
    rest = max(width - 5 - 15 - 13, 0)
    line = f"{fit(known.id[-4:], 4)} {fit(name, 14)} "
    return ((line, PLAIN), (fit(word, 12) + " ", style), (fit(f"{_stood(known)}{when}", rest), PLAIN))


def _stood(known: Known) -> str:
    state = known.state
    if state.ended is not None:
        return ""
    step = state.running or state.next_step
    return f"at {step.id} {step.step.title}, " if step else "before its plan, "
