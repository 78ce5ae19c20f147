"""A window on a step's log. The file is the truth; this follows its end until the operator looks further up."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engines.text import count
from tui.view import LogSeen
from tui.widgets.cells import fit, plain, strip, title, wrapped

WIDEST = 1000  # cells of a line that are drawn


class LogPane(ScrollView, can_focus=True):
    DEFAULT_CSS = """
    LogPane { height: 1fr; overflow: hidden hidden; scrollbar-size: 0 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "first", show=False),
        Binding("end", "follow", show=False),
        Binding("left", "sideways(-20)", show=False),
        Binding("right", "sideways(20)", show=False),
    ]

    def __init__(self, *, id: str = "log") -> None:
        super().__init__(id=id)
        self._seen = LogSeen()
        self._heading = ""
        self._top = 0
        self._left = 0
        self._following = True
        self._is_text = False
        self._drawn: tuple[str, ...] = ()

    def show(self, name: str, seen: LogSeen, *, text: bool = False) -> None:
        """Show what has been read of a log, followed at its end; or a text, wrapped, from its beginning."""
        if seen.file != self._seen.file or text is not self._is_text:
            self._following, self._left, self._top, self._is_text = not text, 0, 0, text
        elif seen == self._seen and name == self._heading:
            return
        self._heading, self._seen = name, seen
        self._settle()

    @property
    def following(self) -> bool:
        return self._following

    @property
    def lines(self) -> tuple[str, ...]:
        return self._seen.lines

    def action_move(self, by: int) -> None:
        self._to(self._top + by)

    def action_page(self, by: int) -> None:
        self._to(self._top + by * max(self._room - 1, 1))

    def action_first(self) -> None:
        self._to(0)

    def action_follow(self) -> None:
        self._following = True
        self._settle()

    def action_sideways(self, by: int) -> None:
        self._left = max(0, min(self._left + by, WIDEST - 20))
        self.refresh()

    @property
    def _room(self) -> int:
        return max(self.size.height - 2, 1)

    def _to(self, top: int) -> None:
        last = max(len(self._drawn) - self._room, 0)
        self._top = max(0, min(top, last))
        self._following = self._top >= last and not self._is_text
        self._settle()

    def _settle(self) -> None:
        width = max(self.size.width - 2, 1)
        lines = self._seen.lines
        self._drawn = tuple(part for line in lines for part in wrapped(line, width)) if self._is_text else lines
        last = max(len(self._drawn) - self._room, 0)
        self._top = last if self._following else min(self._top, last)
        self.virtual_size = Size(self.size.width, self.size.height)
        self.refresh()

    def on_resize(self) -> None:
        self._settle()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        lines = self._drawn
        if y == 0:
            return strip(title(self._heading, "", width, focused=self.has_focus), width, base)
        if y == self.size.height - 1:
            return strip(title("", self._standing(), width, focused=self.has_focus), width, base)
        index = self._top + y - 1
        text = lines[index][: WIDEST + self._left] if index < len(lines) else ""
        return strip(plain(" " + fit(text[self._left :], width - 1)), width, base)

    def _standing(self) -> str:
        if self._is_text or not self._drawn:
            below = len(self._drawn) - self._top - self._room
            return f"↓{below}" if below > 0 else ""
        where = "following" if self._following else f"line {count(self._top + 1)}, End follows"
        cut = "last " if self._seen.cut else ""
        number = len(self._drawn)
        return f"{where} · {cut}{count(number)} line{'s' if number != 1 else ''}"
