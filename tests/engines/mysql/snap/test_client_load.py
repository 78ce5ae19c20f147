"""The server's own client program as the loader: the same schema, watched, and fed nothing that it must not execute."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import Refused, RestoreError
from engines.mysql.client_load import load_by_client
from engines.mysql.dumps.facts import DumpFacts, read_facts
from engines.mysql.flavour import Flavour
from engines.mysql.load.loader import Hooks, Job, Loaded, LoadProgress
from engines.mysql.programs import Tool
from engines.text import count
from tests.engines.mysql.snap.ground import content, full_schema, program
from tests.servers.databases import Server
from tests.servers.waiting import until

_WHOLE = ("--single-transaction", "--routines", "--events", "--triggers")


def dumped(server: Server, *arguments: str) -> bytes:
    plain = ("--set-gtid-purged=OFF",) if server.flavour is Flavour.MYSQL else ()
    return server.dump(*_WHOLE, *plain, *arguments)


def job_for(server: Server, dump: Path, source: str) -> Job:
    rows = {table.name: table.rows for table in read_facts(dump).tables if table.database in ("", source)}
    return Job(
        dump=dump, place=server.place, login=server.login, schema=server.new_schema("ours"), source=source, rows=rows
    )


def run(server: Server, job: Job, hooks: Hooks | None = None, facts: DumpFacts | None = None) -> Loaded:
    return load_by_client(
        job, facts or read_facts(job.dump), program(server, Tool.CLIENT), job.dump.parent / "private", hooks
    )


def without_times(dump: bytes) -> list[bytes]:
    """A dump without the system-versioned rows: their times are those of the load."""
    return [line for line in dump.splitlines() if b"INSERT INTO `versions`" not in line and b"'2038-01-19" not in line]


def some_rows(server: Server, folder: Path, rows: int = 3000) -> tuple[Path, str]:
    schema = server.new_schema("shop")
    values = ",".join(f"({n},'name {n} it\\'s; (a), row')" for n in range(rows))
    server.script(f"CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(60)); INSERT INTO t VALUES {values};", schema)
    dump = folder / "shop.sql"
    dump.write_bytes(dumped(server, "--net-buffer-length=4096", schema))
    return dump, schema


@pytest.mark.parametrize("options", [(), ("--databases",), ("--skip-extended-insert", "--hex-blob")], ids=str)
def test_a_load_is_what_the_client_makes_of_the_file(server: Server, options: tuple[str, ...], tmp_path: Path) -> None:
    source = full_schema(server)
    if server.flavour is Flavour.MARIADB:
        server.sql("DELETE HISTORY FROM versions", database=source)
    dump = tmp_path / "dump.sql.gz"
    dump.write_bytes(gzip.compress(dumped(server, *options, source)))
    job = job_for(server, dump, source)
    plain = server.new_schema("plain")
    server.script(dumped(server, *(one for one in options if one != "--databases"), source), plain, "--binary-mode")
    before = content(server, source)
    opened: list[int] = []
    points: list[str] = []
    seen: list[LoadProgress] = []
    done = run(server, job, Hooks(opened=opened.append, at=points.append, progress=seen.append))
    assert without_times(content(server, job.schema)) == without_times(content(server, plain))
    assert content(server, source) == before
    assert done.tables == len(job.rows)
    assert points == ["client.opened", "client.fed", "client.ended"]
    assert len(opened) == 1
    assert (seen[-1].done, seen[-1].total) == (dump.stat().st_size, dump.stat().st_size)


def test_the_connection_is_told_before_a_byte_of_the_dump_is_sent(server: Server, tmp_path: Path) -> None:
    dump, source = some_rows(server, tmp_path)
    job = job_for(server, dump, source)
    tables: list[object] = []
    users: list[object] = []

    def opened(number: int) -> None:
        tables.extend(server.sql(f"SHOW TABLES FROM `{job.schema}`"))
        users.extend(row for row in server.sql("SHOW PROCESSLIST") if row[0] == number and row[3] == job.schema)

    run(server, job, Hooks(opened=opened))
    assert tables == []
    assert len(users) == 1


def test_a_statement_that_fails_is_named_by_table_and_byte_and_never_by_value(server: Server, tmp_path: Path) -> None:
    dump, source = some_rows(server, tmp_path)
    text = dump.read_bytes().replace(b"(2000,'name 2000", b"(1999,'name 2000")
    dump.write_bytes(b"-- a first line\n" + text)
    job = job_for(server, dump, source)
    start = dump.read_bytes().rindex(b"INSERT INTO", 0, dump.read_bytes().index(b"(1999,'name 2000"))
    with pytest.raises(RestoreError) as failed:
        run(server, job)
    assert f"the rows of t, at byte {count(start)}: 1062" in failed.value.message
    assert "unfinished" in failed.value.message
    assert "name 2000" not in f"{failed.value}{failed.value.hint}"


@pytest.mark.parametrize(
    "text",
    [
        b"SET GLOBAL max_connections=7;",
        b"CREATE USER intruder;",
        b"\\! touch /tmp/reinstate-canary;",
        b"system touch /tmp/reinstate-canary;",
        b"INSERT INTO `mysql`.`x` VALUES (1);",
    ],
)
def test_a_dump_that_reaches_further_is_refused_before_anything_is_sent(
    server: Server, text: bytes, tmp_path: Path
) -> None:
    dump, source = some_rows(server, tmp_path, rows=5)
    sound = read_facts(dump)
    dump.write_bytes(dump.read_bytes().replace(b"-- Dump completed", text + b"\n-- Dump completed"))
    job = job_for(server, dump, source)
    with pytest.raises(Refused, match="Nothing was loaded"):
        run(server, job)
    assert server.sql(f"SHOW TABLES FROM `{job.schema}`") == []
    # And with facts that do not tell of it: the statement is never sent.
    with pytest.raises(Refused, match="at byte"):
        run(server, job, facts=sound)
    assert not Path("/tmp/reinstate-canary").exists()  # noqa: S108 - that it is not there is the point
    assert not server.sql("SELECT 1 FROM mysql.user WHERE user = 'intruder'")


def test_another_database_of_the_dump_is_not_touched(server: Server, tmp_path: Path) -> None:
    wanted, other = server.new_schema("shop"), server.new_schema("other")
    for schema in (wanted, other):
        server.sql("CREATE TABLE t (id INT PRIMARY KEY)", f"INSERT INTO t VALUES ({len(schema)})", database=schema)
    dump = tmp_path / "both.sql"
    dump.write_bytes(dumped(server, "--databases", other, wanted))
    server.sql(f"UPDATE `{other}`.t SET id = 99", f"UPDATE `{wanted}`.t SET id = 98")
    job = job_for(server, dump, wanted)
    run(server, job)
    assert server.sql(f"SELECT id FROM `{job.schema}`.t") == [(len(wanted),)]
    assert server.sql(f"SELECT id FROM `{other}`.t") == [(99,)]
    assert server.sql(f"SELECT id FROM `{wanted}`.t") == [(98,)]


def test_a_stop_is_heard_and_nothing_of_the_client_is_left(server: Server, tmp_path: Path) -> None:
    dump, source = some_rows(server, tmp_path, rows=20_000)
    job = job_for(server, dump, source)
    opened: list[int] = []
    said: list[str] = []
    with pytest.raises(RestoreError, match="stopped on request"):
        run(server, job, Hooks(opened=opened.append, say=said.append, stop=lambda: bool(opened)))

    def gone() -> bool:
        return opened[0] not in {row[0] for row in server.sql("SHOW PROCESSLIST")}

    until(gone, "the client's connection is gone", 20)
    assert any(f"connection {opened[0]}" in line for line in said)


def test_a_connection_that_is_killed_is_a_failure_and_never_made_anew(server: Server, tmp_path: Path) -> None:
    dump, source = some_rows(server, tmp_path, rows=20_000)
    job = job_for(server, dump, source)
    opened: list[int] = []

    def killing(point: str) -> None:
        if point == "client.opened":
            server.sql(f"KILL {opened[0]}")

    with pytest.raises(RestoreError, match="unfinished") as lost:
        run(server, job, Hooks(opened=opened.append, at=killing))
    assert any(number in lost.value.message for number in ("2006", "2013", "4031", "1927"))
    assert server.sql(f"SHOW TABLES FROM `{job.schema}`") == []


def test_a_dump_that_is_damaged_in_the_middle_of_rows_executes_no_half_statement(
    server: Server, tmp_path: Path
) -> None:
    schema = server.new_schema("shop")
    values = ",".join(f"({n},'{n * 2654435761 % 2**32:x}{'x' * 50}')" for n in range(60_000))
    server.script(f"CREATE TABLE t (id INT PRIMARY KEY, name TEXT); INSERT INTO t VALUES {values};", schema)
    dump = tmp_path / "dump.sql.gz"
    dump.write_bytes(gzip.compress(dumped(server, schema)))
    job = job_for(server, dump, schema)
    facts = read_facts(dump)
    text = bytearray(dump.read_bytes())
    text[len(text) * 9 // 10] ^= 0xFF
    dump.write_bytes(text)
    with pytest.raises(RestoreError, match="damaged"):
        run(server, job, facts=facts)
    ((rows,),) = server.sql(f"SELECT COUNT(*) FROM `{job.schema}`.t")
    whole = {0}
    at = 0
    statements = dumped(server, schema).split(b"INSERT INTO `t`")[1:]
    for statement in statements:
        at += statement.count(b"xxx')")
        whole.add(at)
    assert rows in whole
    assert rows < 60_000


@pytest.fixture
def plain_login(server: Server) -> Callable[[str], None]:
    def made(schema: str) -> None:
        server.sql("CREATE USER 'plain'@'%' IDENTIFIED BY 'x'", f"GRANT ALL ON `{schema}`.* TO 'plain'@'%'")

    return made


def test_the_binary_log_is_left_out_where_the_plan_says_so_or_nothing_is_loaded(
    server: Server, plain_login: Callable[[str], None], tmp_path: Path
) -> None:
    dump, source = some_rows(server, tmp_path, rows=50)
    job = replace(job_for(server, dump, source), binary_log=False)
    command = "SHOW BINARY LOG STATUS" if server.flavour is Flavour.MYSQL else "SHOW MASTER STATUS"
    before = server.sql(command)[0][:2]
    run(server, job)
    assert server.sql(command)[0][:2] == before
    other = replace(job_for(server, dump, source), binary_log=False)
    plain_login(other.schema)
    with pytest.raises(RestoreError, match="1227"):
        run(server, replace(other, login=replace(server.login, user="plain", password="x")))  # noqa: S106
    assert server.sql(f"SHOW TABLES FROM `{other.schema}`") == []
