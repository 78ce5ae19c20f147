"""A schema that changes while it is dumped and while its logs are fetched, and the copies that are made of it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines.mysql.binlogs.chain import Chain, Coordinates, chain
from engines.mysql.binlogs.fetch import fetch_logs
from engines.mysql.connect import quoted
from engines.mysql.flavour import Flavour
from engines.mysql.replay.ways import Into
from tests.servers.databases import Server
from tests.servers.waiting import until

_COORDINATES = re.compile(rb"(?:SOURCE|MASTER)_LOG_FILE='([^']+)', (?:SOURCE|MASTER)_LOG_POS=(\d+)")
TABLES = (
    "CREATE TABLE users (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(60), n INT, KEY (n)) CHARSET=utf8mb4",
    "CREATE TABLE `odd ``na.me` (id INT PRIMARY KEY AUTO_INCREMENT, user INT, note TEXT, at TIMESTAMP(3) NULL) "
    "CHARSET=utf8mb4",
    "CREATE TABLE keyless (a INT, b VARCHAR(20)) CHARSET=utf8mb4",
)

Sums = dict[str, Any]


def checksums(server: Server, schema: str) -> Sums:
    """Each table of the schema and its checksum, and its definition."""
    names = [str(name) for (name,) in server.sql(f"SHOW TABLES FROM {quoted(schema)}")]
    found: Sums = {}
    for name in names:
        table = f"{quoted(schema)}.{quoted(name)}"
        ((_, total),) = server.sql(f"CHECKSUM TABLE {table}")
        made = server.sql(f"SHOW CREATE TABLE {table}")[0][1]
        found[name] = (total, re.sub(r"AUTO_INCREMENT=\d+ ", "", str(made)))
    return found


def position(server: Server) -> tuple[str, int]:
    """Where the server writes its binary log."""
    command = "SHOW BINARY LOG STATUS" if server.flavour is Flavour.MYSQL else "SHOW MASTER STATUS"
    row = server.sql(command)[0]
    return str(row[0]), int(row[1])


def executed(server: Server) -> str:
    return str(server.sql("SELECT @@GLOBAL.gtid_executed")[0][0]).replace("\n", "")


@dataclass
class Source:
    """A schema of a server, dumped at a moment that its logs go on from."""

    server: Server
    schema: str
    folder: Path
    dump: Path = field(init=False)
    start: Coordinates = field(init=False)

    def __post_init__(self) -> None:
        self.server.sql(*TABLES, database=self.schema)
        self.work(20)

    def work(self, rounds: int, schema: str | None = None) -> None:
        """Transactions of several statements."""
        connection = self.server.connection(schema or self.schema)
        with connection.cursor() as cursor:
            for n in range(rounds):
                cursor.execute("BEGIN")
                cursor.execute("INSERT INTO users (name, n) VALUES (CONCAT('us''er ', UUID(), ' \\n', %s), %s)", (n, n))
                cursor.execute("INSERT INTO `odd ``na.me` (user, note, at) VALUES (%s, REPEAT('é', 50), NOW(3))", (n,))
                cursor.execute("INSERT INTO keyless VALUES (%s, 'x'), (%s, NULL)", (n, n + 1))
                cursor.execute("UPDATE users SET n = n + 1 WHERE n = %s", (n % 7,))
                cursor.execute("DELETE FROM `odd ``na.me` WHERE user = %s LIMIT 1", (n - 3,))
                cursor.execute("COMMIT")
        connection.close()

    @contextmanager
    def under_load(self, *schemas: str) -> Iterator[None]:
        """Others write to the schemas as long as this lasts."""
        ending = threading.Event()
        rounds = dict.fromkeys(schemas or (self.schema,), 0)

        def write(schema: str) -> None:
            while not ending.is_set():
                self.work(2, schema)
                rounds[schema] += 1

        threads = [threading.Thread(target=write, args=(schema,)) for schema in rounds]
        for thread in threads:
            thread.start()
        try:
            until(lambda: all(rounds.values()), "the load is on")
            yield
            seen = dict(rounds)
            until(lambda: all(rounds[one] > seen[one] for one in rounds), "the load went on")
        finally:
            ending.set()
            for thread in threads:
                thread.join()

    def take_dump(self) -> None:
        mysql = self.server.flavour is Flavour.MYSQL
        options = ("--source-data=2", "--set-gtid-purged=OFF") if mysql else ("--master-data=2",)
        text = self.server.dump("--single-transaction", "--routines", "--triggers", *options, self.schema)
        self.dump = self.folder / f"dump-{len(list(self.folder.iterdir()))}.sql"
        self.dump.write_bytes(text)
        found = _COORDINATES.search(text)
        assert found is not None
        self.start = Coordinates(found[1].decode(), int(found[2]))

    def chain(self) -> Chain:
        """What the server has logged since the dump, fetched."""
        from engines.mysql.binlogs.logs import logs_in, read_logs

        folder = self.folder / "logs"
        fetch_logs(self.server.place, self.server.login, folder, since=self.start.file)
        found = chain(read_logs(logs_in(folder)), self.start)
        assert found.problems == ()
        return found

    def into(self, server: Server | None = None) -> Into:
        target = server or self.server
        return Into(place=target.place, login=target.login, private=self.folder)

    def load(self, schema: str, server: Server | None = None) -> str:
        """The dump in a schema that holds nothing else."""
        target = server or self.server
        target.sql(f"DROP DATABASE IF EXISTS {quoted(schema)}", f"CREATE DATABASE {quoted(schema)}")
        target.script(self.dump.read_bytes(), schema)
        return schema
