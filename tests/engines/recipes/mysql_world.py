"""A schema on a real server, its dumps and logs, and a whole session on it, answered by a program."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import msgspec

from engines.config import Config, load
from engines.incident import read_incident
from engines.mysql.connect import Login, Place, write_option_file
from engines.mysql.flavour import Flavour
from engines.recipes import points, sessions
from engines.recipes.mysql.until import Until
from engines.session import store
from engines.session.client import Client
from engines.session.journal import replace_file
from engines.session.moves import AskKind, Wait, next_move, overriding
from engines.text import utc_now
from tests.engines.mysql.schemas import everything
from tests.engines.recipes.world import say_yes
from tests.servers.databases import Server

GOOD = 400  # users before the incident
LATER = 25  # users added after the dump and before the bad transaction
TARGET = "box"

_CONFIG = """
state = "{folder}/state"
[approval]
self_approval = ["local"]
[target.box]
engine = "{engine}"
environment = "local"
host = "127.0.0.1"
port = {port}
database = "{schema}"
login = "{folder}/login.cnf"
backups = "{folder}/dumps"
every = "87600h"
writers_timeout = "5s"
critical_tables = ["customers", "orders"]
{more}
[target.box.application]
path = "{folder}/app"
framework = "none"
maintenance_on = ["touch", "down"]
maintenance_off = ["rm", "-f", "down"]
maintenance_check = ["test", "-e", "down"]
"""

_INCIDENT = """
[incident]
id = "INC-8"
started_at = 2026-11-22T20:30:00Z
[[table]]
name = "customers"
rows = {rows}
[[must_contain]]
name = "the first customer"
query = "SELECT 1 FROM customers WHERE name = 'customer 1'"
"""


@dataclass(frozen=True, slots=True)
class MysqlWorld:
    folder: Path
    server: Server
    schema: str
    dump: str  # name of the dump
    bad: str  # FILE:POSITION where the bad transaction begins
    good: bytes = b""  # the schema right before it, as `content` gives it

    def config(self) -> Config:
        return load(self.folder / "reinstate.toml", privileged=False)

    def customers(self) -> int:
        return int(self.server.sql("SELECT COUNT(*) FROM customers", database=self.schema)[0][0])

    def content(self) -> bytes:
        """The schema as a dump, comparable."""
        return content_of(self.server, self.schema)

    def schemas(self) -> set[str]:
        return {str(name) for (name,) in self.server.sql("SELECT schema_name FROM information_schema.schemata")}

    def accounts(self) -> set[str]:
        return {str(name) for (name,) in self.server.sql("SELECT user FROM mysql.user")}


def build(
    folder: Path,
    server: Server,
    *,
    more: str = "",
    whole: bool = False,
    script: str = "",
    later: str = "",
    harm: str = "",
    port: int = 0,
    login: Login | None = None,
) -> MysqlWorld:
    """Customers and orders, a nightly dump, more customers, then everything of the customers deleted.

    `whole`: the schema has everything that a schema can have, too. `script`: what else it has before the dump;
    `later`: what else is done after it, before the bad transaction; `harm`: what else is bad. `port`, `login`: how the
    session reaches the server, where it is not as the tests do.
    """
    port, login = port or server.port, login or server.login
    for name in ("dumps", "app"):
        (folder / name).mkdir(parents=True)
    schema = server.new_schema("shop")
    if whole:
        server.script(everything(server.flavour), schema, "--default-character-set=utf8mb4")
    rows = ",".join(f"({n},'customer {n}')" for n in range(1, GOOD + 1))
    server.sql(
        "CREATE TABLE customers (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(60), KEY by_name (name)) "
        "DEFAULT CHARSET=utf8mb4",
        "CREATE TABLE orders (id INT PRIMARY KEY AUTO_INCREMENT, customer INT, KEY by_customer (customer), "
        "CONSTRAINT of_customer FOREIGN KEY (customer) REFERENCES customers (id))",
        f"INSERT INTO customers VALUES {rows}",
        "INSERT INTO orders (customer) SELECT id FROM customers",
        database=schema,
    )
    if script:
        server.script(script, schema)
    mysql = server.flavour is Flavour.MYSQL
    own = ("--set-gtid-purged=OFF", "--source-data=2") if mysql else ("--master-data=2",)
    name = f"{schema}-2026-11-22T20-00-00Z.sql"
    content = server.dump("--single-transaction", "--routines", "--events", "--triggers", *own, schema)
    (folder / "dumps" / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    (folder / "dumps" / "checksums.txt").write_text(f"{digest}  {name}\n")
    server.sql(*(f"INSERT INTO customers (name) VALUES ('late {n}')" for n in range(LATER)), database=schema)
    if later:
        server.script(later, schema)
    status = "SHOW BINARY LOG STATUS" if mysql else "SHOW MASTER STATUS"
    file, position, *_ = server.sql(status)[0]
    good = content_of(server, schema)
    server.sql("DELETE FROM orders", "DELETE FROM customers", database=schema)
    server.sql("CREATE TABLE made_later (id INT PRIMARY KEY)", database=schema)
    if harm:
        server.script(harm, schema)
    write_option_file(folder / "login.cnf", Place("127.0.0.1", port), login, mariadb=not mysql)
    (folder / "reinstate.toml").write_text(
        _CONFIG.format(folder=folder, engine=server.flavour.value, port=port, schema=schema, more=more)
    )
    (folder / "incident.toml").write_text(_INCIDENT.format(rows=GOOD))
    return MysqlWorld(folder, server, schema, name, f"{file}:{position}", good)


def content_of(server: Server, schema: str) -> bytes:
    """A schema as a dump, comparable."""
    own = ("--set-gtid-purged=OFF",) if server.flavour is Flavour.MYSQL else ()
    return server.dump(
        "--order-by-primary", "--routines", "--events", "--triggers", "--skip-dump-date", "--skip-comments",
        "--single-transaction", *own, schema,
    )  # fmt: skip


@contextmanager
def programs_of(server: Server) -> Iterator[None]:
    """The server's own client programs first in PATH, as on a bastion for it."""
    folders = ":".join(server.build.folders)
    with patch.dict(os.environ, {"PATH": f"{folders}:{os.environ['PATH']}"}):
        yield


def new_session(world: MysqlWorld, until: Until | None = None) -> Path:
    """A session's folder, ready for a runner of the test's own."""
    config = world.config()
    target = config.targets[TARGET]
    incident = read_incident(world.folder / "incident.toml", privileged=False)
    folder = store.new_folder(config.state, "local", utc_now())
    chosen = points.find(points.restore_points(target), world.dump)
    begun = sessions.beginning(config, target, chosen, incident, "ana", folder.name, until)
    replace_file(folder / store.BEGIN, msgspec.json.encode(begun))
    return folder


async def accept_all(client: Client) -> bool:
    """`say_yes`, and the commander overrides what can't be otherwise in a test: what is overridden is in the record."""
    move = next_move(client.state, utc_now())
    if isinstance(move, Wait) and move.ask.kind is AskKind.CHECKS:
        for name in move.ask.checks:
            await client.do(overriding(client.state, name, "ivo", "the test accepts it"))
        return True
    return await say_yes(client)


def overridden(folder: Path) -> Mapping[str, str]:
    state = store.open_session(folder).state
    return {name: known.check.evidence for name, known in state.checks.items() if known.override}
