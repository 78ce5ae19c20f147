"""One bastion at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.errors import Refused
from engines.mysql.hold import hold, lock_name
from tests.servers.databases import PASSWORD, Server
from tests.servers.proxy import proxied


def test_a_second_one_is_kept_out_and_told_who_is_there(server: Server) -> None:
    with hold(server.place, server.login, "shop") as first:
        assert first.held()
        told = f"connection {first.connection_id} \\(root from"
        with pytest.raises(Refused, match=told) as refusal, hold(server.place, server.login, "SHOP"):
            pass
        assert f"KILL {first.connection_id}" in refusal.value.hint
        assert PASSWORD not in str(refusal.value)
        with hold(server.place, server.login, "other"):  # another schema is nobody's
            pass
        assert first.held()
    with hold(server.place, server.login, "shop") as again:
        assert again.held()


def test_a_lost_connection_is_noticed_and_stays_lost(server: Server) -> None:
    with hold(server.place, server.login, "shop") as first:
        server.sql(f"KILL {first.connection_id}")
        assert not first.held()
        assert not first.held()
        with hold(server.place, server.login, "shop") as second:
            assert second.held()
            assert not first.held()


def test_a_cut_line_is_noticed(server: Server) -> None:
    with proxied(server.port) as proxy, hold(replace(server.place, port=proxy.port), server.login, "shop") as first:
        assert first.held()
        proxy.cut()
        assert not first.held()


def test_the_server_does_not_end_the_connection_for_being_idle(server: Server) -> None:
    with hold(server.place, server.login, "shop") as first, first._connection.cursor() as cursor:
        cursor.execute("SELECT @@SESSION.wait_timeout")
        assert cursor.fetchone() == (31_536_000,)


def test_names_fit_and_differ() -> None:
    long, other = "x" * 64, "x" * 63 + "y"
    assert lock_name("shop") == lock_name("Shop") == "reinstate:shop"
    assert len({lock_name(long), lock_name(other)}) == 2
    assert max(len(lock_name(long)), len(lock_name("ü" * 64))) <= 64
