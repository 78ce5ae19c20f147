"""The backups on a line of time, with the incident's start above it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from textual.strip import Strip
from textual.widget import Widget

from engines.backups.timeline import lines, marks
from tui.theme import BOLD, DIM, PLAIN
from tui.view import Shelf
from tui.widgets.cells import Line, fit, plain, strip

_MOST = timedelta(days=14)  # further back a cell stands for too much time to tell anything


class Timeline(Widget):
    DEFAULT_CSS = "Timeline { height: 3; padding: 0 1; }"

    def __init__(self) -> None:
        super().__init__(id="timeline")
        self._shelf = Shelf()
        self._now = datetime.min.replace(tzinfo=UTC)
        self._selected: datetime | None = None

    def show(self, shelf: Shelf, now: datetime, selected: datetime | None) -> None:
        self._shelf, self._now, self._selected = shelf, now, selected
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        drawn = picture(self._shelf, self._now, self._selected, width)
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
    placed = marks(backups, start, now, width, shelf.incident_start, shelf.every)
    above, below = lines(placed, width)
    if selected is not None and start <= selected <= now:
        column = min(width - 1, int((selected - start) / (now - start) * width))
        above = above[:column] + ("v" if above[column] == " " else above[column]) + above[column + 1 :]
    ends = (f"{start:%m-%d %H:%M}", f"now {now:%H:%M} UTC")
    legend = "V verified  o unchecked  x bad  ! incident"
    room = width - len(ends[0]) - len(ends[1]) - 2
    middle = fit(legend.center(room) if room >= len(legend) else "", room)
    return plain(above, BOLD), plain(below, PLAIN), ((f"{ends[0]} {middle} {ends[1]}", DIM),)
