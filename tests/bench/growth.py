"""Once, four times and sixteen times as much: does a byte still cost the same, and does memory stay?

Each measurement is a fresh process of its own that does one thing (a load, a proof, a listing, a replay) and tells its
seconds and the kernel's high-water mark of its memory. The database server's memory is its own matter. A ratio is what
a byte (a backup, in a listing) costs at sixteen times over what it costs at once.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from engines.backups.catalogue import read as list_folder
from engines.backups.verify import verify_all
from engines.mysql.binlogs.moments import stop_point
from engines.mysql.dumps.facts import read_facts
from engines.mysql.flavour import Flavour
from engines.mysql.load.loader import Job, load
from engines.mysql.replay.pipeline import replay
from engines.mysql.replay.plan import ReplayPlan, plan_replay
from engines.mysql.replay.programs import Programs
from engines.mysql.replay.ways import Into
from engines.text import size
from tests.bench.measure import Ratio
from tests.bench.memory import peak, resident
from tests.bench.mysql_load import ROOM, anew, fill, job_of
from tests.engines.mysql.replay.source import Source
from tests.servers.databases import Server, build_of, running

FACTORS = (1, 4, 16)
AIM = 1.15
AIM_CATALOGUE_MEMORY = 3.0  # a listing holds what it lists
ROUNDS = 3
ROWS, BACKUPS, TRANSACTIONS = 80_000, 1000, 300  # at once
_RELAXED, _DURABLE = (0, 2), (1, 1)  # sync_binlog and innodb_flush_log_at_trx_commit


@dataclass(frozen=True, slots=True)
class Cost:
    """What one thing took at one size."""

    amount: int  # bytes, or backups
    seconds: float  # median
    memory: int  # bytes, at most
    rounds: int
    bare: int  # bytes that the process had before it began, its modules above all


Measured = tuple[float, int, int]  # seconds, and memory in bytes: at most, and before it began


def run(
    rows: int = ROWS, backups: int = BACKUPS, transactions: int = TRANSACTIONS, rounds: int = ROUNDS
) -> tuple[Ratio, ...]:
    flavour = Flavour.MYSQL
    with (
        tempfile.TemporaryDirectory(prefix="reinstate-bench-") as name,
        running(build_of(flavour), *ROOM[flavour]) as server,
    ):
        server.sql("SET GLOBAL local_infile = 1")
        folder = Path(name)
        return (
            *ratios("catalogue", "backups", _catalogues(folder, backups, rounds), AIM_CATALOGUE_MEMORY),
            *_loads_and_proofs(server, folder, rows, rounds),
            *ratios("replay", "bytes of log", _replays(server, folder, transactions, rounds)),
        )


def ratios(what: str, unit: str, costs: Mapping[int, Cost], memory_aim: float = AIM) -> Iterator[Ratio]:
    least, most = costs[min(costs)], costs[max(costs)]
    each = {factor: cost.seconds / cost.amount for factor, cost in costs.items()}
    medians = {f"{factor}x": cost.seconds for factor, cost in costs.items()}
    told = ", ".join(f"{factor}x {size(cost.memory)}" for factor, cost in costs.items())
    shares = ", ".join(f"{factor}x {each[factor] / each[min(costs)]:.2f}" for factor in costs)
    amount = size(least.amount) if "bytes" in unit else f"{least.amount} {unit}"
    yield Ratio(
        f"growth-{what}-time",
        each[max(costs)] / each[min(costs)],
        AIM,
        medians,
        least.rounds,
        f"1x is {amount}; time for each, over 1x: {shares}",
    )
    yield Ratio(
        f"growth-{what}-memory",
        most.memory / least.memory,
        memory_aim,
        {},
        least.rounds,
        f"at most: {told}; before it begins {size(least.bare)}",
    )


def _costs(amounts: Mapping[int, int], act: Callable[[int], Measured], rounds: int) -> dict[int, Cost]:
    """Each size in turn, so that a busy moment meets all alike."""
    found: dict[int, list[Measured]] = {factor: [] for factor in amounts}
    for _ in range(rounds):
        for factor in amounts:
            found[factor].append(act(factor))
    return {factor: _cost(amounts[factor], seen) for factor, seen in found.items()}


def _cost(amount: int, seen: Sequence[Measured]) -> Cost:
    seconds, memory, bare = zip(*seen, strict=True)
    return Cost(amount, median(seconds), max(memory), len(seen), min(bare))


def alone(act: Callable[..., object], *arguments: object) -> Measured:
    """In a fresh process, which is not asked for anything else."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_timed, act, *arguments).result()


