"""`reinstate drill` of a server's schema, on a real drill server. The live one is a port where nobody answers."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.recipes.mysql_world import GOOD, MysqlWorld, build, programs_of
from tests.servers.databases import Server
from tests.tui.cli_ground import Said, is_drawable, typed

PROVEN, REFUSED, NOT_PROVEN = 0, 3, 4
DRILL = """
[target.box.drill]
login = "{folder}/login.cnf"
port = {port}
tolerance_pct = 0.0
"""


@pytest.fixture
def world(mariadb_server: Server, tmp_path: Path) -> Iterator[MysqlWorld]:
    """The server is the drill server; of the live one there is nothing but its dump."""
    with programs_of(mariadb_server):
        made = build(tmp_path / "world", mariadb_server)
        config = made.folder / "reinstate.toml"
        live = config.read_text().replace(f"port = {mariadb_server.port}", "port = 1")
        config.write_text(live + DRILL.format(folder=made.folder, port=mariadb_server.port))
        yield made


def drill(world: MysqlWorld, *words: str | Path) -> Said:
    config = world.folder / "reinstate.toml"
    said = typed("--config", config, "drill", "box", "--incident", world.folder / "incident.toml", *words)
    assert is_drawable(said)
    return said


def test_a_dump_is_drilled_in_a_scratch_schema_that_goes_and_refused_where_its_own_is(world: MysqlWorld) -> None:
    refused = drill(world)
    assert refused.code == REFUSED, refused.all
    assert "may be the live server by another name" in refused.err

    world.server.sql(f"DROP DATABASE `{world.schema}`")
    schemas, accounts = world.schemas(), world.accounts()
    said = drill(world, "--json")
    assert said.code == PROVEN, said.all
    assert (world.schemas(), world.accounts()) == (schemas, accounts)
    told = json.loads(said.out)
    assert told["backup"] == world.dump
    record = tomllib.loads(Path(told["record"]).read_text())
    rows = {row["table"]: row["restored"] for row in record["validation"]}
    assert rows == {"customers": GOOD, "orders": GOOD}
    assert not list((world.folder / "state" / "scratch" / "box").iterdir())

    incident = world.folder / "incident.toml"
    incident.write_text(incident.read_text().replace(f"rows = {GOOD}", f"rows = {GOOD + 1}"))
    said = drill(world)
    assert said.code == NOT_PROVEN, said.all
    assert (world.schemas(), world.accounts()) == (schemas, accounts)
