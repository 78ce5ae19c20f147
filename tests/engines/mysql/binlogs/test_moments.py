"""A stop is one byte between two transactions, and what is odd about it is said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engines.errors import RestoreError
from engines.mysql.binlogs.chain import Chain, Coordinates, chain
from engines.mysql.binlogs.logs import read_log
from engines.mysql.binlogs.moments import Resolved, StopKind, StopPoint, resolve, stop_point
from engines.mysql.binlogs.transactions import Transaction, transactions
from tests.engines.mysql.binlogs.forge import HOME, NOON, Forge

TIME = datetime.fromtimestamp(NOON, UTC)


def made(folder: Path, seconds: list[list[float]], *, mariadb: bool = False, last_open: bool = False) -> Chain:
    """A log for each list, a transaction for each number: its commit, in seconds after noon."""
    number = 0
    for index, times in enumerate(seconds, 1):
        before = (f"0-9-{number}" if mariadb else f"{HOME}:1-{number}") if number else ""
        forge = Forge(mariadb=mariadb, at=NOON + int(min(times))).previous(before)
        for at in times:
            number += 1
            forge.at = NOON + int(at)
            forge.transaction(number, table=f"t{number % 3}", micros=int((NOON + at) * 1_000_000))
        forge.at = NOON + int(max(times)) + 1
        if not (last_open and index == len(seconds)):
            forge.rotate(f"binlog.{index + 1:06}")
        forge.save(folder / f"binlog.{index:06}")
    logs = [read_log(path) for path in sorted(folder.glob("binlog.*"))]
    return chain(logs, Coordinates("binlog.000001", 4))


def at(found: Chain, seconds: float) -> Resolved:
    return resolve(found, StopPoint(StopKind.TIME, TIME + timedelta(seconds=seconds)))


def listed(found: Chain) -> list[Transaction]:
    return list(transactions(found.links))


@pytest.mark.parametrize("mariadb", [False, True])
def test_a_time_keeps_what_was_committed_by_then_and_nothing_else(tmp_path: Path, mariadb: bool) -> None:
    found = made(tmp_path, [[1, 2, 3], [4, 5, 6], [7, 8, 9]], mariadb=mariadb)
    everything = listed(found)
    for seconds in range(1, 9):
        resolved = at(found, seconds)
        assert resolved.kept == everything[seconds - 1]
        assert resolved.left_out == everything[seconds]
        assert (resolved.file, resolved.position) == (everything[seconds].file, everything[seconds].begin)
        assert resolved.transactions == seconds
        assert resolved.complete


def test_microseconds_decide(tmp_path: Path) -> None:
    found = made(tmp_path, [[1.25, 1.5, 1.75]])
    assert at(found, 1.5).transactions == 2
    assert at(found, 1.499999).transactions == 1
    assert at(found, 1.5).notes == ()


def test_where_the_log_has_seconds_alone_this_is_said(tmp_path: Path) -> None:
    found = made(tmp_path, [[1, 2, 3]], mariadb=True)
    assert "whole seconds only" in at(found, 2.4).notes[0]


def test_a_time_before_everything_replays_nothing_and_says_so(tmp_path: Path) -> None:
    found = made(tmp_path, [[5, 6]])
    resolved = at(found, 1)
    assert (resolved.kept, resolved.transactions, resolved.position) == (None, 0, listed(found)[0].begin)
    assert "no transaction is replayed" in resolved.notes[0]


def test_a_time_after_the_logs_is_complete_only_where_they_prove_it(tmp_path: Path) -> None:
    found = made(tmp_path, [[1, 2], [3, 4]])
    assert at(found, 5).complete  # closed at 5
    assert not at(found, 60).complete
    assert "do not go as far" in at(found, 60).notes[0]
    assert at(found, 60).transactions == 4


def test_a_gap_before_the_time_makes_it_incomplete(tmp_path: Path) -> None:
    made(tmp_path, [[1, 2], [3, 4], [5, 6]])
    (tmp_path / "binlog.000002").unlink()
    logs = [read_log(path) for path in tmp_path.glob("binlog.*")]
    found = chain(logs, Coordinates("binlog.000001", 4))
    resolved = at(found, 3)
    assert not resolved.complete
    assert "binlog.000002 is missing" in resolved.notes[-1]
    end = resolve(found, stop_point("end"))
    assert (end.complete, end.transactions) == (False, 2)
    assert at(found, 1).complete


def test_one_transaction_with_a_set_time_does_not_stop_the_replay_early(tmp_path: Path) -> None:
    found = made(tmp_path, [[1, 2, 9000, 3, 4, 5], [6, 7, 8]], mariadb=True)
    resolved = at(found, 7)
    assert resolved.transactions == 8
    assert resolved.left_out is not None
    assert int(resolved.left_out.at.timestamp()) == NOON + 8
    assert "SET TIMESTAMP" in resolved.notes[0]


def test_a_transaction_after_the_moment_is_never_taken_for_one_with_a_set_time(tmp_path: Path) -> None:
    """Long statements commit late with an early time; a night's import may set an old one. Both stop at the first."""
    found = made(tmp_path, [[1, 2, 3, 11, 8, 9, 10, 12, 13]], mariadb=True)
    resolved = at(found, 10)
    assert resolved.transactions == 3
    assert "3 transactions after the stop carry a time at or before it" in resolved.notes[0]
    old = made(tmp_path, [[7200, 7201, 7203, *range(3600, 3640)]], mariadb=True)
    assert at(old, 7202).transactions == 2


