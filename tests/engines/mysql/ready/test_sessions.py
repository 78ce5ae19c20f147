"""Who uses a schema is found whatever they do with it, and waited for; what can't be seen is said."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from engines.checks import Verdict
from engines.errors import Refused, RestoreError
from engines.mysql.connect import connected, connection_id
from engines.mysql.flavour import Flavour
from engines.mysql.sessions import Usage, seen, unused, users_of, wait_until_unused
from tests.engines.mysql.ready.ground import account
from tests.servers.databases import Server
from tests.servers.waiting import until

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor


def shop_of(server: Server) -> str:
    schema = server.new_schema("shop")
    server.sql(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)", f"INSERT INTO `{schema}`.t VALUES (1)")
    return schema


@contextmanager
def somebody(server: Server, database: str | None, *statements: str) -> Iterator[Connection[Cursor]]:
    connection = server.connection(database)
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        yield connection
    finally:
        connection.close()


def usage_of(server: Server, schema: str, ours: frozenset[int] = frozenset()) -> Usage:
    with connected(server.place, server.login) as connection:
        return users_of(connection, schema, ours)


def test_nobody_uses_a_schema_that_nobody_uses(server: Server) -> None:
    schema = shop_of(server)
    with somebody(server, None), somebody(server, server.new_schema()):
        usage = usage_of(server, schema)
    assert usage == Usage((), complete=True, others=usage.others)
    assert usage.others >= 2
    assert unused(usage).verdict is Verdict.OK


def test_an_idle_session_whose_default_is_the_schema_uses_it(server: Server) -> None:
    schema = shop_of(server)
    with somebody(server, schema) as idle:
        usage = usage_of(server, schema)
        assert [(one.id, one.user, one.command, one.transaction) for one in usage.found] == [
            (connection_id(idle), "root", "Sleep", False)
        ]
        check = unused(usage)
        assert check.verdict is Verdict.FAIL
        assert str(connection_id(idle)) in check.evidence
        assert seen(usage).verdict is Verdict.OK
        assert usage_of(server, schema, frozenset({connection_id(idle)})).found == ()


def test_a_session_elsewhere_with_an_open_transaction_on_a_table_uses_it(server: Server) -> None:
    schema = shop_of(server)
    with somebody(server, None, "BEGIN", f"UPDATE `{schema}`.t SET id = 2") as writer:
        usage = usage_of(server, schema)
        assert [(one.id, one.transaction) for one in usage.found] == [(connection_id(writer), True)]


def test_what_a_transaction_elsewhere_holds_is_seen_where_the_server_shows_locks(server: Server) -> None:
    """MySQL shows them; MariaDB once its plugin is there. Until then an open transaction is taken for a user."""
    schema, other = shop_of(server), shop_of(server)
    with (
        somebody(server, None, "BEGIN", f"SELECT * FROM `{other}`.t") as elsewhere,
        somebody(server, None, "BEGIN", f"SELECT * FROM `{schema}`.t") as reader,
    ):
        ids = {one.id for one in usage_of(server, schema).found}
        if server.flavour is Flavour.MYSQL:
            assert ids == {connection_id(reader)}
            return
        assert ids == {connection_id(reader), connection_id(elsewhere)}
        assert "does not show on which tables" in usage_of(server, schema).told()
        server.sql("INSTALL SONAME 'metadata_lock_info'")
        try:
            assert {one.id for one in usage_of(server, schema).found} == {connection_id(reader)}
        finally:
            server.sql("UNINSTALL SONAME 'metadata_lock_info'")


def test_a_prepared_transaction_without_a_connection_is_a_user(fresh_server: Server) -> None:
    server = fresh_server
    schema = shop_of(server)
    with somebody(server, None, "XA START 'x'", f"INSERT INTO `{schema}`.t VALUES (9)", "XA END 'x'", "XA PREPARE 'x'"):
        pass
    server.restart()
    usage = usage_of(server, schema)
    assert [one.kind for one in usage.found] == ["XA transaction"]
    server.sql("XA ROLLBACK 'x'")
    # InnoDB makes its list of transactions anew only when nobody has read it for a tenth of a second.
    until(lambda: not usage_of(server, schema).found, "the transaction is gone", every=0.3)


def test_the_schedulers_event_is_a_user_while_it_runs(fresh_server: Server) -> None:
    server = fresh_server
    schema = shop_of(server)
    server.sql("SET GLOBAL event_scheduler = ON")
    assert usage_of(server, schema).found == ()  # the scheduler itself is none
    server.sql(f"CREATE EVENT `{schema}`.e ON SCHEDULE EVERY 1 DAY DO DO SLEEP(3600)")
    until(lambda: bool(usage_of(server, schema).found), "the event is seen")
    (event,) = usage_of(server, schema).found
    assert event.user == "root"
    server.sql(f"KILL {event.id}", f"DROP EVENT `{schema}`.e")
    until(lambda: not usage_of(server, schema).found, "the event is gone")


def test_without_process_nothing_is_known_and_that_blocks(server: Server) -> None:
    schema = shop_of(server)
    with connected(server.place, account(server, "ALL PRIVILEGES", on=f"`{schema}`.*")) as connection:
        usage = users_of(connection, schema)
        assert not usage.complete
        for check in (seen(usage), unused(usage)):
            assert check.verdict is Verdict.UNKNOWN
            assert "PROCESS" in check.hint
        with pytest.raises(Refused, match="not known"):
            wait_until_unused(connection, schema, timeout=0)


def test_waiting_ends_when_the_last_one_goes(server: Server) -> None:
    schema = shop_of(server)
    said: list[str] = []
    idle = server.connection(schema)
    leaves = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        leaves.set()

    def leave() -> None:
        leaves.wait()
        idle.close()

    leaver = threading.Thread(target=leave)
    leaver.start()
    with connected(server.place, server.login) as connection:
        usage = wait_until_unused(connection, schema, timeout=30, say=say)
    leaver.join()
    assert usage.found == ()
    assert "1 sessions use" in said[0]
    assert said[-1].startswith("nobody uses")


def test_waiting_that_is_over_refuses_with_the_list(server: Server) -> None:
    schema = shop_of(server)
    with somebody(server, schema) as idle, connected(server.place, server.login) as connection:
        with pytest.raises(Refused, match=f"{connection_id(idle)} root@") as refusal:
            wait_until_unused(connection, schema, timeout=0)
        assert "KILL" in refusal.value.hint
        with pytest.raises(RestoreError, match="stopped"):
            wait_until_unused(connection, schema, timeout=60, stop=lambda: True)
