"""The two lines that every screen begins with: who and what is at stake, and how far the work is.

A dialogue begins with the first of them: nobody types a target's name without seeing which one it is.
"""

from __future__ import annotations

from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from engines.session.events import How
from engines.session.moves import is_drill
from engines.session.reminders import held_for, shift_of
from engines.session.state import SessionState
from tui.pages import NAMES, at_stake, badge, marks, number
from tui.theme import BAD, BOLD, DIM, PLAIN, REVERSE, style_of
from tui.view import SESSION_PAGES, Line, Page, View
from tui.widgets.cells import Line as Cells
from tui.widgets.cells import Piece, fit, fit_end, strip, width_of

_SHORT = {Page.READINESS: "Ready", Page.VALIDATION: "Valid", Page.HANDOVER: "Hand"}
_ADDRESS = 1  # the rank of the address, which takes the room that is left
_LEAST_ADDRESS = 10  # cells of an address that still tell something
_NARROW = 72  # columns from which the address has room beside incident and operator; the name tells the target too


class Header(Widget):
    DEFAULT_CSS = """
    Header { height: 2; background: $panel; dock: top; }
    Header.-dialogue { height: 1; }
    """

    class Wanted(Message):
        """A dialogue has come up, and its header does not know yet what is at stake."""

    def __init__(self, page: Page | None = None) -> None:
        """`page` is None in a dialogue."""
        super().__init__(id="header")
        self._page = page
        self._view = View()
        self._about: tuple[str, str] = ("", "")
        self.set_class(page is None, "-dialogue")

    def on_mount(self) -> None:
        if self._page is None:
            self.post_message(self.Wanted())

    def follow(self, page: Header) -> None:
        """Say what the header of the page below says."""
        self.tell(*page._about)
        self.show(page._view)

    def show(self, view: View) -> None:
        before = self._line(0), self._line(1)
        self._view = view
        for y, line in enumerate(before):
            if self._line(y) != line:
                self.refresh(Region(0, y, self.size.width, 1))

    def tell(self, environment: str, about: str) -> None:
        """What the first line says while there is no session."""
        if (environment, about) != self._about:
            self._about = (environment, about)
            self.refresh()

    def render_line(self, y: int) -> Strip:
        return strip(self._line(y), self.size.width, self.rich_style)

    def _line(self, y: int) -> Cells:
        width = self.size.width
        if y and self._page is not None:
            return stepper(self._view, self._page, width)
        begun = self._view.state.begun
        line = stake(self._view, width) if begun else self._before(width)
        word = badge(begun) if begun else self._about[0].upper()
        return glaring(line, width) if word == "PRODUCTION" else line

    def _before(self, width: int) -> Cells:
        environment, about = self._about
        first: Cells = ((f" {environment.upper()} ", BOLD), (" ", PLAIN)) if environment else (("", PLAIN),)
        used = sum(width_of(text) for text, _ in first)
        return (*first, (fit(" " + about, width - used), PLAIN))


def glaring(line: Cells, width: int) -> Cells:
    """Production's line is a bright bar from edge to edge: nobody takes it for staging's, without colour either."""
    (badge, _), *rest = line
    used = sum(width_of(text) for text, _ in line)
    return ((badge, BAD), *((text, REVERSE) for text, _ in rest), (fit("", width - used), REVERSE))


def stake(view: View, width: int) -> Cells:
    """The first line. Where it is too narrow the least telling parts go first; what is at stake stays."""
    state = view.state
    begun = state.begun
    if begun is None:
        return ()
    narrow, room = width < _NARROW, width + 1  # the blanks after the last part may go
    address = "" if narrow else at_stake(begun.engine, begun.address)
    least = min(_LEAST_ADDRESS, width_of(address)) + 2 if address else 0
    parts = _parts(view, short=narrow)
    if _taken(parts) + least > room:
        parts = _parts(view, short=True)
    while _taken(parts) + least > room and any(rank > 1 for rank, _ in parts):
        worst = max(rank for rank, _ in parts)
        parts = [part for part in parts if part[0] != worst]
    if not address:
        parts = [part for part in parts if part[0] != _ADDRESS]
    left = max(room - _taken(parts) - 2, 0)
    line: list[Piece] = []
    for rank, (text, style) in parts:
        if rank == _ADDRESS:
            line.append((fit(fit_end(address, left), left) + "  ", DIM))
        else:
            line.append((text + "  ", style) if line else (text, style))
            if len(line) == 1:
                line.append((" ", PLAIN))
    return tuple(line)


