"""Finds the client programs of MySQL and MariaDB, and runs them with a login that nobody sees.

A program must be of the server's own kind: on many machines `mysqldump` is MariaDB's. What it says on standard error
is kept apart from its output, and only its meaning is passed on: the text may hold what is in a row.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from engines.children import Child
from engines.errors import RestoreError
from engines.hooks import Stop, never
from engines.mysql.connect import Login, Place, write_option_file
from engines.mysql.errors import FULL, ROOM, meaning
from engines.mysql.flavour import Flavour, Version, parse_version
from engines.process import Command, Ended, Piped, captured, start_piped
from engines.text import drawable

_TICK = 50  # milliseconds between two looks at the stop request
_PIECE = 256 << 10  # bytes read or written at a time
_MOST_ERRORS = 1 << 20  # bytes of standard error that are looked at
_VERSIONS = tuple(
    re.compile(word + r"\s+(\d\S*)") for word in ("Distrib", "from", "Ver")
)  # the last is the program's own
_HARMLESS = re.compile(
    r"Deprecated program name|unknown (?:option|variable) '(?:--)?loose|--ssl-verify-server-cert is disabled|^\s*$"
)
_CODE = re.compile(r"\bERROR (\d{4})\b|\b[Ee]rror:? (\d{4})\b|\((\d{4})\)\s*$")
_LINE = re.compile(r"\bat line (\d+)")
_TABLE = re.compile(r"(?:dumping table|SHOW [A-Z ]+) (`(?:[^`]|``)+`)")
_SPOKEN = re.compile(r"(?:-- )?(?:[\w./-]+: |Warning|Error|Note)", re.IGNORECASE)  # not a part of a statement
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


class Tool(StrEnum):
    """What a program is for, by its name in MySQL."""

    CLIENT = "mysql"
    DUMP = "mysqldump"
    BINLOG = "mysqlbinlog"
    CHECK = "mysqlcheck"


_MARIADB = {
    Tool.CLIENT: "mariadb",
    Tool.DUMP: "mariadb-dump",
    Tool.BINLOG: "mariadb-binlog",
    Tool.CHECK: "mariadb-check",
}


@dataclass(frozen=True, slots=True)
class Program:
    tool: Tool
    path: str
    flavour: Flavour
    version: Version | None  # None: it does not tell


@dataclass(frozen=True, slots=True)
class Complaint:
    """One line of standard error, without the values that it may hold."""

    code: int | None
    line: int | None  # of its input, from 1
    text: str


class ProgramFailed(RestoreError):
    """A program did not do all that it was to do."""

    def __init__(self, message: str, hint: str, complaints: tuple[Complaint, ...], ended: Ended) -> None:
        super().__init__(message, hint)
        self.complaints = complaints
        self.ended = ended

    @property
    def codes(self) -> frozenset[int]:
        return frozenset(one.code for one in self.complaints if one.code is not None)


def spellings(tool: Tool, flavour: Flavour) -> tuple[str, ...]:
    """The names that a program may have, its own kind's first."""
    return (_MARIADB[tool], tool.value) if flavour is Flavour.MARIADB else (tool.value,)


def find(tool: Tool, flavour: Flavour, folders: Sequence[Path] = ()) -> Program:
    """The program of this kind of server: in `folders`, else on PATH. Raises RestoreError that says what is there."""
    names = spellings(tool, flavour)
    seen: list[str] = []
    for folder in (*map(str, folders), None):
        for name in names:
            path = shutil.which(name, path=folder)
            if path is None:
                continue
            found = look_at(tool, path)
            if found.flavour is flavour:
                return found
            seen.append(f"{path} is {found.flavour.shown}'s")
    where = ", ".join([*map(str, folders), "PATH"])
    raise RestoreError(
        f"{flavour.shown}'s {names[0]} is not there (looked in {where})"
        f"{'; ' if seen else ''}{'; '.join(map(drawable, seen))}. Nothing was changed.",
        f"Install the client programs of {flavour.shown} on this machine, and name their folder in the configuration.",
    )


def look_at(tool: Tool, path: str) -> Program:
    """The program in a file: whose it is, and its version as it tells it. Raises RestoreError where it can't run."""
    ended, output = captured(Command((path, "--no-defaults", "--version"), timeout=20.0), limit=64_000)
    text = output.decode(errors="replace")
    if not ended.ok:
        raise RestoreError(
            f"{drawable(path)} --version: {ended.reason}. Nothing was changed.", "Install it again, or remove it."
        )
    # MariaDB's binary log reader does not say whose it is, but its name does.
    named = any(Path(one).name.startswith("mariadb") for one in (path, os.path.realpath(path)))
    flavour = Flavour.MARIADB if named or "mariadb" in text.lower() else Flavour.MYSQL
    number = next((found[1] for pattern in _VERSIONS if (found := pattern.search(text))), "")
    return Program(tool, path, flavour, parse_version(number, flavour.value))


