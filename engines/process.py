"""The one place where processes are started and watched.

A child does nothing until its pid has been journalled: it starts as a shell that waits for one line, and only
then becomes the command. If the runner dies in between, the line never comes and the child ends having done
nothing. What to run, and what an exit code means, is decided elsewhere; ending is in `engines.children`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import re
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from engines.children import GRACE, MARK, Child, alive, end, identified
from engines.errors import Refused, RestoreError
from engines.text import duration

__all__ = [
    "GRACE",
    "OUTPUT_LIMIT",
    "Child",
    "Command",
    "Ended",
    "Piped",
    "alive",
    "captured",
    "end",
    "find_program",
    "run",
    "shown",
    "start_piped",
]

OUTPUT_LIMIT = 256_000_000  # bytes a command may add to its log before it is taken for a runaway

_TICK = 0.05  # seconds between looks at the stop request, the clock and the log's size
# The wait is on standard input: dash can only redirect single-digit descriptors.
_WAIT_FOR_GO = 'read -r go && [ "$go" = go ] || exit 125; exec "$@" </dev/null'
_WAIT_AND_READ_ON = 'read -r go && [ "$go" = go ] || exit 125; exec "$@"'  # read takes no byte beyond its line
_INHERITED = ("PATH", "LANG", "TZ")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# A forgotten DATABASE_URL of production once let a test cleaner empty it (Travis CI, March 2018).
_CONNECTIONS = re.compile(r"DATABASE_URL|(?:DB|MYSQL|AWS)_.*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. Nothing in it may be secret: it is shown, journalled, and visible to every user here."""

    argv: tuple[str, ...]
    cwd: Path | None = None
    user: str | None = None  # run as this login; None: as whoever runs Reinstate
    timeout: float = 3600.0  # seconds
    env: Mapping[str, str] = field(default_factory=dict)  # added to the few variables a command gets anyway
    host: str = ""  # the other machine that it runs on; empty: this one
    told: str = ""  # how it is shown, where most of the argv is about reaching that machine


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. Without exit and signal its end could not be seen: the outcome is unknown."""

    exit: int | None
    signal: int | None
    seconds: float
    timed_out: bool = False
    stopped: bool = False
    flooded: bool = False  # it wrote more output than the limit
    survivors: tuple[int, ...] = ()  # pids that could not be ended

    @property
    def ok(self) -> bool:
        return self.exit == 0 and not (self.timed_out or self.stopped or self.flooded)

    @property
    def reason(self) -> str:
        """In words, for the log and the record."""
        if self.exit is not None:
            how = f"exit {self.exit}"
        elif self.signal is not None:
            how = f"ended by {_signal_name(self.signal)}"
        else:
            how = "could not be ended"
        after = duration(self.seconds)
        if self.timed_out:
            how = f"out of time after {after}, {how}"
        elif self.stopped:
            how = f"stopped on request after {after}, {how}"
        elif self.flooded:
            how = f"stopped after {after} for writing too much output, {how}"
        pids = ", ".join(map(str, self.survivors))
        return f"{how}; still running: {pids}" if pids else how


def shown(command: Command) -> str:
    """The command as an operator could type it, with its folder and user."""
    if command.told:
        return command.told
    settings = "".join(f"{name}={shlex.quote(value)} " for name, value in command.env.items())
    where = [f"in {command.cwd}"] if command.cwd else []
    who = [f"as {command.user}"] if command.user else []
    said = ", ".join(where + who)
    return settings + shlex.join(command.argv) + (f"  ({said})" if said else "")


def run(
    command: Command,
    output: int,
    *,
    started: Callable[[Child], None],
    stop: Callable[[], bool],
    grace: float = GRACE,
    limit: int = OUTPUT_LIMIT,
) -> Ended:
    """Run `command` to its end; standard output and standard error go to the log `output` (opened O_APPEND).

    `started` is called while the child still waits; if it raises, the command is never run. `stop` is asked
    about 20 times a second. A process that the command leaves behind on purpose (a worker it started) is left
    alone; after a stop, a timeout or a flood the command's whole process group and session are ended.
    Raises RestoreError when the command can't be started, Refused when it must not be.
    """
    if not fcntl.fcntl(output, fcntl.F_GETFL) & os.O_APPEND:
        raise ValueError("the log must be opened with O_APPEND, else writers overwrite one another")
    most = os.fstat(output).st_size + limit
    process, gate = _waiting(command, output)
    with gate:
        try:
            child = identified(process.pid)
            started(child)
            begun = time.monotonic()
            with contextlib.suppress(BrokenPipeError):  # somebody ended it already; wait() says how
                gate.write(b"go\n")
        except BaseException:
            gate.close()
            process.wait()
            raise
    why = ""
    survivors: tuple[int, ...] = ()
    code: int | None = None
    try:
        why = _watch(process.pid, lambda: _overdue(command.timeout, begun, stop, output, most))
    finally:
        # Not reaped yet: until wait() the number is the child's own, so no stranger can be hit.
        if why or not _exited(process.pid):
            survivors = end(child, grace)
        if _exited(process.pid):
            code = process.wait()
    return Ended(
        exit=code if code is not None and code >= 0 else None,
        signal=-code if code is not None and code < 0 else None,
        seconds=time.monotonic() - begun,
        timed_out=why == "timeout",
        stopped=why == "stop",
        flooded=why == "flood",
        survivors=survivors,
    )


def captured(command: Command, *, limit: int = 16_000_000) -> tuple[Ended, bytes]:
    """Run a harmless question and return its output, standard error included (bytes).

    Kept in memory, so that asking works while the disk is full. Nothing is journalled: it must not change a
    thing.
    """
    output = os.memfd_create("output")
    try:
        fcntl.fcntl(output, fcntl.F_SETFL, os.O_APPEND)
        ended = run(command, output, started=lambda child: None, stop=lambda: False, grace=1.0, limit=limit)
        return ended, os.pread(output, os.fstat(output).st_size, 0)
    finally:
        os.close(output)


def find_program(command: Command) -> str:
    """The program's file, found as the shell would find it; runs nothing.

    Raises RestoreError that says what is wrong, where a shell would leave an exit 126 or 127.
    """
    if not command.argv or not command.argv[0]:
        raise RestoreError("A command without a program can't be run.", "Name it in the configuration.")
    path = command.env.get("PATH") or os.environ.get("PATH") or _PATH
    name = command.argv[0]
    if command.cwd and not command.cwd.is_dir():
        raise RestoreError(
            f"{command.cwd} is not a folder, and {name!r} has to run there. Nothing was run.",
            "Correct the application's path in the configuration.",
        )
    if "/" in name:
        file = (command.cwd or Path()).absolute() / name
        found = str(file) if file.is_file() and os.access(file, os.X_OK) else None
        why = "is not executable" if file.is_file() else "does not exist or is not a file"
        hint = f"chmod +x {shlex.quote(str(file))}" if file.is_file() else "Correct it in the configuration."
    else:
        found = shutil.which(name, path=path)
        why = f"was not found in PATH ({path})"
        hint = "Install it, or give its full path in the configuration."
    if found is None:
        raise RestoreError(f"The program {name!r} {why}. Nothing was run.", hint)
    interpreter = _interpreter(Path(found))
    if interpreter and not Path(interpreter).exists():
        raise RestoreError(
            f"{found} needs {interpreter!r} (its first line), which does not exist. Nothing was run.",
            "Install it, or correct the script's first line (often it ends in a carriage return).",
        )
    return found


@dataclass(frozen=True, slots=True)
class Piped:
    """A running command that we write to. Whoever started it calls `ended`, and then closes `stdin`."""

    child: Child
    process: subprocess.Popen[bytes]
    stdin: IO[bytes]  # unbuffered
    begun: float  # time.monotonic()

    def running(self) -> bool:
        return self.process.returncode is None and not _exited(self.process.pid)

    def ended(self, grace: float = GRACE) -> Ended:
        """How it ended. Where it still runs, it is ended with everything of its session first."""
        survivors = end(self.child, grace) if self.running() else ()
        code = None if self.running() else self.process.wait()
        return Ended(
            exit=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            seconds=time.monotonic() - self.begun,
            survivors=survivors,
        )


def start_piped(command: Command, *, stdout: int, stderr: int, started: Callable[[Child], None]) -> Piped:
    """Start a command that is fed through its standard input; `started` is called while it still waits.

    Neither `timeout` nor an output limit is watched. Raises RestoreError when it can't be started.
    """
    process, gate = _waiting(command, stdout, stderr, _WAIT_AND_READ_ON)
    try:
        child = identified(process.pid)
        started(child)
        with contextlib.suppress(BrokenPipeError):  # somebody ended it already; `ended` says how
            gate.write(b"go\n")
    except BaseException:
        gate.close()
        process.wait()
        raise
    return Piped(child, process, gate, time.monotonic())


def _waiting(
    command: Command, output: int, errors: int | None = None, wait: str = _WAIT_FOR_GO
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """The child before it has become the command, and where it waits for the word to go."""
    program = find_program(command)
    account = _account(command)
    environment = _environment(command, account)
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", wait, "sh", program, *command.argv[1:]],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output if errors is None else errors,
            cwd=command.cwd,
            env=environment,
            start_new_session=True,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=os.getgrouplist(account.pw_name, account.pw_gid) if account else None,
        )
    except (OSError, ValueError) as error:
        raise RestoreError(
            f"{shown(command)} could not be started: {error}. Nothing was run.",
            "Check the machine's memory and process limits, and the command in the configuration.",
        ) from error
    assert process.stdin is not None  # noqa: S101 - stdin=PIPE makes it so; the type checker can't know
    return process, process.stdin


def _account(command: Command) -> pwd.struct_passwd | None:
    """The other user to become; None when that is who we are."""
    if command.user is None:
        return None
    try:
        account = pwd.getpwnam(command.user)
    except KeyError:
        raise RestoreError(
            f"There is no user {command.user!r} here to run {command.argv[0]!r} as. Nothing was run.",
            "Correct `user` in the configuration's application section.",
        ) from None
    if account.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise Refused(
            f"{shown(command)}: only root can run a command as another user. Nothing was run.",
            f"Run Reinstate as root or as {command.user}, or begin the configured command with "
            f"sudo -n -u {command.user} and leave `user` out.",
        )
    return account


def _environment(command: Command, account: pwd.struct_passwd | None) -> dict[str, str]:
    """The whole environment of the command: a few known variables and what its configuration adds."""
    forbidden = sorted(name for name in command.env if _CONNECTIONS.fullmatch(name))
    if forbidden:
        raise Refused(
            f"{command.argv[0]!r} would get {', '.join(forbidden)} in its environment. Nothing was run.",
            "Connections come from the plan only: use the application's own .env, or an option file.",
        )
    home = account.pw_dir if account else os.environ.get("HOME", "/")
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    usual = {"PATH": _PATH, "LANG": "C.UTF-8", **inherited, "HOME": home, "TERM": "dumb"}
    return {**usual, **command.env, MARK: "1"}


def _interpreter(file: Path) -> str | None:
    try:
        with file.open("rb") as script:
            first = script.readline(256)
    except OSError:  # executable, but not ours to read
        return None
    if not first.startswith(b"#!"):
        return None
    # The kernel takes blanks and tabs for separators, and a carriage return for a part of the name.
    words = re.split(rb"[ \t]+", first[2:].strip(b" \t\n"), maxsplit=1)
    return os.fsdecode(words[0]) or None


def _overdue(timeout: float, begun: float, stop: Callable[[], bool], output: int, most: int) -> str:
    if stop():
        return "stop"
    if time.monotonic() - begun >= timeout:
        return "timeout"
    return "flood" if os.fstat(output).st_size > most else ""


def _watch(pid: int, overdue: Callable[[], str]) -> str:
    """Wait for the process to end by itself (empty), or for the reason to end it."""
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        while not poll.poll(_TICK * 1000):
            if why := overdue():
                return why
        return ""
    finally:
        os.close(pidfd)


def _exited(pid: int) -> bool:
    """Has our own child ended? Leaves it unreaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
