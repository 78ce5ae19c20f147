"""A schema is emptied without being dropped, and a dump is loaded in its place; ghosts go or stay as was chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import RestoreError
from engines.mysql.connect import Login, connected
from engines.mysql.dumps.facts import read_facts
from engines.mysql.flavour import Flavour
from engines.mysql.load.loader import Hooks, Job
from engines.mysql.objects import objects_of
from engines.mysql.rebuild import Default, default_of, empty_schema, load_in_place
from tests.engines.mysql.snap.ground import content, full_schema
from tests.servers.databases import Server

_WHOLE = ("--single-transaction", "--routines", "--events", "--triggers")


def dumped(server: Server, *arguments: str) -> bytes:
    plain = ("--set-gtid-purged=OFF",) if server.flavour is Flavour.MYSQL else ()
    return server.dump(*_WHOLE, *plain, *arguments)


def empty(server: Server, schema: str, default: Default | None = None, **hooks: object) -> int:
    with connected(server.place, server.login) as connection:
        return empty_schema(connection, schema, default=default, **hooks)  # type: ignore[arg-type]  # its own keywords


def job_for(server: Server, dump: Path, schema: str, source: str) -> Job:
    rows = {table.name: table.rows for table in read_facts(dump).tables}
    return Job(dump=dump, place=server.place, login=server.login, schema=schema, source=source, rows=rows)


def test_everything_goes_but_the_schema_its_grants_and_its_neighbours(server: Server) -> None:
    schema, neighbour = full_schema(server), server.new_schema("neighbour")
    server.sql(
        f"CREATE USER '{schema}'@'%' IDENTIFIED BY 'a long secret'",
        f"GRANT ALL ON `{schema}`.* TO '{schema}'@'%'",
        f"ALTER DATABASE `{schema}` CHARACTER SET latin1 COLLATE latin1_bin",
    )
    # Another schema leans on this one, which would stop a plain DROP TABLE.
    server.sql(
        f"CREATE TABLE child (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES `{schema}`.checked (id))",
        "INSERT INTO child VALUES (1)",
        database=neighbour,
    )
    grants = server.sql(f"SHOW GRANTS FOR '{schema}'@'%'")
    said: list[str] = []
    number = empty(server, schema, say=said.append)
    assert number == len(said) > 30
    with connected(server.place, server.login) as connection:
        left = objects_of(connection, schema)
    assert left.empty
    assert left.triggers == ()
    assert (left.charset, left.collation) == ("latin1", "latin1_bin")
    assert server.sql(f"SHOW GRANTS FOR '{schema}'@'%'") == grants
    assert server.sql(f"SELECT id FROM `{neighbour}`.child") == [(1,)]
    assert empty(server, schema) == 0


def test_the_default_character_set_becomes_what_is_asked(server: Server) -> None:
    schema = server.new_schema()
    said: list[str] = []
    empty(server, schema, Default("latin1", "latin1_bin"), say=said.append)
    with connected(server.place, server.login) as connection:
        now = objects_of(connection, schema)
    assert (now.charset, now.collation) == ("latin1", "latin1_bin")
    assert "default character set latin1 collate latin1_bin" in said[-1]
    empty(server, schema, Default("latin1", "latin1_bin"), at=lambda _point: pytest.fail("it is that already"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE "
            b"utf8mb4_0900_ai_ci */ /*!80016 DEFAULT ENCRYPTION='N' */;\nUSE `shop`;\n",
            Default("utf8mb4", "utf8mb4_0900_ai_ci"),
        ),
        (
            b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop` /*!40100 DEFAULT CHARACTER SET latin1 */;",
            Default("latin1"),
        ),
        (
            b"CREATE DATABASE `other` /*!40100 DEFAULT CHARACTER SET utf8mb3 */;\nUSE `other`;\n"
            b"CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB;\nINSERT INTO `t` VALUES (1);\n"
            b"CREATE DATABASE `shop` /*!40100 DEFAULT CHARACTER SET latin1 */;",
            Default("latin1"),
        ),
        (b"CREATE DATABASE `shop`;", None),
        (b"SET NAMES utf8mb4;", None),
        (b"CREATE DATABASE `other` /*!40100 DEFAULT CHARACTER SET latin1 */;", None),
    ],
)
def test_the_default_is_read_from_the_dump_where_it_says_so(text: bytes, found: Default | None, tmp_path: Path) -> None:
    dump = tmp_path / "dump.sql"
    dump.write_bytes(text + b"\nCREATE TABLE `u` (\n  `a` int\n) ENGINE=InnoDB;\n-- Dump completed\n")
    assert default_of(dump, "shop") == found


def test_a_table_that_somebody_has_locked_is_said_and_nothing_waits_for_ever(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.mysql.rebuild._LOCK_WAIT", 1)
    schema = server.new_schema()
    server.sql("CREATE TABLE t (id INT PRIMARY KEY)", database=schema)
    holder = server.connection(schema)
    holder.begin()
    with holder.cursor() as cursor:
        cursor.execute("SELECT * FROM t")
        with pytest.raises(RestoreError, match="Dropping table t failed: 1205") as refused:
            empty(server, schema)
    holder.close()
    assert "SHOW PROCESSLIST" in refused.value.hint


def test_a_stop_between_two_statements_is_heard(server: Server) -> None:
    schema = full_schema(server)
    said: list[str] = []
    with pytest.raises(RestoreError, match="unfinished"):
        empty(server, schema, say=said.append, stop=lambda: len(said) > 3)
    assert len(said) == 4
    empty(server, schema)


def test_a_login_that_may_not_drop_is_told_so(server: Server) -> None:
    schema = server.new_schema()
    server.sql("CREATE TABLE t (id INT)", database=schema)
    server.sql(
        "CREATE USER 'reader'@'%' IDENTIFIED BY 'a long secret'", f"GRANT SELECT ON `{schema}`.* TO 'reader'@'%'"
    )
    with (
        connected(server.place, Login("reader", "a long secret")) as connection,
        pytest.raises(RestoreError, match="1142"),
    ):
        empty_schema(connection, schema)


@pytest.mark.parametrize("options", [(), ("--databases",), ("--skip-add-drop-table",)], ids=str)
@pytest.mark.parametrize("rebuild", [True, False], ids=["rebuilt", "ghosts left"])
def test_a_dump_is_loaded_in_place_and_ghosts_go_or_stay_as_was_chosen(
    server: Server, options: tuple[str, ...], rebuild: bool, tmp_path: Path
) -> None:
    live = full_schema(server)
    dump = tmp_path / "dump.sql"
    if server.flavour is Flavour.MARIADB:
        server.sql("DROP TABLE versions", database=live)  # its rows' times would be those of the load
    dump.write_bytes(dumped(server, *options, live))
    before = content(server, live)
    server.sql(
        "CREATE TABLE ghost (id INT PRIMARY KEY, t TEXT)",
        "INSERT INTO ghost VALUES (1, 'a')",
        "CREATE TRIGGER ghost_before BEFORE INSERT ON ghost FOR EACH ROW SET NEW.t = upper(NEW.t)",
        "CREATE PROCEDURE ghostly() SELECT 1",
        "DELETE FROM child WHERE id = 1",
        "UPDATE users SET name = 'changed'",
        "DROP VIEW third",
        "DROP TABLE numbers",
        "CREATE VIEW numbers AS SELECT 1 AS a",  # a table of the dump is a view now
        "CREATE TRIGGER another BEFORE UPDATE ON users FOR EACH ROW SET NEW.note = 'x'",
        database=live,
    )
    facts = read_facts(dump)
    source = live if facts.databases else ""
    points: list[str] = []
    load_in_place(job_for(server, dump, live, source), facts, rebuild=rebuild, hooks=Hooks(at=points.append))
    if not rebuild:
        assert server.sql("SELECT t FROM ghost", database=live) == [("a",)]
        server.sql("INSERT INTO ghost VALUES (2, 'b')", "CALL ghostly()", database=live)
        assert server.sql("SELECT t FROM ghost WHERE id = 2", database=live) == [("B",)]
        server.sql("DROP TABLE ghost", "DROP PROCEDURE ghostly", database=live)
    assert content(server, live) == before
    assert points[0].endswith(".before")


def test_a_load_that_goes_on_drops_nothing(server: Server, tmp_path: Path) -> None:
    live = server.new_schema("shop")
    server.script(
        "CREATE TABLE a (id INT PRIMARY KEY); INSERT INTO a VALUES (1),(2);"
        "CREATE TABLE b (id INT PRIMARY KEY); INSERT INTO b VALUES (3);",
        live,
    )
    dump = tmp_path / "dump.sql"
    dump.write_bytes(dumped(server, live))
    before = content(server, live)
    job = job_for(server, dump, live, "")
    facts = read_facts(dump)
    done: list[str] = []
    with pytest.raises(RestoreError, match="stopped"):
        load_in_place(
            job,
            facts,
            rebuild=True,
            hooks=Hooks(loaded=lambda table, _rows: done.append(table), stop=lambda: bool(done)),
        )
    assert done == ["a"]
    again: list[str] = []
    load_in_place(
        replace(job, done=frozenset(done)),
        facts,
        rebuild=True,
        hooks=Hooks(
            loaded=lambda table, _rows: again.append(table),
            at=lambda point: pytest.fail(point) if point.startswith("drop") else None,
        ),
    )
    assert again == ["b"]
    assert content(server, live) == before
