"""The validation grid: counts against what the incident report expects. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engines.expectations import Expectation
from engines.session.events import GridRow
from engines.text import count

MATCH = "MATCH"
MISMATCH = "MISMATCH"
MISSING = "MISSING"
UNCOUNTED = "NOT COUNTED"  # it is there, and could not be counted
NONE = "NO EXPECTATION"

Counts = Mapping[str, int | None]


def grid(
    expectations: Sequence[Expectation],
    critical: Sequence[str],
    before: Counts,
    restored: Counts,
    report: str,
    *,
    cased: bool = False,
) -> tuple[GridRow, ...]:
    """A row for each expected table, then for each critical one that the report does not name.

    In `before` and `restored` a table that could not be counted is None, and one that is not there is absent. `cased`:
    do names that differ in case only name different tables, as on most MySQL servers? SQLite's do not.
    """
    then, now = _Tables(before, cased), _Tables(restored, cased)
    named = _Tables({expectation.name: None for expectation in expectations}, cased)
    rows = [_expected(expectation, then, now, report) for expectation in expectations]
    rows += [
        GridRow(table, then.rows(table), "", now.rows(table), None, _unexpected(table, then, now), "")
        for table in critical
        if not named.has(table) and (then.has(table) or now.has(table))
    ]
    return tuple(rows)


class _Tables:
    """Counts by table, found by whatever case the database finds them by."""

    def __init__(self, counts: Counts, cased: bool) -> None:
        self._counts = counts
        self._names = {} if cased else {table.casefold(): table for table in counts}

    def _name(self, table: str) -> str | None:
        return table if table in self._counts else self._names.get(table.casefold())

    def has(self, table: str) -> bool:
        return self._name(table) is not None

    def rows(self, table: str) -> int | None:
        name = self._name(table)
        return self._counts[name] if name is not None else None


def _unexpected(table: str, then: _Tables, now: _Tables) -> str:
    """A critical table that nobody expects anything of: it must still be there, and still be countable."""
    if not now.has(table):
        return MISSING
    return UNCOUNTED if now.rows(table) is None and then.rows(table) is not None else NONE


def _expected(expectation: Expectation, then: _Tables, now: _Tables, report: str) -> GridRow:
    table, found = expectation.name, now.rows(expectation.name)
    fewest, most = expectation.bounds
    told, source = bounds_text(expectation), expectation.source or report
    if not now.has(table):
        verdict = MISSING if expectation.must_exist else MATCH
        return GridRow(table, then.rows(table), told, None, None, verdict, source)
    if fewest is None and most is None:
        return GridRow(table, then.rows(table), told, found, None, NONE, source)
    if found is None:
        return GridRow(table, then.rows(table), told, None, None, UNCOUNTED, source)
    difference = _difference(found, fewest, most, expectation.rows)
    within = (fewest is None or found >= fewest) and (most is None or found <= most)
    return GridRow(table, then.rows(table), told, found, difference, MATCH if within else MISMATCH, source)


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
