"""The console while the machine has its hands full, and for long.

`console-load`: a step logs 50,000 lines a second and our loader fills a MySQL server at full speed, all on the same
processors as the console; a key is timed to its answer as in `log-flood`. `console-line`: the bytes that come to the
terminal meanwhile, which is what an SSH line carries before it compresses. `console-soak`: the console's memory over
minutes of a log that goes on.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median
from time import perf_counter

from engines.mysql.connect import connected
from engines.mysql.dumps.facts import read_facts
from engines.mysql.flavour import Flavour
from engines.mysql.load.loader import Job, load
from engines.text import count, duration, size
from tests.bench.catalogue import p95
from tests.bench.log_flood import PACE, noisy_session, there_and_back
from tests.bench.measure import Ratio
from tests.bench.memory import peak, resident
from tests.bench.mysql_load import ROOM, anew, fill, job_of
from tests.bench.pseudo_terminal import PseudoTerminal
from tests.servers.databases import build_of, running
from tests.servers.waiting import until

AIM = 0.2  # seconds to a key's answer: twice what people take for at once
AIM_LINE = 16.0  # kB a second in the flood: two thirds of a line of 192 kbit/s
AIM_SOAK = 1.1  # memory at the end over memory after the first tenth
SECONDS, ROWS = 20, 400_000
SOAK = 600  # seconds
SOAK_PACE = 10_000  # lines a second
_KEYS = 20  # to and fro, while nothing is done
_LOOK = 5.0  # seconds in which bytes are counted


def run(seconds: int = SECONDS, rows: int = ROWS) -> tuple[Ratio, Ratio]:
    with loading(rows) as loads, noisy_session(10 * seconds * PACE, PACE, (80, 24)) as (terminal, here):
        idle = _keys(terminal, lambda done: done >= _KEYS)
        still = _bytes_each_second(terminal)
        before = peak(terminal.pid)
        with loads() as loaded:
            (here / "go").touch()
            began = perf_counter()
            busy = _keys(terminal, lambda _done: perf_counter() - began >= seconds)
            flood = _bytes_each_second(terminal)
        after = peak(terminal.pid)
    medians = {"flood and load": median(busy), "idle": median(idle)}
    keys = (
        f"95th percentile {p95(busy):.3f} s, idle {p95(idle):.3f} s, slowest {max(busy):.3f} s; {count(PACE)} lines a "
        f"second, and a load that was begun {loaded()} times; console {size(before)} before, {size(after)} after"
    )
    line = f"kB a second at 80x24 while lines flood by; {still / 1000:.2f} while a step is silent and its clock goes on"
    return (
        Ratio("console-load", p95(busy), AIM, medians, len(busy), keys),
        Ratio("console-line", flood / 1000, AIM_LINE, {}, 1, line),
    )


def soak(seconds: int = SOAK, pace: int = SOAK_PACE) -> Ratio:
    """Memory at the end as a share of what it was once a tenth of the time had gone by: by then everything is used."""
    with noisy_session(2 * seconds * pace, pace) as (terminal, here):
        start = resident(terminal.pid)
        (here / "go").touch()
        began = perf_counter()
        warm = 0
        while (gone := perf_counter() - began) < seconds:
            if not warm and gone >= seconds / 10:
                warm = resident(terminal.pid)
            there_and_back(terminal)
            terminal.watch(min(1.0, seconds / 10))
        end, most = resident(terminal.pid), peak(terminal.pid)
    on = (
        f"{duration(seconds)} of {count(pace)} lines a second and a key each second; memory {size(start)} at first, "
        f"{size(warm)} after a tenth, {size(end)} at the end, {size(most)} at most; grown by {size(max(end - warm, 0))}"
    )
    return Ratio("console-soak", end / warm, AIM_SOAK, {}, 1, on)


def _keys(terminal: PseudoTerminal, enough: Callable[[int], bool]) -> list[float]:
    answers: list[float] = []
    while not enough(len(answers) // 2):
        answers += there_and_back(terminal)
    return answers


def _bytes_each_second(terminal: PseudoTerminal) -> float:
    terminal.stands_still()
    before, began = terminal.received, perf_counter()
    terminal.watch(_LOOK)
    return (terminal.received - before) / (perf_counter() - began)


@contextmanager
def loading(
    rows: int, flavour: Flavour = Flavour.MYSQL
) -> Iterator[Callable[[], contextlib.AbstractContextManager[Callable[[], int]]]]:
    """A server and a dump; what is given loads it over and over, in a process of its own, for as long as a `with`."""
    with (
        tempfile.TemporaryDirectory(prefix="reinstate-bench-") as name,
        running(build_of(flavour), *ROOM[flavour]) as server,
    ):
        server.sql("SET GLOBAL local_infile = 1")
        dump = Path(name) / "shop.sql"
        source = server.new_schema("shop")
        fill(server, source, rows)
        dump.write_bytes(server.dump("--single-transaction", "--set-gtid-purged=OFF", source))
        anew(server, "ours")
        job = job_of(server, dump, read_facts(dump), source, bulk=True)

        @contextmanager
        def loads() -> Iterator[Callable[[], int]]:
            context = multiprocessing.get_context("spawn")
            over, times = context.Event(), context.Value("i", 0)
            process = context.Process(target=_load_until, args=(job, over, times))
            process.start()
            try:
                until(lambda: times.value > 0 or not process.is_alive(), "the load is on")
                assert process.is_alive()
                yield lambda: int(times.value)
                assert process.is_alive()
            finally:
                over.set()
                process.join()

        yield loads


def _load_until(job: Job, over: Event, times: object) -> None:
    while not over.is_set():
        times.value += 1  # type: ignore[attr-defined]  # multiprocessing's own type is made at run time
        with connected(job.place, job.login) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {job.schema}")
            cursor.execute(f"CREATE DATABASE {job.schema} CHARACTER SET utf8mb4")
        load(job)
