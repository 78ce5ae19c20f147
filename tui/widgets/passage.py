"""The text of a dialogue. It takes the room that is left for it, so that what is asked below is always to be seen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from tui.view import LogSeen
from tui.widgets.cells import wrapped
from tui.widgets.log import LogPane

_LEAST = 4  # rows of a text that scrolls: two of them are its rules

FRAME = 5  # rows of a dialogue that are neither text nor questions: its header, border and title, a blank
_WIDEST = 76  # cells of a dialogue that does not take the whole width


def inner_width(terminal: int, *, whole: bool) -> int:
    """Cells for text in a dialogue on a terminal of that width."""
    return (terminal if whole else min(_WIDEST, terminal * 96 // 100)) - 4


class Passage(Vertical):
    DEFAULT_CSS = """
    Passage { height: auto; }
    Passage > Static { height: auto; width: 100%; }
    """

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__()
        self._lines = tuple(lines)

    def compose(self) -> ComposeResult:
        yield Static("", markup=False)
        yield LogPane()

    def fit(self, width: int, room: int) -> None:
        """Show all of it in `room` rows of `width` cells, or as much as that takes and scroll."""
        lines = [part for line in self._lines for part in wrapped(line, width)]
        scrolls = len(lines) > room
        whole, pane = self.query_one(Static), self.query_one(LogPane)
        whole.display, pane.display = not scrolls, scrolls
        if scrolls:
            pane.styles.height = max(room, _LEAST)
            pane.show("", LogSeen(lines=self._lines), text=True)
        else:
            whole.update(Text("\n".join(lines)))

    @property
    def scrolls(self) -> bool:
        return bool(self.query_one(LogPane).display)

    def page(self, by: int) -> None:
        self.query_one(LogPane).action_page(by)

    def move(self, by: int) -> None:
        self.query_one(LogPane).action_move(by)
