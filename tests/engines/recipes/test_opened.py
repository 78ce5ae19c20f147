"""Connections of an attempt that was cut off are ended; that one ends by itself meanwhile is no failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pymysql
import pytest

from engines.mysql.connect import connect, connected, connection_id
from engines.recipes.mysql import opened
from engines.session.events import FactFound, StepStarted
from engines.session.plan import PlanKind
from tests.engines.session.examples import begun, plan_made, state_of, step
from tests.servers.databases import Server
from tests.servers.waiting import until

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor


def test_what_an_earlier_attempt_had_open_is_ended(server: Server) -> None:
    left = connect(server.place, server.login)
    number = connection_id(left)
    with connected(server.place, server.login) as connection:
        found = {"connections": [number], "server_since": opened.since_when(connection)}
        state = state_of(
            begun(), plan_made(PlanKind.RESTORE, step("3.1")), StepStarted("3.1", 1), FactFound("3.1", found)
        )
        assert opened.end_earlier(connection, state) == (number,)
        assert opened.end_earlier(connection, state) == (), "the server shows it no more"
    with pytest.raises(pymysql.err.OperationalError):
        left.ping(reconnect=False)


def test_one_that_ends_by_itself_between_the_look_and_the_kill_is_ended(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(server.place, server.login) as connection:
        gone = connect(server.place, server.login)
        number = connection_id(gone)
        found = {"connections": [number], "server_since": opened.since_when(connection)}
        state = state_of(
            begun(), plan_made(PlanKind.RESTORE, step("3.1")), StepStarted("3.1", 1), FactFound("3.1", found)
        )
        ends = opened._end

        def late(connection: Connection[Cursor], number: int) -> None:
            server.sql(f"KILL {number}")
            until(
                lambda: not server.sql(f"SELECT 1 FROM information_schema.processlist WHERE id = {number}"), "it ends"
            )
            ends(connection, number)

        monkeypatch.setattr(opened, "_end", late)
        assert opened.end_earlier(connection, state) == (number,)
