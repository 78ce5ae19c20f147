"""An empty, stale, shrinking or gappy catalogue is found before it is needed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engines.backups.catalogue import Backup, Status
from engines.backups.freshness import freshness
from engines.checks import Check, Verdict
from tests.engines.backups.folder import NOON, catalogue, copy

HOUR = timedelta(hours=1)


def ask(*backups: Backup) -> Check:
    return freshness(catalogue(*backups), HOUR, NOON)


def hourly(newest: float, count: int = 10) -> list[Backup]:
    return [copy(newest + hours) for hours in range(count)]


def test_an_empty_catalogue_fails() -> None:
    check = ask()
    assert check.verdict is Verdict.FAIL
    assert check.evidence == "/backups has no backup"
    assert "mounted" in check.hint


def test_a_catalogue_of_missing_files_is_as_good_as_empty() -> None:
    assert ask(copy(0.5, Status.MISSING_FILE)).evidence == "/backups has no backup"


@pytest.mark.parametrize(
    ("hours", "verdict"),
    [
        (0.0, Verdict.OK),
        (1.25, Verdict.OK),
        (1.26, Verdict.WARN),
        (2.0, Verdict.WARN),
        (2.01, Verdict.FAIL),
        (400, Verdict.FAIL),
    ],
)
def test_the_age_of_the_newest_verified_backup_decides(hours: float, verdict: Verdict) -> None:
    check = ask(*hourly(hours))
    assert check.verdict is verdict
    assert f"{hours:g}-hours-ago.sqlite was taken" in check.evidence
    assert "one is due every 1 h" in check.evidence
    assert bool(check.hint) == (verdict is not Verdict.OK)


def test_without_any_verified_backup_it_fails() -> None:
    check = ask(copy(0.5, Status.MISMATCH), copy(1.5, Status.WEAK))
    assert check.verdict is Verdict.FAIL
    assert "none of 2 is VERIFIED, the newest is MISMATCH" in check.evidence


@pytest.mark.parametrize("status", [Status.UNCHECKED, Status.CHECKING])
def test_while_nothing_is_verified_yet_it_is_unknown(status: Status) -> None:
    check = ask(copy(0.5, status), copy(1.5, Status.UNCHECKED))
    assert check.verdict is Verdict.UNKNOWN
    assert check.evidence == "2 of 2 are not verified yet"
    assert check.hint


def test_a_stale_verified_one_is_not_blamed_while_newer_ones_are_being_checked() -> None:
    check = ask(copy(0.5, Status.CHECKING), copy(5))
    assert check.verdict is Verdict.UNKNOWN
    assert "newer ones are not verified yet" in check.evidence


def test_a_backup_from_the_future_is_not_believed() -> None:
    check = ask(copy(-3), copy(1))
    assert check.verdict is Verdict.UNKNOWN
    assert "is dated 3 h after now" in check.evidence
    assert "clock" in check.hint


def test_clocks_may_differ_a_little() -> None:
    assert ask(copy(-0.05), copy(0.95)).verdict is Verdict.OK


@pytest.mark.parametrize(("size", "verdict"), [(499, Verdict.FAIL), (500, Verdict.OK), (5000, Verdict.OK)])
def test_a_newest_backup_of_less_than_half_the_usual_size_fails(size: int, verdict: Verdict) -> None:
    check = ask(copy(0.5, size=size), *hourly(1.5))
    assert check.verdict is verdict
    if verdict is Verdict.FAIL:
        assert check.evidence.startswith("0.5-hours-ago.sqlite has 499 B, the 7 before it 1.0 kB")
        assert "Choose an older one" in check.hint


def test_one_odd_size_among_the_last_seven_does_not_move_the_median() -> None:
    assert ask(copy(0.5), copy(1.5, size=10**9), *hourly(2.5)).verdict is Verdict.OK


def test_an_empty_newest_file_fails_though_an_older_one_is_verified() -> None:
    check = ask(copy(0.2, Status.UNREADABLE, size=0), *hourly(1.0))
    assert check.verdict is Verdict.FAIL
    assert "has 0 B" in check.evidence


def test_a_newest_backup_that_cannot_be_used_is_a_warning() -> None:
    check = ask(copy(0.2, Status.MISMATCH), *hourly(1.2))
    assert check.verdict is Verdict.WARN
    assert "the newest, 0.2-hours-ago.sqlite, is MISMATCH" in check.evidence
    assert check.hint.startswith("made MISMATCH for a test")


def test_a_newest_backup_that_is_listed_and_missing_is_a_warning_if_its_name_dates_it() -> None:
    assert ask(copy(0.2, Status.MISSING_FILE), *hourly(1.0)).verdict is Verdict.WARN
    assert ask(copy(0.2, Status.MISSING_FILE, taken_at_from="mtime"), *hourly(1.0)).verdict is Verdict.OK


def test_gaps_in_the_schedule_are_a_warning() -> None:
    check = ask(copy(0.5), copy(1.5), copy(4.5), copy(5.5), copy(7.5))
    assert check.verdict is Verdict.WARN
    assert "2 gaps in the last 24 intervals, the longest 3 h after 2026-11-22 07:30 UTC" in check.evidence


def test_old_copies_may_be_thinned_out() -> None:
    assert ask(*hourly(0.5, count=24), copy(48), copy(72)).verdict is Verdict.OK


def test_several_findings_are_told_the_gravest_first() -> None:
    check = ask(copy(3, size=1), copy(9), copy(10))
    assert check.verdict is Verdict.FAIL
    assert check.evidence.count(";") == 2
    assert "a gap" in check.evidence.split("; ")[-1]


def test_a_schedule_has_a_positive_interval() -> None:
    with pytest.raises(ValueError, match="positive"):
        freshness(catalogue(), timedelta(0), NOON)
