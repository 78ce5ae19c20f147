"""A replay that the target pulls gives what the client pipeline gives: the source at that moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.mysql.binlogs.moments import stop_point
from engines.mysql.flavour import Flavour
from engines.mysql.replay.plan import ReplayPlan, plan_replay
from engines.mysql.replay.ways import Hooks, ReplayProgress
from engines.mysql.source.channel import Changed
from engines.mysql.source.replay import Reach, replay
from tests.engines.mysql.replay.source import Source, checksums, position
from tests.servers.databases import Server

pytestmark = pytest.mark.xdist_group("replay")
CHANNEL = "reinstate-test"


def here(*, encrypted: bool = True, account: str = "") -> Reach:
    allowed = frozenset({"127.0.0.1"})
    return Reach(
        address="127.0.0.1", bind="127.0.0.1", allowed=allowed, channel=CHANNEL, encrypted=encrypted, account=account
    )


def run(source: Source, plan: ReplayPlan, hooks: Hooks | None = None, server: Server | None = None) -> None:
    noted: list[Changed | None] = []
    done = replay(plan, source.into(server), hooks, reach=here(), noted=noted.append)
    assert (done.transactions, done.reaches, done.size) == (plan.transactions, plan.reaches, plan.size)
    assert [one is None for one in noted] == [False, True]


def logged(server: Server) -> bool:
    """MariaDB writes what a replica applies into its binary log only where it was started so."""
    return server.flavour is Flavour.MYSQL


def test_a_copy_of_a_source_under_load_is_what_it_was_at_that_moment(server: Server, tmp_path: Path) -> None:
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
    assert others != others_later

    stop = stop_point("position", f"{file}:{byte}")
    plan = plan_replay(chain, stop, source=source.schema, binary_log=logged(server))
    source.load(source.schema)
    told: list[ReplayProgress] = []
    said: list[str] = []
    try:
        run(source, plan, Hooks(progress=told.append, say=said.append))
    finally:
        print("\n".join(said))
    assert checksums(server, source.schema) == then
    assert checksums(server, other) == others_later
    assert (told[-1].done, told[-1].transactions, told[-1].at) == (plan.size, plan.transactions, plan.reaches)

    source.load(source.schema)
    run(source, plan_replay(chain, stop_point("end"), source=source.schema, others=(other,), binary_log=logged(server)))
    assert checksums(server, source.schema) == later
