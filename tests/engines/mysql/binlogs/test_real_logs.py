"""Logs that real servers wrote, held against what their own mysqlbinlog says about them."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from engines.mysql.binlogs.chain import Coordinates, Link, chain
from engines.mysql.binlogs.events import Fault, opened
from engines.mysql.binlogs.logs import Closed, LogFile, read_log
from engines.mysql.binlogs.moments import StopKind, StopPoint, resolve, stop_point
from engines.mysql.binlogs.transactions import Nature, around, search, transactions
from engines.mysql.flavour import Flavour
from tests.engines.mysql.binlogs.workload import busy
from tests.servers.databases import FLAVOURS, Build, Server

pytestmark = pytest.mark.xdist_group("binlogs")

_AT = re.compile(rb"^# at (\d+)$", re.MULTILINE)
_END = re.compile(rb"^#\d{6} .* server id \d+ +end_log_pos (\d+)", re.MULTILINE)
_MYSQL_GTID = re.compile(rb"GTID_NEXT= '([0-9a-f-]{36}:[a-z0-9:_]+)'")
_MARIA_GTID = re.compile(rb"end_log_pos \d+ (?:CRC32 0x[0-9a-f]+ )?\tGTID (\d+-\d+-\d+)")
_ROW = re.compile(rb"^### (INSERT INTO|UPDATE|DELETE FROM) (`.*`)$", re.MULTILINE)
_COMMITTED = re.compile(rb"^# immediate_commit_timestamp=(\d+)", re.MULTILINE)


def logs_of(server: Server) -> list[Path]:
    """Its binary logs, oldest first."""
    return [server.datadir / str(row[0]) for row in server.sql("SHOW BINARY LOGS")]


def decoded(server: Server, path: Path) -> bytes:
    """What the server's own program says about a log."""
    argv = (*server.client("mysqlbinlog"), "--base64-output=decode-rows", "--verify-binlog-checksum", str(path))
    ended = subprocess.run(argv, capture_output=True, check=True, timeout=60)
    return ended.stdout


