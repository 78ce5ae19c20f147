"""Cut lines and killed servers in the middle of a replay: whatever breaks, each transaction is there exactly once."""

from __future__ import annotations

import os
import random
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import RestoreError
from engines.mysql.connect import connected
from engines.mysql.flavour import Flavour
from engines.mysql.replay.ways import Hooks
from engines.mysql.source import channel
from engines.mysql.source.channel import Changed
from engines.mysql.source.replay import Reach, replay
from tests.engines.mysql.replay.both import here, left_behind
from tests.engines.mysql.replay.source import Source, checksums
from tests.engines.mysql.source.test_pulled import written
from tests.servers.databases import FLAVOURS, Build, Server, running
from tests.servers.proxy import Proxy, proxied
from tests.servers.waiting import until

pytestmark = pytest.mark.torture
ROUNDS = 12
TRANSACTIONS = 600
PULLED = {Flavour.MYSQL: (), Flavour.MARIADB: ("--log-slave-updates",)}


@contextmanager
def cutting(after: int) -> Iterator[tuple[Reach, Proxy]]:
    """A source that is reached over a line which is cut each time that so many bytes have passed."""
    port = free_port()
    with proxied(port, "127.0.0.2", here=("127.0.0.3", port)) as line:
        line.cut_each(after)
        reach = replace(here(), address="127.0.0.3", bind="127.0.0.2", port=port)
        yield replace(reach, allowed=frozenset({"127.0.0.1", "127.0.0.2"})), line


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def comes_up(server: Server) -> bool:
    """Start it. True: as docs/replay.md says of MariaDB, the connection's files had to be removed first."""
    server.begin()

    def gone() -> bool:
        return server.process is None or server.process.poll() is not None

    until(lambda: gone() or server.answers(), "it is up, or gone", 60)
    if not gone():
        return False
    assert server.flavour is Flavour.MARIADB
    assert "Failed to initialize multi master structures" in (server.folder / "log").read_text(errors="replace")
    server.kill()
    for pattern in ("master-reinstate*.info", "relay-log-reinstate*.info", "multi-master.info"):
        for path in server.datadir.glob(pattern):
            path.unlink()
    server.start()
    return True


@pytest.mark.parametrize("build", FLAVOURS, ids=lambda build: build.name)
def test_a_line_that_is_cut_again_and_again_loses_and_repeats_nothing(build: Build, tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    with running(build, *PULLED[build.flavour]) as server:
        source = Source(server, server.new_schema("shop"), tmp_path)
        plan = written(source, TRANSACTIONS)
        then = checksums(server, source.schema)
        for number in range(ROUNDS):
            source.load(source.schema)
            with cutting(60_000 + 7_001 * number) as (reach, line):
                replay(plan, source.into(), reach=reach)
            assert checksums(server, source.schema) == then
            assert left_behind(server) == ()
            assert line.cuts > 1
            outcomes["cut, whole"] += line.cuts
    os.write(2, f"\n{build.name}: {ROUNDS} replays, {dict(outcomes)}\n".encode())


@pytest.mark.parametrize("build", FLAVOURS, ids=lambda build: build.name)
def test_a_server_that_is_killed_is_cleared_loaded_and_replayed_again(build: Build, tmp_path: Path) -> None:
    chance = random.Random(8)  # noqa: S311 - nothing secret
    outcomes: Counter[str] = Counter()
    with running(build, *PULLED[build.flavour]) as server:
        source = Source(server, server.new_schema("shop"), tmp_path)
        plan = written(source, TRANSACTIONS)
        then = checksums(server, source.schema)
        source.load(source.schema)
        took = replay(plan, source.into(), reach=here()).seconds
        for _ in range(ROUNDS):
            source.load(source.schema)
            noted: list[Changed | None] = []
            killed = threading.Timer(chance.uniform(0.02, took), server.kill)
            try:
                killed.start()
                replay(plan, source.into(), Hooks(), reach=here(), noted=noted.append)
                outcomes["done before the kill"] += 1
            except RestoreError:
                outcomes["killed in it"] += 1
            killed.join()
            outcomes["would not start before its files were removed"] += comes_up(server)
            with connected(server.place, server.login) as connection:
                for changed in noted:
                    if changed is not None:
                        channel.set_back(connection, changed)
            assert left_behind(server) == ()
            source.load(source.schema)
            replay(plan, source.into(), reach=here())
            assert checksums(server, source.schema) == then
            assert left_behind(server) == ()
    os.write(2, f"\n{build.name}: {ROUNDS} kills, {dict(outcomes)}\n".encode())
    assert outcomes["killed in it"] >= ROUNDS // 2
