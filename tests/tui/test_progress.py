"""The line that says how far a step is."""

from __future__ import annotations

from engines.session.work import Progress
from tui.widgets.progress import progress_line


def line(progress: Progress, width: int = 120) -> str:
    return "".join(text for text, _ in progress_line(progress, "", width))


def test_while_nothing_comes_it_says_for_how_long_instead_of_a_rate_that_is_none() -> None:
    told = line(Progress("3.1", 10_000_000, 100_000_000, "B", 1e6, 90.0, "orders"))
    assert "10 %   10.0 MB of 100 MB   1.0 MB/s   ETA 1:30   orders" in told
    told = line(Progress("3.1", 10_000_000, 100_000_000, "B", 1e6, 90.0, "orders", still=45.0))
    assert "NOTHING FOR 0:45, see the log   10 %   10.0 MB of 100 MB   orders" in told
    assert "ETA" not in told


def test_on_a_narrow_terminal_the_silence_goes_before_the_bar() -> None:
    told = line(Progress("3.1", 10_000_000, 100_000_000, "B", 1e6, 90.0, "orders, 12 rows", still=45.0), 60)
    assert "NOTHING FOR 0:45, see the log   10 %" in told
