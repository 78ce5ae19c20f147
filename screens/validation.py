"""Is the data right? What was expected beside what was restored, differences first, and the application's checks."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.reactive import var
from textual.screen import Screen
from textual.widgets import Static

from engines.checks import Panel
from engines.session.state import Grid, SessionState
from engines.text import both_zones, drawable
from tui.keys import Pressed, bindings
from tui.pages import LIVE
from tui.view import Page, View
from tui.widgets.checks import about, of_panel, show_checks
from tui.widgets.frame import framed, show_frame
from tui.widgets.grid import grid_line, head, in_order, tally
from tui.widgets.rows import Rows
from tui.widgets.words import tell

PAGE = Page.VALIDATION


class ValidationScreen(Screen[None]):
    BINDINGS = bindings(PAGE)
    DEFAULT_CSS = """
    ValidationScreen #grid { height: 3fr; }
    ValidationScreen #checks { height: 2fr; }
    ValidationScreen #about { height: auto; max-height: 5; padding: 0 1; }
    """

    view: var[View] = var(View(), init=False)
    composed = False  # from on_mount on there is something to draw on

    def compose(self) -> ComposeResult:
        yield from framed(
            PAGE,
            Rows("Validation", id="grid", empty="Nothing has been counted yet."),
            Rows("Checks", id="checks", empty="not asked yet"),
            Static("", id="about", markup=False),
        )

    def on_mount(self) -> None:
        self.composed = True
        self.query_one("#grid", Rows).focus()
        self.watch_view(self.view)

    def on_resize(self) -> None:
        self.watch_view(self.view)

    def watch_view(self, view: View) -> None:
        if not self.composed:
            return
        grid = shown_grid(view)
        rows = in_order(grid.rows) if grid else []
        panel = self.query_one("#grid", Rows)
        panel.show(
            [row.table for row in rows],
            lambda index, width: grid_line(rows[index], width),
            heading=_heading(grid, view.state) if grid else "Validation",
            head=head(max(panel.size.width - 2, 0)) if rows else None,
            note=tally(rows),
            empty="Nothing was counted: no table is expected." if grid else "Nothing has been counted yet.",
        )
        show_checks(self.query_one("#checks", Rows), of_panel(view.state, Panel.VALIDATION), "Checks")
        self._show_selected()

    def on_rows_moved(self) -> None:
        self._show_selected()

    def on_descendant_focus(self) -> None:
        self._show_selected()

    def _show_selected(self) -> None:
        if not self.composed:
            return
        text = self._about()
        tell(self.query_one("#about", Static), text)
        show_frame(self, PAGE, self.view, self.subject)

    def _about(self) -> Text:
        grid = shown_grid(self.view)
        if isinstance(self.focused, Rows) and self.focused.id == "grid" and grid is not None:
            row = next((row for row in grid.rows if row.table == self.focused.selected), None)
            if row is None:
                return Text("")
            source = f"; {row.source}" if row.source else ""
            told = f"{row.table}: {row.verdict}, expected {row.expected or 'nothing'}{source}"
            return Text(drawable(f"{told}. Counted {both_zones(grid.at)}"))
        return about(self.view.state.checks.get(self.subject))

    @property
    def subject(self) -> str:
        """The selected check, also while the grid has the arrows."""
        return self.query_one("#checks", Rows).selected

    def action_press(self, key: str) -> None:
        self.post_message(Pressed(key, self.subject))


def _heading(grid: Grid, state: SessionState) -> str:
    before = ", before the undo" if grid.where == LIVE and state.puts_back else ""
    return f"Validation of the {grid.where}{before}"


def shown_grid(view: View) -> Grid | None:
    """The grid that the operator asked for, else the newest."""
    grids = view.state.grids
    newest = max(grids.values(), key=lambda grid: grid.at, default=None)
    return grids.get(view.grid, newest)
