"""What our loader makes is what the client program makes, byte for byte of a dump; and what it does in trouble."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pymysql
import pytest
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from engines.errors import Refused, RestoreError
from engines.mysql.connect import connect
from engines.mysql.dumps.facts import read_facts
from engines.mysql.dumps.tables import Table
from engines.mysql.flavour import Flavour
from engines.mysql.load import loader, workers
from engines.mysql.load.loader import Hooks, Job, LoadProgress, load
from engines.mysql.load.shapes import Shape, shape
from engines.mysql.load.wire import Sent, load_local, send_query
from engines.text import count
from tests.engines.mysql.schemas import everything
from tests.servers.databases import PASSWORD, Server
from tests.servers.proxy import proxied

WHOLE = ("--single-transaction", "--routines", "--events", "--triggers", "--order-by-primary")


def dumped(server: Server, *arguments: str) -> bytes:
    plain = ("--set-gtid-purged=OFF",) if server.flavour is Flavour.MYSQL else ()
    return server.dump(*WHOLE, *plain, *arguments)


def content(server: Server, schema: str) -> list[bytes]:
    """The schema as the lines of a dump without dates, its own name taken out."""
    return dumped(server, "--skip-dump-date", schema).replace(schema.encode(), b"SCHEMA").splitlines()


def job_for(server: Server, dump: Path, source: str, *, bulk: bool = True) -> Job:
    if bulk:
        server.sql("SET GLOBAL local_infile = 1")
    rows = {table.name: table.rows for table in read_facts(dump).tables if table.database in ("", source)}
    return Job(
        dump=dump,
        place=server.place,
        login=server.login,
        schema=server.new_schema("ours"),
        source=source,
        rows=rows,
        bulk=bulk,
    )


def filled(server: Server, folder: Path, rows: int = 20_000) -> tuple[Path, str, Mapping[str, int]]:
    """A dump of three tables that takes a moment to load."""
    schema = server.new_schema("shop")
    values = ",".join(f"({n},'name {n} it\\'s; (a), row',{n % 97},'2026-11-22 20:00:00')" for n in range(rows))
    tables = "".join(
        f"CREATE TABLE t{t} (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(60), n INT, at DATETIME, KEY by_n (n), "
        f"KEY names (name)) AUTO_INCREMENT=500000 DEFAULT CHARSET=utf8mb4; INSERT INTO t{t} VALUES {values};"
        for t in range(3)
    )
    server.script(tables, schema)
    dump = folder / "shop.sql"
    dump.write_bytes(dumped(server, schema))
    return dump, schema, {f"t{t}": rows for t in range(3)}


@pytest.mark.parametrize("bulk", [True, False], ids=["load-data", "insert"])
@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--databases",),
        ("--hex-blob",),
        ("--complete-insert",),
        ("--skip-extended-insert",),
        ("--skip-opt", "--add-drop-table", "--set-charset"),
    ],
    ids=lambda options: " ".join(options) or "plain",
)
def test_a_load_is_what_the_client_program_makes(
    server: Server, options: tuple[str, ...], bulk: bool, tmp_path: Path
) -> None:
    source = server.new_schema("shop")
    server.script(everything(server.flavour), source, "--default-character-set=utf8mb4")
    dump = tmp_path / "dump.sql"
    dump.write_bytes(dumped(server, *options, source))
    plain = server.new_schema("plain")
    server.script(dumped(server, *(one for one in options if one != "--databases"), source), plain)
    job = job_for(server, dump, source, bulk=bulk)
    done = load(job)
    assert content(server, job.schema) == content(server, plain)
    # Without its options a table has the schema's own character set, latin1 on MariaDB: LOAD DATA warns of what that
    # can't hold, and the rows go the client's way.
    narrow = bulk and "--skip-opt" in options and server.flavour is Flavour.MARIADB
    assert done.again == (("users",) if narrow else ())
    assert (done.bulk > 10) is (bulk and "--skip-opt" not in options) or not bulk or done.bulk > 0


def test_a_default_that_a_strict_mode_refuses_does_not_keep_an_index_from_being_built(
    server: Server, tmp_path: Path
) -> None:
    source = server.new_schema("shop")
    column = "at DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00'"
    server.script(
        "SET sql_mode = ''; "
        f"CREATE TABLE empty_one (id INT PRIMARY KEY, n INT, {column}, KEY by_n (n)); "
        f"CREATE TABLE parent (id INT PRIMARY KEY, n INT, {column}, KEY by_n (n)); "
        f"CREATE TABLE tied (id INT PRIMARY KEY, n INT, {column}, FOREIGN KEY (n) REFERENCES parent (id)); "
        "INSERT INTO parent (id, n) VALUES (1, 1); INSERT INTO tied (id, n) VALUES (1, 1);",
        source,
    )
    dump = tmp_path / "dump.sql"
    dump.write_bytes(dumped(server, source))
    job = job_for(server, dump, source)
    before = server.sql("SELECT @@GLOBAL.sql_mode")[0][0]
    server.sql("SET GLOBAL sql_mode = 'STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE'")
    try:
        load(job)
    finally:
        server.sql(f"SET GLOBAL sql_mode = '{before}'")
    assert content(server, job.schema) == content(server, source)


@pytest.mark.parametrize("bulk", [True, False], ids=["load-data", "insert"])
def test_where_the_time_went_is_told_last(server: Server, bulk: bool, tmp_path: Path) -> None:
    dump, source, _rows = filled(server, tmp_path)
    lines: list[str] = []
    load(job_for(server, dump, source, bulk=bulk), Hooks(say=lines.append))
    assert lines[-1].startswith("time: ")
    parts = [part.split() for part in lines[-1].removeprefix("time: ").split(", ")]
    assert [part[0] for part in parts] == ["read", "send", "server", "indexes"]
    assert 97 <= sum(int(part[-2]) for part in parts) <= 103  # "under 1 %" among them


def test_a_latin1_dump_keeps_its_letters(server: Server, tmp_path: Path) -> None:
    source = server.new_schema("shop")
    server.script(
        "SET NAMES utf8mb4; CREATE TABLE t (id INT PRIMARY KEY, x VARCHAR(20)) DEFAULT CHARSET=latin1; "
        "INSERT INTO t VALUES (1, 'café'), (2, 'naïve');",
        source,
        "--default-character-set=utf8mb4",
    )
    dump = tmp_path / "dump.sql"
    dump.write_bytes(dumped(server, "--default-character-set=latin1", source))
    job = job_for(server, dump, source)
    load(job)
    assert server.sql("SELECT id, x FROM t ORDER BY id", database=job.schema) == [(1, "café"), (2, "naïve")]


def peak_of(job: Job) -> int:
    """Load in a process of its own; the most memory that it had, in bytes. That of the process alone is taken off."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        before = pool.submit(_most_memory).result()
        return pool.submit(_loaded, job).result() - before


