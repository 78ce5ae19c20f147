"""Replays through the client programs: mysqlbinlog turns what we feed it into statements, mysql executes them.

    verified logs -> feed -> mysqlbinlog -> we count lines -> mysql -> the server

One of each, for all logs, so that there is one session. We hold the client's input open until mysqlbinlog has ended
well: a text that was cut short is never followed by the end of file at which a client would execute what it has.
Success is what the client says after the last statement, not the lack of an error.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from engines.errors import RestoreError
from engines.mysql.connect import connected, write_option_file
from engines.mysql.flavour import Flavour
from engines.mysql.replay.executed import must_be_new
from engines.mysql.replay.feed import Begun, Feed
from engines.mysql.replay.pace import EVERY, Pace
from engines.mysql.replay.plan import Gtids, ReplayPlan
from engines.mysql.replay.programs import (
    Programs,
    client,
    client_failure,
    mysqlbinlog,
    mysqlbinlog_failure,
    shows,
)
from engines.mysql.replay.ways import Hooks, Into, Replayed
from engines.process import Piped, start_piped
from engines.text import count, drawable, duration, size

_PIECE: Final = 1 << 17  # bytes of text moved at a time
_KEPT: Final = 8 << 20  # bytes of text that are kept, to say which transaction failed
_TICK: Final = 0.05  # seconds between two looks
_LOGIN: Final = 60.0  # seconds that connecting may take
_STOPPING: Final = 10.0  # seconds in which what was sent may end well after a stop
_LARGEST: Final = 64 << 20  # bytes that the client may say: statements give no rows
_AGAIN: Final = "Load and replay again from the start (r), or undo (u)."


def replay(plan: ReplayPlan, into: Into, hooks: Hooks | None = None, *, programs: Programs | None = None) -> Replayed:
    """Replay the plan. Raises RestoreError: the schema is unfinished then, at a point that is not known."""
    hooks = hooks or Hooks()
    programs = programs or Programs.of(plan.flavour)
    if plan.gtids is Gtids.KEPT and plan.flavour is Flavour.MYSQL:
        with connected(into.place, into.login) as connection:
            must_be_new(connection, plan)
    option_file = into.private / f"replay-{secrets.token_hex(4)}.cnf"
    try:
        for line in shows(plan, programs, option_file):
            hooks.say(line)
        write_option_file(option_file, into.place, into.login, mariadb=plan.flavour is Flavour.MARIADB)
        return _Replaying(plan, hooks, programs, option_file).run()
    finally:
        option_file.unlink(missing_ok=True)


class _Text:
    """What mysqlbinlog wrote, on its way to the client: the lines are counted, the last of them kept."""

    def __init__(self) -> None:
        self.line = 2  # the client's first line is ours
        self._kept: deque[tuple[int, bytes]] = deque()
        self._size = 0

    def take(self, piece: bytes) -> None:
        self._kept.append((self.line, piece))
        self.line += piece.count(b"\n")
        self._size += len(piece)
        while self._size > _KEPT and len(self._kept) > 1:
            self._size -= len(self._kept.popleft()[1])

    def offset_at(self, line: int) -> int | None:
        """The byte of what was fed that mysqlbinlog was at in this line: its last `# at` before."""
        if not self._kept or self._kept[0][0] > line:
            return None
        text = b"".join(piece for _, piece in self._kept)
        end = 0
        for _ in range(line - self._kept[0][0]):
            end = text.find(b"\n", end) + 1
        begin = text.rfind(b"# at ", 0, end)
        number = text[begin + 5 : text.find(b"\n", begin)] if begin >= 0 else b""
        return int(number) if number.isdigit() else None


class _Mover(threading.Thread):
    """A thread that moves bytes from one program to the next, and keeps what went wrong with it."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self.error: Exception | None = None
        self.done = False

    def run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - whoever started it raises it
            self.error = error
        finally:
            self.done = True


