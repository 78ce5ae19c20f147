"""A measured probe: what it gives, and that it leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import Refused, RestoreError
from engines.mysql.dumps.facts import read_facts
from engines.mysql.rates import Rates, estimate, probe, told
from tests.engines.mysql.ready.ground import account
from tests.servers.databases import Server

SCRATCH = "shop_r1a2b_new"


def schemas(server: Server) -> set[str]:
    return {str(name) for (name,) in server.sql("SELECT schema_name FROM information_schema.schemata")}


@pytest.mark.parametrize("bulk", [False, True], ids=["insert", "load-data"])
def test_a_second_of_loading_gives_rates_and_leaves_nothing(server: Server, bulk: bool) -> None:
    if bulk:
        server.sql("SET GLOBAL local_infile = 1")
    before = schemas(server)
    rates = probe(server.place, server.login, SCRATCH, bulk=bulk, seconds=0.3)
    assert schemas(server) == before
    assert 100_000 < rates.rows < 10**10
    assert 100_000 < rates.keys < 10**11
    assert 0 < rates.trip < 1
    assert (rates.connections, rates.bulk) == (2, bulk)


def test_it_begins_again_after_being_killed_at_any_point(server: Server) -> None:
    points: list[str] = []
    probe(server.place, server.login, SCRATCH, connections=1, seconds=0.05, at=points.append)
    for victim in points:

        class Killed(BaseException):
            pass

        def at(point: str, victim: str = victim, kind: type[BaseException] = Killed) -> None:
            if point == victim:
                raise kind

        with pytest.raises(Killed):
            probe(server.place, server.login, SCRATCH, connections=1, seconds=0.05, at=at)
        probe(server.place, server.login, SCRATCH, connections=1, seconds=0.05)
        assert SCRATCH not in schemas(server)


def test_a_schema_that_holds_something_is_left_alone(server: Server) -> None:
    server.sql(f"CREATE DATABASE `{SCRATCH}`", f"CREATE TABLE `{SCRATCH}`.users (id INT)")
    with pytest.raises(Refused, match="users"):
        probe(server.place, server.login, SCRATCH, seconds=0.05)
    assert server.sql(f"SHOW TABLES FROM `{SCRATCH}`") == [("users",)]


def test_what_an_earlier_probe_left_is_cleared(server: Server) -> None:
    server.sql(f"CREATE DATABASE `{SCRATCH}`", f"CREATE TABLE `{SCRATCH}`.reinstate_probe_7 (id INT)")
    probe(server.place, server.login, SCRATCH, connections=1, seconds=0.05)
    assert SCRATCH not in schemas(server)


def test_it_can_be_stopped(server: Server) -> None:
    with pytest.raises(RestoreError, match="stopped"):
        probe(server.place, server.login, SCRATCH, stop=lambda: True)
    assert SCRATCH not in schemas(server)


def test_it_stays_out_of_the_binary_log_where_the_restore_does(server: Server) -> None:
    def size() -> int:
        return int(server.sql("SHOW BINARY LOGS")[-1][1])

    before = size()
    probe(server.place, server.login, SCRATCH, seconds=0.05, binary_log=False)
    assert size() == before
    probe(server.place, server.login, SCRATCH, seconds=0.05)
    assert size() > before


def test_a_login_that_may_not_is_told_so(server: Server) -> None:
    with pytest.raises(RestoreError, match="may not do what it needs") as refusal:
        probe(server.place, account(server), SCRATCH)
    assert "privileges.md" in refusal.value.hint


def test_an_estimate_grows_with_rows_keys_and_distance(server: Server, tmp_path: Path) -> None:
    schema = server.new_schema()
    server.script("CREATE TABLE t (id INT PRIMARY KEY, x INT, KEY (x)); INSERT INTO t VALUES (1,1),(2,2);", schema)
    path = tmp_path / "dump.sql"
    path.write_bytes(server.dump(schema))
    dump = read_facts(path)
    rates = Rates(rows=10e6, keys=20e6, trip=0.001, connections=2, bulk=True)
    table = dump.tables[0]
    big = replace(dump, tables=(replace(table, size=100_000_000, secondary=0),), statements=100)
    assert estimate(rates, big) == pytest.approx(10.1)
    keyed = replace(big, tables=(replace(table, size=100_000_000, secondary=3),))
    assert estimate(rates, keyed) == pytest.approx(10 + 15 + 0.1)
    spread = replace(big, tables=tuple(replace(table, size=25_000_000, secondary=3) for _ in range(4)))
    assert estimate(rates, spread) == pytest.approx(10 + 7.5 + 0.1)
    assert estimate(rates, big, replayed=60) == pytest.approx(70.1)
    assert "LOAD DATA over 2 connections" in told(rates, big)