@pytest.mark.parametrize("build", FLAVOURS, ids=lambda build: build.name)
@pytest.mark.parametrize("gtids", [True, False])
def test_real_logs_read_as_their_own_server_reads_them(
    build: Build, gtids: bool, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    switch = "ON" if gtids else "OFF"
    mysql = (f"--gtid-mode={switch}", f"--enforce-gtid-consistency={switch}")
    options = mysql if build.flavour is Flavour.MYSQL else ()
    server = start_server(build, *options)
    busy(server)
    paths = logs_of(server)
    facts = [read_log(path) for path in paths]
    for path, log in zip(paths, facts, strict=True):
        text = decoded(server, path)
        _positions_agree(path, text)
        _transactions_agree(log, text, server.flavour)
        assert log.flaw is None
        _rows_agree(server, log)
    _they_are_a_chain(server, facts, gtids=gtids or build.flavour is Flavour.MARIADB)
    _stops_agree(server, facts)
    _damage_is_found(facts[2], tmp_path)
    server.kill()
    server.start()
    after = [read_log(path) for path in logs_of(server)]
    _crash_is_proven_or_named(server, after, gtids=gtids or build.flavour is Flavour.MARIADB)


def _positions_agree(path: Path, text: bytes) -> None:
    with opened(path) as log:
        found = [(event.position, event.end) for event in log.events()]
    told = {int(at) for at in _AT.findall(text)}
    # mysqlbinlog shows neither the format description's end nor, here, what lies inside a compressed transaction.
    assert {position for position, _ in found} == told - {4}
    assert {end for _, end in found} >= {int(end) for end in _END.findall(text)} - {log.format.end, 0}


def _transactions_agree(log: LogFile, text: bytes, flavour: Flavour) -> None:
    if flavour is Flavour.MARIADB:
        gtids = _MARIA_GTID.findall(text)
        assert log.transactions == len(gtids)
        if gtids:
            assert str(log.last_list[-1]).encode() == gtids[-1]
        return
    gtids = [gtid for gtid in _MYSQL_GTID.findall(text) if gtid]
    times = [int(micros) for micros in _COMMITTED.findall(text)]
    assert log.transactions == len(times)
    assert log.transactions - log.anonymous == len(gtids) == len(log.gtids)
    if times:
        assert log.first_at is not None
        assert log.last_at is not None
        assert round(log.first_at.timestamp() * 1e6) == times[0]
        assert round(log.last_at.timestamp() * 1e6) == times[-1]
        assert log.precise


def _rows_agree(server: Server, log: LogFile) -> None:
    """Each table's rows, as mysqlbinlog --verbose writes them out one by one."""
    argv = (*server.client("mysqlbinlog"), "--base64-output=decode-rows", "--verbose", str(log.path))
    text = subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout
    told = Counter((verb.decode(), table.decode().replace("`", "")) for verb, table in _ROW.findall(text))
    ours: Counter[tuple[str, str]] = Counter()
    found = list(transactions((Link(log, log.first, log.whole, log.transactions),), count_rows=True))
    assert len(found) == log.transactions
    for one in found:
        assert one.unclear == ""
        for table in one.tables:
            for verb, number in (("INSERT INTO", table.inserted), ("UPDATE", table.updated)):
                assert number is not None
                ours[verb, str(table)] += number
            assert table.deleted is not None
            ours["DELETE FROM", str(table)] += table.deleted
    assert +ours == told
    assert log.number > 1 or any(one.nature is Nature.DDL for one in found)


def _stops_agree(server: Server, facts: list[LogFile]) -> None:
    """Where a time cuts, mysqlbinlog's own stop by position gives the transactions that we say are kept."""
    found = chain(facts, Coordinates(facts[0].name, 4))
    everything = list(transactions(found.links))
    wanted = [one for one in search(found, ("DELETE",), "shop.t") if one.nature is Nature.ROWS]
    assert [table.deleted for one in wanted for table in one.tables if table.table == "t"] == [1, 2]
    bad = wanted[-1]
    resolved = resolve(found, stop_point("position", f"{bad.file}:{bad.begin}"))
    assert resolved.left_out is not None
    assert resolved.left_out.begin == bad.begin
    assert resolved.transactions == everything.index(resolved.left_out)
    names = [log.name for log in facts]
    paths = [str(log.path) for log in facts[: names.index(resolved.file) + 1]]
    argv = (*server.client("mysqlbinlog"), "--base64-output=decode-rows", f"--stop-position={resolved.position}")
    text = subprocess.run((*argv, *paths), capture_output=True, check=True, timeout=60).stdout
    marks = _MARIA_GTID if server.flavour is Flavour.MARIADB else _COMMITTED
    assert len(marks.findall(text)) == resolved.transactions
    if server.flavour is Flavour.MYSQL:
        by_time = resolve(found, StopPoint(StopKind.TIME, bad.at - timedelta(microseconds=1)))
        assert (by_time.file, by_time.position) == (resolved.file, resolved.position)
    seen = around(found, (bad.file, bad.begin), before=3, after=2)
    assert [one.begin for one in seen][3] == bad.begin


def _damage_is_found(log: LogFile, folder: Path) -> None:
    """A bit of each event turned over, and the file cut in and after each event."""
    assert log.checksums
    content = log.path.read_bytes()
    copy = folder / log.name
    with opened(log.path) as reading:
        places = [(event.position, event.end) for event in reading.events()]
    for begin, end in places:
        for position in (begin + 4, (begin + end) // 2, end - 1):
            changed = bytearray(content)
            changed[position] ^= 0x10
            copy.write_bytes(changed)
            found = read_log(copy)
            assert found.flaw is not None
            assert found.flaw.position == begin
            assert found.whole <= begin
        for length in (begin + 1, begin + 18, begin + 19, end - 1):
            copy.write_bytes(content[:length])
            found = read_log(copy)
            assert found.flaw is not None
            assert found.flaw.fault is Fault.CUT
            assert found.whole <= begin


@pytest.mark.parametrize("build", FLAVOURS, ids=lambda build: build.name)
def test_another_real_servers_log_of_the_same_number_is_not_taken_for_the_next(
    build: Build, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    options = ("--gtid-mode=ON", "--enforce-gtid-consistency=ON") if build.flavour is Flavour.MYSQL else ()
    ours, theirs = start_server(build, *options), start_server(build, *options)
    for server in (ours, theirs):
        server.sql("CREATE DATABASE s", "CREATE TABLE s.t (a INT)", "INSERT INTO s.t VALUES (1)")
        server.sql("FLUSH BINARY LOGS", "INSERT INTO s.t VALUES (2)", "FLUSH BINARY LOGS", "INSERT INTO s.t VALUES (3)")
    first, _, third = (read_log(path) for path in logs_of(ours))
    second = read_log(logs_of(theirs)[1])
    found = chain((first, second, third), Coordinates(first.name, 4))
    assert [link.log for link in found.links] == [first]
    assert "another server's file" in str(found.problems[0])


def _they_are_a_chain(server: Server, facts: list[LogFile], *, gtids: bool) -> None:
    found = chain(facts, Coordinates(facts[0].name, 4))
    assert found.problems == ()
    assert len(found.links) == len(facts)
    assert [log.closed_by for log in facts[:-1]] == [Closed.ROTATE] * (len(facts) - 1)
    assert (facts[-1].closed_by, facts[-1].in_use) == (Closed.OPEN, True)
    assert found.statements
    assert found.compressed
    assert found.transactions == sum(log.transactions for log in facts)
    assert found.precise is (server.flavour is Flavour.MYSQL)
    assert not all(log.checksums for log in facts)
    if not gtids:
        return
    if server.flavour is Flavour.MARIADB:
        ((position,),) = server.sql("SELECT @@gtid_binlog_pos")
        assert str(facts[-1].last_list[-1]) == position
        middle = str(facts[-1].previous_list[-1]) if facts[-1].previous_list else ""
    else:
        ((position,),) = server.sql("SELECT @@gtid_executed")
        assert str((facts[-1].previous or facts[-1].gtids) | facts[-1].gtids) == position.replace("\n", "")
        middle = str(facts[-1].previous)
    started = chain(facts, Coordinates(gtid_set=middle))
    assert [link.log.name for link in started.links] == [facts[-1].name]
    assert started.transactions == facts[-1].transactions


def _crash_is_proven_or_named(server: Server, facts: list[LogFile], *, gtids: bool) -> None:
    crashed = facts[-2]
    assert crashed.closed_by is Closed.OPEN
    found = chain(facts, Coordinates(facts[0].name, 4))
    if gtids:
        assert found.problems == ()
        assert any("never closed" in note for note in found.notes)
    else:
        assert "never closed" in str(found.problems[0])
        assert found.end == (crashed.name, crashed.whole)
