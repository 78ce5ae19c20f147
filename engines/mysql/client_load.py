"""Loads a dump through the server's own client program, as the runbook's `mysql < dump` does, watched on the way.

The client gets the dump's own bytes, line for line, but for what it must not execute: each statement is looked at
before it is sent. What is left out is replaced by as many empty lines, so that a line that the client names is found
in the dump.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from engines.children import Child
from engines.errors import Refused, RestoreError
from engines.mysql.connect import connected
from engines.mysql.dumps.effects import effect_of, words_of
from engines.mysql.dumps.facts import DumpFacts
from engines.mysql.dumps.guards import LEFT_OUT, forbidden
from engines.mysql.dumps.packing import Opened, opened
from engines.mysql.dumps.statements import Comment, Insert, Statement, plain_name, read
from engines.mysql.load.loader import Hooks, Job, Loaded, LoadProgress
from engines.mysql.programs import Complaint, Program, ProgramFailed, Running, running
from engines.text import count, drawable, duration

_EVERY = 0.2  # seconds between two tellings of progress
_REMEMBERED = 4096  # statements that the client may have read and not executed yet
_NOT_SENT = ("CREATE DATABASE", "CREATE SCHEMA")
_OPTIONS = (
    "--batch",
    "--unbuffered",
    "--skip-column-names",
    "--skip-reconnect",  # a new session would not have what the dump has set, and go on
    "--binary-mode",  # bytes as they are; and no command of the client but DELIMITER
    "--skip-auto-rehash",
    "--local-infile=0",
    "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
)
_FIRST = b"SELECT CONNECTION_ID(), @@SESSION.sql_log_bin;\n"  # the client reads whole lines
_WITHOUT_LOG = b"SET SESSION sql_log_bin = 0; "
_BEFORE = 1  # lines of ours before the dump's first


@dataclass(slots=True)
class _Sent:
    """What has been sent, for whoever asks where the client is."""

    starts: deque[tuple[int, int, str]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))  # line, byte, what
    table: str = ""

    def where(self, complaint: Complaint) -> str:
        """The statement that the client complains of."""
        found = [one for one in self.starts if complaint.line is not None and one[0] <= complaint.line - _BEFORE]
        if not found:
            return "before its first statement" if not self.starts else "where it can't be told"
        _line, start, what = found[-1]
        return f"{what}, at byte {count(start)}"


def load_by_client(
    job: Job,
    facts: DumpFacts,
    program: Program,
    private: Path,
    hooks: Hooks | None = None,
    *,
    started: Callable[[Child], None] = lambda _child: None,
) -> Loaded:
    """Feed the dump to `program` (mysql, mariadb). Its schema is empty: nothing of an earlier attempt is kept.

    `hooks.opened` is told the connection's id before the dump's first byte is sent. Done is: exit 0, and nothing on
    standard error. Raises RestoreError; the schema is unfinished then.
    """
    hooks = hooks or Hooks()
    if wrong := forbidden(facts):
        raise Refused(
            f"The dump would do more than fill its schema: {wrong[0].what}, at byte {count(wrong[0].start)}. "
            "Nothing was loaded.",
            "Choose another dump.",
        )
    begun = time.monotonic()
    arguments = (*_OPTIONS, f"--database={job.schema}")
    connection = 0
    sent = _Sent()
    try:
        with running(
            program, arguments, job.place, job.login, private=private, started=started, stop=hooks.stop
        ) as client:
            connection = _opened(client, job)
            hooks.opened(connection)
            hooks.at("client.opened")
            with opened(job.dump, job.entry) as dump:
                _feed(client, dump, job, hooks, sent)
            hooks.at("client.fed")
            client.finish()
    except ProgramFailed as failed:
        first = next(iter(failed.complaints), None)
        where = f" at {sent.where(first)}" if first and sent.starts else ""
        told = first.text.partition(", at line")[0] if first else failed.ended.reason  # the byte is the dump's own
        raise RestoreError(
            f"The client program failed{where}: {told}. The schema is unfinished.",
            f"{failed.hint} Then load it again from its start (r), or undo (u).",
        ) from None
    except RestoreError:
        _end(job, connection, hooks)
        raise
    hooks.at("client.ended")
    done = Loaded(len(job.rows), sum(job.rows.values()), time.monotonic() - begun, 0, ())
    hooks.say(f"{Path(program.path).name} loaded {count(done.tables)} tables in {duration(done.seconds)}")
    return done


def _opened(client: Running, job: Job) -> int:
    """The client's connection, and whether it writes to the binary log as the plan says."""
    client.write(_FIRST if job.binary_log else _WITHOUT_LOG + _FIRST)
    answer = client.line().split(b"\t")
    if len(answer) != 2:
        client.finish()
        raise RestoreError("The client program gave no answer. Nothing was loaded.", "Try it by hand.")
    if not job.binary_log and answer[1].strip() != b"0":
        raise RestoreError(
            "The binary log can't be left out (it stayed on), and the plan says that it is. Nothing was loaded.",
            'Grant the login what that needs (docs/privileges.md), or set binary_log = "on" and plan again.',
        )
    return int(answer[0])


