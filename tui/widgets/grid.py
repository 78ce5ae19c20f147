"""Draws the validation grid, differences first."""

from __future__ import annotations

from collections.abc import Sequence

from engines.session.events import GridRow
from engines.text import count
from tui.theme import PLAIN, style_of
from tui.widgets.cells import Line, fit

# The most telling last: MATCH needs no eye, what has no expectation little.
_CALM = ("NO EXPECTATION", "MATCH")


def in_order(rows: Sequence[GridRow]) -> list[GridRow]:
    """Differences first, then what nobody said anything about, then what is as expected."""
    return sorted(rows, key=lambda row: _CALM.index(row.verdict) + 1 if row.verdict in _CALM else 0)


def tally(rows: Sequence[GridRow]) -> str:
    """`2 MISMATCH, 5 MATCH`: worst first."""
    counts: dict[str, int] = {}
    for row in in_order(rows):
        counts[row.verdict] = counts.get(row.verdict, 0) + 1
    return ", ".join(f"{number} {verdict}" for verdict, number in counts.items())


def _widths(width: int) -> tuple[int, int, int, int, int, int, int]:
    """Cells of table, before, expected, restored, difference, verdict, source. Narrow screens leave columns out."""
    verdict = 14
    if width < 74:
        number = 11
        before, expected, difference = 0, number, 7
        table = max(width - 2 * number - difference - verdict - 5, 6)
        return table, before, expected, number, difference, verdict, 0
    number = 12
    source = max(width - 20 - 3 * number - 8 - verdict - 7, 0)
    source = source if source >= 8 else 0
    table = width - 3 * number - 8 - verdict - 6 - (source + 1 if source else 0)
    if table > 32:
        source += table - 32
        table = 32
    return table, number, number, number, 8, verdict, source


def head(width: int) -> Line:
    return _line(width, "table", "before", "expected", "restored", "diff", "verdict", "source")


def grid_line(row: GridRow, width: int) -> Line:
    difference = "" if row.difference is None else f"{row.difference:+d}" if row.difference else "0"
    return _line(
        width,
        row.table,
        _number(row.before),
        row.expected or "—",
        _number(row.restored),
        difference,
        row.verdict,
        row.source,
    )


def _line(
    width: int, table: str, before: str, expected: str, restored: str, difference: str, verdict: str, source: str
) -> Line:
    wide = _widths(width)
    numbers = zip((before, expected, restored, difference), wide[1:5], strict=True)
    told = "".join(" " + fit(text, cells, right=True) for text, cells in numbers if cells)
    return (
        (fit(table, wide[0]) + told + " ", PLAIN),
        (fit(verdict, wide[5]), style_of(verdict)),
        (" " + fit(source, wide[6]) if wide[6] else "", PLAIN),
    )


def _number(value: int | None) -> str:
    return "—" if value is None else count(value)
