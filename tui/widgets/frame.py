"""What surrounds every page: header above, the first-time hint, and the lines at the foot."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from engines.session.moves import left_behind
from engines.text import drawable
from tui.blocked import blocked
from tui.keys import Key, Label, keys_of
from tui.pages import Next, outcome, upcoming
from tui.theme import DIM
from tui.view import Line, Page, View
from tui.widgets.foot import Foot
from tui.widgets.header import Header

# Not worth a place in the footer while they are blocked: they come back when they are wanted.
_ONLY_WHEN_WANTED = frozenset(
    {
        "again",
        "answer",
        "approve",
        "checklist",
        "explore",
        "file",
        "file-all",
        "follow-up",
        "grid",
        "log",
        "new-follow-up",
        "note",
        "override",
        "plan",
        "resume",
        "send-again",
        "stop",
        "until",
    }
)
_WITH_STEPS = (Page.READINESS, Page.RESTORE)
_HINT_STYLE = "Hint { height: auto; max-height: 2; padding: 0 1; background: $panel; }"


class Hint(Static):
    """One line for the first time on a page: what it is, and the next key."""

    DEFAULT_CSS = _HINT_STYLE

    def __init__(self) -> None:
        super().__init__("", id="hint", markup=False)
        self.display = False

    def show(self, text: str) -> None:
        self.display = bool(text)
        if text:
            self.update(Text(f"{drawable(text)} (h hides this)", style=DIM))


def framed(page: Page, *body: Widget) -> ComposeResult:
    """A page's widgets, body in the middle."""
    yield Header(page)
    yield Hint()
    yield from body
    yield Foot()


def show_frame(screen: Screen[None], page: Page, view: View, subject: str, coming: Next | None = None) -> None:
    """Draw what surrounds the page. `coming` replaces the session's own next line where there is no session."""
    coming = coming or upcoming(view, page)
    screen.query_one(Header).show(view)
    screen.query_one(Hint).show(view.hint)
    said = " ".join(part for part in (view.status, view.trouble) if part)
    calm = outcome(view.state) if not said and page in _WITH_STEPS and view.line is not Line.GONE else ""
    keys = [] if coming.typing else labels(page, view, subject, coming.enter)
    screen.query_one(Foot).show(coming.text, said, calm, keys)


def labels(page: Page, view: View, subject: str, enter: str) -> list[Label]:
    """The footer's keys in their order."""
    found: list[Label] = []
    for key in sorted((key for key in keys_of(page) if key.rank is not None), key=_rank):
        if key.id == "enter":
            if enter:
                found.append(Label(key.shown, enter))
            continue
        if key.id == enter:
            continue  # Enter does the same, and says so
        reason = blocked(key.id, view, subject)
        if reason and key.id in _ONLY_WHEN_WANTED:
            continue
        if key.id == "undo" and not left_behind(view.state):
            continue  # nothing was changed, so there is nothing to put right
        found.append(Label(key.shown, key.label, reason))
    return found


def _rank(key: Key) -> int:
    return key.rank if key.rank is not None else 0