def _loaded(job: Job) -> int:
    load(job)
    return _most_memory()


def _most_memory() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_a_row_of_64_megabytes_goes_through_in_both_ways_as_the_client_loads_it(
    fresh_server: Server, tmp_path: Path
) -> None:
    server = fresh_server
    log = ("--innodb-redo-log-capacity=1G",) if server.flavour is Flavour.MYSQL else ("--innodb-log-file-size=1G",)
    server.restart("--max-allowed-packet=256M", *log)
    source, plain = server.new_schema("shop"), server.new_schema("plain")
    every_byte = "".join(f"{byte:02x}" for byte in range(256))
    server.sql(
        f"CREATE TABLE `{source}`.t (id INT PRIMARY KEY, b LONGBLOB) DEFAULT CHARSET=utf8mb4",
        f"INSERT INTO `{source}`.t VALUES (1, REPEAT(x'{every_byte}', 262144)), (2, 'short')",
    )
    dump = tmp_path / "dump.sql"
    dump.write_bytes(dumped(server, "--max-allowed-packet=256M", source))
    assert dump.stat().st_size > 64 << 20
    server.script(dump.read_bytes(), plain, "--max-allowed-packet=256M")

    def content_of(schema: str) -> str:
        whole = dumped(server, "--max-allowed-packet=256M", "--skip-dump-date", schema)
        return hashlib.sha256(whole.replace(schema.encode(), b"SCHEMA")).hexdigest()

    expected = content_of(plain)
    for bulk in (True, False):
        job = job_for(server, dump, source, bulk=bulk)
        peak = peak_of(job)
        assert peak < 128 << 20, f"{peak >> 20} MB for a row of 64"
        assert content_of(job.schema) == expected