class _Replaying:
    def __init__(self, plan: ReplayPlan, hooks: Hooks, programs: Programs, option_file: Path) -> None:
        self.plan, self.hooks, self.programs, self.option_file = plan, hooks, programs, option_file
        self.begun = time.monotonic()
        self.text = _Text()
        self._stopping: float | None = None  # since when
        self.feed = Feed(plan, lambda: self._stopping is not None)
        self._told = 0.0
        self._pace = Pace(plan)

    def run(self) -> Replayed:
        with _memory("said") as said, _memory("client-errors") as complaints, _memory("binlog-errors") as warnings:
            self.said, self.complaints, self.warnings = said, complaints, warnings
            self.hooks.at("client")
            self.client = start_piped(
                client(self.plan, self.programs, self.option_file),
                stdout=said,
                stderr=complaints,
                started=self.hooks.started,
            )
            try:
                self._log_in()
                self.hooks.at("logged in")
                self._apply()
                self.hooks.at("applied")
            finally:
                self.client.ended(grace=1.0)
                _close(self.client.stdin)
        done = self.feed
        spent = time.monotonic() - self.begun
        self._tell()
        self.hooks.say(f"replayed {count(done.transactions)} transactions, {size(done.done)} in {duration(spent)}")
        return Replayed(done.transactions, done.done, spent, done.at, done.end)

    def _log_in(self) -> None:
        """Wait until the client is connected, and learn its connection's id."""
        with contextlib.suppress(BrokenPipeError):
            _write(self.client.stdin, b"SELECT CONNECTION_ID();\n")
        until = time.monotonic() + _LOGIN
        while b"\n" not in (answer := os.pread(self.said, 64, 0)):
            if not self.client.running() or time.monotonic() > until:
                failure = client_failure(_content(self.complaints), self.client.ended(grace=1.0).reason)
                raise RestoreError(
                    f"The client could not connect: {failure.why}. Nothing was replayed.",
                    "Look at the login, at the account's rights, and at the server.",
                )
            time.sleep(_TICK)
        number = answer.partition(b"\n")[0]
        if not number.isdigit():
            raise RestoreError(
                "The client did not say which connection it has. Nothing was replayed.",
                "Look at which program is named as the client in the configuration.",
            )
        self.hooks.opened(int(number))

    def _apply(self) -> None:
        readable, writable = os.pipe2(os.O_CLOEXEC)
        with os.fdopen(readable, "rb", buffering=0) as text:
            try:
                binlog = start_piped(
                    mysqlbinlog(self.plan, self.programs),
                    stdout=writable,
                    stderr=self.warnings,
                    started=self.hooks.started,
                )
            finally:
                os.close(writable)
            feeder = _Mover("replay-feed", lambda: self._feed(binlog.stdin))
            pump = _Mover("replay-pump", lambda: self._pump(text))
            try:
                self._look_up()  # a stop that was asked for by now lets one transaction through, not all of a short log
                feeder.start()
                pump.start()
                self._watch(binlog, pump)
                self._judge(binlog, feeder)
                self._finish()
            finally:
                # They end when what they write to is gone. Not before may the pipes be closed.
                binlog.ended(grace=1.0)
                self.client.ended(grace=1.0)
                for mover in (feeder, pump):
                    if mover.ident is not None:
                        mover.join()
                _close(binlog.stdin)

    def _feed(self, stdin: IO[bytes]) -> None:
        try:
            for piece in self.feed.pieces():
                _write(stdin, piece)
        finally:
            _close(stdin)

    def _pump(self, text: IO[bytes]) -> None:
        while piece := text.read(_PIECE):
            self.text.take(piece)
            _write(self.client.stdin, piece)

    def _watch(self, binlog: Piped, pump: _Mover) -> None:
        """Until all of mysqlbinlog's text has been passed on, or one of the two has failed."""
        while not pump.done:
            self._look_up()
            if not self.client.running():
                break
            if not binlog.running() and not binlog.ended().ok:
                return
            time.sleep(_TICK)
        if not self.client.running() or pump.error is not None:
            self._client_failed()
        until = time.monotonic() + _STOPPING  # its output is at its end: it ends now, or never
        while binlog.running() and time.monotonic() < until:
            time.sleep(_TICK)

    def _judge(self, binlog: Piped, feeder: _Mover) -> None:
        """Did mysqlbinlog turn all of it into statements? If not, the client never learns that the text has ended."""
        ended = binlog.ended(grace=1.0)
        feeder.join()
        if feeder.error is not None and not isinstance(feeder.error, OSError):
            raise feeder.error
        complaint = mysqlbinlog_failure(_content(self.warnings))
        if ended.ok and complaint is None and (self.feed.finished or self.feed.stopped):
            return
        why = complaint or f"it {ended.reason}"
        if not ended.ok and complaint:
            why = f"{complaint} ({ended.reason})"
        self.client.ended(grace=1.0)
        raise RestoreError(
            f"mysqlbinlog failed: {why}. What was replayed until then is unfinished.",
            f"Look at the logs, and at the program's version. {_AGAIN}",
        )

    def _finish(self) -> None:
        """Ask for a last answer behind all statements: it comes only if each of them was executed."""
        token = f"replayed-{secrets.token_hex(8)}"
        with contextlib.suppress(BrokenPipeError):
            _write(self.client.stdin, f"SELECT '{token}';\n".encode())
        _close(self.client.stdin)
        while self.client.running():
            self._look_up()
            time.sleep(_TICK)
        ended = self.client.ended()
        answer = os.pread(self.said, 64, max(0, os.fstat(self.said).st_size - 64))
        if not ended.ok or token.encode() not in answer or b"ERROR" in _content(self.complaints):
            self._client_failed()
        if self.feed.stopped:
            raise self._stopped()

    def _client_failed(self) -> None:
        ended = self.client.ended(grace=1.0)
        failure = client_failure(_content(self.complaints), ended.reason)
        begun = self._transaction(failure.line)
        where = f" at {drawable(begun.name)} ({drawable(begun.file)}, byte {begun.position})" if begun else ""
        raise RestoreError(
            f"The replay failed{where}: {failure.why}. The schema is unfinished.",
            failure.hint,
        )

    def _transaction(self, line: int | None) -> Begun | None:
        offset = None if line is None else self.text.offset_at(line)
        return None if offset is None else self.feed.transaction_at(offset)

    def _look_up(self) -> None:
        now = time.monotonic()
        if self._stopping is None and self.hooks.stop():
            self._stopping = now
            self.hooks.say("stopping after the transaction that is under way")
        if self._stopping is not None and now - self._stopping > _STOPPING:
            raise self._stopped()
        if os.fstat(self.said).st_size > _LARGEST:
            raise RestoreError(
                "The client says far more than statements can make it say. The schema is unfinished.",
                f"Look at which program is named as the client in the configuration. {_AGAIN}",
            )
        if now - self._told >= EVERY:
            self._told = now
            self._tell()

    def _stopped(self) -> RestoreError:
        file, position = self.feed.end
        clean = self.feed.stopped and not self.client.running()
        where = f"after {drawable(file)}, byte {position}" if clean else "in the middle of a transaction"
        return RestoreError(
            f"The replay was stopped {where}: {count(self.feed.transactions)} of "
            f"{count(self.plan.transactions)} transactions were sent. The schema is unfinished.",
            _AGAIN,
        )

    def _tell(self) -> None:
        feed = self.feed
        self.hooks.progress(self._pace.at(feed.done, feed.transactions, feed.at))


@contextmanager
def _memory(name: str) -> Iterator[int]:
    """A file in memory for what a program says: it may hold values of rows, and is never kept."""
    descriptor = os.memfd_create(name)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> bytes:
    """The end of it: MariaDB's client repeats the whole statement, which may be long, before the error."""
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, min(size, 1 << 20), max(size - (1 << 20), 0))


def _write(pipe: IO[bytes], content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[pipe.write(view) :]


def _close(pipe: IO[bytes]) -> None:
    with contextlib.suppress(OSError):
        pipe.close()
