"""What the tests of snapshot, rebuild and undo share: programs of both servers, schemas, and what is in them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engines.mysql.flavour import Flavour
from engines.mysql.programs import Program, Tool, look_at
from engines.mysql.snapshot import Asked
from tests.engines.mysql.schemas import everything
from tests.servers.databases import Server

NOW = datetime(2026, 11, 22, 20, 4, tzinfo=UTC)
MONTH = NOW + timedelta(days=30)
# History is compared where the server's dump program writes it.
_WHOLE = ("--single-transaction", "--routines", "--events", "--triggers", "--order-by-primary", "--skip-dump-date")


def program(server: Server, tool: Tool) -> Program:
    return look_at(tool, server.build.program(tool.value))


def content(server: Server, schema: str) -> bytes:
    """The schema as a dump without dates, its own name taken out; rows of the past included."""
    more = ("--set-gtid-purged=OFF",) if server.flavour is Flavour.MYSQL else ("--dump-history",)
    return server.dump(*_WHOLE, *more, "--databases", schema).replace(schema.encode(), b"SCHEMA")


def full_schema(server: Server, prefix: str = "shop") -> str:
    """A schema with every kind of object."""
    schema = server.new_schema(prefix)
    server.script(everything(server.flavour), schema, "--default-character-set=utf8mb4")
    if server.flavour is Flavour.MARIADB:
        server.sql("UPDATE versions SET t = 'b2' WHERE id = 2", "DELETE FROM versions WHERE id = 1", database=schema)
    return schema


def asked(server: Server, schema: str, folder: Path, **other: object) -> Asked:
    made = Asked(
        program=program(server, Tool.DUMP),
        place=server.place,
        login=server.login,
        schema=schema,
        folder=str(folder / "snapshots"),
        name="before",
        keep_until=MONTH,
        target="shop",
        session="2026-11-22-7f3a",
        private=folder / "private",
    )
    return replace(made, **other)  # type: ignore[arg-type]  # each test names fields of it