@pytest.mark.parametrize("bulk", [True, False], ids=["load-data", "insert"])
def test_a_row_that_is_longer_than_the_server_takes_is_named_with_its_byte(
    server: Server, bulk: bool, tmp_path: Path
) -> None:
    source = server.new_schema("shop")
    server.sql(
        f"CREATE TABLE `{source}`.small (id INT PRIMARY KEY)",
        f"CREATE TABLE `{source}`.t (id INT PRIMARY KEY, b LONGTEXT)",
        f"INSERT INTO `{source}`.small VALUES (1)",
        f"INSERT INTO `{source}`.t VALUES (1, REPEAT('x', 3000000))",
    )
    dump = tmp_path / "dump.sql"
    dump.write_bytes(dumped(server, source))
    job = job_for(server, dump, source, bulk=bulk)
    ((before,),) = server.sql("SELECT @@GLOBAL.max_allowed_packet")
    server.sql("SET GLOBAL max_allowed_packet = 1048576")
    try:
        with pytest.raises(RestoreError) as refused:
            load(job)
    finally:
        server.sql(f"SET GLOBAL max_allowed_packet = {before}")
    at = dump.read_bytes().index(b"INSERT INTO `t`")
    assert refused.value.message.startswith("The rows of t could not be loaded: a statement of more than the ")
    assert refused.value.message.endswith(f"max_allowed_packet lets through, at byte {count(at)}.")
    assert "SET GLOBAL max_allowed_packet" in refused.value.hint
    assert server.sql(f"SELECT COUNT(*) FROM `{job.schema}`.t") == [(0,)]


def test_a_table_without_a_key_keeps_the_order_of_its_rows(server: Server, tmp_path: Path) -> None:
    source = server.new_schema("shop")
    values = ",".join(f"({n * 7919 % 30011},'{'x' * 80}')" for n in range(30000))
    server.script(f"CREATE TABLE t (a INT, x VARCHAR(100)); INSERT INTO t VALUES {values};", source)
    dump = tmp_path / "dump.sql"
    dump.write_bytes(dumped(server, source))
    job = job_for(server, dump, source)
    load(job)
    assert server.sql("SELECT a FROM t", database=job.schema) == server.sql("SELECT a FROM t", database=source)


def test_a_worker_whose_connection_is_killed_loads_its_table_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = filled(server, tmp_path)[1]
    dump = tmp_path / "short.sql"
    dump.write_bytes(dumped(server, "--net-buffer-length=16384", source))
    monkeypatch.setattr(workers, "_BUNDLE", 16 << 10)
    monkeypatch.setattr(workers, "_AHEAD", 64 << 10)
    monkeypatch.setattr(loader, "_EVERY", 0.0)
    job = replace(job_for(server, dump, source), connections=1)
    ids: list[int] = []
    killed = threading.Event()

    def kill_in_the_middle(told: LoadProgress) -> None:
        if told.rows and not killed.is_set():
            assert told.table == "t0"
            assert told.rows < job.rows["t0"]
            killed.set()
            server.sql(f"KILL {ids[1]}")

    done = load(job, Hooks(opened=ids.append, progress=kill_in_the_middle))
    assert done.again == ("t0",)
    assert content(server, job.schema) == content(server, source)
    assert done.rows == sum(job.rows.values())


