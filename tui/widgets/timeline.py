"""The backups on a line of time, with the incident's start above it; under it the logs and where a replay ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from textual.strip import Strip
from textual.widget import Widget

from engines.backups.timeline import lines, logs_line, marks
from tui.theme import BOLD, DIM, PLAIN
from tui.view import Shelf
from tui.widgets.cells import Line, fit, plain, strip

_MOST = timedelta(days=14)  # further back a cell stands for too much time to tell anything


_LEGEND = (
    ("V", "V verified"),
    ("!", "! incident"),
    ("S", "S stop"),
    ("=", "= logs"),
    ("/", "/ gap"),
    ("x", "x bad"),
    ("?", "? unlisted"),
    ("o", "o unchecked"),
    ("_", "_ missing"),
    ("w", "w weak"),
)


class Timeline(Widget):
    DEFAULT_CSS = """
    Timeline { height: 3; padding: 0 1; }
    Timeline.-logs { height: 4; }
    """

    def __init__(self) -> None:
        super().__init__(id="timeline")
        self._shelf = Shelf()
        self._now = datetime.min.replace(tzinfo=UTC)
        self._selected: datetime | None = None
        self._drawn: tuple[int, tuple[Line, ...]] | None = None  # the picture, and for which width

    def show(self, shelf: Shelf, now: datetime, selected: datetime | None) -> None:
        self._shelf, self._now, self._selected = shelf, now, selected
        self._drawn = None
        self.set_class(shelf.is_server, "-logs")
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if self._drawn is None or self._drawn[0] != width:
            self._drawn = width, picture(self._shelf, self._now, self._selected, width)
        drawn = self._drawn[1]
        return strip(drawn[y] if y < len(drawn) else (), width, self.rich_style)


def picture(shelf: Shelf, now: datetime, selected: datetime | None, width: int) -> tuple[Line, ...]:
    """Incident above, backups, then the ends of the line with the legend."""
    backups = shelf.catalogue.backups if shelf.catalogue else ()
    if not backups or width < 20:
        return ()
    start = max(min(backup.taken_at for backup in backups), now - _MOST)
    if shelf.incident_start is not None:
        start = min(start, max(shelf.incident_start, now - _MOST))
    start -= shelf.every / 2
    if now <= start:
        return ()
    coverage = [(span.start, span.end) for span in shelf.spans]
    placed = marks(backups, start, now, width, shelf.incident_start, shelf.every, coverage, shelf.stop)
    above, below = lines(placed, width)
    if selected is not None and start <= selected <= now:
        column = min(width - 1, int((selected - start) / (now - start) * width))
        above = above[:column] + ("v" if above[column] == " " else above[column]) + above[column + 1 :]
    drawn = above + below + (logs_line(placed, width) if shelf.is_server else "")
    first, end = f"{start:%m-%d %H:%M}", f"now {now:%H:%M} UTC"
    if len(legend(drawn, width)) > width - len(first) - len(end) - 2:
        end = "now"  # what the letters mean is not known elsewhere, the time is
    room = width - len(first) - len(end) - 2
    last: Line = ((f"{first} {fit(legend(drawn, room).center(room), room)} {end}", DIM),)
    if not shelf.is_server:
        return plain(above, BOLD), plain(below, PLAIN), last
    if not shelf.spans:
        unread = "the logs after a dump are read and proven in Readiness"
        return plain(above, BOLD), plain(below, PLAIN), plain(fit(unread, width), DIM), last
    return plain(above, BOLD), plain(below, PLAIN), plain(logs_line(placed, width), PLAIN), last


def legend(drawn: str, room: int) -> str:
    """What the letters mean that are there, as many as there is room for, the most needed first."""
    shown: list[str] = []
    for letters, words in _LEGEND:
        if any(letter in drawn for letter in letters) and len("  ".join((*shown, words))) <= room:
            shown.append(words)
    return "  ".join(shown)
