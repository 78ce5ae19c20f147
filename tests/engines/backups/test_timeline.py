"""Backups, gaps and the incident on one line."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.backups.catalogue import Backup, Status
from engines.backups.timeline import Mark, MarkKind, lines, logs_line, marks
from tests.engines.backups.folder import NOON, copy

HOUR = timedelta(hours=1)
START = NOON - 10 * HOUR


def placed(*backups: Backup, incident: float | None = None, width: int = 40) -> tuple[Mark, ...]:
    at = None if incident is None else NOON - incident * HOUR
    return marks(backups, START, NOON, width, at, HOUR)


def test_backups_incident_and_gap_stand_where_they_happened() -> None:
    backups = [copy(9), copy(8), copy(7, Status.MISMATCH), copy(3), copy(2, Status.WEAK), copy(1, Status.UNCHECKED)]
    above, below = lines(placed(*backups, incident=2.5), 40)
    assert above == "                              !         "
    assert below == "----V---V---x               V---w---o---"


def test_a_gap_spans_the_cells_between_two_backups() -> None:
    (gap,) = [mark for mark in placed(copy(9), copy(5)) if mark.kind is MarkKind.GAP]
    assert gap == Mark(MarkKind.GAP, column=5, cells=15, at=NOON - 9 * HOUR)


def test_a_missing_file_closes_no_gap() -> None:
    kinds = [mark.kind for mark in placed(copy(9), copy(8, Status.MISSING_FILE), copy(7))]
    assert kinds.count(MarkKind.GAP) == 1


def test_without_a_schedule_there_are_no_gaps() -> None:
    assert [mark.kind for mark in marks([copy(9), copy(1)], START, NOON, 40)] == [MarkKind.BACKUP] * 2


def test_a_cell_with_several_backups_shows_the_best_and_keeps_all() -> None:
    (mark,) = placed(copy(5.01, Status.MISMATCH), copy(5), copy(4.99, Status.UNREADABLE), width=10)[:1]
    assert mark.status is Status.MISMATCH
    (mark,) = placed(copy(4.9, Status.MISMATCH), copy(4.8), copy(4.7, Status.UNREADABLE), width=10)
    assert mark.status is Status.VERIFIED
    assert [backup.name for backup in mark.backups] == [f"{hours}-hours-ago.sqlite" for hours in (4.7, 4.8, 4.9)]


def test_what_lies_outside_is_left_out_and_both_ends_are_inside() -> None:
    found = placed(copy(10.5), copy(10), copy(0), copy(-0.5), incident=11)
    assert [(mark.kind, mark.column) for mark in found if mark.kind is not MarkKind.GAP] == [
        (MarkKind.BACKUP, 0),
        (MarkKind.BACKUP, 39),
    ]


def test_every_status_has_a_letter() -> None:
    letters = {lines(placed(copy(5, status)), 40)[1].strip("-") for status in Status}
    assert "".join(sorted(letters)) == "?V_owx"


def test_a_line_has_length() -> None:
    with pytest.raises(ValueError, match="at least one cell"):
        marks([], START, NOON, 0)
    with pytest.raises(ValueError, match="an end after its start"):
        marks([], NOON, NOON, 10)


@given(
    minutes=st.lists(st.integers(min_value=-120, max_value=720), max_size=30),
    width=st.integers(min_value=1, max_value=200),
    incident=st.integers(min_value=-2, max_value=12),
)
def test_marks_never_leave_the_line_and_backups_never_share_a_cell(
    minutes: list[int], width: int, incident: int
) -> None:
    found = placed(*(copy(minute / 60) for minute in minutes), incident=incident, width=width)
    assert all(mark.column >= 0 and mark.column + mark.cells <= width for mark in found)
    columns = [mark.column for mark in found if mark.kind is MarkKind.BACKUP]
    assert len(columns) == len(set(columns))
    assert sum(len(mark.backups) for mark in found) == sum(0 <= minute <= 600 for minute in minutes)
    assert all(len(line) == width for line in lines(found, width))


def test_the_logs_and_the_stop_in_them_have_a_line_of_their_own() -> None:
    spans = [(START - HOUR, NOON - 7 * HOUR), (NOON - 5 * HOUR, NOON)]
    found = marks([copy(9)], START, NOON, 40, coverage=spans, stop=NOON - 2 * HOUR)
    assert logs_line(found, 40) == "=============       ============S======="
    assert lines(found, 40) == (" " * 40, "----V-----------------------------------")


def test_a_gap_in_the_logs_that_is_narrower_than_a_cell_is_still_seen() -> None:
    spans = [(START, NOON - 5 * HOUR), (NOON - 4.999 * HOUR, NOON)]
    assert logs_line(marks([], START, NOON, 20, coverage=spans), 20) == "==========/========="


def test_logs_and_a_stop_outside_of_the_line_are_left_out() -> None:
    spans = [(START - 3 * HOUR, START - HOUR)]
    assert logs_line(marks([], START, NOON, 20, coverage=spans, stop=START - HOUR), 20).strip() == ""