def test_a_table_that_fails_is_read_again_while_those_beside_it_stay(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables overlap: the rows of one are taken back while another's are in, and its indexes under way."""
    source = filled(server, tmp_path)[1]
    dump = tmp_path / "short.sql"
    dump.write_bytes(dumped(server, "--net-buffer-length=16384", source))
    monkeypatch.setattr(workers, "_BUNDLE", 16 << 10)
    for unlucky in ("t0", "t1", "t2"):
        job = job_for(server, dump, source, bulk=False)
        with monkeypatch.context() as patched:
            patched.setattr("engines.mysql.load.workers.send_query", failing_once(unlucky, OSError()))
            done = load(job)
        assert unlucky in done.again
        assert content(server, job.schema) == content(server, source)
        assert done.rows == sum(job.rows.values())


def failing_once(table: str, error: Exception) -> Callable[[Connection[Cursor], Iterable[bytes]], Sent]:
    """Sends, and then fails, once, behind the first statement for the table."""
    left = [error]

    def send(connection: Connection[Cursor], pieces: Iterable[bytes]) -> Sent:
        known: list[bytes] = []

        def watched() -> Iterator[bytes]:
            for piece in pieces:
                known.append(piece)
                yield piece

        sent = send_query(connection, watched())
        if left and known[0].startswith(f"INSERT INTO `{table}`".encode()):
            raise left.pop()
        return sent

    return send


def test_a_defect_in_a_worker_ends_the_load_and_does_not_hang_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump, source, _rows = filled(server, tmp_path, rows=50)
    job = job_for(server, dump, source, bulk=False)
    monkeypatch.setattr("engines.mysql.load.workers.send_query", failing_once("t1", ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        load(job)


def test_a_cut_line_ends_the_load_and_another_attempt_goes_on(server: Server, tmp_path: Path) -> None:
    dump, source, rows = filled(server, tmp_path)
    with proxied(server.port) as proxy:
        complete: dict[str, int] = {}

        def loaded(table: str, number: int) -> None:
            complete[table] = number
            if len(complete) == 1:
                proxy.cut()

        job = replace(job_for(server, dump, source), place=replace(server.place, port=proxy.port))
        with pytest.raises(RestoreError) as lost:
            load(job, Hooks(loaded=loaded))
        assert lost.value.hint
        again: list[str] = []
        load(replace(job, done=frozenset(complete)), Hooks(loaded=lambda table, _rows: again.append(table)))
    assert again
    assert sorted([*complete, *again]) == ["t0", "t1", "t2"]
    assert content(server, job.schema) == content(server, source)
    assert complete.items() <= rows.items()


def test_a_killed_server_and_then_another_attempt_make_the_same_schema(fresh_server: Server, tmp_path: Path) -> None:
    server = fresh_server
    source = server.new_schema("shop")
    server.script(everything(server.flavour), source, "--default-character-set=utf8mb4")
    dump = tmp_path / "dump.sql"
    dump.write_bytes(dumped(server, source))
    job = job_for(server, dump, source)
    names = list(job.rows)
    for victim in names[1::6]:
        complete: set[str] = set()

        def loaded(table: str, _rows: int, victim: str = victim, complete: set[str] = complete) -> None:
            complete.add(table)
            if table == victim:
                server.kill()

        with pytest.raises(RestoreError):
            load(job, Hooks(loaded=loaded))
        server.start()
        server.sql("SET GLOBAL local_infile = 1")
        load(replace(job, done=frozenset(complete)))
        assert content(server, job.schema) == content(server, source), victim
        server.sql(f"DROP DATABASE `{job.schema}`", f"CREATE DATABASE `{job.schema}`")


def test_a_stop_is_heard_and_the_load_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    dump, source, _rows = filled(server, tmp_path)
    complete: set[str] = set()
    job = replace(job_for(server, dump, source), connections=1)
    with pytest.raises(RestoreError, match="stopped"):
        load(job, Hooks(loaded=lambda table, _rows: complete.add(table), stop=lambda: len(complete) > 0))
    assert 0 < len(complete) < len(job.rows)
    load(replace(job, done=frozenset(complete)))
    assert content(server, job.schema) == content(server, source)


def test_a_stop_does_not_wait_for_a_statement_that_takes_its_time(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server sleeps where it would build an index for an hour."""
    dump, source, _rows = filled(server, tmp_path, rows=50)
    job = job_for(server, dump, source)

    def slow(table: Table, text: bytes, *, bulk: bool, defer: bool) -> Shape:
        return replace(shape(table, text, bulk=bulk, defer=defer), keys=(b"DO SLEEP(3600)",))

    monkeypatch.setattr("engines.mysql.load.loader.shape", slow)
    building: list[str] = []
    with pytest.raises(RestoreError, match="stopped"):
        load(job, Hooks(say=building.append, stop=lambda: len(building) > 0))
    assert building == ["building 2 indexes on t0"]


@pytest.mark.parametrize("bulk", [True, False], ids=["load-data", "insert"])
def test_rows_that_do_not_fit_are_named_by_table_and_byte_and_never_by_value(
    server: Server, bulk: bool, tmp_path: Path
) -> None:
    dump, source, _rows = filled(server, tmp_path, rows=50)
    text = dump.read_bytes()
    assert text.count(b"(7,'name 7") == 3
    at = text.index(b"INSERT INTO `t1`")
    broken = text[:at] + text[at:].replace(b"(7,'name 7", b"(8,'name 7", 1)
    dump.write_bytes(broken)
    with pytest.raises(RestoreError) as refusal:
        load(job_for(server, dump, source, bulk=bulk))
    assert "t1" in refusal.value.message
    assert f"at byte {at:,}".replace(",", " ") in refusal.value.message
    assert "1062" in refusal.value.message
    assert "name 7" not in f"{refusal.value}"


def test_a_row_that_is_missing_is_never_passed_over(server: Server, tmp_path: Path) -> None:
    dump, source, rows = filled(server, tmp_path, rows=50)
    job = job_for(server, dump, source)
    with pytest.raises(RestoreError, match="50 rows arrived of 51"):
        load(replace(job, rows={**rows, "t1": 51}))


@pytest.mark.parametrize(
    "text",
    [b"SET GLOBAL max_connections=7;", b"CREATE USER intruder;", b"\\! id;", b"INSERT INTO `mysql`.`x` VALUES (1);"],
)
def test_a_dump_that_reaches_further_is_refused_where_it_does(server: Server, text: bytes, tmp_path: Path) -> None:
    dump, source, _rows = filled(server, tmp_path, rows=5)
    dump.write_bytes(dump.read_bytes().replace(b"-- Dump completed", text + b"\n-- Dump completed"))
    before = server.sql("SELECT @@max_connections")
    with pytest.raises(Refused, match="at byte"):
        load(job_for(server, dump, source))
    assert server.sql("SELECT @@max_connections") == before
    assert not server.sql("SELECT 1 FROM mysql.user WHERE user = 'intruder'")


def test_the_binary_log_is_left_out_where_the_plan_says_so(server: Server, tmp_path: Path) -> None:
    dump, source, _rows = filled(server, tmp_path, rows=50)
    job = replace(job_for(server, dump, source), binary_log=False)
    command = "SHOW BINARY LOG STATUS" if server.flavour is Flavour.MYSQL else "SHOW MASTER STATUS"
    before = server.sql(command)[0][:2]
    load(job)
    assert server.sql(command)[0][:2] == before


def test_a_login_that_may_not_leave_it_out_is_told_so_before_anything_is_loaded(server: Server, tmp_path: Path) -> None:
    dump, source, _rows = filled(server, tmp_path, rows=5)
    job = job_for(server, dump, source)
    server.sql("CREATE USER 'plain'@'%' IDENTIFIED BY 'x'", f"GRANT ALL ON `{job.schema}`.* TO 'plain'@'%'")
    login = replace(server.login, user="plain", password="x")  # noqa: S106 - of a throwaway account
    with pytest.raises(RestoreError, match="binary log can't be left out"):
        load(replace(job, login=login, binary_log=False))
    assert not server.sql("SHOW TABLES", database=job.schema)


def test_a_server_that_asks_for_a_file_outside_of_a_load_gets_none(server: Server, tmp_path: Path) -> None:
    """The statement stands for a hostile server: it asks for the file as one would, while no load of ours runs."""
    server.sql("SET GLOBAL local_infile = 1")
    schema = server.new_schema()
    server.sql(f"CREATE TABLE `{schema}`.t (x TEXT)")
    secret = tmp_path / "secret"
    secret.write_text("canary")
    connection = connect(server.place, server.login, database=schema, local_files=True)
    with connection.cursor() as cursor, pytest.raises((RuntimeError, pymysql.err.MySQLError)):
        cursor.execute(f"LOAD DATA LOCAL INFILE '{secret}' INTO TABLE t")
    connection.close()
    # Within a load of ours, whatever name the server gives, it gets the pieces at hand.
    connection = connect(server.place, server.login, database=schema, local_files=True)
    load_local(connection, f"LOAD DATA LOCAL INFILE '{secret}' INTO TABLE t", [b"from us\n"])
    connection.close()
    assert server.sql("SELECT x FROM t", database=schema) == [("from us",)]


def test_the_password_is_in_no_message(server: Server, tmp_path: Path) -> None:
    dump, source, _rows = filled(server, tmp_path, rows=5)
    job = replace(job_for(server, dump, source), login=replace(server.login, user="nobody"))
    with pytest.raises(RestoreError) as refusal:
        load(job)
    assert PASSWORD not in f"{refusal.value} {job}"


def test_what_is_told_as_loaded_is_what_the_server_has_taken(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told by what was read, a load said 99 % and no time left while all of its rows were still waiting."""
    dump, source, _rows = filled(server, tmp_path, rows=30_000)
    job = replace(job_for(server, dump, source, bulk=False), connections=1)
    monkeypatch.setattr(workers, "_AHEAD", 256 << 10)
    monkeypatch.setattr(workers, "_TICK", 0.001)
    monkeypatch.setattr(loader, "_EVERY", 0.0)
    told: list[LoadProgress] = []
    load(job, Hooks(progress=told.append))
    whole = job.rows["t0"] * 3
    under_way = [one for one in told if one.total]
    # The server has taken what it has not counted yet: one statement of about a megabyte, and what is read ahead.
    slack = 3 << 20
    assert all(one.done <= one.rows / whole * one.total + slack for one in under_way)
    assert max(one.done for one in under_way) > dump.stat().st_size / 2
    assert any(one.table.startswith("building 2 indexes on t") for one in told if not one.total)
