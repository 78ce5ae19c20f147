"""The server's disk fills up under a restore: what failed is said, and once there is room it goes on or back exactly.

The data directory is on a small file system of its own, its binary log on another: while that can't be written a server
waits for room, and says so in its own log only.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engines.mysql.flavour import Flavour
from engines.session import commands as c
from engines.session.client import Client
from engines.session.events import Ending
from engines.session.moves import AskKind
from tests.engines.recipes.mysql_ground import PREPARED, prepared
from tests.engines.recipes.mysql_world import programs_of
from tests.engines.recipes.test_full_disk import fill
from tests.engines.recipes.test_mysql_faults import (
    DESTROYS,
    LOAD,
    REPLAY,
    Bench,
    ask_of,
    ended_as,
    run,
    without_defects,
)
from tests.engines.recipes.world import say_yes
from tests.servers.databases import build_of, running
from tests.servers.proxy import proxied

GROUNDS = (
    (Flavour.MARIADB, "in-place"),
    (Flavour.MYSQL, "staged"),
    pytest.param((Flavour.MARIADB, "staged"), marks=pytest.mark.torture),
    pytest.param((Flavour.MYSQL, "in-place"), marks=pytest.mark.torture),
)
_ROWS = 4000  # of a kilobyte
_ROOM = 2 << 20  # bytes: more than an empty schema takes, less than the rows
pytestmark = pytest.mark.xdist_group("mysql-full-disk")


def _rows(begin: int) -> str:
    rows = ",".join(f"({n},'{str(n) * 200:.1000}')" for n in range(begin, begin + _ROWS))
    return f"INSERT INTO big VALUES {rows};\n"


@contextmanager
def small(size: str) -> Iterator[Path]:
    """An empty file system, its path short: a server's socket is on it."""
    assert os.geteuid() == 0, "mounting a small file system needs root"
    place = Path(tempfile.mkdtemp(prefix="rs-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
        place.rmdir()


@dataclass(frozen=True, slots=True)
class Small:
    bench: Bench
    place: Path

    @property
    def filler(self) -> Path:
        return self.place / "filler"

    def free(self) -> None:
        self.filler.unlink(missing_ok=True)

    def power_back(self) -> None:
        """Without room for its own pages a server may end itself."""
        server = self.bench.ground.server
        if server.process is not None and server.process.poll() is not None:
            server.kill()
        if server.process is None:
            server.start()


@pytest.fixture(scope="module", params=GROUNDS, ids=lambda param: f"{param[0].value}-{param[1]}")
def _disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    flavour, method = request.param
    folder = tmp_path_factory.mktemp("disk")
    (folder / "log").mkdir()
    options = ("--local-infile=0", f"--log-bin={folder}/log/binlog")
    script = "CREATE TABLE big (id INT PRIMARY KEY, pad VARCHAR(1000)) DEFAULT CHARSET=utf8mb4;\n" + _rows(0)
    with (
        small("700m") as place,
        running(build_of(flavour), *options, place=place) as server,
        programs_of(server),
        proxied(server.port) as proxy,
    ):
        ground = prepared(
            folder / "world",
            server,
            method,
            port=proxy.port,
            script=script,
            later=_rows(_ROWS),
            harm="TRUNCATE TABLE big;\n",  # what is live has little room to give back
        )
        yield Small(Bench(ground, method, proxy), place)


@pytest.fixture
def disk(_disk: Small) -> Small:
    _disk.free()
    _disk.power_back()
    _disk.bench.ground.reset(PREPARED)
    return _disk


@dataclass
class Filling:
    """The operator. Before some of the steps the disk fills up; what failed is written down, then there is room."""

    disk: Small
    steps: dict[str, int]  # step -> bytes that are left free when it begins
    undo: bool = False  # undo at the first failure, while the disk is still full
    told: list[tuple[str, str]] = field(default_factory=list)

    async def __call__(self, client: Client) -> bool:
        ask = ask_of(client)
        if ask is None:
            return False
        if ask.kind in (AskKind.CONFIRM, AskKind.TYPED) and ask.step in self.steps:
            fill(self.disk.place, self.steps.pop(ask.step))
        if ask.kind is AskKind.DECIDE:
            self.told.append((ask.step, ask.text))
            if self.undo and client.state.undo_asked is None:
                await client.do(c.Undo("the disk is full"))
                return True
            self.disk.free()
            self.disk.power_back()
            if not ask.step:  # the way back could not be planned while the server was full, or gone
                await client.do(c.Undo("there is room again"))
                return True
        return await say_yes(client)


def test_a_disk_that_fills_up_at_the_load_and_at_the_replay_is_said_and_both_go_on(disk: Small) -> None:
    method = disk.bench.method
    load, replay = LOAD[method], REPLAY[method]
    filling = Filling(disk, {load: _ROOM, replay: _ROOM, **({DESTROYS[method]: 0} if method == "staged" else {})})
    state = run(disk.bench, filling)
    texts = [text for _step, text in filling.told]
    without_defects(texts)
    assert [step for step, _text in filling.told[:2]] == [load, replay], filling.told
    _names_it(texts[0])
    assert re.search(r"failed( at .*)?: (3|1026|1114|1534|2013) ", texts[1]), texts[1]
    ended_as(disk.bench, state, Ending.SIGNED_OFF)


def _names_it(text: str) -> None:
    """The rows that found no room, or the definition of the table behind them, whichever came first; and the byte."""
    assert re.search(r"\b(big|The definition of \w+)\b", text), text
    assert "byte" in text


@pytest.mark.torture
def test_a_disk_that_fills_up_at_the_load_can_be_undone_once_there_is_room(disk: Small) -> None:
    filling = Filling(disk, {LOAD[disk.bench.method]: _ROOM}, undo=True)
    state = run(disk.bench, filling)
    without_defects([text for _step, text in filling.told])
    _names_it(filling.told[0][1])
    disk.free()
    ended_as(disk.bench, state, Ending.UNDONE)


@pytest.fixture(scope="module", params=GROUNDS[:2], ids=lambda param: f"{param[0].value}-{param[1]}")
def log_disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """The binary log alone is on the small file system."""
    flavour, method = request.param
    folder = tmp_path_factory.mktemp("log-disk")
    script = "CREATE TABLE big (id INT PRIMARY KEY, pad VARCHAR(1000)) DEFAULT CHARSET=utf8mb4;\n" + _rows(0)
    with (
        small("100m") as place,
        running(build_of(flavour), "--local-infile=0", f"--log-bin={place}/binlog") as server,
        programs_of(server),
        proxied(server.port) as proxy,
    ):
        ground = prepared(folder / "world", server, method, port=proxy.port, script=script)
        yield Small(Bench(ground, method, proxy), place)


@pytest.mark.torture
def test_a_server_that_waits_for_room_for_its_binary_log_is_said_to_be_silent_and_goes_on(log_disk: Small) -> None:
    disk, logs = log_disk, log_disk.bench.ground.session / "logs"
    over, said = threading.Event(), list[str]()

    def look() -> None:
        """Make room as soon as the step's log says that nothing comes."""
        while not over.wait(0.2):
            lines = [line for path in logs.glob("*.log") for line in path.read_text().splitlines()]
            said.extend(silent := [line for line in lines if "nothing has come for" in line])
            if silent:
                disk.free()
                return

    looker = threading.Thread(target=look)
    looker.start()
    try:
        filling = Filling(disk, {LOAD[disk.bench.method]: 1 << 20})
        state = run(disk.bench, filling, patience=300)  # MySQL looks for room once a minute
    finally:
        over.set()
        looker.join()
    assert said, filling.told
    assert "waits for room on a disk" in said[0]
    ended_as(disk.bench, state, Ending.SIGNED_OFF)
