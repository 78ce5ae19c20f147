"""What a step's work may use: its log, its journal entries, its processes, and the word to stop."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from engines.checks import Check
from engines.children import Child
from engines.errors import RestoreError
from engines.process import Command, Ended, run, shown
from engines.session.events import CheckDone, ChildEnded, ChildStarted, Event, FactFound, StepLog
from engines.session.plan import Step, log_name
from engines.session.sharing import file_mode
from engines.session.state import SessionState
from engines.text import drawable, duration, utc_now

TELEMETRY_EVERY = 0.25  # seconds
SILENT = 30.0  # seconds without progress after which that is said; said again after twice as long, and so on


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step is. Telemetry: sent to the consoles, never part of the state."""

    step: str
    done: int
    total: int
    unit: str  # "B" or what is counted
    rate: float  # per second
    eta: float | None  # seconds
    text: str = ""
    still: float = 0.0  # seconds for which nothing has come, once that is worth a word


class Work:
    """One step under way. Used by the step's thread alone, but for `stopped`."""

    def __init__(
        self,
        *,
        step: Step,
        folder: Path,
        look: Callable[[], SessionState],
        record: Callable[[Event], None],
        telemetry: Callable[[Progress], None],
        at: Callable[[str], None],
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.step = step
        self.folder = folder
        self.at = at  # kill points of the torture tests; does nothing otherwise
        self._look = look
        self._record = record
        self._telemetry = telemetry
        self._now = now
        self._log_path = folder / "logs" / log_name(step)
        self._log = os.open(
            self._log_path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        os.fchmod(self._log, file_mode(folder))
        self._begun = time.monotonic()
        self._sent = 0.0
        self._latest: tuple[int, str] = (0, "")  # amount and text of the progress that was told last
        self._moved = self._begun  # when that changed
        self._silent = SILENT
        self._lock = threading.Lock()

    @property
    def state(self) -> SessionState:
        return self._look()

    def stopped(self) -> bool:
        """Has the operator asked to stop this step at the next safe place?"""
        return self._look().stop_asked == self.step.id

    def say(self, text: str) -> None:
        """A line for the step's log, with the time. A full disk loses the line, not the step."""
        line = f"{self._now():%H:%M:%S} {drawable(text)}\n".encode(errors="replace")
        with self._lock:
            try:
                os.write(self._log, line)
            except OSError as error:
                self._telemetry(Progress(self.step.id, 0, 0, "", 0.0, None, f"the log can't be written: {error}"))

    def found(self, **facts: object) -> None:
        """Journal what must not be forgotten if the step is killed, before acting on it."""
        self._record(FactFound(self.step.id, facts))

    def emit(self, event: Event) -> None:
        self._record(event)

    def check(self, check: Check) -> Check:
        """Journal a check's answer and say it in the log."""
        self._record(CheckDone(check))
        self.say(f"{check.verdict:<8}{check.name}: {check.evidence}" + (f" — {check.hint}" if check.hint else ""))
        return check

    def progress(self, done: int, total: int, unit: str = "B", text: str = "", waiting: str = "") -> None:
        """Tell the consoles how far the step is. `waiting`: what to look at where nothing comes for long."""
        now = time.monotonic()
        self._listen(now, (done, text), waiting if total else "")
        if now - self._sent < TELEMETRY_EVERY and done < total:
            return
        self._sent = now
        elapsed = max(now - self._begun, 1e-6)
        rate = done / elapsed
        eta = (total - done) / rate if rate > 0 and total else None
        still = now - self._moved if total and now - self._moved >= SILENT else 0.0
        self._telemetry(Progress(self.step.id, done, total, unit, rate, eta, text, still))

    def _listen(self, now: float, latest: tuple[int, str], waiting: str) -> None:
        if latest != self._latest:
            self._latest, self._moved, self._silent = latest, now, SILENT
        elif waiting and now - self._moved >= self._silent:
            self._silent *= 2
            self.say(f"nothing has come for {duration(now - self._moved)}: {waiting}")

    def run(self, command: Command) -> Ended:
        """Run a command of the application, its output in the step's log and its pid in the journal first."""
        told = shown(command)
        self.say(f"$ {told}")
        pid = 0

        def started(child: Child) -> None:
            nonlocal pid
            pid = child.pid
            self._record(ChildStarted(self.step.id, child.pid, child.started, told))

        try:
            ended = run(command, self._log, started=started, stop=self.stopped)
        except RestoreError:
            if pid:
                self._record(ChildEnded(self.step.id, pid, None, 0.0))
            raise
        self._record(ChildEnded(self.step.id, pid, ended.exit, round(ended.seconds, 3)))
        self.say(ended.reason)
        return ended

    @contextmanager
    def children(self, told: str) -> Iterator[Callable[[Child], None]]:
        """For programs that an engine starts itself: journals each before it does anything, and their end."""
        pids: list[int] = []

        def started(child: Child) -> None:
            pids.append(child.pid)
            self._record(ChildStarted(self.step.id, child.pid, child.started, told))

        try:
            yield started
        finally:
            for pid in pids:
                self._record(ChildEnded(self.step.id, pid, None, 0.0))

    def must(self, command: Command, what: str, hint: str) -> Ended:
        """Run a command whose failure is the step's failure."""
        ended = self.run(command)
        if not ended.ok:
            raise RestoreError(f"{what} failed: {shown(command)}: {ended.reason}.", hint)
        return ended

    def close(self) -> StepLog:
        """The finished log's name, size and digest, for the journal."""
        try:
            os.fsync(self._log)
        finally:
            os.close(self._log)
        with self._log_path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return StepLog(self._log_path.name, self._log_path.stat().st_size, digest)