def _timed(act: Callable[..., object], *arguments: object) -> Measured:
    bare, began = resident(os.getpid()), perf_counter()
    act(*arguments)
    return perf_counter() - began, peak(os.getpid()), bare


def _catalogues(folder: Path, backups: int, rounds: int) -> dict[int, Cost]:
    places = {factor: folder / f"backups-{factor}" for factor in FACTORS}
    for factor, place in places.items():
        place.mkdir()
        lines = []
        for number in range(backups * factor):
            content = number.to_bytes(8)
            (place / f"backup-{number:06}.sqlite").write_bytes(content)
            lines.append(f"{hashlib.sha256(content).hexdigest()}  backup-{number:06}.sqlite\n")
        (place / "checksums.txt").write_text("".join(lines))
    amounts = {factor: backups * factor for factor in FACTORS}
    return _costs(amounts, lambda factor: alone(list_folder, places[factor]), rounds)


def _loads_and_proofs(server: Server, folder: Path, rows: int, rounds: int) -> tuple[Ratio, ...]:
    jobs: dict[int, Job] = {}
    for factor in FACTORS:
        source = server.new_schema("shop")
        fill(server, source, rows * factor)
        place = folder / f"dumps-{factor}"
        place.mkdir()
        dump = place / "shop.sql"
        dump.write_bytes(server.dump("--single-transaction", "--set-gtid-purged=OFF", source))
        digest = hashlib.sha256(dump.read_bytes()).hexdigest()
        (place / "checksums.txt").write_text(f"{digest}  shop.sql\n")
        jobs[factor] = job_of(server, dump, read_facts(dump), source, bulk=True)
        server.sql(f"DROP DATABASE {source}")
    amounts = {factor: job.dump.stat().st_size for factor, job in jobs.items()}

    def loaded(factor: int) -> Measured:
        anew(server, "ours")
        return alone(load, jobs[factor])

    def verified(factor: int) -> Measured:
        return alone(verify, jobs[factor].dump)

    verify_costs = _costs(amounts, verified, rounds)
    load_costs = _costs(amounts, loaded, rounds)
    return (*ratios("verify", "bytes", verify_costs), *ratios("load", "bytes", load_costs))


def verify(dump: Path) -> None:
    """As a session does it: the checksum of what lies there, then every statement."""
    (proven,) = verify_all(list_folder(dump.parent, "*.sql").backups, lambda _backup: None, lambda: False)
    if not proven.restorable:
        raise AssertionError(proven.evidence)
    read_facts(dump)


def _replays(server: Server, folder: Path, transactions: int, rounds: int) -> dict[int, Cost]:
    sources: dict[int, Source] = {}
    plans: dict[int, ReplayPlan] = {}
    for factor in FACTORS:
        (place := folder / f"logs-{factor}").mkdir()
        _durability(server, *_RELAXED)  # only while the logs are made
        source = Source(server, server.new_schema("shop"), place)
        server.sql("FLUSH BINARY LOGS")
        source.take_dump()
        source.work(transactions * factor)
        server.sql("FLUSH BINARY LOGS")
        _durability(server, *_DURABLE)
        sources[factor] = source
        plans[factor] = plan_replay(source.chain(), stop_point("end"), source=source.schema)
    programs = Programs(server.build.program("mysql"), server.build.program("mysqlbinlog"))
    amounts = {factor: plan.size for factor, plan in plans.items()}

    def replayed(factor: int) -> Measured:
        source = sources[factor]
        source.load(source.schema)
        return alone(replay_all, plans[factor], source.into(), programs)

    return _costs(amounts, replayed, rounds)


def replay_all(plan: ReplayPlan, into: Into, programs: Programs) -> None:
    done = replay(plan, into, programs=programs)
    if done.transactions != plan.transactions:
        raise AssertionError(f"{done.transactions} of {plan.transactions} transactions")


def _durability(server: Server, log: int, redo: int) -> None:
    server.sql(f"SET GLOBAL sync_binlog = {log}", f"SET GLOBAL innodb_flush_log_at_trx_commit = {redo}")