def test_a_servers_own_clock_is_believed(tmp_path: Path) -> None:
    """MySQL writes the commit's time by its own clock, so that no session can set it."""
    found = made(tmp_path, [[1, 2, 9000, 3, 4, 5]])
    assert at(found, 6).transactions == 2


def test_a_position_between_two_transactions_is_a_stop(tmp_path: Path) -> None:
    found = made(tmp_path, [[1, 2], [3, 4]])
    everything = listed(found)
    for index, one in enumerate(everything):
        resolved = resolve(found, stop_point("position", f"{one.file}:{one.begin}"))
        assert resolved.left_out == one
        assert resolved.transactions == index
    last = everything[-1]
    resolved = resolve(found, stop_point("position", f"{last.file}:{last.end}"))
    assert (resolved.kept, resolved.left_out, resolved.transactions) == (last, None, 4)


def test_a_position_inside_a_transaction_is_refused_with_the_two_nearest(tmp_path: Path) -> None:
    found = made(tmp_path, [[1, 2], [3, 4]])
    one = listed(found)[2]
    with pytest.raises(RestoreError) as refused:
        resolve(found, stop_point("position", f"{one.file}:{one.begin + 1}"))
    assert f"{one.file}:{one.begin}" in refused.value.hint
    assert f"{one.file}:{one.end}" in refused.value.hint


@pytest.mark.parametrize("place", ["binlog.000009:4", "other.000001:4", "binlog.000001:999999"])
def test_a_position_outside_the_chain_is_refused(tmp_path: Path, place: str) -> None:
    found = made(tmp_path, [[1, 2], [3, 4]])
    with pytest.raises(RestoreError):
        resolve(found, stop_point("position", place))


@pytest.mark.parametrize("mariadb", [False, True])
def test_a_gtid_stops_just_before_it(tmp_path: Path, mariadb: bool) -> None:
    found = made(tmp_path, [[1, 2], [3, 4]], mariadb=mariadb)
    one = listed(found)[2]
    assert one.gtid is not None
    resolved = resolve(found, stop_point("gtid", one.gtid))
    assert (resolved.left_out, resolved.transactions) == (one, 2)
    with pytest.raises(RestoreError, match="have no transaction"):
        resolve(found, stop_point("gtid", "0-9-99" if mariadb else f"{HOME}:99"))


def test_an_excluded_transaction_is_left_out_and_what_depends_on_it_is_counted(tmp_path: Path) -> None:
    found = made(tmp_path, [[1, 2, 3], [4, 5, 6, 7]])
    everything = listed(found)
    bad = everything[0]  # of t1, as are the fourth and the seventh
    for name in (bad.gtid or "", f"{bad.file}:{bad.begin}"):
        resolved = resolve(found, stop_point("end", exclude=[name]))
        (exclusion,) = resolved.excluded
        assert exclusion.transaction == bad
        assert (exclusion.later, exclusion.first_later) == (2, everything[3])
        assert resolved.transactions == 6
        assert "2 later transactions touch the same tables" in resolved.notes[0]
    with pytest.raises(RestoreError, match="after the stop"):
        resolve(found, stop_point("time", "2026-11-23T12:00:02Z", [everything[5].gtid or ""]))
    with pytest.raises(RestoreError, match="No transaction begins"):
        resolve(found, stop_point("end", exclude=[f"{bad.file}:{bad.begin + 1}"]))


def test_what_the_dump_has_is_neither_kept_nor_counted(tmp_path: Path) -> None:
    made(tmp_path, [[1, 2, 3], [4, 5, 6]])
    logs = [read_log(path) for path in tmp_path.glob("binlog.*")]
    found = chain(logs, Coordinates(gtid_set=f"{HOME}:1-2:5"))
    resolved = resolve(found, stop_point("end"))
    assert resolved.transactions == 3
    with pytest.raises(RestoreError, match="have no transaction"):
        resolve(found, stop_point("gtid", f"{HOME}:5"))


@pytest.mark.parametrize(
    ("kind", "value"),
    [("time", "2026-11-22T20:04:11"), ("time", "soon"), ("position", "here"), ("gtid", "x"), ("never", "")],
)
def test_what_is_no_stop_is_refused(kind: str, value: str) -> None:
    with pytest.raises(RestoreError):
        stop_point(kind, value)


def test_a_time_in_any_zone_is_the_same_stop() -> None:
    assert stop_point("time", "2026-11-23T13:00:00+01:00") == stop_point("time", "2026-11-23T12:00:00Z")


def test_without_a_chain_nothing_is_resolved(tmp_path: Path) -> None:
    with pytest.raises(RestoreError, match="Nothing can be replayed"):
        resolve(chain([], Coordinates("binlog.000001", 4)), stop_point("end"))
