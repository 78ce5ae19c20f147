"""The two ways of a replay, for tests that hold of both."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import pytest

from engines.mysql.flavour import Flavour
from engines.mysql.replay import pipeline
from engines.mysql.replay.plan import ReplayPlan
from engines.mysql.replay.programs import Programs
from engines.mysql.replay.ways import Hooks, Into, Replayed
from engines.mysql.source.channel import Changed
from engines.mysql.source.replay import Reach, replay
from tests.servers.databases import Server

CHANNEL = "reinstate-test"


class Way(Protocol):
    def __call__(self, plan: ReplayPlan, into: Into, server: Server, hooks: Hooks | None = None) -> Replayed: ...


def programs(server: Server) -> Programs:
    return Programs(server.build.program("mysql"), server.build.program("mysqlbinlog"))


def by_client(plan: ReplayPlan, into: Into, server: Server, hooks: Hooks | None = None) -> Replayed:
    return pipeline.replay(plan, into, hooks, programs=programs(server))


def by_source(plan: ReplayPlan, into: Into, server: Server, hooks: Hooks | None = None) -> Replayed:
    noted: list[Changed | None] = []
    done = replay(fitting(plan, server), into, hooks, reach=here(), noted=noted.append)
    assert [one is None for one in noted] == [False, True]
    assert left_behind(server) == ()
    return done


both = pytest.mark.parametrize("way", [by_client, by_source], ids=["client", "source"])


def here(*, encrypted: bool = True, account: str = "") -> Reach:
    allowed = frozenset({"127.0.0.1"})
    return Reach(
        address="127.0.0.1", bind="127.0.0.1", allowed=allowed, channel=CHANNEL, encrypted=encrypted, account=account
    )


def fitting(plan: ReplayPlan, server: Server) -> ReplayPlan:
    """MariaDB writes what a replica applies into its binary log only where it was started so."""
    mariadb = server.flavour is Flavour.MARIADB
    updates = "SELECT @@GLOBAL.log_slave_updates" if mariadb else "SELECT @@GLOBAL.log_replica_updates"
    return replace(plan, binary_log=plan.binary_log and bool(server.sql(updates)[0][0]))


def left_behind(server: Server) -> tuple[str, ...]:
    """What a replay by source could have left on the server."""
    mariadb = server.flavour is Flavour.MARIADB
    rows = server.sql("SHOW ALL SLAVES STATUS" if mariadb else "SHOW REPLICA STATUS")
    found = [f"channel {one}" for row in rows for one in row if one == CHANNEL]
    if mariadb:
        position = str(server.sql("SELECT @@GLOBAL.gtid_slave_pos")[0][0])
        found += [f"gtid {one}" for one in position.split(",") if int(one.partition("-")[0] or 0) >= 1 << 30]
    return tuple(found)


def run(source_into: Into, plan: ReplayPlan, way: Way, server: Server, hooks: Hooks | None = None) -> None:
    """All of the plan was replayed."""
    done = way(plan, source_into, server, hooks)
    assert (done.transactions, done.reaches, done.size) == (plan.transactions, plan.reaches, plan.size)
