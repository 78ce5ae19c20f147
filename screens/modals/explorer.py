"""The transactions in the staged logs: which one did it, and what is done about it. The app reads; this draws."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static

from engines.recipes.mysql.exploring import Fate, Row, did, in_words
from engines.text import count, drawable, size, to_the_second
from tui.theme import BOLD, DIM, PLAIN, WARY
from tui.view import Explored
from tui.widgets.cells import Line, fit
from tui.widgets.header import Header
from tui.widgets.rows import Rows
from tui.widgets.words import tell

_MARKS = {Fate.REPLAYED: " ", Fate.AFTER: "-", Fate.LEFT_OUT: "x", Fate.DUMPED: "=", Fate.UNKNOWN: "?"}
_LEGEND = "blank replayed   - after the stop   x left out   = in the dump"
_KEYS = "Enter stop before it   x leave it out   / search   t moment   c whole text   Esc back"
_TIME = 15  # cells
_CUT, _SHORT = 300, 160  # letters of a statement in a row and below the list; the whole text has a key of its own


class Transactions(Rows):
    """Rows that ask for more when somebody moves against their end."""

    class Edge(Message):
        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    def action_move(self, by: int) -> None:
        before = self.selected
        super().action_move(by)
        self._asks(before, by)

    def action_page(self, by: int) -> None:
        before = self.selected
        super().action_page(by)
        self._asks(before, by)

    def _asks(self, before: str, by: int) -> None:
        if self.selected == before and before:
            self.post_message(self.Edge(by))


class ExplorerModal(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, f"press('{name}')", show=False)
        for key, name in (
            ("enter", "stop"),
            ("x", "leave-out"),
            ("slash", "search"),
            ("t", "moment"),
            ("c", "whole"),
            ("escape", "back"),
            ("q", "back"),
        )
    ]
    DEFAULT_CSS = """
    ExplorerModal { background: $background; layout: vertical; }
    ExplorerModal Static { height: auto; padding: 0 1; }
    ExplorerModal #where { background: $panel; max-height: 2; }
    ExplorerModal #about { max-height: 7; }
    ExplorerModal #said { max-height: 3; }
    ExplorerModal #keys { background: $panel; }
    """

    class Pressed(Message):
        """A key was pressed with this transaction under the cursor; `more-1` and `more1` ask for more of them."""

        def __init__(self, key: str, place: str) -> None:
            super().__init__()
            self.key = key
            self.place = place

    def __init__(self, target: str) -> None:
        super().__init__()
        self._target = target
        self._seen = Explored()
        self._here = ""

    def compose(self) -> ComposeResult:
        yield Header()
        yield Static("", id="where", markup=False)
        yield Transactions("Transactions", id="transactions", empty="reading …")
        yield Static("", id="about", markup=False)
        yield Static("", id="said", markup=False)
        yield Static(Text(_KEYS, BOLD), id="keys", markup=False)

    def on_mount(self) -> None:
        self.query_one(Transactions).focus()
        self.show(self._seen, "")

    def on_resize(self) -> None:
        self._show_rows()

    def show(self, seen: Explored, status: str) -> None:
        """`status` is the last refusal of the app's own."""
        self._seen = seen
        if not self.is_mounted:
            return
        tell(self.query_one("#where", Static), Text(drawable(f"{self._target}  Restored {seen.told}"), BOLD))
        self._show_rows()
        said = " ".join(part for part in (status, seen.trouble) if part)
        text = Text(drawable(said), WARY) if said else Text(_LEGEND, DIM)
        tell(self.query_one("#said", Static), Text(_working(seen), BOLD) if seen.working else text)

    def _show_rows(self) -> None:
        rows, seen = self.query_one(Transactions), self._seen
        if seen.here != self._here:
            self._here = seen.here
            rows.follow()
        rows.show(
            [row.place for row in seen.rows],
            lambda index, width: row_line(seen.rows[index], width),
            heading=f"Transactions: {seen.heading}" if seen.heading else "Transactions",
            head=head(max(rows.size.width - 2, 0)) if seen.rows else None,
            note=count(len(seen.rows)),
            prefer=seen.here,
            empty="reading …" if seen.working or not seen.heading else "none found",
        )
        self._show_selected()

    def on_rows_moved(self) -> None:
        self._show_selected()

    def on_transactions_edge(self, event: Transactions.Edge) -> None:
        event.stop()
        self.post_message(self.Pressed(f"more{event.by}", self.place))

    def _show_selected(self) -> None:
        row = next((row for row in self._seen.rows if row.place == self.place), None)
        tell(self.query_one("#about", Static), about(row))

    @property
    def place(self) -> str:
        """The transaction under the cursor."""
        return self.query_one(Transactions).selected

    def action_press(self, key: str) -> None:
        self.post_message(self.Pressed(key, self.place))


def _working(seen: Explored) -> str:
    share = f" {100 * seen.done:.0f} %" if seen.done is not None else ""
    return f"{drawable(seen.working)} …{share}   Esc stops it"


def head(width: int) -> Line:
    return ((fit("  committed UTC", _TIME + 2) + " " + fit("what it did", width - _TIME - 3), PLAIN),)


def row_line(row: Row, width: int) -> Line:
    what = did(row)
    statement = " ".join(row.statements[0][:_CUT].split()) if row.statements else ""
    told = f"{what}  {statement}" if what and statement else what or statement or "nothing that the log tells"
    style = WARY if row.fate is Fate.LEFT_OUT else DIM if row.fate in (Fate.AFTER, Fate.DUMPED) else PLAIN
    return (
        (f"{_MARKS[row.fate]} {fit(_when(row.at), _TIME)} ", style),
        (fit(told, width - _TIME - 3), style),
    )


def _when(moment: datetime) -> str:
    """`22 18:40:07.123`: the day of the month and milliseconds; the whole of it is below the list."""
    return f"{moment:%d %H:%M:%S}.{moment.microsecond // 1000:03}"


def about(row: Row | None) -> Text:
    """Everything about one transaction but the end of a long statement."""
    if row is None:
        return Text("")
    doubt = "" if row.precise else " (whole seconds, which its session can set)"
    text = Text()
    text.append(drawable(f"{row.place}  {row.gtid or 'no GTID'}") + "\n", BOLD)
    text.append(f"committed {to_the_second(row.at)}{doubt}, {size(row.size)}, {row.fate}\n")
    tables = "; ".join(in_words(table) for table in row.tables[:6])
    more = f"; and {len(row.tables) - 6} more tables" if len(row.tables) > 6 else ""
    text.append(drawable(f"{tables}{more}" or row.unclear or "the log names no table"))
    if row.statements:
        statement = " ".join(row.statements[0].split())
        cut = f"{statement[:_SHORT]}… (c: the whole text)" if len(statement) > _SHORT else statement
        others = len(row.statements) - 1 + row.more
        text.append("\n" + drawable(f"{cut}{f' and {_more(others)} (c)' if others else ''}"))
    return text


def _more(statements: int) -> str:
    return f"{count(statements)} more statement{'s' if statements != 1 else ''}"


def whole(row: Row) -> list[str]:
    """The same without an end cut off, line by line."""
    lines = [*about(row).plain.split("\n")[:2], ""]
    lines += [in_words(table) for table in row.tables] or ["The log names no table."]
    for statement in row.statements:
        lines += ["", *statement.splitlines()]
    if row.more:
        lines += ["", f"and {_more(row.more)}"]
    if not row.statements:
        lines += ["", "The log has rows, not the statement that changed them."]
    return lines
