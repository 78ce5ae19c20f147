"""GTID sets add up, whatever the intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import RestoreError
from engines.mysql.binlogs.gtids import GtidSet, MariaGtid, MariaPosition, Source, gtid_text, parse_gtid

A = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
B = "4c96b939-e718-11f1-aedb-02fc00000001"
SOURCES: tuple[Source, ...] = ((A, ""), (A, "blue"), (B, ""))

Members = frozenset[tuple[Source, int]]
members = st.frozensets(st.tuples(st.sampled_from(SOURCES), st.integers(1, 40)))


def made(transactions: Members) -> GtidSet:
    return GtidSet.of((source, number, number) for source, number in transactions)


def listed(gtids: GtidSet) -> Members:
    return frozenset((source, number) for source, first, last in gtids.runs() for number in range(first, last + 1))


@given(members, members)
def test_the_arithmetic_of_gtid_sets_is_that_of_sets(left: Members, right: Members) -> None:
    a, b = made(left), made(right)
    assert listed(a | b) == left | right
    assert listed(a - b) == left - right
    assert listed(a & b) == left & right
    assert (a <= b) == (left <= right)
    assert len(a) == len(left)
    assert bool(a) == bool(left)


@given(members, members)
def test_equal_sets_are_equal_values_however_they_were_made(left: Members, right: Members) -> None:
    assert made(left) | made(right) == made(left | right)
    assert hash(made(left) | made(right)) == hash(made(left | right))


@given(members)
def test_a_set_survives_its_own_text(transactions: Members) -> None:
    gtids = made(transactions)
    assert GtidSet.parse(str(gtids)) == gtids


@given(members, st.sampled_from(SOURCES), st.integers(0, 42))
def test_membership_is_membership(transactions: Members, source: Source, number: int) -> None:
    assert made(transactions).has(source, number) == ((source, number) in transactions)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", ""),
        (f"{A}:1-5", f"{A}:1-5"),
        (f" {A.upper()}:5:1-3:4,\n{B}:9 ", f"{A}:1-5,{B}:9"),
        (A.replace("-", "") + ":1", f"{A}:1"),
        (f"{A}:1-3:blue:7:1-2", f"{A}:1-3:blue:1-2:7"),
        (f"{A}:Blue:1-3,{A}:4", f"{A}:4:blue:1-3"),
        (f"{A}:5-3", ""),
    ],
)
def test_every_way_to_write_a_set_is_read(text: str, canonical: str) -> None:
    assert str(GtidSet.parse(text)) == canonical


@pytest.mark.parametrize("text", ["x", A, f"{A}:", f"{A}:0-4", f"{A}:1:blue", f"{A}:1-{1 << 64}", "0-1-5", f"{A}:1.5"])
def test_what_is_no_set_is_refused_by_name(text: str) -> None:
    with pytest.raises(RestoreError, match="can't be read as GTIDs"):
        GtidSet.parse(text)


def test_a_mariadb_position_knows_what_came_before_it() -> None:
    position = MariaPosition.parse("1-2-5, 0-11-16")
    assert str(position) == "0-11-16,1-2-5"
    assert position.has(MariaGtid(0, 99, 16))
    assert not position.has(MariaGtid(0, 11, 17))
    assert not position.has(MariaGtid(2, 11, 1))
    assert not MariaPosition.parse("")


@pytest.mark.parametrize("text", ["0-1", "0-1-2,0-3-4", "a-b-c", "0-1-2;1-1-1"])
def test_what_is_no_mariadb_position_is_refused(text: str) -> None:
    with pytest.raises(RestoreError, match="can't be read as GTIDs"):
        MariaPosition.parse(text)


def test_one_transaction_is_read_in_both_notations() -> None:
    assert parse_gtid("0-11-16") == MariaGtid(0, 11, 16)
    assert parse_gtid(f"{A}:7") == ((A, ""), 7)
    assert parse_gtid(f"{A}:blue:7") == ((A, "blue"), 7)
    assert gtid_text((A, "blue"), 7) == f"{A}:blue:7"
    for text in (f"{A}:7-8", "", f"{A}:1,{B}:1"):
        with pytest.raises(RestoreError):
            parse_gtid(text)
