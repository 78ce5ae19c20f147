"""Lines to read, each in its own style, under a title that says how many more there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engines.text import count
from tui.widgets.cells import Line, Piece, plain, strip, title, unbroken, wrapped


class Told(ScrollView, can_focus=True):
    """A text that is redrawn only where it has changed."""

    DEFAULT_CSS = """
    Told { height: 1fr; overflow: hidden hidden; scrollbar-size: 0 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-100000)", show=False),
        Binding("end", "move(100000)", show=False),
    ]

    def __init__(self, name: str, *, id: str) -> None:
        super().__init__(id=id)
        self._heading = name
        self._pieces: Sequence[Piece] = ()
        self._drawn: list[Piece] = []
        self._top = 0
        self._shown: list[Line] = []

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
        width = max(self.size.width - 2, 1)
        self._drawn = [(part, style) for text, style in self._pieces for part in _parts(text, width)]
        self._top = max(0, min(self._top, len(self._drawn) - self._room))
        self.virtual_size = Size(self.size.width, self.size.height)
        lines = [self._line(y) for y in range(self.size.height)]
        if len(lines) != len(self._shown):
            self.refresh()
        else:
            for y, (line, before) in enumerate(zip(lines, self._shown, strict=True)):
                if line != before:
                    self.refresh(Region(0, y, self.size.width, 1))
        self._shown = lines

    def on_resize(self) -> None:
        self._settle()

    def on_focus(self) -> None:
        self._settle()

    def on_blur(self) -> None:
        self._settle()

    def render_line(self, y: int) -> Strip:
        return strip(self._line(y), self.size.width, self.rich_style)

    def _line(self, y: int) -> Line:
        if y == 0:
            return title(self._heading, self._more(), self.size.width, focused=self.has_focus)
        index = self._top + y - 1
        text, style = self._drawn[index] if index < len(self._drawn) else ("", Style())
        return plain(f" {text}", style)

    def _more(self) -> str:
        below = len(self._drawn) - self._top - self._room
        above = f"↑{count(self._top)}" if self._top else ""
        return " ".join(word for word in (above, f"↓{count(below)}" if below > 0 else "") if word)


def _parts(text: str, width: int) -> list[str]:
    """A path is cut where the line ends, so that it can be copied; anything else between words."""
    return wrapped(text, width) if " " in text else unbroken(text, width)
