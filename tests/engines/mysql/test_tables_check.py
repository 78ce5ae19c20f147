"""Tables that are really damaged are found and rebuilt; the others are not touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.checks import Verdict
from engines.errors import RestoreError
from engines.mysql.connect import connected
from engines.mysql.flavour import Flavour
from engines.mysql.tables_check import Finding, State, check_tables, verdict
from tests.servers.databases import Server

TEN = "(SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5)"


def filled(server: Server, engine: str, table: str = "t") -> str:
    schema = server.new_schema("shop")
    server.sql(
        f"CREATE TABLE `{schema}`.`{table}` (id INT NOT NULL, n INT NOT NULL, t VARCHAR(60) NOT NULL) ENGINE={engine}",
        f"INSERT INTO `{schema}`.`{table}` SELECT a.n * 6 + b.n, a.n, REPEAT('x', 50) FROM {TEN} a, {TEN} b",
        f"ALTER TABLE `{schema}`.`{table}` ADD PRIMARY KEY (id), ADD KEY by_n (n)",
        f"CREATE TABLE `{schema}`.healthy (id INT PRIMARY KEY)",
        f"INSERT INTO `{schema}`.healthy VALUES (1)",
        "FLUSH TABLES",
    )
    return schema


def damage(path: Path, start: int, end: int) -> None:
    content = bytearray(path.read_bytes())
    content[start:end] = b"\xff" * (end - start)
    path.write_bytes(content)


def look(server: Server, schema: str, *, rebuild: bool = True) -> tuple[list[str], dict[str, Finding]]:
    said: list[str] = []
    with connected(server.place, server.login) as connection:
        found = check_tables(connection, schema, say=said.append, rebuild=rebuild)
    return said, {one.table: one for one in found}


def test_sound_tables_are_left_alone(server: Server) -> None:
    schema = filled(server, "InnoDB")
    server.sql(f"CREATE TABLE `{schema}`.brief (id INT) ENGINE=MEMORY")
    _said, found = look(server, schema)
    assert {name: one.state for name, one in found.items()} == {
        "t": State.SOUND,
        "healthy": State.SOUND,
        "brief": State.UNCHECKED,
    }
    check = verdict(tuple(found.values()))
    assert check.verdict is Verdict.OK
    assert "without a check: brief" in check.evidence


def test_a_damaged_index_is_found_and_repaired_and_nothing_else_is_touched(server: Server) -> None:
    schema = filled(server, "Aria" if server.flavour is Flavour.MARIADB else "MyISAM")
    path = server.datadir / schema / ("t.MAI" if server.flavour is Flavour.MARIADB else "t.MYI")
    size = path.stat().st_size
    damage(path, size - size // 3, size)
    healthy = (server.datadir / schema / "healthy.ibd").stat()
    said, found = look(server, schema)
    assert (found["t"].state, found["t"].rebuilt) == (State.SOUND, "REPAIR TABLE `t`")
    assert found["healthy"].rebuilt == ""
    assert (server.datadir / schema / "healthy.ibd").stat().st_ino == healthy.st_ino
    assert any("is damaged" in line for line in said)
    assert verdict(tuple(found.values())).verdict is Verdict.WARN
    assert server.sql("SELECT COUNT(*), SUM(n) FROM t FORCE INDEX (by_n) WHERE n >= 0", database=schema) == [(36, 90)]


def test_what_is_not_to_be_rebuilt_is_only_reported(server: Server) -> None:
    schema = filled(server, "MyISAM")
    path = server.datadir / schema / "t.MYD"
    damage(path, path.stat().st_size // 2, path.stat().st_size // 2 + 40)
    _said, found = look(server, schema, rebuild=False)
    assert (found["t"].state, found["t"].rebuilt) == (State.DAMAGED, "")
    assert found["healthy"].state is State.SOUND
    check = verdict(tuple(found.values()))
    assert check.verdict is Verdict.FAIL
    assert "t (MyISAM)" in check.evidence


def test_a_repair_that_loses_rows_is_a_failure(server: Server) -> None:
    schema = filled(server, "MyISAM")
    path = server.datadir / schema / "t.MYD"
    damage(path, path.stat().st_size // 2, path.stat().st_size // 2 + 40)
    _said, found = look(server, schema)
    assert found["t"].state is State.SOUND
    check = verdict(tuple(found.values()))
    assert check.verdict is Verdict.FAIL
    assert "Number of rows changed from 36" in check.evidence


def test_a_damaged_index_of_innodb_is_rebuilt_or_said_to_have_ended_the_server(fresh_server: Server) -> None:
    """MariaDB says that the index is damaged; MySQL ends itself, and all that can be done is to say at which table."""
    server = fresh_server
    schema = filled(server, "InnoDB")
    mariadb = server.flavour is Flavour.MARIADB
    page = server.sql(
        f"SELECT page_no FROM information_schema.{'innodb_sys_indexes' if mariadb else 'innodb_indexes'} "
        "WHERE name = 'by_n'"
    )[0][0]
    server.stop()
    damage(server.datadir / schema / "t.ibd", page * 16384 + 200, page * 16384 + 600)
    server.start()
    if not mariadb:
        with pytest.raises(RestoreError, match="connection was lost while t was checked"):
            look(server, schema)
        server.kill()
        return
    _said, found = look(server, schema)
    assert found["t"].rebuilt == "ALTER TABLE `t` ENGINE = InnoDB"
    assert found["t"].state is State.SOUND
    assert server.sql("SELECT COUNT(*), SUM(n) FROM t FORCE INDEX (by_n) WHERE n >= 0", database=schema) == [(36, 90)]


def test_a_stop_says_how_much_was_not_looked_at(server: Server) -> None:
    schema = filled(server, "InnoDB")
    with (
        connected(server.place, server.login) as connection,
        pytest.raises(RestoreError, match="2 of 2 tables were not looked at"),
    ):
        check_tables(connection, schema, stop=lambda: True)


def test_progress_ends_at_all_of_it(server: Server) -> None:
    schema = filled(server, "InnoDB")
    told: list[tuple[int, int]] = []
    with connected(server.place, server.login) as connection:
        check_tables(connection, schema, progress=lambda done, total: told.append((done, total)))
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1] > 0
