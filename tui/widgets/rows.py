"""A list of lines with a cursor, drawn on demand: ten thousand rows cost no more than twenty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message

from tui.theme import BOLD, DIM
from tui.widgets.cells import Line, plain, title
from tui.widgets.quiet import Quiet, out_of_sight

Draw = Callable[[int, int], Line]  # index of the row, cells there are


def _nothing(_index: int, _width: int) -> Line:
    return ()


class Rows(Quiet):
    """Rows under a title; the selected one carries `>` and stays selected by its key when rows change."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home", "first", show=False),
        Binding("end", "last", show=False),
    ]

    class Moved(Message):
        """The cursor is on another row."""

        def __init__(self, rows: Rows) -> None:
            super().__init__()
            self.rows = rows

        @property
        def control(self) -> Rows:
            return self.rows

    def __init__(self, name: str, *, id: str, empty: str = "none") -> None:
        super().__init__(id=id)
        self._heading = name
        self._note = ""
        self._empty = empty
        self._head: Line | None = None
        self._keys: Sequence[str] = ()
        self._draw: Draw = _nothing
        self._index = 0
        self._by_hand = False

    # -- what is shown ------------------------------------------------------------------------------------

    def show(
        self,
        keys: Sequence[str],
        draw: Draw,
        *,
        heading: str | None = None,
        head: Line | None = None,
        note: str = "",
        prefer: str = "",
        empty: str = "",
    ) -> None:
        """Show a row for each key. The cursor stays on its key; until it is moved by hand it follows `prefer`."""
        before = self.selected
        self._keys, self._draw, self._head, self._note = keys, draw, head, note
        self._heading = heading or self._heading
        self._empty = empty or self._empty
        wanted = prefer if prefer and not self._by_hand else before
        if wanted in keys:
            self._index = keys.index(wanted)
        else:
            self._index = min(self._index, max(len(keys) - 1, 0))
        self._measure()
        if self.selected != before:
            self.post_message(self.Moved(self))

    @property
    def selected(self) -> str:
        """The key of the row under the cursor; empty when there are none."""
        return self._keys[self._index] if self._index < len(self._keys) else ""

    @property
    def count(self) -> int:
        return len(self._keys)

    def select(self, key: str) -> None:
        if key in self._keys:
            self._to(self._keys.index(key))

    def holds(self, key: str) -> bool:
        return key in self._keys

    def follow(self) -> None:
        """Let the cursor follow what is preferred again."""
        self._by_hand = False

    # -- moving -------------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        self._to(self._index + by)

    def action_page(self, by: int) -> None:
        self._to(self._index + by * max(self._visible - 1, 1))

    def action_first(self) -> None:
        self._to(0)

    def action_last(self) -> None:
        self._to(len(self._keys) - 1)

    def _to(self, index: int) -> None:
        index = max(0, min(index, len(self._keys) - 1))
        self._by_hand = True
        if index != self._index:
            self._index = index
            self._measure()
            self.post_message(self.Moved(self))

    # -- drawing ------------------------------------------------------------------------------------------

    @property
    def _heads(self) -> int:
        return 1 if self._head is None else 2

    @property
    def _visible(self) -> int:
        return max(self.size.height - self._heads, 1)

    def _measure(self) -> None:
        self.virtual_size = Size(self.size.width, max(len(self._keys), 1) + self._heads)
        top = int(self.scroll_y)
        if self._index < top:
            top = self._index
        elif self._index >= top + self._visible:
            top = self._index - self._visible + 1
        top = max(0, min(top, len(self._keys) - self._visible))
        self.scroll_to(y=top, animate=False, force=True, immediate=True)
        self.redraw()

    def on_resize(self) -> None:
        self._measure()

    def line(self, y: int) -> Line:
        width = self.size.width
        if y == 0:
            return title(self._heading, self._whole_note(), width, focused=self.has_focus)
        if y < self._heads and self._head is not None:
            return (("  ", DIM), *((text, style + DIM) for text, style in self._head))
        index = int(self.scroll_y) + y - self._heads
        if not self._keys:
            return plain(f"  {self._empty}" if index == 0 else "", DIM)
        if index >= len(self._keys):
            return ()
        row = self._draw(index, max(width - 2, 0))
        if index != self._index:
            return (("  ", BOLD), *row)
        marker = "> " if self.has_focus else "· "
        return ((marker, BOLD), *((text, style + BOLD) for text, style in row))

    def _whole_note(self) -> str:
        above = int(self.scroll_y)
        more = out_of_sight(above, len(self._keys) - above - self._visible)
        return " · ".join(word for word in (self._note, more) if word)
