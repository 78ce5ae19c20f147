"""The lines that every screen ends with: what comes next, what was said last, and the keys."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from engines.text import drawable
from tui.keys import Label
from tui.theme import BOLD, DIM, PLAIN, WARY
from tui.widgets.cells import Line, Piece, fit, strip, width_of
from tui.widgets.words import tell

_GAP = "   "


class Foot(Vertical):
    DEFAULT_CSS = """
    Foot { height: auto; dock: bottom; background: $panel; }
    Foot > Static { height: auto; max-height: 4; padding: 0 1; }
    Foot > #status { max-height: 3; }
    """

    def compose(self) -> ComposeResult:
        yield Static("", id="next", markup=False)
        yield Static("", id="status", markup=False)
        yield KeyLine()

    def show(self, coming: str, said: str, calm: str, labels: Sequence[Label]) -> None:
        """`said` is what went wrong or was refused last; `calm` what went well, where nothing else is said."""
        tell(self.query_one("#next", Static), Text(drawable(coming), style=BOLD))
        tell(self.query_one("#status", Static), Text(drawable(said), WARY) if said else Text(drawable(calm)))
        self.query_one(KeyLine).show(tuple(labels))


class KeyLine(Widget):
    DEFAULT_CSS = "KeyLine { height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._labels: tuple[Label, ...] = ()

    def show(self, labels: tuple[Label, ...]) -> None:
        if labels != self._labels:
            self._labels = labels
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        return strip(key_line(self._labels, width), width, self.rich_style)


def key_line(labels: Sequence[Label], width: int) -> Line:
    """As many keys as fit: the first two and the last always. A blocked one is dim, in brackets."""
    shown = _fitting(labels, width - 1)
    line: list[Piece] = [(" ", PLAIN)]
    for label in shown:
        gap = _GAP if len(line) > 1 else ""
        if label.blocked:
            line.append((gap + _words(label), DIM))
        else:
            line.append((gap + label.shown, BOLD))
            line.append((f" {label.label}", PLAIN))
    used = sum(width_of(text) for text, _ in line)
    line.append((fit("", width - used), PLAIN))
    return tuple(line)


def _fitting(labels: Sequence[Label], room: int) -> list[Label]:
    must = {0, 1, len(labels) - 1}
    kept = [index for index in range(len(labels)) if index in must]
    for index in range(len(labels)):
        trial = sorted({*kept, index})
        if sum(width_of(_words(labels[i])) + len(_GAP) for i in trial) - len(_GAP) <= room:
            kept = trial
    return [labels[index] for index in kept]


def _words(label: Label) -> str:
    words = f"{label.shown} {label.label}"
    return f"({words})" if label.blocked else words
