"""Counts business days: those that are neither on a weekend nor among the given holidays."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, timedelta

_SATURDAY = 5


def is_business_day(day: date, holidays: Collection[date]) -> bool:
    return day.weekday() < _SATURDAY and day not in holidays


def business_days_after(day: date, days: int, holidays: Collection[date] = ()) -> date:
    """The business day that is `days` of them after `day`, which itself is not counted."""
    left = days
    while left > 0:
        day += timedelta(days=1)
        left -= is_business_day(day, holidays)
    return day
