"""Whatever a server can log comes out of a replay as it was: formats, compression, XA, triggers, tags, two schemas."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.mysql.binlogs.chain import Chain, Coordinates, chain
from engines.mysql.binlogs.fetch import fetch_logs
from engines.mysql.binlogs.logs import logs_in, read_logs
from engines.mysql.binlogs.moments import stop_point
from engines.mysql.flavour import Flavour
from engines.mysql.replay.feed import Feed
from engines.mysql.replay.pipeline import replay
from engines.mysql.replay.plan import Gtids, plan_replay
from engines.mysql.replay.ways import Into
from tests.engines.mysql.binlogs.workload import busy
from tests.engines.mysql.replay.both import Way, both, programs
from tests.engines.mysql.replay.source import checksums
from tests.servers.databases import FLAVOURS, Build, Server

pytestmark = pytest.mark.xdist_group("replay")


def fetched(server: Server, folder: Path) -> Chain:
    fetch_logs(server.place, server.login, folder)
    logs = read_logs(logs_in(folder))
    found = chain(logs, Coordinates(logs[0].name, 4))
    assert found.problems == ()
    return found


@pytest.mark.parametrize(
    ("build", "gtids"),
    [
        *(pytest.param(build, True, id=f"{build.name}-gtids") for build in FLAVOURS),
        *(pytest.param(build, False, id=build.name) for build in FLAVOURS if build.flavour is Flavour.MYSQL),
    ],
)
@both
def test_everything_that_a_server_logs_is_replayed(
    build: Build, gtids: bool, start_server: Callable[..., Server], tmp_path: Path, way: Way
) -> None:
    mysql = build.flavour is Flavour.MYSQL
    switch = "ON" if gtids else "OFF"
    options = (f"--gtid-mode={switch}", f"--enforce-gtid-consistency={switch}") if mysql else ()
    server, target = start_server(build, *options), start_server(build, *options)
    server.sql("CREATE DATABASE two", "CREATE TABLE two.a (i INT PRIMARY KEY, v INT)")
    busy(server)
    server.sql("CREATE TABLE m (i INT PRIMARY KEY, v INT)", "INSERT INTO two.a VALUES (1, 1)", database="shop")
    for compressed in (False, True):
        if mysql:
            server.sql(f"SET GLOBAL binlog_transaction_compression = {int(compressed)}")
        else:
            server.sql(f"SET GLOBAL log_bin_compress = {int(compressed)}", "SET GLOBAL log_bin_compress_min_len = 10")
        server.sql(
            f"INSERT INTO m VALUES ({1 + compressed}, 1)",
            "UPDATE m, two.a SET m.v = m.v + 2, two.a.v = 2",
            "UPDATE two.a, m SET m.v = m.v + 3, two.a.v = 3",
            "INSERT INTO two.a SELECT MAX(i) + 1, 5 FROM two.a",
            "XA START 'mine'",
            f"INSERT INTO m VALUES ({11 + compressed}, 1)",
            "XA END 'mine'",
            "XA PREPARE 'mine'",
            "XA COMMIT 'mine'",
            "XA START 'theirs','b'",
            f"INSERT INTO two.a VALUES ({511 + 100 * compressed}, 1)",
            "XA END 'theirs','b'",
            "XA PREPARE 'theirs','b'",
            "XA ROLLBACK 'theirs','b'" if compressed else "XA COMMIT 'theirs','b'",
            database="shop",
        )
    found = fetched(server, tmp_path / "logs")
    private = Into(place=target.place, login=target.login, private=tmp_path)
    for schema in ("shop", "two"):
        plan = plan_replay(found, stop_point("end"), source=schema)
        assert plan.crossing == 4
        done = way(plan, private, target)
        assert (done.transactions, done.size) == (plan.transactions, plan.size)
        assert checksums(target, schema) == checksums(server, schema)
    assert not target.sql("XA RECOVER")


def test_mariadb_keeps_its_gtids_where_that_is_asked_for(start_server: Callable[..., Server], tmp_path: Path) -> None:
    build = next(build for build in FLAVOURS if build.flavour is Flavour.MARIADB)
    server, target = start_server(build), start_server(build)
    server.sql(
        "CREATE DATABASE s", "CREATE TABLE s.t (i INT)", "INSERT INTO s.t VALUES (1)", "INSERT INTO s.t VALUES (2)"
    )
    plan = plan_replay(fetched(server, tmp_path / "logs"), stop_point("end"), source="s", gtids=Gtids.KEPT)
    private = Into(place=target.place, login=target.login, private=tmp_path)
    replay(plan, private, programs=programs(target))
    assert target.sql("SELECT @@gtid_binlog_pos") == server.sql("SELECT @@gtid_binlog_pos")


def test_what_is_fed_is_cut_out_fast(mariadb_server: Server, tmp_path: Path) -> None:
    server = mariadb_server
    schema, other = server.new_schema("shop"), server.new_schema("other")
    server.sql("FLUSH BINARY LOGS")
    for name in (schema, other):
        server.sql(
            f"CREATE TABLE {name}.t (id INT PRIMARY KEY AUTO_INCREMENT, note VARCHAR(200))",
            f"INSERT INTO {name}.t (note) SELECT REPEAT('n', 100) FROM information_schema.columns LIMIT 1000",
            f"INSERT INTO {name}.t (note) SELECT a.note FROM {name}.t a JOIN {name}.t b LIMIT 200000",
        )
    found = fetched(server, tmp_path / "logs")
    plan = plan_replay(found, stop_point("end"), source=schema)
    begun = time.perf_counter()
    sent = sum(map(len, Feed(plan).pieces()))
    assert sent < plan.size * 0.6
    assert plan.size / (time.perf_counter() - begun) > 30e6
