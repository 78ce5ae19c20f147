"""Real servers take the source for one of their own kind: they log in, ask, and apply what they are sent."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engines.mysql.flavour import Flavour, parse_version
from engines.mysql.source.certificate import made_context
from engines.mysql.source.serving import Credentials, Events, Identity, Source, made_credentials, serving
from tests.engines.mysql.source.sending import SERVER_ID, events_of
from tests.servers.databases import Server
from tests.servers.proxy import proxied
from tests.servers.waiting import until

pytestmark = pytest.mark.xdist_group("replay")


@dataclass
class Logs:
    """A schema that a log makes anew: the server's own files, copied, and where the schema's part begins."""

    server: Server
    folder: Path
    schema: str
    file: str = ""
    position: int = 4
    rows: int = 0
    said: list[str] = field(default_factory=list)
    asked: list[tuple[str, int]] = field(default_factory=list)

    @property
    def identity(self) -> Identity:
        version = parse_version(str(self.server.sql("SELECT VERSION()")[0][0]))
        assert version is not None
        return Identity(version, SERVER_ID, "7f1c0a52-0000-4000-8000-00000000abcd")

    def count(self) -> int:
        there = self.server.sql(
            f"SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{self.schema}' AND table_name = 't'"
        )[0][0]
        return int(self.server.sql(f"SELECT COUNT(*) FROM `{self.schema}`.t")[0][0]) if there else -1

    def status(self) -> dict[str, Any]:
        if self.server.flavour is Flavour.MARIADB:
            return self._shown("SHOW SLAVE 'reinstate' STATUS")
        shown = self._shown("SHOW REPLICA STATUS FOR CHANNEL 'reinstate'")
        return {name.replace("Replica", "Slave"): value for name, value in shown.items()}

    def _shown(self, statement: str) -> dict[str, Any]:
        with closing(self.server.connection()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            (row,) = cursor.fetchall()
            return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}

    def beats(self) -> int:
        """How many heartbeats the channel has taken."""
        if self.server.flavour is Flavour.MYSQL:
            counted = "SELECT count_received_heartbeats FROM performance_schema.replication_connection_status"
            return int(self.server.sql(f"{counted} WHERE channel_name = 'reinstate'")[0][0])
        return int(self._shown("SHOW ALL SLAVES STATUS")["Slave_received_heartbeats"])

    @contextmanager
    def channel(self, port: int, login: Credentials, *, tls: bool) -> Iterator[None]:
        mysql = self.server.flavour is Flavour.MYSQL
        word = "SOURCE" if mysql else "MASTER"
        options = (
            f"{word}_HOST='127.0.0.1', {word}_PORT={port}, {word}_USER='{login.user}', "
            f"{word}_PASSWORD='{login.password}', {word}_LOG_FILE='{self.file}', {word}_LOG_POS={self.position}, "
            f"{word}_SSL={int(tls)}, {word}_CONNECT_RETRY=1, {word}_HEARTBEAT_PERIOD=0.2"
        )
        if mysql:
            on = self.server.sql("SELECT @@GLOBAL.gtid_mode")[0][0] == "ON"
            gtids = ", ASSIGN_GTIDS_TO_ANONYMOUS_TRANSACTIONS=LOCAL" if on else ""
            self.server.sql(
                "SET GLOBAL replica_net_timeout = 5",
                f"CHANGE REPLICATION SOURCE TO {options}, SOURCE_RETRY_COUNT=100{gtids} FOR CHANNEL 'reinstate'",
                "START REPLICA FOR CHANNEL 'reinstate'",
            )
            stop = ("STOP REPLICA FOR CHANNEL 'reinstate'", "RESET REPLICA ALL FOR CHANNEL 'reinstate'")
        else:
            verify = ", MASTER_SSL_VERIFY_SERVER_CERT=0" if tls else ""
            self.server.sql(
                "SET GLOBAL slave_net_timeout = 5",
                f"CHANGE MASTER 'reinstate' TO {options}{verify}, MASTER_USE_GTID=no",
                "START SLAVE 'reinstate'",
            )
            stop = ("STOP SLAVE 'reinstate'", "RESET SLAVE 'reinstate' ALL")
        try:
            yield
        finally:
            self.server.sql(*stop)

    @contextmanager
    def served(self, events: Events, login: Credentials, *, tls: bool = False) -> Iterator[Source]:
        with serving(
            self.identity,
            login,
            events,
            bind="127.0.0.1",
            allowed=frozenset({"127.0.0.1"}),
            tls=made_context(self.folder) if tls else None,
            say=self.said.append,
        ) as source:
            yield source


@pytest.fixture
def logs(server: Server, tmp_path: Path) -> Logs:
    """Two log files that make a schema's table t; the schema is there, and empty."""
    mysql = server.flavour is Flavour.MYSQL
    schema = server.new_schema("fed")
    found = Logs(server, tmp_path, schema)
    server.sql("FLUSH BINARY LOGS")
    row = server.sql("SHOW BINARY LOG STATUS" if mysql else "SHOW MASTER STATUS")[0]
    found.file, found.position = str(row[0]), int(row[1])
    server.sql("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, note VARCHAR(40))", database=schema)
    for _ in range(20):
        server.sql("INSERT INTO t (note) VALUES ('a'), ('b')", "FLUSH BINARY LOGS", database=schema)
        found.rows += 2
        if found.rows >= 6:
            server.sql("UPDATE t SET note = 'c' WHERE id = 1", database=schema)
            break
    server.sql("FLUSH BINARY LOGS")
    place = tmp_path / "logs"
    place.mkdir()
    names = [str(row[0]) for row in server.sql("SHOW BINARY LOGS")]
    for name in names[:-1]:
        if name >= found.file:
            shutil.copy(server.datadir / name, place)
    server.sql("SET sql_log_bin = 0", f"DROP TABLE `{schema}`.t")
    return found


