"""How far a restore goes beyond its dump, as somebody types it."""

from __future__ import annotations

import msgspec
import pytest

from engines.errors import UsageError
from engines.recipes.mysql.until import Kind, Until, from_backup, parse_until, told

UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("dump", Until()),
        (" end ", Until(Kind.END)),
        ("2026-11-22T21:04:11+01:00", Until(Kind.TIME, "2026-11-22T20:04:11Z")),
        ("2026-11-22T20:04:11.25Z", Until(Kind.TIME, "2026-11-22T20:04:11.250000Z")),
        ("binlog.000123:4567", Until(Kind.POSITION, "binlog.000123:4567")),
        ("mysql-bin.1000000:4", Until(Kind.POSITION, "mysql-bin.1000000:4")),
        (f"{UUID}:23", Until(Kind.GTID, f"{UUID}:23")),
        (f"{UUID}:nightly:23", Until(Kind.GTID, f"{UUID}:nightly:23")),
        ("0-11-16", Until(Kind.GTID, "0-11-16")),
    ],
)
def test_what_is_typed_is_the_moment_that_is_meant(typed: str, expected: Until) -> None:
    assert parse_until(typed) == expected
    assert from_backup({"until": msgspec.to_builtins(expected)}) == expected


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("2026-11-22T20:04:11", "A time without a zone"),
        ("2026-11-22", "A time without a zone"),
        ("yesterday", "no moment"),
        ("", "no moment"),
        ("binlog.000123", "no moment"),
        (f"{UUID}:1-5", "no moment"),
        ("\x1b[31m", "no moment"),
    ],
)
def test_what_could_mean_another_moment_is_refused(typed: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refusal:
        parse_until(typed)
    assert refusal.value.hint
    assert "\x1b" not in refusal.value.message


def test_a_transaction_can_be_left_out_only_of_a_replay_and_only_by_its_name() -> None:
    assert parse_until("end", ("binlog.000002:1234",)).exclude == ("binlog.000002:1234",)
    with pytest.raises(UsageError, match="nothing can be left out"):
        parse_until("dump", ("binlog.000002:1234",))
    with pytest.raises(UsageError, match="names no transaction"):
        parse_until("end", ("the bad one",))


def test_a_restore_point_is_told_in_words() -> None:
    assert told(Until()) == "no further than the dump"
    assert told(parse_until("0-11-16", ("0-11-14",))) == "to just before 0-11-16, without 0-11-14"
    assert not from_backup({}).replays
