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


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b[2J",
        "\x1b]52;c;b3duZWQ=\x07",
        "\x1b]8;;https://owned.example\x1b\\",
        "\x9d52;c;b3duZWQ=\x9c",
        "\x9b31m",
        "\x1bPowned\x1b\\",
        "\x1b]0;never ended, owned",
        "\x00\r\x85",
        "\u202e\u2066\u061c",
        "\u200b\u2060\xad\U000e0041",
        "\udcff",
    ],
)
def test_no_sequence_control_or_invisible_letter_is_drawn(hostile: str) -> None:
    drawn = text.drawable(f"a{hostile}")
    assert drawn[0] == "a"
    assert set(drawn[1:]) == {"\N{REPLACEMENT CHARACTER}"}
    drawn.encode()