def _feed(client: Running, dump: Opened, job: Job, hooks: Hooks, sent: _Sent) -> None:
    told = 0.0
    for text in _passed(dump, job, sent):
        if not client.write(text):
            break  # it has ended: `finish` says why
        now = time.monotonic()
        if now - told >= _EVERY:
            told = now
            hooks.progress(LoadProgress(dump.position(), dump.size, sent.table, 0))
    hooks.progress(LoadProgress(dump.position(), dump.size, "", 0))


class _Tee:
    """What is read from a stream, kept until it is taken."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._held = bytearray()
        self._at = 0  # byte of the dump at which `_held` begins

    def read(self, size: int) -> bytes:
        piece = self._stream.read(size)
        self._held += piece
        return piece

    def take(self, end: int) -> bytes:
        """Everything up to byte `end` of the dump that has not been taken yet."""
        size = end - self._at
        taken = bytes(self._held[:size])
        del self._held[:size]
        self._at = end
        return taken


def _passed(dump: Opened, job: Job, sent: _Sent) -> Iterator[bytes]:
    """What the client gets of the dump, in its order. Raises Refused before what it may not get."""
    tee = _Tee(dump.stream)
    ours = True
    for part in read(cast(BinaryIO, tee)):
        yield tee.take(part.start)  # blank lines, DELIMITER
        match part:
            case Comment():
                # The first line, which puts MariaDB's client into its sandbox, is no comment for MySQL's.
                yield _blank(tee.take(part.start + len(part.text)))
            case Statement():
                words = words_of(part.text)
                raw = tee.take(part.end)
                if words.startswith("USE"):
                    ours = plain_name(part.text[3:].strip()) == job.source
                passes = ours and _may_pass(part, words)
                if passes:
                    sent.starts.append((part.line, part.start, words[:40] or "a statement"))
                yield raw if passes else _blank(raw)
            case Insert():
                if ours:
                    sent.table = part.table
                    sent.starts.append((part.line, part.start, f"the rows of {drawable(part.table)}"))
                end = part.start + len(part.head)
                for piece in part.values:
                    end += len(piece)
                    yield tee.take(end) if ours else _blank(tee.take(end))
                yield tee.take(end + 1) if ours else _blank(tee.take(end + 1))


def _may_pass(part: Statement, words: str) -> bool:
    if words.startswith(("USE", *_NOT_SENT)) or b"SQL_LOG_BIN" in part.text.upper():
        return False
    effect = effect_of(part)
    if effect is None:
        return True
    if effect.what in LEFT_OUT:
        return False
    raise Refused(
        f"The dump would do more than fill its schema: {effect.what}, at byte {count(effect.start)}.",
        "Choose another dump. What was loaded until then is unfinished: undo (u).",
    )


def _blank(text: bytes) -> bytes:
    return b"\n" * text.count(b"\n")


def _end(job: Job, connection: int, hooks: Hooks) -> None:
    """After a stop: the server may still be at the client's last statement."""
    import pymysql

    if not connection:
        return
    try:
        with connected(job.place, job.login, timeout=10.0) as other, other.cursor() as cursor:
            cursor.execute(f"KILL {connection}")
        hooks.say(f"ended the client's connection {connection} on the server")
    except (RestoreError, pymysql.err.MySQLError):
        hooks.say(f"the client's connection {connection} is gone, or can't be ended from here")
