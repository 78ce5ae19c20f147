"""What lists and texts have in common: lines under a title, moved through by keys, drawn again only where changed."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engines.text import count
from tui.widgets.cells import Line, strip


class Quiet(ScrollView, can_focus=True):
    """One that stays as it is sends nothing, however often its state is told anew."""

    DEFAULT_CSS = """
    Quiet { height: 1fr; overflow: hidden hidden; scrollbar-size: 0 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._shown: list[Line] = []

    def line(self, y: int) -> Line:
        """What stands on this row of the widget."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw again those lines that are no longer what the screen shows."""
        lines = [self.line(y) for y in range(self.size.height)]
        if len(lines) != len(self._shown):
            self.refresh()
        else:
            for y, (line, before) in enumerate(zip(lines, self._shown, strict=True)):
                if line != before:
                    self.refresh(Region(0, y, self.size.width, 1))
        self._shown = lines

    def on_focus(self) -> None:
        self.redraw()

    def on_blur(self) -> None:
        self.redraw()

    def render_line(self, y: int) -> Strip:
        return strip(self.line(y), self.size.width, self.rich_style)


def out_of_sight(above: int, below: int) -> str:
    """`↑3 ↓12`: how many lines there are beyond either edge."""
    return " ".join(
        word for word in (f"↑{count(above)}" if above > 0 else "", f"↓{count(below)}" if below > 0 else "") if word
    )
