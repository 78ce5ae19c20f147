"""What is left of a swap, worked out from where each table is: also where a RENAME was carried out in part."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from engines.mysql.dumps.code import Kind
from engines.mysql.stage.found import Found
from engines.mysql.stage.names import names
from engines.mysql.stage.objects import Code
from engines.mysql.stage.steps import Goal, Swap, Tables, astray, moves, remaining, strange, where

NAMES = names("shop", "7f3a")
NOON = datetime(2026, 11, 22, 12, 0)  # noqa: DTZ001 - as a server gives it
NIGHTLY = Code(
    kind=Kind.EVENT,
    name="nightly",
    text="CREATE EVENT `nightly` ON SCHEDULE AT '2026-11-22 11:59:59' ON COMPLETION NOT PRESERVE ENABLE DO SET @a = 1",
    client="utf8mb4",
    collation="utf8mb4_general_ci",
    time_zone="SYSTEM",
)
VIEW = Code(kind=Kind.VIEW, name="v", text="CREATE VIEW `v` AS select 1 AS `1`", client="utf8mb4", collation="x")


def swap(*, parks: str = "a b ghost", new: str = "a b fresh", old: tuple[Code, ...] = ()) -> Swap:
    return Swap(
        names=NAMES,
        session="s",
        old_tables=("a", "b", "ghost"),
        new_tables=tuple(new.split()),
        parks=tuple(parks.split()),
        old=old,
        new=(),
        create="CREATE DATABASE `shop`",
        existed=True,
        collation="utf8mb4_general_ci",
    )


def found(live: str, stage: str, parked: str, code: tuple[Code, ...] = ()) -> Found:
    return Found(
        exists=True,
        kept=True,
        collation="utf8mb4_general_ci",
        live=frozenset(live.split()),
        stage=frozenset(stage.split()),
        parked=frozenset(parked.split()),
        code=code,
        aside=(),
        now=NOON,
        now_there=NOON,
    )


def moved(at: Found, done: tuple[tuple[str, str, str], ...]) -> Found:
    """After some of the moves."""
    places = {NAMES.live: set(at.live), NAMES.stage: set(at.stage), NAMES.parked: set(at.parked)}
    for table, source, to in done:
        assert table not in places[to]
        places[source].remove(table)
        places[to].add(table)
    live, stage, parked = (frozenset(places[name]) for name in (NAMES.live, NAMES.stage, NAMES.parked))
    return replace(at, live=live, stage=stage, parked=parked)


@pytest.mark.parametrize("parks", ["a b ghost", "a b"])
@pytest.mark.parametrize("first", list(Goal))
@pytest.mark.parametrize("then", list(Goal))
def test_a_rename_carried_out_in_part_is_gone_on_with_or_taken_back(parks: str, first: Goal, then: Goal) -> None:
    """No server does that as long as its renames are atomic; those of MyISAM are not."""
    plan = swap(parks=parks)
    old = found("a b ghost", "a b fresh", "")
    new = moved(old, moves(plan, old, Goal.NEW))
    assert where(plan, old) is Tables.OLD
    assert where(plan, new) is Tables.NEW
    begun = old if first is Goal.NEW else new
    whole = moves(plan, begun, first)
    for count in range(len(whole) + 1):
        between = moved(begun, whole[:count])
        assert astray(plan, between, then) == ()
        after = moved(between, moves(plan, between, then))
        assert after == (new if then is Goal.NEW else old)


def test_where_both_schemas_are_gone_nothing_is_concluded() -> None:
    assert where(swap(), replace(found("a b", "", ""), kept=False)) is Tables.GONE


def test_a_table_that_is_where_it_cannot_be_is_named() -> None:
    assert astray(swap(), found("a b ghost fresh", "a b fresh", ""), Goal.NEW) == (
        "fresh is in shop and in shop_r7f3a_new",
    )
    assert astray(swap(), found("a b", "a b fresh", ""), Goal.OLD) == ("ghost is gone",)
    assert astray(swap(), found("a b ghost", "a fresh", ""), Goal.NEW) == ("b is gone from shop_r7f3a_new",)
    assert astray(swap(), found("a b ghost", "a fresh", ""), Goal.OLD) == ()


def test_an_event_whose_time_has_passed_is_not_missed() -> None:
    plan = swap(old=(NIGHTLY,))
    assert remaining(plan, found("a b ghost", "a b fresh", ""), Goal.OLD) == ()
    later = replace(NIGHTLY, text=NIGHTLY.text.replace("11:59:59", "12:00:01"))
    left = remaining(swap(old=(later,)), found("a b ghost", "a b fresh", ""), Goal.OLD)
    assert [act.what for act in left] == ["make event nightly"]
    ahead = replace(later, time_zone="-01:00")  # its 12:00:01 is 13:00:01 UTC
    assert remaining(swap(old=(ahead,)), found("a b ghost", "a b fresh", ""), Goal.OLD) != ()
    behind = replace(later, time_zone="+02:00")
    assert remaining(swap(old=(behind,)), found("a b ghost", "a b fresh", ""), Goal.OLD) == ()


def test_a_view_that_the_swap_has_broken_is_known_by_its_name() -> None:
    broken = replace(VIEW, text="CREATE VIEW `v` AS select …", broken=True)
    at = found("a b ghost", "a b fresh", "", (broken,))
    assert strange(swap(old=(VIEW,)), at) == ()
    assert strange(swap(old=(VIEW,)), replace(at, code=(replace(broken, broken=False),))) == ("view v",)
    assert strange(swap(), at) == ("view v",)
