"""Something to read on the whole screen: the plan, exact commands, the keys; and a step's log, followed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.theme import BOLD
from tui.view import LogSeen
from tui.widgets.cells import unbroken
from tui.widgets.header import Header
from tui.widgets.log import LogPane

_KEYS = "Esc back   ↑ ↓ PgUp PgDn Home End move"


class ReadingModal(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "dismiss", show=False)]
    DEFAULT_CSS = """
    ReadingModal { background: $background; }
    ReadingModal Static { height: 1; background: $panel; padding: 0 1; }
    """

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        super().__init__()
        self._head = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        yield Header()
        yield LogPane(id="text")
        yield Static(Text(_KEYS, BOLD), id="keys", markup=False)

    def on_mount(self) -> None:
        text = self.query_one(LogPane)
        text.show(self._head, LogSeen(lines=tuple(self._lines)), text=True)
        text.focus()


class LogModal(ModalScreen[None]):
    """The log of one step, wide. The app shows it what has been read."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,l", "dismiss", show=False)]
    DEFAULT_CSS = """
    LogModal { background: $background; }
    LogModal Static { height: auto; background: $panel; }
    LogModal #keys { padding: 0 1; }
    """

    def __init__(self, step: str, title: str, where: str) -> None:
        super().__init__()
        self.step = step
        self._head = title
        self._where = where
        self._composed = False
        self._seen = LogSeen()

    def compose(self) -> ComposeResult:
        yield Header()
        yield LogPane(id="whole-log")
        yield Static("", id="where", markup=False)
        yield Static(Text("Esc back   End follows   ← → sideways", BOLD), id="keys", markup=False)

    def on_mount(self) -> None:
        self._composed = True
        self.query_one(LogPane).focus()
        self.show(self._seen)

    def on_resize(self) -> None:
        # From the line's start and cut where it ends: it is copied from the terminal.
        self.query_one("#where", Static).update(Text("\n".join(unbroken(self._where, self.size.width))))

    def show(self, seen: LogSeen) -> None:
        self._seen = seen
        if self._composed:
            self.query_one(LogPane).show(self._head, seen)
