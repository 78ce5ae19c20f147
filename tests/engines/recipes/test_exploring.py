"""What an operator sees in the logs is what was done, by whichever server, and where the replay ends in it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from engines.errors import Refused, RestoreError
from engines.mysql.binlogs.logs import logs_in, read_logs
from engines.mysql.flavour import Flavour
from engines.recipes.mysql.exploring import (
    MOST,
    Coordinates,
    Fate,
    Opened,
    Row,
    Staged,
    around,
    centre_of,
    did,
    facts_of,
    immovable,
    in_words,
    open_logs,
    search,
    staged,
    to_json,
)
from engines.recipes.mysql.until import Kind, Until, just_before
from engines.session import events as e
from tests.engines.mysql.binlogs.forge import Forge
from tests.engines.mysql.binlogs.workload import busy
from tests.servers.databases import FLAVOURS, Build, Server
from tests.tui.mysql_story import BAD, BEFORE, BEGAN, PREPARE, ServerStory, dump, logs

START = Coordinates("binlog.000001", 4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return logs(tmp_path)


def opened(folder: Path, until: Until = BEFORE, start: Coordinates = START) -> Opened:
    return open_logs(Staged(str(folder), start), until)


def placed(rows: tuple[Row, ...], place: str) -> Row:
    return next(row for row in rows if row.place == place)


# -- what a real server wrote ------------------------------------------------------------------------------------


@pytest.mark.xdist_group("binlogs")
@pytest.mark.parametrize("build", FLAVOURS, ids=lambda build: build.name)
def test_the_bad_statement_of_a_real_server_is_found_and_stopped_before(
    build: Build, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    gtids = ("--gtid-mode=ON", "--enforce-gtid-consistency=ON") if build.flavour is Flavour.MYSQL else ()
    server = start_server(build, *gtids)
    busy(server)
    names = [str(row[0]) for row in server.sql("SHOW BINARY LOGS")]
    for name in names:
        (tmp_path / name).write_bytes((server.datadir / name).read_bytes())
    start = Coordinates(names[0], 4)
    rows, more = search(opened(tmp_path, Until(Kind.END), start), ("TRUNCATE",))
    assert not more
    (truncated,) = (row for row in rows if did(row) == "shop.cp")
    assert truncated.statements[0].startswith("TRUNCATE")
    before = opened(tmp_path, Until(Kind.POSITION, truncated.place), start)
    seen = around(before, None, 3, 3)
    assert centre_of(seen, None) == truncated.place
    assert [row.fate for row in seen] == [Fate.REPLAYED] * 3 + [Fate.AFTER] * 3
    if truncated.gtid:
        assert opened(tmp_path, Until(Kind.GTID, truncated.gtid), start).stop == before.stop
    deleted, _ = search(before, ("DELETE",), "t")
    assert "shop.t -2" in {did(row) for row in deleted}


# -- where the replay ends ---------------------------------------------------------------------------------------


def test_the_logs_are_those_of_the_dump_that_is_chosen_now(folder: Path) -> None:
    told = ServerStory(folder).ready()
    found = staged(told.state)
    assert found is not None
    assert (found.folder, found.start) == (str(folder), START)
    assert [(span.start, span.end) for span in found.spans] == [(BEGAN.replace(second=0), BEGAN.replace(second=59))]
    told.tell(e.BackupChosen({"name": dump(34).name}))
    assert staged(told.state) is None
    told.planned(steps=PREPARE)
    assert staged(told.state) is None


def test_logs_whose_stop_was_refused_can_be_looked_into(folder: Path) -> None:
    told = ServerStory(None, Until(Kind.GTID, "0-1-1")).begun().planned(steps=PREPARE)
    told.started("2.5")
    told.tell(e.FactFound("2.5", facts_of(folder, START, read_logs(logs_in(folder)))))
    assert staged(told.state) is None
    told.ended("2.5", e.Result.FAILED, "The logs after the dump have no transaction 0-1-1.", "Take another.")
    assert staged(told.state) is not None


def test_what_becomes_of_each_is_told(folder: Path) -> None:
    first = around(opened(folder), "binlog.000001:4", 0, 1)[0]
    excluded = Until(BEFORE.kind, BEFORE.value, (first.place,))
    rows = around(opened(folder, excluded), None, 100, 5)
    assert rows[0].fate is Fate.LEFT_OUT
    assert {row.fate for row in rows[1:30]} == {Fate.REPLAYED}
    assert [row.fate for row in rows[30:]] == [Fate.AFTER] * 5
    assert rows[30].place == BAD
    assert all(immovable(row) == "" for row in rows)


def test_what_the_dump_has_already_can_not_be_left_out(folder: Path) -> None:
    start = Coordinates(gtid_set=f"{Forge().uuid}:1-20:22-23")
    rows = around(opened(folder, Until(Kind.END), start), "binlog.000002:4", 0, 4)
    assert [row.fate for row in rows] == [Fate.REPLAYED, Fate.DUMPED, Fate.DUMPED, Fate.REPLAYED]
    assert "The dump has this transaction already" in immovable(rows[1])


def test_a_stop_that_is_not_in_the_logs_is_said_and_nothing_is_called_replayed(folder: Path) -> None:
    found = opened(folder, Until(Kind.POSITION, "binlog.000002:2773"))
    assert found.stop is None
    assert "inside a transaction" in found.trouble
    rows = around(found)
    assert {row.fate for row in rows} == {Fate.UNKNOWN}
    assert rows[-1].gtid.endswith(":60")


def test_just_before_a_second_keeps_nothing_of_that_second(tmp_path: Path) -> None:
    log = Forge(mariadb=True).previous()
    for second in range(5):
        log.at = int(BEGAN.timestamp()) + second
        log.transaction(second + 1)
    log.save(tmp_path / "binlog.000001")
    kept = around(opened(tmp_path, just_before(BEGAN + timedelta(seconds=2))), None, 9, 9)
    assert [row.fate for row in kept] == [Fate.REPLAYED] * 2 + [Fate.AFTER] * 3
    assert not kept[0].precise


@pytest.mark.parametrize("centre", [BEGAN, BAD, f"{Forge().uuid}:31"])
def test_a_moment_is_looked_at_by_time_place_or_gtid(folder: Path, centre: datetime | str) -> None:
    rows = around(opened(folder, Until(Kind.END)), centre, 2, 2)
    assert len(rows) == 4
    assert centre_of(rows, centre) == BAD
    bad = placed(rows, BAD)
    assert bad.statements == ("DELETE FROM users WHERE closed = 0",)
    assert did(bad) == "shop.users -9 000"
    assert in_words(bad.tables[0]) == "shop.users: 9 000 deleted"
    assert to_json(bad)["at"] == "2026-11-23T12:00:30.123456Z"


@pytest.mark.parametrize("name", ["nonsense", "binlog.000009:4", "0-1-99", "../etc/passwd:4"])
def test_a_moment_that_the_logs_do_not_have_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(RestoreError) as refused:
        around(opened(folder), name)
    assert refused.value.hint


@pytest.mark.parametrize("every", [1, 3, 7, 1000])
def test_a_log_that_was_read_once_is_not_read_from_its_start_again_and_shows_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    whole = opened(folder)
    everything = around(whole, "binlog.000001:4", 0, 100)
    monkeypatch.setattr("engines.recipes.mysql.exploring._EVERY", every)
    found = opened(folder)
    for number, row in enumerate(everything):
        assert around(found, row.place, 1, 4) == everything[max(number - 1, 0) : number + 4]
        assert around(found, row.at, 1, 2) == everything[number : number + 3]
        assert around(found, row.end, 0, 2) == everything[number + 1 : number + 3]
    assert set(found.marks) == {"binlog.000001", "binlog.000002", "binlog.000003"}


def test_what_is_found_nearest_to_the_stop_is_kept_when_there_is_too_much(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.recipes.mysql.exploring.MOST", 6)
    rows, more = search(opened(folder), ("INSERT",))
    assert more
    assert [int(row.gtid.rpartition(":")[2]) for row in rows] == [28, 29, 30, 32, 33, 34]
    assert MOST > 6


def test_a_folder_without_logs_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="There is nothing to look into") as refused:
        opened(tmp_path)
    assert refused.value.hint
    with pytest.raises(RestoreError, match="can't be read"):
        opened(tmp_path / "gone")


def test_exploring_stops_on_request(folder: Path) -> None:
    for log in folder.iterdir():
        log.unlink()
    forge = Forge().previous()
    for number in range(1, 5001):
        forge.transaction(number)
    forge.save(folder / "binlog.000001")
    with pytest.raises(RestoreError, match="Stopped"):
        open_logs(Staged(str(folder), START), BEFORE, stop=lambda: True)
    found = opened(folder, Until(Kind.END))
    with pytest.raises(RestoreError, match="Stopped"):
        search(found, ("DROP",), stop=lambda: True)
