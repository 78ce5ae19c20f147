"""The day by which an incident is reviewed: weekends and holidays do not count, over the end of a year neither."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from engines.business_days import business_days_after, is_business_day

HOLIDAYS = frozenset({date(2026, 12, 25), date(2027, 1, 1), date(2026, 12, 28)})


@pytest.mark.parametrize(
    ("day", "days", "due"),
    [
        (date(2026, 11, 23), 3, date(2026, 11, 26)),  # Monday: Thursday
        (date(2026, 11, 25), 3, date(2026, 11, 30)),  # Wednesday: over the weekend
        (date(2026, 11, 21), 3, date(2026, 11, 25)),  # Saturday, as Sunday: Wednesday
        (date(2026, 11, 22), 3, date(2026, 11, 25)),
        (date(2026, 12, 24), 3, date(2026, 12, 31)),  # two holidays and a weekend between
        (date(2026, 12, 31), 3, date(2027, 1, 6)),  # New Year on a Friday
        (date(2028, 2, 28), 1, date(2028, 2, 29)),
        (date(2026, 11, 22), 0, date(2026, 11, 22)),
    ],
)
def test_so_many_business_days_later(day: date, days: int, due: date) -> None:
    assert business_days_after(day, days, HOLIDAYS) == due


@given(
    some.dates(date(2000, 1, 1), date(2100, 1, 1)),
    some.integers(1, 20),
    some.sets(some.dates(date(2000, 1, 1), date(2101, 1, 1)), max_size=5),
)
def test_there_are_exactly_as_many_between(day: date, days: int, holidays: set[date]) -> None:
    due = business_days_after(day, days, holidays)
    between = [day + timedelta(days=n) for n in range(1, (due - day).days + 1)]
    assert sum(is_business_day(one, holidays) for one in between) == days
    assert is_business_day(due, holidays)
