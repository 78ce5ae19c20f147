"""What the validation grid makes of counts that are as expected, different, missing, or not to be had."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from engines.expectations import Expectation
from engines.recipes.grid import MATCH, MISMATCH, MISSING, NONE, UNCOUNTED, grid


def verdicts(
    expectations: tuple[Expectation, ...] = (),
    critical: tuple[str, ...] = (),
    before: Mapping[str, int | None] | None = None,
    restored: Mapping[str, int | None] | None = None,
    *,
    cased: bool = False,
) -> dict[str, str]:
    rows = grid(expectations, critical, before or {}, restored or {}, "report", cased=cased)
    return {row.table: row.verdict for row in rows}


def test_a_critical_table_that_was_there_before_and_is_gone_is_missing() -> None:
    expected = (Expectation("orders", rows=151),)
    before = {"transactions": 48_000_000, "orders": 151}
    assert verdicts(expected, ("transactions",), before, {"orders": 151}) == {
        "orders": MATCH,
        "transactions": MISSING,
    }
    assert verdicts((), ("transactions",), {"transactions": None}, {}) == {"transactions": MISSING}
    assert verdicts((), ("transactions",), {}, {"transactions": 5}) == {"transactions": NONE}
    assert verdicts((), ("transactions",), {}, {}) == {}


def test_a_critical_table_that_can_not_be_counted_any_more_is_not_passed_over() -> None:
    assert verdicts((), ("users",), {"users": 5}, {"users": None}) == {"users": UNCOUNTED}
    assert verdicts((), ("users",), {"users": None}, {"users": None}) == {"users": NONE}, "it never could"


@pytest.mark.parametrize("must_exist", [True, False])
def test_a_table_that_could_not_be_counted_is_not_taken_for_one_that_is_absent(must_exist: bool) -> None:
    search = (Expectation("search", rows=9999, must_exist=must_exist),)
    assert verdicts(search, restored={"search": None}) == {"search": UNCOUNTED}
    assert verdicts(search, restored={}) == {"search": MISSING if must_exist else MATCH}


def test_a_table_is_found_in_whatever_case_its_name_is_written() -> None:
    orders = (Expectation("Orders", rows=9999, must_exist=False),)
    assert verdicts(orders, restored={"orders": 151}) == {"Orders": MISMATCH}
    assert verdicts((Expectation("ORDERS", rows=151),), ("orders",), {"orders": 1}, {"orders": 151}) == {
        "ORDERS": MATCH
    }
    assert verdicts((), ("Users",), {"users": 5}, {"USERS": 5}) == {"Users": NONE}


def test_where_case_tells_tables_apart_another_case_is_another_table() -> None:
    orders = (Expectation("Orders", rows=151),)
    assert verdicts(orders, restored={"orders": 151}, cased=True) == {"Orders": MISSING}
    assert verdicts(orders, restored={"orders": 1, "Orders": 151}, cased=True) == {"Orders": MATCH}