@contextmanager
def login_file(private: Path, place: Place, login: Login, flavour: Flavour) -> Iterator[Path]:
    """An option file (0600) in a folder of its own in `private`, there for as long as it is needed."""
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="client-", dir=private))  # 0700
    try:
        path = folder / "client.cnf"
        write_option_file(path, place, login, mariadb=flavour is Flavour.MARIADB)
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class Running:
    """A program under way, in the caller's own thread: what it writes is read, what it reads is written to it."""

    program: Program
    piped: Piped
    _output: int
    _errors: int
    _stop: Stop
    _ready: bytes = b""
    _at_end: bool = False

    def read(self, size: int = _PIECE) -> bytes:
        """Up to `size` bytes of its standard output; empty at its end. A stop is a RestoreError."""
        while not self._ready and not self._at_end:
            self._look(reading=True)
        piece, self._ready = self._ready[:size], self._ready[size:]
        return piece

    def line(self) -> bytes:
        """One line of its output, without its end; empty where it ends before."""
        held = self._ready
        while b"\n" not in held and not self._at_end:
            self._ready = b""
            self._look(reading=True)
            held += self._ready
        taken, _, self._ready = held.partition(b"\n")
        return taken

    def write(self, text: bytes | memoryview) -> bool:
        """Give it all of `text`; what it writes meanwhile is dropped. False: it has ended and takes no more."""
        left = memoryview(text)
        while left:
            try:
                left = left[os.write(self.piped.stdin.fileno(), left[:_PIECE]) :]
            except BlockingIOError:
                self._look(writing=True)
            except BrokenPipeError:
                return False
            self._ready = b""
        return True

    def finish(self) -> None:
        """Wait for its end. Raises ProgramFailed unless it ended well and had nothing to complain of."""
        self.piped.stdin.close()
        while not self._at_end:
            self._ready = b""
            self._look(reading=True)
        pidfd = os.pidfd_open(self.piped.child.pid)
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            while not poll.poll(_TICK):
                self._refuse_stopped()
        finally:
            os.close(pidfd)
        ended = self.piped.ended()
        complaints = self.complaints()
        if ended.ok and not complaints:
            return
        name = Path(self.program.path).name
        told = "; ".join(one.text for one in complaints[:3]) or ended.reason
        raise ProgramFailed(f"{drawable(name)} failed: {told}.", _hint(complaints), complaints, ended)

    def complaints(self) -> tuple[Complaint, ...]:
        """What it has complained of until now."""
        # The end of it: MariaDB's client repeats the whole statement, which may be long, before the error.
        begin = max(os.fstat(self._errors).st_size - _MOST_ERRORS, 0)
        said = os.pread(self._errors, _MOST_ERRORS, begin).decode(errors="replace")
        found = tuple(_complaint(line) for line in said.splitlines() if not _HARMLESS.search(line))
        # MariaDB's client repeats the statement beside the error.
        return tuple(one for one in found if one.code) or found

    def _look(self, *, reading: bool = False, writing: bool = False) -> None:
        """Wait a moment until something can be read or written."""
        self._refuse_stopped()
        poll = select.poll()
        if not self._at_end:
            poll.register(self._output, select.POLLIN)
        if writing:
            poll.register(self.piped.stdin.fileno(), select.POLLOUT)
        for descriptor, _event in poll.poll(_TICK):
            if descriptor == self._output:
                piece = os.read(self._output, _PIECE)
                self._at_end = not piece
                if reading or not writing:
                    self._ready += piece

    def _refuse_stopped(self) -> None:
        if self._stop():
            raise RestoreError(
                f"{Path(self.program.path).name} was stopped on request.", "Start the step again when ready."
            )


@contextmanager
def running(
    program: Program,
    arguments: Sequence[str],
    place: Place,
    login: Login,
    *,
    private: Path,
    started: Callable[[Child], None] = lambda _child: None,
    stop: Stop = never,
) -> Iterator[Running]:
    """Run `program` with `arguments` on the server. It is ended, with all that it started, when the block ends.

    The login is in no argument and no environment; the program's home is the folder of the option file, so that a
    ~/.mylogin.cnf, which MySQL's programs read last, can't lead it to another server. `started` is told the process
    before it does anything.
    """
    with login_file(private, place, login, program.flavour) as options:
        home = {"HOME": str(options.parent), "TZ": "UTC"}
        command = Command((program.path, f"--defaults-file={options}", *arguments), env=home)
        errors = os.memfd_create("errors")  # nothing of it gets to a disk
        output, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            fcntl.fcntl(errors, fcntl.F_SETFL, os.O_APPEND)
            try:
                piped = start_piped(command, stdout=theirs, stderr=errors, started=started)
            finally:
                os.close(theirs)
            try:
                os.set_blocking(piped.stdin.fileno(), False)
                yield Running(program, piped, output, errors, stop)
            finally:
                if piped.process.returncode is None:
                    # Ended before its input is: a client that sees the end executes half a statement.
                    piped.ended(grace=2.0)
                with suppress(OSError):
                    piped.stdin.close()
        finally:
            os.close(output)
            os.close(errors)


def _complaint(line: str) -> Complaint:
    number = _CODE.search(line)
    at = _LINE.search(line)
    table = _TABLE.search(line)
    code = int(next(group for group in number.groups() if group)) if number else None
    if code is None:
        told = _QUOTED.sub("'…'", drawable(line))[:200] if _SPOKEN.match(line) else "it wrote what is not shown here"
    else:
        told = meaning(RuntimeError(code)) + (f", at {drawable(table[1])}" if table else "")
    return Complaint(code, int(at[1]) if at else None, told + (f", at line {at[1]}" if at and code else ""))


def _hint(complaints: Sequence[Complaint]) -> str:
    match next((one.code for one in complaints if one.code), None):
        case 1044 | 1045 | 1142 | 1227 | 1370 | 1449:
            return "Look at what the login may do: docs/privileges.md has the GRANT statement."
        case 2002 | 2003 | 2006 | 2013 | 1053 | 1927:
            return "Is the server up? Look at its error log, then start the step again."
        case 1153 | 2020:
            return "Raise max_allowed_packet on the server."
        case code if code in FULL:
            return ROOM
        case _:
            return "Look at the server's error log, and at the program's version."
