"""Our loader against `mysql < dump.sql`, on the same dump and the same server, in turn.

The data set is made by the benchmark, the same each time: a shop of eleven tables with two to four secondary indexes
each. Server and loader share the machine. Two ways: LOAD DATA LOCAL (the plan may turn local_infile on), and INSERT.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from engines.mysql.connect import Place
from engines.mysql.dumps.facts import DumpFacts, read_facts
from engines.mysql.flavour import Flavour
from engines.mysql.load.loader import Hooks, Job, load
from engines.mysql.load.workers import fitting
from engines.text import size
from tests.bench.measure import Ratio, in_turn
from tests.servers.databases import Server, build_of, running

ROUNDS = 3
ROWS = 1_700_000
_TABLES = 11
_AIMS = {(Flavour.MYSQL, True): 3.0, (Flavour.MARIADB, True): 2.5}
_INSERT_AIM = 2.3


def run(flavour: Flavour, *, bulk: bool, rows: int = ROWS, rounds: int = ROUNDS) -> Ratio:
    """Raises where the two loads do not give the same tables."""
    with (
        tempfile.TemporaryDirectory(prefix="reinstate-bench-") as name,
        running(build_of(flavour), *ROOM[flavour]) as server,
    ):
        server.sql(f"SET GLOBAL local_infile = {int(bulk)}")
        dump = Path(name) / "shop.sql"
        source = server.new_schema("shop")
        fill(server, source, rows)
        own = ("--set-gtid-purged=OFF",) if flavour is Flavour.MYSQL else ()
        dump.write_bytes(server.dump("--single-transaction", *own, source))
        facts = read_facts(dump)
        said: list[str] = []

        def theirs() -> None:
            anew(server, "theirs")
            server.script(dump.read_bytes(), "theirs")

        def ours() -> None:
            anew(server, "ours")
            load(job_of(server, dump, facts, source, bulk=bulk), Hooks(say=said.append))

        medians = in_turn({"reinstate": ours, "mysql": theirs}, rounds)
        _compare(server, facts)
    kind = "load" if bulk else "load-insert"
    value = medians["mysql"] / medians["reinstate"]
    aim = _AIMS.get((flavour, bulk), _INSERT_AIM)
    on = f"{size(facts.size)}, {facts.rows} rows in {len(facts.tables)} tables; ours, {said[-1]}"
    return Ratio(f"{flavour}-{kind}", value, aim, medians, rounds, on, more_is_better=True)


def myloader(rows: int = ROWS, rounds: int = ROUNDS) -> Ratio:
    """Our loader on the dump of mysqldump, against myloader on the folder of mydumper: each with its own format.

    Both over the same number of connections, both written to the binary log.
    """
    for program in ("mydumper", "myloader"):
        if shutil.which(program) is None:
            raise RuntimeError(f"{program} is not installed: scripts/system-packages bench")
    with (
        tempfile.TemporaryDirectory(prefix="reinstate-bench-") as name,
        running(build_of(Flavour.MARIADB), *ROOM[Flavour.MARIADB]) as server,
    ):
        server.sql("SET GLOBAL local_infile = 1")
        dump, pieces = Path(name) / "shop.sql", Path(name) / "pieces"
        source = server.new_schema("shop")
        fill(server, source, rows)
        dump.write_bytes(server.dump("--single-transaction", source))
        _mydumper(server, "mydumper", "--database", source, "--outputdir", str(pieces), "--chunk-filesize=64")
        facts = read_facts(dump)

        def theirs() -> None:
            anew(server, "theirs")
            _mydumper(server, "myloader", "--database", "theirs", "--directory", str(pieces), "--enable-binlog")

        def ours() -> None:
            anew(server, "ours")
            load(job_of(server, dump, facts, source, bulk=True))

        medians = in_turn({"reinstate": ours, "myloader": theirs}, rounds)
        _compare(server, facts)
    on = f"{size(facts.size)}, {facts.rows} rows in {len(facts.tables)} tables"
    value = medians["myloader"] / medians["reinstate"]
    return Ratio("mariadb-myloader", value, 1.0, medians, rounds, on, more_is_better=True)


def _mydumper(server: Server, program: str, *options: str) -> None:
    way = (f"--defaults-file={server.option_file}", f"--socket={server.socket}", f"--threads={fitting()}")
    argv = (program, *way, *options)
    subprocess.run(argv, check=True, capture_output=True)


def mysql_bulk() -> Ratio:
    return run(Flavour.MYSQL, bulk=True)


def mysql_insert() -> Ratio:
    return run(Flavour.MYSQL, bulk=False)


def mariadb_bulk() -> Ratio:
    return run(Flavour.MARIADB, bulk=True)


def mariadb_insert() -> Ratio:
    return run(Flavour.MARIADB, bulk=False)


ROOM = {
    Flavour.MYSQL: ("--innodb-buffer-pool-size=1G", "--innodb-redo-log-capacity=1G", "--max-allowed-packet=64M"),
    Flavour.MARIADB: ("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=1G", "--max-allowed-packet=64M"),
}


def job_of(server: Server, dump: Path, facts: DumpFacts, source: str, *, bulk: bool) -> Job:
    rows = {table.name: table.rows for table in facts.tables}
    place = Place(socket=server.socket)  # as the client programs have it
    return Job(
        dump=dump,
        place=place,
        login=server.login,
        schema="ours",
        source=source,
        rows=rows,
        bulk=bulk,
        connections=fitting(),  # as a session has it where nothing is configured
    )


def anew(server: Server, schema: str) -> None:
    server.sql(f"DROP DATABASE IF EXISTS {schema}", f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")


def fill(server: Server, schema: str, rows: int) -> None:
    for number in range(_TABLES):
        indexed = ("user_id", "at", "kind", "name")[: 2 + number % 3]
        indexes = ", ".join(f"KEY k{n} ({column})" for n, column in enumerate(indexed))
        server.sql(
            f"CREATE TABLE t{number} (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, user_id BIGINT, at DATETIME, "
            f"kind VARCHAR(20), name VARCHAR(120), amount DECIMAL(12,2), {indexes}) DEFAULT CHARSET=utf8mb4",
            database=schema,
        )
        for values in _values(number, rows // _TABLES):
            server.sql(f"INSERT INTO t{number} VALUES {values}", database=schema)


def _values(number: int, rows: int) -> Iterator[str]:
    chance = random.Random(number)  # noqa: S311 - the same data each time is the point
    kinds = ("payment", "refund", "it\\'s a fee", "transfer; internal")
    for start in range(0, rows, 5000):
        yield ",".join(
            f"({n + 1},{chance.randrange(120000)},"
            f"'2026-{chance.randrange(1, 13):02}-{chance.randrange(1, 28):02} 10:00:00',"
            f"'{chance.choice(kinds)}','{chance.getrandbits(160):040x} of somebody',{chance.randrange(10**7) / 100})"
            for n in range(start, min(start + 5000, rows))
        )


def _compare(server: Server, facts: DumpFacts) -> None:
    for table in facts.tables:
        sums = {schema: server.sql(f"CHECKSUM TABLE {schema}.{table.name}")[0][1] for schema in ("ours", "theirs")}
        if sums["ours"] != sums["theirs"]:
            raise AssertionError(f"{table.name} differs: {sums}")
