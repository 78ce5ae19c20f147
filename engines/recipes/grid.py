"""The validation grid: counts against what the incident report expects. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engines.expectations import Expectation
from engines.session.events import GridRow
from engines.text import count

MATCH = "MATCH"
MISMATCH = "MISMATCH"
MISSING = "MISSING"
NONE = "NO EXPECTATION"

Counts = Mapping[str, int | None]


def grid(
    expectations: Sequence[Expectation], critical: Sequence[str], before: Counts, restored: Counts, report: str
) -> tuple[GridRow, ...]:
    """A row for each expected table, then for each critical one that the report does not name."""
    named = {expectation.name for expectation in expectations}
    rows = [_expected(expectation, before, restored, report) for expectation in expectations]
    rows += [
        GridRow(table, before.get(table), "", restored.get(table), None, NONE, "")
        for table in critical
        if table not in named and (table in restored or table in before)
    ]
    return tuple(rows)


def _expected(expectation: Expectation, before: Counts, restored: Counts, report: str) -> GridRow:
    table, found = expectation.name, restored.get(expectation.name)
    fewest, most = expectation.bounds
    told, source = bounds_text(expectation), expectation.source or report
    if found is None:
        verdict = MISSING if expectation.must_exist else MATCH
        return GridRow(table, before.get(table), told, None, None, verdict, source)
    difference = _difference(found, fewest, most, expectation.rows)
    within = (fewest is None or found >= fewest) and (most is None or found <= most)
    verdict = NONE if fewest is None and most is None else MATCH if within else MISMATCH
    return GridRow(table, before.get(table), told, found, difference, verdict, source)


def _difference(found: int, fewest: int | None, most: int | None, exact: int | None) -> int | None:
    """From the expected count where there is one, else from the bound that is broken."""
    if exact is not None:
        return found - exact
    if fewest is not None and found < fewest:
        return found - fewest
    if most is not None and found > most:
        return found - most
    return None if fewest is None and most is None else 0


def bounds_text(expectation: Expectation) -> str:
    """`48 209 377`, `120 000 ±0.5 %`, `≥ 100`, `10 to 20`."""
    fewest, most = expectation.bounds
    if expectation.rows is not None:
        slack = max(expectation.tolerance_rows or 0, 0)
        if expectation.tolerance_pct and expectation.rows * expectation.tolerance_pct / 100 > slack:
            return f"{count(expectation.rows)} ±{expectation.tolerance_pct:g} %"
        return f"{count(expectation.rows)} ±{count(slack)}" if slack else count(expectation.rows)
    if fewest is not None and most is not None:
        return f"{count(fewest)} to {count(most)}"
    if fewest is not None:
        return f"≥ {count(fewest)}"
    return f"≤ {count(most)}" if most is not None else ""
