"""A program in a pseudo-terminal whose output is timed as it comes: tmux would show it only when it is asked.

Times are those at which the program's bytes could be read; a terminal draws them a moment later, for everybody alike.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 60.0  # seconds that anything may take to be seen
_CONTROLS = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][0-9A-Za-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[=>78MPX^_])")
_CHUNK = 1 << 16


class PseudoTerminal:
    """One program, started at once, in a terminal of `size` columns and rows. Ended at the end of the `with`."""

    def __init__(
        self, command: Sequence[str], size: tuple[int, int] = (80, 24), environment: Mapping[str, str] | None = None
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self._came = b""  # since the last key
        self.received = 0  # bytes since the start, with their controls: what an SSH line would carry
        self.since = perf_counter()  # the start, or the last key
        # A terminal of its own, in which neither the bench's settings nor a colour of its terminal play a part.
        clean = {name: os.environ[name] for name in ("PATH", "HOME", "USER", "LOGNAME") if name in os.environ}
        clean |= {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), **(environment or {})}
        self._process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=clean, start_new_session=True
        )
        os.close(theirs)

    def __enter__(self) -> PseudoTerminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self.hang_up()

    def hang_up(self) -> None:
        """The terminal goes. Doing it twice is no error."""
        if self._ours >= 0:
            os.close(self._ours)
        self._ours = -1

    def ends(self) -> int:
        """The exit code, once the program has ended by itself."""
        return self._process.wait(LONGEST)

    @property
    def pid(self) -> int:
        return self._process.pid

    def press(self, key: str, answer: str) -> float:
        """Sends a key; the seconds until `answer` has come after it."""
        self.take()
        self._came = b""
        self.since = perf_counter()
        os.write(self._ours, key.encode())
        return self.sees(answer)

    def sees(self, wanted: str) -> float:
        """The seconds from the start, or from the last key, until `wanted` has come. AssertionError after a minute."""
        while True:
            if wanted in self.text:
                return perf_counter() - self.since
            left = self.since + LONGEST - perf_counter()
            if left <= 0 or not self._read(left):
                raise AssertionError(
                    f"{wanted!r} did not come within {LONGEST:g} s; what came last: {self.text[-2000:]!r}"
                )

    def watch(self, seconds: float) -> None:
        """Takes what comes for so long, as somebody who looks on."""
        until = perf_counter() + seconds
        while (left := until - perf_counter()) > 0:
            self._came = b""
            self._read(left)

    def stands_still(self, seconds: float = 0.05) -> None:
        """Waits until nothing has come for so long: a hand does not press the next key before."""
        while self._read(seconds):
            pass

    def take(self) -> None:
        """Reads what has come, without waiting: a program whose output nobody takes comes to a stand."""
        while self._read(0):
            pass

    @property
    def text(self) -> str:
        """What has come since the start or the last key, without its controls."""
        return _CONTROLS.sub(b"", self._came).decode(errors="replace")

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], seconds)
        if not ready:
            return False
        try:
            more = os.read(self._ours, _CHUNK)
        except OSError:  # EIO: the program is gone
            return False
        self._came += more
        self.received += len(more)
        return bool(more)


def python(*arguments: str) -> tuple[str, ...]:
    """The command that runs a module or file with the Python of this process."""
    return (sys.executable, *arguments)
