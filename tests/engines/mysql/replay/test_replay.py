"""A copy that was loaded and replayed is what its source was at that moment, and never silently something else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from engines.errors import Refused, RestoreError
from engines.mysql.binlogs.chain import Coordinates, chain
from engines.mysql.binlogs.moments import StopKind, StopPoint, stop_point
from engines.mysql.binlogs.transactions import search
from engines.mysql.connect import Place
from engines.mysql.flavour import Flavour
from engines.mysql.replay.pipeline import replay
from engines.mysql.replay.plan import Gtids, NotStaged, ReplayPlan, plan_replay
from engines.mysql.replay.ways import Hooks, ReplayProgress
from tests.engines.mysql.replay.both import Way, both, by_client, programs
from tests.engines.mysql.replay.source import Source, checksums, executed, position
from tests.servers.databases import FLAVOURS, Build, Server, build_of
from tests.servers.proxy import proxied

pytestmark = pytest.mark.xdist_group("replay")


def run(source: Source, plan: ReplayPlan, way: Way, hooks: Hooks | None = None, server: Server | None = None) -> None:
    done = way(plan, source.into(server), server or source.server, hooks)
    assert (done.transactions, done.reaches, done.size) == (plan.transactions, plan.reaches, plan.size)


@both
def test_a_copy_of_a_source_under_load_is_what_it_was_at_that_moment(server: Server, tmp_path: Path, way: Way) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    other = Source(server, server.new_schema("other"), tmp_path).schema
    with source.under_load(source.schema, other):
        source.take_dump()
    server.sql("FLUSH BINARY LOGS")
    source.work(5)
    file, byte = position(server)
    then, others = checksums(server, source.schema), checksums(server, other)
    with source.under_load(source.schema, other):
        server.sql("FLUSH BINARY LOGS")
    chain = source.chain()
    later, others_later = checksums(server, source.schema), checksums(server, other)
    assert later != then
    assert others != others_later

    plan = plan_replay(chain, stop_point("position", f"{file}:{byte}"), source=source.schema)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=ReplayPlan) == plan
    assert plan.start == (source.start.file, source.start.position)
    assert plan.stop == (file, byte)
    assert other in plan.others
    source.load(source.schema)
    told: list[ReplayProgress] = []
    connections: list[int] = []
    run(source, plan, way, Hooks(progress=told.append, opened=connections.append))
    assert checksums(server, source.schema) == then
    assert checksums(server, other) == others_later
    assert len(connections) == 1
    assert (told[-1].done, told[-1].transactions, told[-1].at) == (plan.size, plan.transactions, plan.reaches)

    source.load(source.schema)
    run(source, plan_replay(chain, stop_point("end"), source=source.schema, others=(other,)), way)
    assert checksums(server, source.schema) == later


def test_a_stop_by_time_takes_what_was_committed_until_then(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    source.work(3)
    then = checksums(server, source.schema)
    server.sql("SELECT SLEEP(2)")  # MariaDB's logs have whole seconds
    server.sql("DELETE FROM users", database=source.schema)
    chain = source.chain()
    (bad,) = search(chain, ("DELETE",), f"{source.schema}.users")
    plan = plan_replay(chain, StopPoint(StopKind.TIME, bad.at - timedelta(seconds=1)), source=source.schema)
    source.load(source.schema)
    run(source, plan, by_client)
    assert checksums(server, source.schema) == then
    assert plan.reaches is not None
    assert plan.reaches < bad.at


@both
def test_one_transaction_left_out_is_the_only_one_that_is_missing(server: Server, tmp_path: Path, way: Way) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    source.work(4)
    server.sql("CREATE TABLE kept AS SELECT * FROM users", database=source.schema)
    server.sql("DELETE FROM users", database=source.schema)
    server.sql("INSERT INTO keyless VALUES (1, 'later')", database=source.schema)
    chain = source.chain()
    (bad,) = search(chain, ("DELETE",), f"{source.schema}.users")
    if bad.nature == "statement":
        pytest.fail("the server logs statements")
    plan = plan_replay(chain, stop_point("end", exclude=(f"{bad.file}:{bad.begin}",)), source=source.schema)
    assert [(one.file, one.begin, one.end) for one in plan.excluded] == [(bad.file, bad.begin, bad.end)]
    live = checksums(server, source.schema)
    source.load(source.schema)
    run(source, plan, way)
    copy = checksums(server, source.schema)
    assert {name for name in live if live[name] != copy[name]} == {"users"}
    assert copy["users"][0] == copy["kept"][0]


@both
def test_temporary_tables_live_through_all_files_of_a_log_of_statements(
    server: Server, tmp_path: Path, way: Way
) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    server.sql(
        "SET SESSION binlog_format = STATEMENT",
        "CREATE TEMPORARY TABLE picked (id INT)",
        "INSERT INTO picked VALUES (1), (2)",
        "FLUSH BINARY LOGS",
        "SET timestamp = 1500000000",
        "INSERT INTO keyless SELECT id, NOW() FROM picked",
        "SET timestamp = DEFAULT",
        "SET @chosen = 3",
        "FLUSH BINARY LOGS",
        "INSERT INTO keyless VALUES (@chosen, RAND(7))",
        "DROP TEMPORARY TABLE picked",
        database=source.schema,
    )
    then = checksums(server, source.schema)
    plan = plan_replay(source.chain(), stop_point("end"), source=source.schema)
    assert plan.temporary
    assert plan.statements > 2
    source.load(source.schema)
    run(source, plan, way)
    assert checksums(server, source.schema) == then
    with pytest.raises(NotStaged, match="byte"):
        plan_replay(source.chain(), stop_point("end"), source=source.schema, schema="stage")


@both
def test_a_session_that_sets_its_own_time_does_not_end_a_replay_early(server: Server, tmp_path: Path, way: Way) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    server.sql(
        "INSERT INTO keyless VALUES (1, 'one')",
        "SET timestamp = UNIX_TIMESTAMP() + 86400",
        "INSERT INTO keyless VALUES (2, 'from tomorrow')",
        "SET timestamp = DEFAULT",
        *[f"INSERT INTO keyless VALUES ({n}, 'later')" for n in range(3, 9)],
        database=source.schema,
    )
    then = checksums(server, source.schema)
    chain = source.chain()
    assert chain.reach is not None
    moment = chain.reach + timedelta(seconds=5)
    plan = plan_replay(chain, StopPoint(StopKind.TIME, moment), source=source.schema)
    assert plan.transactions == 8
    source.load(source.schema)
    run(source, plan, way)
    assert checksums(server, source.schema) == then


@both
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "fresh"])
def test_gtids_that_the_target_has_executed_are_refused_or_replayed_as_new(
    kept: bool, start_server: Callable[..., Server], tmp_path: Path, way: Way
) -> None:
    build = build_of(Flavour.MYSQL)
    server = start_server(build, "--gtid-mode=ON", "--enforce-gtid-consistency=ON")
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    source.work(3)
    then = checksums(server, source.schema)
    chain = source.chain()
    source.load(source.schema)
    if kept:
        with pytest.raises(Refused, match="silently"):
            plan_replay(chain, stop_point("end"), source=source.schema, gtids=Gtids.KEPT, executed=executed(server))
        return
    run(source, plan_replay(chain, stop_point("end"), source=source.schema), way)
    assert checksums(server, source.schema) == then


def test_an_interrupted_replay_that_keeps_gtids_is_not_begun_again_over_what_it_left(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    build = build_of(Flavour.MYSQL)
    options = ("--gtid-mode=ON", "--enforce-gtid-consistency=ON")
    server, target = start_server(build, *options), start_server(build, *options)
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    source.work(40)
    source.load(source.schema, target)
    plan = plan_replay(
        source.chain(), stop_point("end"), source=source.schema, gtids=Gtids.KEPT, executed=executed(target)
    )
    with proxied(target.port) as proxy:
        into = replace(source.into(target), place=Place("127.0.0.1", proxy.port))
        with pytest.raises(RestoreError, match="unfinished"):
            replay(plan, into, Hooks(opened=lambda _: proxy.cut_after(3_000)), programs=programs(target))
    with pytest.raises(Refused, match="would leave them out silently"):
        replay(plan, source.into(target), programs=programs(target))


@both
@pytest.mark.parametrize("build", FLAVOURS, ids=lambda build: build.name)
def test_from_a_gtid_set_up_to_a_gtid(
    build: Build, start_server: Callable[..., Server], tmp_path: Path, way: Way
) -> None:
    mysql = build.flavour is Flavour.MYSQL
    server = start_server(build, *(("--gtid-mode=ON", "--enforce-gtid-consistency=ON") if mysql else ()))
    asks = "SELECT @@GLOBAL.gtid_executed" if mysql else "SELECT @@GLOBAL.gtid_binlog_pos"
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    already = str(server.sql(asks)[0][0]).replace("\n", "")
    source.work(3)
    then = checksums(server, source.schema)
    server.sql("DELETE FROM users", database=source.schema)
    source.work(2)
    by_position = source.chain()
    (bad,) = search(by_position, ("DELETE",), f"{source.schema}.users")
    assert bad.gtid is not None
    by_gtids = chain([link.log for link in by_position.links], Coordinates(gtid_set=already))
    plans = [plan_replay(one, stop_point("gtid", bad.gtid), source=source.schema) for one in (by_position, by_gtids)]
    assert [plan.transactions for plan in plans] == [3, 3]
    for plan in plans:
        source.load(source.schema)
        run(source, plan, way)
        assert checksums(server, source.schema) == then
