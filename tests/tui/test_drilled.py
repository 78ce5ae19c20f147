"""Drills in words and as a chart."""

from __future__ import annotations

from datetime import timedelta

from engines.recipes.drills.outcome import Outcome
from tests.engines.recipes.drills_of import AT, drill_of
from tui.drilled import bars, chart, summary, told


def test_a_backups_proof_is_told_with_its_age_and_how_long_it_took() -> None:
    assert told(drill_of(), AT + timedelta(days=2)) == "restored in a drill 2 d ago in 4:10"


def test_a_backup_that_did_not_restore_says_why() -> None:
    words = told(drill_of(0, Outcome.NOT_PROVEN), AT + timedelta(hours=1))
    assert words == "did NOT restore in a drill 1 h ago: staged copy: counts: users MISMATCH"


def test_bars_reach_from_nothing_to_the_largest_and_a_cross_is_none() -> None:
    assert bars((0.0, 50.0, None, 100.0)) == "▁▅✗█"
    assert bars((0.0,)) == "▁"
    assert bars(()) == ""


def test_the_chart_is_oldest_first_and_says_the_objective() -> None:
    found = (drill_of(0, seconds=7200.0), drill_of(1, Outcome.NOT_PROVEN), drill_of(2, seconds=900.0))
    assert tuple(chart(found)) == ("RTO  ▂✗█  last MISSED 2:00:00 of 1 h", "RPO  █✗█  last 1 h")


def test_without_a_proof_there_is_nothing_to_draw() -> None:
    assert tuple(chart((drill_of(0, Outcome.REFUSED), drill_of(1, Outcome.NOT_PROVEN)))) == ()
    assert tuple(chart(())) == ()


def test_the_last_drill_is_told_before_an_older_proof() -> None:
    now = AT + timedelta(hours=7)
    assert summary((drill_of(), drill_of(1)), now) == "restored in a drill 7 h ago in 4:10"
    bad = drill_of(0, Outcome.NOT_PROVEN)
    assert summary((bad, drill_of(1)), now) == "last drill NOT PROVEN 7 h ago; proven 1 d 7 h ago"
    assert summary((bad,), now) == "last drill NOT PROVEN 7 h ago; none has proved a backup"
    assert summary((drill_of(0, Outcome.UNDER_WAY),), now) == "its first drill is under way"
