"""How far the step under way is: a bar, the amounts, the rate and the time that is left."""

from __future__ import annotations

from textual.strip import Strip
from textual.widget import Widget

from engines.session.work import Progress
from engines.text import count, duration, size
from tui.theme import PLAIN
from tui.view import View
from tui.widgets.cells import Line, fit, strip, width_of

_LEAST_BAR = 10


class ProgressLine(Widget):
    DEFAULT_CSS = "ProgressLine { height: 1; display: none; }"

    def __init__(self) -> None:
        super().__init__(id="progress")
        self._progress: Progress | None = None
        self._undo = ""

    def show(self, view: View) -> None:
        running = view.state.running
        telling = view.progress is not None and running is not None and view.progress.step == running.id
        before = self._progress
        self._progress = view.progress if telling else None
        self._undo = running.step.undo if running else ""
        self.display = self._progress is not None
        if self._progress is not before:
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        line = progress_line(self._progress, self._undo, width) if self._progress else ()
        return strip(line, width, self.rich_style)


def progress_line(progress: Progress, undo: str, width: int) -> Line:
    """`██████░░░░  62 %   8.1 GB of 13.0 GB   88.0 MB/s   ETA 1:33   undo: …`, with what fits."""
    if not progress.total:
        return ((fit(f" {progress.text}", width), PLAIN),)
    part = min(max(progress.done / progress.total, 0.0), 1.0)
    words = [f"{100 * progress.done // progress.total} %", f"{_amount(progress.done, progress)} of "]
    words[1] += _amount(progress.total, progress)
    if progress.still:
        words.insert(0, f"NOTHING FOR {duration(progress.still)}, see the log")
    if progress.rate > 0 and not progress.still:
        words.append(f"{_amount(int(progress.rate), progress)}/s")
    if progress.eta is not None and not progress.still:
        words.append(f"ETA {duration(progress.eta)}")
    if progress.text:
        words.append(progress.text)
    if undo:
        words.append(f"undo: {undo}")
    while len(words) > 1 and width_of("   ".join(words)) > width - _LEAST_BAR - 3:
        words.pop()
    told = "   ".join(words)
    bar = max(width - width_of(told) - 4, 0)
    bar = min(bar, 40)
    full = int(bar * part)
    return ((f" {'█' * full}{'░' * (bar - full)}  {told}", PLAIN),)


def _amount(number: int, progress: Progress) -> str:
    return size(number) if progress.unit == "B" else f"{count(number)} {progress.unit}".strip()
