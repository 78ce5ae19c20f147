"""A step that logs 1,000,000 lines while its log is on the screen: how keys are answered, and what it takes of memory.

Against the same console, log and keys while the step says nothing. A key is Up, which leaves the end of the log, or
End, which follows it again; its time is from the key to the words on the screen. Real runner, real step.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from subprocess import Popen
from time import perf_counter

from engines.errors import RestoreError
from engines.text import count, size
from tests.bench.catalogue import p95
from tests.bench.measure import Ratio
from tests.bench.memory import peak
from tests.bench.pseudo_terminal import PseudoTerminal, python
from tests.engines.recipes.world import answering, build, new_session, say_yes, start_runner
from tests.servers.waiting import until

AIM = 2.0  # of the 95th percentiles
LINES = 1_000_000
KEYS = 100  # while nothing is logged
_UP, _END = "\x1b[A", "\x1b[F"
_SAID, _DONE = 1000, "all is said"
PACE = 50_000  # lines a second
# Says a little, waits for `go`, says the lines, tells so in `said`, and waits until it is ended.
_NOISY = """
import pathlib, sys, time
here, lines, pace = pathlib.Path("."), int(sys.argv[1]), int(sys.argv[2])
here.joinpath("down").touch()
for number in range({said}):
    print("before the flood", number)
sys.stdout.flush()
while not here.joinpath("go").exists():
    time.sleep(0.01)
began = time.monotonic()
for number in range(lines):
    print(f"2026-11-22 20:51:02.{{number % 1000:03}} worker 7: row {{number}} of the table was copied and compared")
    if number % 1000 == 0:
        sys.stdout.flush()
        time.sleep(max(0.0, began + number / pace - time.monotonic()))
sys.stdout.flush()
here.joinpath("said").touch()
while True:
    time.sleep(1)
"""


def run(lines: int = LINES, keys: int = KEYS) -> Ratio:
    with noisy_session(lines, PACE) as (terminal, here):
        before = peak(terminal.pid)
        idle = [there_and_back(terminal) for _ in range(keys // 2)]
        (here / "go").touch()
        began = perf_counter()
        flood = []
        while not (here / "said").exists():
            flood.append(there_and_back(terminal))
        took = perf_counter() - began
        after = peak(terminal.pid)
    quiet, loud = [one for pair in idle for one in pair], [one for pair in flood for one in pair]
    medians = {"in the flood": median(loud), "idle": median(quiet)}
    on = (
        f"95th percentile {p95(loud):.3f} s and {p95(quiet):.3f} s, slowest in the flood {max(loud):.3f} s; "
        f"{count(lines)} lines in {took:.1f} s; the console's memory at most {size(before)} before, {size(after)} after"
    )
    return Ratio("log-flood", p95(loud) / p95(quiet), AIM, medians, len(loud), on)


@contextmanager
def noisy_session(lines: int, pace: int, screen: tuple[int, int] = (120, 40)) -> Iterator[tuple[PseudoTerminal, Path]]:
    """A console on a step that says `lines`, `pace` a second, once `go` is in the folder; then `said` is in it.

    The log is on the screen, and followed. The step goes on, in silence, until the session is ended here.
    """
    with tempfile.TemporaryDirectory(prefix="reinstate-bench-") as name:
        world = build(Path(name))
        noisy = world.folder / "noisy.py"
        noisy.write_text(_NOISY.format(said=_SAID))
        config = world.folder / "reinstate.toml"
        step = f'maintenance_on = ["{sys.executable}", "{noisy}", "{lines}", "{pace}"]'
        config.write_text(config.read_text().replace('maintenance_on = ["touch", "down"]', step))
        session = new_session(world)
        runner = start_runner(session)
        over = threading.Event()
        people = threading.Thread(target=_say_yes, args=(session, runner, over))
        people.start()
        try:
            until(lambda: world.down.exists() or runner.poll() is not None, "the step has begun")
            assert runner.poll() is None, (session / "runner.log").read_text()[-3000:]
            attach = python("-m", "tui.cli", "--config", str(config), "attach")
            with PseudoTerminal(attach, screen) as terminal:
                terminal.sees("Maintenance mode on")
                terminal.press("l", "following")
                yield terminal, world.folder / "app"
        finally:
            over.set()
            runner.terminate()
            people.join()


def _say_yes(session: Path, runner: Popen[bytes], over: threading.Event) -> None:
    try:
        asyncio.run(answering(session, runner, say_yes, seconds=600))
    except (RestoreError, OSError):
        if not over.is_set():  # the runner was not ended by us
            raise


def there_and_back(terminal: PseudoTerminal) -> tuple[float, float]:
    """Seconds of two keys: away from the log's end, and back to it."""
    return terminal.press(_UP, "End follows ·"), terminal.press(_END, "following")
