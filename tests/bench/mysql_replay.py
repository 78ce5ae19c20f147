"""A replay that the server pulls, against `mysqlbinlog … | mysql`: the same logs, the same server, in turn.

Small transactions of three statements each, written over several connections, in row format. The server is durable and
writes what is replayed into its own binary log, both ways. Before each round the schema is loaded anew from its dump,
which is not timed. Each round ends with the checksum of every table compared with the source.
"""

from __future__ import annotations

import shlex
import socket
import subprocess
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from engines.mysql.binlogs.chain import chain
from engines.mysql.binlogs.fetch import fetch_logs
from engines.mysql.binlogs.logs import logs_in, read_logs
from engines.mysql.binlogs.moments import stop_point
from engines.mysql.connect import Place
from engines.mysql.flavour import Flavour
from engines.mysql.replay.plan import ReplayPlan, plan_replay
from engines.mysql.replay.ways import Into
from engines.mysql.source.replay import Reach, replay
from engines.text import count, size
from tests.bench.delaying import delaying
from tests.bench.measure import Ratio, in_turn
from tests.engines.mysql.replay.source import Source, checksums
from tests.servers.databases import Server, build_of, running

ROUNDS = 3
TRANSACTIONS = 16_000
_WRITERS = 8
_AIMS = {Flavour.MYSQL: 4.5, Flavour.MARIADB: 3.5}
_DURABLE = ("SET GLOBAL sync_binlog = 1", "SET GLOBAL innodb_flush_log_at_trx_commit = 1")
_FAST = ("SET GLOBAL sync_binlog = 0", "SET GLOBAL innodb_flush_log_at_trx_commit = 2")
_OPTIONS = {
    Flavour.MYSQL: ("--innodb-buffer-pool-size=1G", "--innodb-redo-log-capacity=1G"),
    Flavour.MARIADB: ("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=1G", "--log-slave-updates"),
}
_MADE = (
    "CREATE TABLE accounts (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(60), amount INT, KEY (name))",
    "CREATE TABLE moves (id BIGINT PRIMARY KEY AUTO_INCREMENT, account INT, amount INT, note VARCHAR(200), "
    "KEY (account))",
)


def run(flavour: Flavour, *, delay: float = 0.0, transactions: int = TRANSACTIONS, rounds: int = ROUNDS) -> Ratio:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reinstate-bench-")))
        server = stack.enter_context(running(build_of(flavour), *_OPTIONS[flavour]))
        source, plan, then = _written(server, folder, transactions)
        place = Place("127.0.0.1", server.port)
        port = _free_port()
        reach = Reach(
            address="127.0.0.2",
            bind="127.0.0.2",
            allowed=frozenset({"127.0.0.1", "127.0.0.2"}),
            channel="bench",
            port=port,
        )
        if delay:
            near = _free_port()
            stack.enter_context(delaying(("127.0.0.1", near), ("127.0.0.1", server.port), delay / 2))
            stack.enter_context(delaying(("127.0.0.3", port), ("127.0.0.2", port), delay / 2))
            place = Place("127.0.0.1", near)
            reach = Reach(address="127.0.0.3", bind=reach.bind, allowed=reach.allowed, channel="bench", port=port)

        def ours() -> None:
            replay(plan, Into(place=place, login=server.login, private=folder), reach=reach)
            _same(server, source.schema, then)

        def theirs() -> None:
            _pipe(server, place, plan)
            _same(server, source.schema, then)

        medians = in_turn(
            {"reinstate": ours, "mysqlbinlog": theirs}, rounds, before=lambda: _anew(source, source.schema)
        )
    on = f"{count(plan.transactions)} transactions, {size(plan.size)} of log"
    name = f"{flavour}-replay" + (f"-{delay * 1000:.0f}ms" if delay else "")
    value = medians["mysqlbinlog"] / medians["reinstate"]
    return Ratio(name, value, _AIMS[flavour], medians, rounds, on, more_is_better=True)


def mysql() -> Ratio:
    return run(Flavour.MYSQL)


def mariadb() -> Ratio:
    return run(Flavour.MARIADB)


def mysql_delayed() -> Ratio:
    """With a millisecond more from a question to its answer."""
    return run(Flavour.MYSQL, delay=0.001, transactions=TRANSACTIONS // 16)


def _written(server: Server, folder: Path, transactions: int) -> tuple[Source, ReplayPlan, dict[str, object]]:
    source = Source(server, server.new_schema("shop"), folder)
    server.sql(*_FAST)
    server.sql(*_MADE, database=source.schema)
    values = ",".join(f"('account {n}', 0)" for n in range(20_000))
    server.sql(f"INSERT INTO accounts (name, amount) VALUES {values}", database=source.schema)
    source.take_dump()
    threads = [
        threading.Thread(target=_write, args=(server, source.schema, transactions // _WRITERS, n))
        for n in range(_WRITERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.sql("FLUSH BINARY LOGS", *_DURABLE)
    then = checksums(server, source.schema)
    logs = folder / "logs"
    fetch_logs(server.place, server.login, logs, since=source.start.file)
    found = chain(read_logs(logs_in(logs)), source.start)
    return source, plan_replay(found, stop_point("end"), source=source.schema), then


def _write(server: Server, schema: str, transactions: int, number: int) -> None:
    connection = server.connection(schema)
    with connection.cursor() as cursor:
        for n in range(transactions):
            account = (n * _WRITERS + number) * 7919 % 20_000 + 1
            cursor.execute("BEGIN")
            cursor.execute("UPDATE accounts SET amount = amount + %s WHERE id = %s", (n, account))
            cursor.execute("INSERT INTO moves (account, amount, note) VALUES (%s, %s, REPEAT('n', 60))", (account, n))
            cursor.execute("UPDATE accounts SET name = CONCAT('moved ', %s) WHERE id = %s", (n, account))
            cursor.execute("COMMIT")
    connection.close()


def _anew(source: Source, schema: str) -> None:
    source.server.sql(*_FAST)
    source.load(schema)
    source.server.sql(*_DURABLE)


def _pipe(server: Server, place: Place, plan: ReplayPlan) -> None:
    """As the runbook has it, with the plan's own start and stop."""
    (_, begin), (_, end) = plan.start, plan.stop
    logs = [part.path for part in plan.parts]
    # Else the server, which has executed these GTIDs, would do nothing.
    anew = ("--skip-gtids",) if server.flavour is Flavour.MYSQL else ()
    reads = (*server.client("mysqlbinlog"), *anew, f"--start-position={begin}", f"--stop-position={end}", *logs)
    executes = (*server.client("mysql"), f"--host={place.host}", f"--port={place.port}", "--protocol=TCP")
    line = f"set -o pipefail; {shlex.join(reads)} | {shlex.join(executes)}"
    subprocess.run(["bash", "-c", line], check=True, capture_output=True)


def _same(server: Server, schema: str, then: dict[str, object]) -> None:
    if checksums(server, schema) != then:
        raise RuntimeError("the replayed tables differ from the source")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])