@pytest.mark.parametrize("tls", [True, False], ids=["tls", "plain"])
def test_a_server_pulls_and_applies_what_is_served(logs: Logs, tls: bool) -> None:
    login = made_credentials()
    with (
        logs.served(events_of(logs.folder / "logs", logs.asked), login, tls=tls) as source,
        logs.channel(source.port, login, tls=tls),
    ):
        until(lambda: logs.count() == logs.rows, "the rows are there")
        until(lambda: logs.status()["Slave_IO_Running"] == "Yes", "it waits for more")
        beats = logs.beats()
        until(lambda: logs.beats() > beats + 1, "heartbeats come, and are taken")
        status = logs.status()
        assert status["Slave_IO_Running"] == status["Slave_SQL_Running"] == "Yes", status
        assert (source.connected, source.asked, source.refused, source.failure) == (True, 1, (), None)
        assert source.sent > 500
    assert logs.said == []
    assert logs.asked == [(logs.file, logs.position)]


def test_a_wrong_password_is_the_servers_1045(logs: Logs) -> None:
    login = made_credentials()
    wrong = Credentials(login.user, secrets.token_urlsafe(12))
    with (
        logs.served(events_of(logs.folder / "logs", logs.asked), login) as source,
        logs.channel(source.port, wrong, tls=False),
    ):
        until(lambda: logs.status()["Last_IO_Errno"] == 1045, "the server says 1045")
        assert source.refused[0] == "127.0.0.1: wrong user or password"
    assert logs.asked == []


def test_a_plain_login_is_refused_where_tls_is_needed(logs: Logs) -> None:
    login = made_credentials()
    with (
        logs.served(events_of(logs.folder / "logs", logs.asked), login, tls=True) as source,
        logs.channel(source.port, login, tls=False),
    ):
        until(lambda: "127.0.0.1: a plain connection, where TLS is needed" in source.refused, "it is refused")
    assert logs.asked == []


def test_a_cut_connection_comes_back_and_asks_from_where_it_was(logs: Logs) -> None:
    login = made_credentials()
    with (
        logs.served(events_of(logs.folder / "logs", logs.asked), login) as source,
        proxied(source.port) as proxy,
        logs.channel(proxy.port, login, tls=False),
    ):
        until(lambda: logs.count() == logs.rows, "the rows are there")
        proxy.cut()
        until(lambda: source.asked == 2 and source.connected, "it has come back")
        until(lambda: logs.status()["Slave_IO_Running"] == "Yes", "it waits for more")
        assert logs.count() == logs.rows
    first, second = logs.asked
    last = max(one.name for one in (logs.folder / "logs").iterdir())
    assert second > first
    assert second[0] >= last  # its last event is a ROTATE, which names the file after it


def test_an_event_larger_than_a_packet_is_taken(logs: Logs) -> None:
    server, login = logs.server, made_credentials()
    size = 17 << 20
    ((allowed,),) = server.sql("SELECT @@GLOBAL.max_allowed_packet")
    server.sql(f"SET GLOBAL max_allowed_packet = {64 << 20}")
    try:
        row = server.sql("SHOW BINARY LOG STATUS" if server.flavour is Flavour.MYSQL else "SHOW MASTER STATUS")[0]
        logs.file, logs.position = str(row[0]), int(row[1])
        server.sql(
            "CREATE TABLE t (id INT PRIMARY KEY, big LONGBLOB)",
            f"INSERT INTO t VALUES (1, REPEAT('x', {size}))",
            "FLUSH BINARY LOGS",
            database=logs.schema,
        )
        shutil.copy(server.datadir / logs.file, logs.folder / "logs")
        server.sql("SET sql_log_bin = 0", f"DROP TABLE `{logs.schema}`.t")
        with (
            logs.served(events_of(logs.folder / "logs"), login) as source,
            logs.channel(source.port, login, tls=False),
        ):
            until(lambda: logs.count() == 1, "the row is there")
            assert server.sql(f"SELECT LENGTH(big) FROM `{logs.schema}`.t") == [(size,)]
    finally:
        server.sql(f"SET GLOBAL max_allowed_packet = {allowed}")
