"""Lines to read, each in its own style, under a title that says how many more there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size

from tui.widgets.cells import Line, Piece, plain, title, unbroken, wrapped
from tui.widgets.quiet import Quiet, out_of_sight


class Told(Quiet):
    """A text that is redrawn only where it has changed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home", "move(-100000)", show=False),
        Binding("end", "move(100000)", show=False),
    ]

    def __init__(self, name: str, *, id: str) -> None:
        super().__init__(id=id)
        self._heading = name
        self._pieces: Sequence[Piece] = ()
        self._drawn: list[Piece] = []
        self._top = 0

    def show(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces
        self._settle()

    def action_move(self, by: int) -> None:
        self._top += by
        self._settle()

    def action_page(self, by: int) -> None:
        self.action_move(by * max(self._room - 1, 1))

    @property
    def _room(self) -> int:
        return max(self.size.height - 1, 1)

    def _settle(self) -> None:
        if not self.size.width:
            return  # it has no place yet: a frame of one letter a line would be seen for a moment
        width = max(self.size.width - 2, 1)
        self._drawn = [(part, style) for text, style in self._pieces for part in _parts(text, width)]
        self._top = max(0, min(self._top, len(self._drawn) - self._room))
        self.virtual_size = Size(self.size.width, self.size.height)
        self.redraw()

    def on_resize(self) -> None:
        self._settle()

    def line(self, y: int) -> Line:
        if y == 0:
            return title(self._heading, self._more(), self.size.width, focused=self.has_focus)
        index = self._top + y - 1
        text, style = self._drawn[index] if index < len(self._drawn) else ("", Style())
        return plain(f" {text}", style)

    def _more(self) -> str:
        return out_of_sight(self._top, len(self._drawn) - self._top - self._room)


def _parts(text: str, width: int) -> list[str]:
    """A path is cut where the line ends, so that it can be copied; anything else between words."""
    return wrapped(text, width) if " " in text else unbroken(text, width)
