"""A real terminal: one program in a private tmux server, driven by keys and read from its screen.

Waiting is always for something to be seen; what the screen showed instead is in the failure.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import psutil
import pytest

from tests.servers.waiting import end, until

# Rows belong to the program (no status line), and Esc is not waited for.
_SETTINGS = """\
set -g status off
set -s escape-time 0
set -g history-limit 20000
set -g default-terminal tmux-256color
"""
# Keeps the last screen after the program's end, and how it ended. tmux's own remain-on-exit writes into the screen, and
# loses the status of a program that ends at once. `trap :` outlives a C-c that is meant for the program.
_KEEPER = """\
trap : INT QUIT
sh -c 'echo $$ >"$0/pid"; exec "$@"' "$@"
echo $? >"$1/ending" && mv "$1/ending" "$1/ended"
exec sleep infinity
"""
_LAST_WORDS = 0.5  # seconds that the screen may take to show what an ended program wrote
_POLL = 0.05  # seconds between two looks at the screen


class Terminal:
    """A terminal of `size` (columns, rows). Use it as a context manager: nothing of it is left behind."""

    def __init__(self, size: tuple[int, int] = (80, 24)) -> None:
        program = shutil.which("tmux")
        if program is None:
            pytest.fail("tmux is not installed: run `make test` as root, or install it")
        self._program = program
        self.size = size
        # A short path: a socket's name can't be longer than 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="terminal-"))
        self._settings = self._folder / "tmux.conf"
        self._settings.write_text(_SETTINGS)
        self._running = False

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(
        self, command: Sequence[str], *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """Starts `command` in the terminal; `environment` is added to a small clean one."""
        columns, rows = self.size
        clean = {name: os.environ[name] for name in ("PATH", "HOME", "USER", "LOGNAME") if name in os.environ}
        clean |= {"LANG": "C.UTF-8", "TMUX_TMPDIR": str(self._folder), **(environment or {})}
        self._environment = clean
        self._running = True
        place = ("-c", str(cwd)) if cwd else ()
        line = shlex.join(["sh", "-c", _KEEPER, "terminal", str(self._folder), *command])
        size = ("-x", str(columns), "-y", str(rows))
        self._tmux("new-session", "-d", "-s", "main", *size, *place, line)

    def send(self, *keys: str) -> None:
        """Presses keys by tmux's names: letters as they are, Enter, Escape, Tab, Up, F1, C-c."""
        self._tmux("send-keys", "-t", "main", "--", *keys)

    def type(self, text: str) -> None:
        """Types `text`, character by character, whatever it holds."""
        self._tmux("send-keys", "-t", "main", "-l", "--", text)

    def screen(self) -> str:
        """What is to be seen now: one line a row, blanks at the ends left out."""
        return self._tmux("capture-pane", "-p", "-t", "main").rstrip("\n")

    def cursor_row(self) -> int:
        """The row that the cursor is in, from 0: which box is typed into."""
        return int(self._tmux("display-message", "-p", "-t", "main", "#{cursor_y}"))

    def history(self) -> str:
        """Everything that was printed, what has scrolled away included."""
        return self._tmux("capture-pane", "-p", "-S", "-", "-J", "-t", "main").rstrip("\n")

    def resize(self, columns: int, rows: int) -> None:
        """Gives the terminal another size, as a window that is dragged."""
        self.size = (columns, rows)
        self._tmux("resize-window", "-t", "main", "-x", str(columns), "-y", str(rows))

    def wait_for(self, wanted: str | Callable[[str], bool], timeout: float = 20.0) -> str:
        """The screen as soon as it holds the text, or the question about it is true; `timeout` in seconds."""
        deadline = time.monotonic() + timeout
        while True:
            if self._ending() is not None:
                deadline = min(deadline, time.monotonic() + _LAST_WORDS)
            screen = self.screen()
            if wanted in screen if isinstance(wanted, str) else wanted(screen):
                return screen
            if time.monotonic() > deadline:
                what = repr(wanted) if isinstance(wanted, str) else "what was waited for"
                ending = self._ending()
                why = f"{timeout:g} s went by" if ending is None else f"the program ended with {ending}"
                pytest.fail(f"{what} was not seen; {why}. The last screen:\n{framed(screen, self.size[0])}")
            time.sleep(_POLL)

    def exit_status(self, timeout: float = 20.0) -> int:
        """Waits for the program's end; its exit status, or minus the signal that ended it."""
        until(lambda: self._ending() is not None, "the program in the terminal has ended", timeout)
        return self._ending() or 0

    @property
    def pid(self) -> int:
        """The process that was started in the terminal."""
        file = self._folder / "pid"
        until(lambda: file.exists() and file.read_text().endswith("\n"), "the program has started")
        return int(file.read_text())

    def hang_up(self) -> None:
        """Closes the terminal under the program, as a lost connection does: it gets SIGHUP, and no terminal is left."""
        self._tmux("kill-server")
        self._running = False

    def kill(self) -> None:
        """Ends the terminal and what runs in it. What went into a session of its own is not touched."""
        if self._running:
            server, keeper = psutil.Process(int(self._pane("pid"))), psutil.Process(int(self._pane("pane_pid")))
            inside = [process for process in keeper.children(recursive=True) if _session(process) == keeper.pid]
            self._tmux("kill-server")
            self._running = False
            end([server, keeper, *inside], grace=2)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _ending(self) -> int | None:
        """How the program ended, as `exit_status` says it; None while it runs."""
        try:
            status = int((self._folder / "ended").read_text())
        except FileNotFoundError:
            return None
        return 128 - status if 128 < status <= 128 + signal.SIGRTMAX else status

    def _pane(self, name: str) -> str:
        return self._tmux("display-message", "-p", "-t", "main", f"#{{{name}}}").strip()

    def _tmux(self, *order: str) -> str:
        argv = [self._program, "-L", "reinstate", "-f", str(self._settings), *order]
        done = subprocess.run(argv, env=self._environment, capture_output=True, text=True, check=False, timeout=20)
        if done.returncode:
            pytest.fail(f"tmux {shlex.join(order)} failed: {done.stderr.strip()}")
        return done.stdout


def framed(screen: str, columns: int) -> str:
    """A screen with an edge, so that blanks can be told from nothing."""
    edge = "+" + "-" * columns + "+"
    return "\n".join([edge, *(f"|{line:<{columns}}|" for line in screen.split("\n")), edge])


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return None
