"""How values are told to people."""

from __future__ import annotations

import pytest

from engines import text


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (5520, "1 h 32 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (168_900, "1 d 22 h"),
        (25 * 86_400 + 10 * 3600, "25 d 10 h"),
        (-5520, "-1 h 32 min"),
    ],
)
def test_an_age_names_its_units_so_that_minutes_are_not_read_as_hours(seconds: float, told: str) -> None:
    assert text.span(seconds) == told
