"""Following a log that grows, floods, or is not there yet."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from engines.errors import RestoreError
from engines.session.client import LogPiece
from engines.session.plan import log_name
from tests.tui.driving import at_the_console
from tests.tui.outsides import FakeRunner, World
from tests.tui.story import Story
from tui.logs import BEHIND, KEPT, LogReader
from tui.outside import read_log


class GrowingLog:
    """A file as the runner serves it, at most 64 KiB at a time."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.reads = 0

    async def read(self, _file: str, offset: int) -> LogPiece:
        self.reads += 1
        if self.content is None:
            raise RestoreError("The log can't be read.", "It may not have begun yet.")
        start = max(len(self.content) + offset, 0) if offset < 0 else min(offset, len(self.content))
        piece = self.content[start : start + 65536]
        return LogPiece(piece.decode(errors="replace"), start, start + len(piece), len(self.content))


async def test_a_log_that_has_not_begun_is_empty_and_then_followed() -> None:
    log, reader = GrowingLog(), LogReader()
    assert not await reader.follow("a.log", log.read)
    log.content = b"one\ntwo\nthr"
    assert await reader.follow("a.log", log.read)
    assert list(reader.seen.lines) == ["one", "two"]
    log.content += b"ee\n"
    assert await reader.follow("a.log", log.read)
    assert list(reader.seen.lines) == ["one", "two", "three"]
    assert not await reader.follow("a.log", log.read)


async def test_a_long_log_is_read_from_its_end_and_says_that_it_is_cut() -> None:
    log, reader = GrowingLog(), LogReader()
    log.content = b"".join(b"line %07d\n" % number for number in range(100_000))
    await reader.follow("a.log", log.read)
    assert reader.seen.lines[-1] == "line 0099999"
    assert all(line.startswith("line ") and len(line) == 12 for line in reader.seen.lines)
    assert reader.seen.cut
    assert log.reads < 5


async def test_a_flood_is_jumped_over_and_only_so_much_is_kept() -> None:
    log, reader = GrowingLog(), LogReader()
    log.content = b"first\n"
    await reader.follow("a.log", log.read)
    log.content += b"x\n" * BEHIND
    await reader.follow("a.log", log.read)
    assert len(reader.seen.lines) <= KEPT
    assert reader.seen.cut
    assert "first" not in reader.seen.lines


async def test_another_log_begins_anew() -> None:
    log, reader = GrowingLog(), LogReader()
    log.content = b"one\n"
    await reader.follow("a.log", log.read)
    await reader.follow("b.log", log.read)
    assert reader.seen.file == "b.log"
    assert reader.seen.lines == ("one",)


class Flooded(FakeRunner):
    """Serves a real file, as a runner does."""

    folder = Path()

    async def log(self, file: str, offset: int) -> LogPiece:
        return read_log(self.folder, file, offset)


async def test_while_a_million_lines_come_every_key_is_answered_and_little_is_kept(tmp_path: Path) -> None:
    told = Story().ready().approved().given("3.2").started("3.2")
    step = told.state.step("3.2")
    assert step is not None
    runner = Flooded(told)
    runner.folder = tmp_path
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / log_name(step.step)
    log.write_text("line 0\n")
    leave, pieces = threading.Event(), 0

    def flood() -> None:
        nonlocal pieces
        block = "".join(f"20:05:42 row {number} of something was loaded\n" for number in range(10_000))
        with log.open("a") as file:
            while pieces < 100 and not leave.is_set():
                file.write(block)
                file.flush()
                pieces += 1

    writer = threading.Thread(target=flood)
    slowest = 0.0
    async with at_the_console(World(told=told, runner=runner)) as operator:
        await operator.sees("3.2 Maintenance mode on is under way")
        writer.start()
        try:
            while writer.is_alive() or operator.console.view.log.size < log.stat().st_size:
                for key, seen in (("n", "A note for the post-mortem"), ("escape", "? help")):
                    since = time.monotonic()
                    await operator.press(key)
                    await operator.sees(seen)
                    slowest = max(slowest, time.monotonic() - since)
        finally:
            leave.set()
            writer.join()
        await operator.sees("row 9999 of something was loaded")
        assert len(operator.console.view.log.lines) <= KEPT
    assert pieces == 100
    assert slowest < 2, f"a key took {slowest:.2f} s"
