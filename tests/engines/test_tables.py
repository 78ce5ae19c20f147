"""The table reader: every problem at once, in words, and what is written reads back equal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import tables, values
from engines.errors import Problem


class Colour(StrEnum):
    RED = "bright red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Wheel:
    size: int
    tyre: str = "rubber"


@dataclass(frozen=True, slots=True)
class Horn:
    name: str = field(metadata={"internal": True})
    loud: bool = False


@dataclass(frozen=True, slots=True)
class Cart:
    owner: str
    built: datetime
    colour: Colour = Colour.BLUE
    shed: Path | None = None
    service: timedelta = timedelta(hours=1)
    weight: float = 1.0
    wheels: tuple[Wheel, ...] = field(default=(), metadata={"key": "wheel"})
    horns: Mapping[str, Horn] = field(default_factory=dict, metadata={"key": "horn"})
    newest: datetime | int | None = None
    serial: str = field(default="", metadata={"internal": True})


WHOLE: dict[str, object] = {
    "owner": "Ana",
    "built": "2026-11-22T19:40:00+01:00",
    "colour": "red",
    "shed": "/srv",
    "service": "1h30m",
    "weight": 2,
    "wheel": [{"size": 3}, {"size": 4, "tyre": "wood"}],
    "horn": {"front": {"loud": True}},
    "newest": 7,
}


def read(table: Mapping[str, object]) -> tuple[Cart | None, list[Problem]]:
    problems: list[Problem] = []
    return tables.read(Cart, table, "cart.toml", problems), problems


def problem(**changed: object) -> Problem:
    """The one problem that the changes make."""
    cart, problems = read({**WHOLE, **changed})
    assert cart is None
    assert len(problems) == 1, problems
    return problems[0]


def test_a_whole_table_becomes_facts() -> None:
    cart, problems = read(WHOLE)
    assert problems == []
    assert cart == Cart(
        owner="Ana",
        built=datetime(2026, 11, 22, 18, 40, tzinfo=UTC),
        colour=Colour.RED,
        shed=Path("/srv"),
        service=timedelta(minutes=90),
        weight=2.0,
        wheels=(Wheel(3), Wheel(4, "wood")),
        horns={"front": Horn("front", loud=True)},
        newest=7,
    )


def test_what_is_written_survives_json_and_reads_back_equal() -> None:
    cart, _ = read(WHOLE)
    assert cart is not None
    problems: list[Problem] = []
    again = tables.read(Cart, json.loads(json.dumps(tables.write(cart))), "plan", problems, internal=True)
    assert (again, problems) == (cart, [])


def test_everything_that_is_wrong_is_reported_at_once() -> None:
    cart, problems = read(
        {"ownr": "Ana", "colour": "green", "wheel": [{"size": "3"}, {"sise": 4}], "horn": {"front": 1}}
    )
    assert cart is None
    assert {p.key for p in problems} == {
        "ownr",
        "owner",
        "built",
        "colour",
        "wheel[1].size",
        "wheel[2].sise",
        "wheel[2].size",
        "horn.front",
    }


def test_an_unknown_key_names_the_nearest_known_one() -> None:
    assert problem(colur="red").hint == 'Did you mean "colour"?'
    assert problem(zzz=1).hint.startswith("Known here: owner, built,")


def test_what_only_reinstate_writes_is_unknown_in_a_file_of_peoples() -> None:
    assert problem(serial="7").key == "serial"
    assert problem(horn={"front": {"name": "rear"}}).key == "horn.front.name"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("owner", 7, "must be text, not a whole number."),
        ("owner", "a\x1b[2Jb", "holds the control character U+001B."),
        ("owner", ["Ana"], "must be text, not a list."),
        ("colour", "green", "can't be 'green'."),
        ("colour", 3, "can't be a whole number."),
        ("built", datetime(2026, 11, 22, 19, 40), "is a time without a zone."),  # noqa: DTZ001 - the refused case
        ("built", "2026-11-22 19:40", "is a time without a zone."),
        ("built", "2026-11-22 19:40 CET", "'2026-11-22 19:40 CET' is not a time."),
        ("built", "0001-01-01T00:00:00+14:00", "is outside the calendar."),
        ("built", 5, "must be a time with its zone, not a whole number."),
        ("shed", "~/cart", "starts with ~, which is root's home under sudo."),
        ("shed", "", "is empty."),
        ("shed", "a\nb", "holds a line end or a tab."),
        ("service", 90, "must be a length of time, not a whole number."),
        ("service", "90", "'90' is not a length of time."),
        ("service", "-5m", "'-5m' is not a length of time."),
        ("service", "9999d", "'9999d' is more than ten years."),
        ("weight", "heavy", "must be a number, not text."),
        ("weight", True, "must be a number, not true or false."),
        ("weight", float("nan"), "must be a number, not nan."),
        ("wheel", {"size": 3}, "must be a list, not a table."),
        ("wheel", [3], "must be a table, not a whole number."),
        ("horn", [], "must be a table, not a list."),
        ("newest", "soon", "'soon' is not a time."),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_in_words(key: str, value: object, words: str) -> None:
    found = problem(**{key: value})
    assert found.message == words
    assert found.key.startswith(key)


def test_a_hostile_key_is_shown_as_harmless_text() -> None:
    found = problem(**{"\x1b[2Jowner\u202e": 1})
    assert "\x1b" not in str(found)
    assert "\u202e" not in str(found)


def test_a_time_may_say_utc_in_words() -> None:
    assert values.moment("2026-11-22 19:40 UTC") == datetime(2026, 11, 22, 19, 40, tzinfo=UTC)


@given(st.integers(min_value=0, max_value=3650 * 86_400 * 1000).map(lambda ms: timedelta(milliseconds=ms)))
def test_a_length_of_time_reads_back_as_it_was_written(length: timedelta) -> None:
    assert abs(values.duration(values.duration_text(length)) - length) <= timedelta(microseconds=1)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(sorted(WHOLE)),
)
def test_no_value_whatsoever_makes_the_reader_fail(value: object, key: str) -> None:
    cart, problems = read({**WHOLE, key: value})
    assert (cart is None) == bool(problems)


@pytest.mark.parametrize(
    "address", ["ftp://a/b", "http://", "https://ana:secret@shop/", "http://a b/", "http://[::1", "shop/up"]
)
def test_an_address_that_is_none_or_holds_a_password_is_refused(address: str) -> None:
    with pytest.raises(values.WrongValue) as refusal:
        values.url(address)
    assert "secret" not in refusal.value.message


@pytest.mark.parametrize("value", ["php artisan down", [1], [""], {"a": 1}, True])
def test_a_command_that_is_no_list_of_arguments_is_refused(value: object) -> None:
    with pytest.raises(values.WrongValue):
        values.program(value)


@pytest.mark.parametrize("value", [False, []])
def test_a_command_can_be_left_unconfigured(value: object) -> None:
    assert values.program(value) == ()