def _parts(view: View, *, short: bool) -> list[tuple[int, Piece]]:
    """What the first line says, each part with its rank: the highest is left out first, those of 0 never."""
    state, begun = view.state, view.state.begun
    if begun is None:
        return []
    parts: list[tuple[int, Piece]] = [
        (0, (f" {badge(begun)} ", BOLD)),
        (0, (str(begun.target.get("name", "")), BOLD)),
        # A server's version is part of what it is; a file's engine its name tells.
        (7 if begun.engine == "sqlite" else 4, ("" if short and begun.engine == "sqlite" else _engine(state), PLAIN)),
        (_ADDRESS, ("", DIM)),
        (3, (begun.incident_id, PLAIN)),
        # That somebody else has the keys is not left out, however narrow the terminal is.
        (5 if _is_mine(view) and not _is_long(view) else 0, (_keyboard(view, short=short), PLAIN)),
        (2, _approval(view)),
        (0, (_elapsed(view), PLAIN)),
        (0, (str(view.line) if view.line is not Line.ALIVE else "", style_of(str(view.line)))),
    ]
    return [part for part in parts if part[1][0] or part[0] == _ADDRESS]


def _engine(state: SessionState) -> str:
    """With the server's version, once that was asked."""
    version = state.plan.target.details.get("version", "") if state.plan else ""
    return f"{state.begun.engine if state.begun else ''} {version}".strip()


def _taken(parts: list[tuple[int, Piece]]) -> int:
    return sum(width_of(text) + 2 for rank, (text, _) in parts if rank != _ADDRESS)


def _elapsed(view: View) -> str:
    begun_at = view.state.begun_at
    if begun_at is None:
        return ""
    seconds = int(((view.state.ended_at or view.now) - begun_at).total_seconds())
    hours, rest = divmod(max(seconds, 0), 3600)
    return f"T+{hours}:{rest // 60:02}:{rest % 60:02}"


def _keyboard(view: View, *, short: bool) -> str:
    """Who works, and whose keys count where that is somebody else."""
    begun, holder = view.state.begun, view.state.keyboard
    if begun is None or holder is None:
        return ""
    long = f" FOR {held_for(view.state, view.now) / 3600:.0f} H" if _is_long(view) else ""
    who = holder.name if short else f"operator {holder.name}"
    return f"{who}{long}" if _is_mine(view) else f"{holder.name} HAS THE KEYS{long}"


def _is_long(view: View) -> bool:
    """Has one operator worked for a whole shift?"""
    return view.state.ended is None and held_for(view.state, view.now) >= shift_of(view.state)


def _is_mine(view: View) -> bool:
    """Is the keyboard here, or nobody's?"""
    holder = view.state.keyboard
    if view.line is not Line.ALIVE or holder is None:
        return True
    if view.me.how is How.PEER and holder.login != view.me.login:
        return False  # also before the operator's first console has asked for anything
    return holder.console in ("", view.me.console)


def _approval(view: View) -> Piece:
    if view.state.plan is None or not view.state.plan.needs_approval:
        # A drill has nothing to approve, and an undo's plan may need none.
        nothing = view.state.approvals or is_drill(view.state)
        return ("", PLAIN) if nothing else ("not approved", PLAIN)
    word = "approved" if view.state.approved else "NOT APPROVED"
    return (word, style_of(word))


def stepper(view: View, page: Page, width: int) -> Cells:
    """The second line: the pages by their digit, each with its mark; brackets round the one that is shown."""
    if page is Page.START:
        return ((fit(" Reinstate: choose what to restore", width), BOLD),)
    found = marks(view)
    only_here = dict.fromkeys(SESSION_PAGES, "") | {page: NAMES[page]}
    for names, gap in ((NAMES, " "), (NAMES, ""), (dict(NAMES) | _SHORT, ""), (only_here, "")):
        cells = [_step(there, names[there], found.get(there, ""), page) for there in SESSION_PAGES]
        line = [piece for text, style in cells for piece in ((text, style), (gap, PLAIN))]
        used = sum(width_of(text) for text, _ in line)
        if used + _least(view) <= width:
            break
    return (*line, *_session(view, width - used))


def _least(view: View) -> int:
    """Cells of the shortest way to say which session it is, and that its runner answers."""
    told = _sessions(view)
    return min(width_of(words) for words in told) + 2 if told else 0


def _session(view: View, room: int) -> Cells:
    """Which session it is and whether its runner answers, at the end of the line: as much of it as there is room for.

    That the runner is gone stands in the first line, however narrow the terminal is.
    """
    for told in _sessions(view):
        if width_of(told) + 2 <= room:
            return ((fit(f"{told} ", room, right=True), DIM),)
    return ()


def _sessions(view: View) -> tuple[str, ...]:
    """The longest first; none while there is no session."""
    if view.state.begun is None:
        return ()
    alive, name = view.line is Line.ALIVE, view.state.id[-4:]
    if not alive:
        return f"session {name}", name
    return f"session {name}, runner alive", f"{name} runner alive", f"{name} alive"


def _step(there: Page, name: str, mark: str, page: Page) -> Piece:
    words = " ".join(word for word in (str(number(there)), name, mark) if word)
    if there is page:
        return f"[{words}]", REVERSE
    return f" {words} ", BOLD if mark == "▶" else PLAIN
