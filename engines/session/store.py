"""Session folders: where they are, what is in them, and which target a session holds."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from engines.children import Child, alive
from engines.errors import Refused, RestoreError, UsageError
from engines.session.journal import read, sync_folder
from engines.session.sharing import give, group_id, let_pass, watchers_of
from engines.session.sockets import socket_of
from engines.session.state import SessionState, fold
from engines.text import drawable, utc_now
from engines.trusted_file import safe_path

JOURNAL = "journal.jsonl"
BEGIN = "begin.json"  # what the console asks a new runner for
REFUSED = "refused.json"  # why a runner did not begin
_CLAIM_WITHIN = 0.5  # seconds: somebody who only looks holds the mark for less than a moment
RUNNER = "runner.pid"
_SESSION_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ-[a-z]+-[0-9a-f]{4}")


@dataclass(frozen=True, slots=True)
class RunnerMark:
    """What the runner leaves in runner.pid, which it keeps locked for as long as it lives."""

    pid: int
    started: int
    socket: str


@dataclass(frozen=True, slots=True)
class Known:
    """A session folder as a list shows it. `error` says why its journal can't be used."""

    folder: Path
    state: SessionState
    alive: bool
    error: str = ""

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def unfinished(self) -> bool:
        return not self.error and self.state.begun is not None and self.state.ended is None


def new_folder(state_dir: Path, environment: str, now: datetime, watchers: str = "") -> Path:
    """Make the folder of a new session: 0700, or 2750 for the group `watchers`. Raises Refused, RestoreError."""
    root = sessions_root(state_dir)
    group = group_id(watchers) if watchers else None
    name = f"{now:%Y-%m-%dT%H-%M-%SZ}-{environment}-{secrets.token_hex(2)}"
    try:
        for missing in reversed([part for part in (root, *root.parents) if not part.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)  # mkdir(parents=True) gives the mode to the last one only
        folder = root / name
        folder.mkdir(mode=0o700)
        for part in ("logs", "private"):
            (folder / part).mkdir(mode=0o700)
        if group is not None:
            let_pass(state_dir, group)
            if watchers_of(root) != group:
                _share_root(root, group)
            for shown in (folder, folder / "logs"):
                give(shown, group)
        sync_folder(root)
    except OSError as error:
        raise RestoreError(
            f"No session folder can be made in {root}: {error.strerror}. Nothing was changed.",
            "Set `state` in the configuration to a folder that you may write to, with space.",
        ) from error
    return folder


def _share_root(root: Path, group: int) -> None:
    """Let the group list the sessions, unless another one does: theirs stays theirs."""
    if root.stat().st_uid == os.geteuid() and watchers_of(root) is None:
        give(root, group)


def sessions_root(state_dir: Path) -> Path:
    return state_dir / "sessions"


def known_sessions(state_dir: Path) -> Iterator[Known]:
    """Every session, newest first."""
    root = sessions_root(state_dir)
    try:
        folders = sorted(root.iterdir(), key=lambda path: path.name, reverse=True)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise RestoreError(
            f"The sessions in {root} can't be listed: {error.strerror}. Nothing was changed.",
            "Run as the user who began them, or as root.",
        ) from error
    for folder in folders:
        if _SESSION_NAME.fullmatch(folder.name) and not folder.is_symlink():
            yield open_session(folder)


def open_session(folder: Path) -> Known:
    try:
        journal = read(folder / JOURNAL)
    except RestoreError as error:
        return Known(folder, SessionState(), alive=False, error=error.message)
    return Known(folder, fold(journal.entries), living_socket(folder) is not None)


def find(state_dir: Path, wanted: str) -> Known:
    """The session whose id is `wanted`, or ends or begins with it; `last` is the newest one.

    Only in the state folder: what somebody left in the current folder under such a name is another session.
    """
    sessions = list(known_sessions(state_dir))
    if not sessions:
        raise UsageError(f"There is no session in {sessions_root(state_dir)}.", "Begin one: reinstate restore TARGET.")
    if wanted == "last":
        return sessions[0]
    found = [known for known in sessions if known.id == wanted] or [
        known for known in sessions if known.id.startswith(wanted) or known.id.endswith(wanted)
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"There is no session {wanted!r}.",
            "List them: reinstate sessions. A folder is named with its path: ./NAME.",
        )
    raise UsageError(
        f"{wanted!r} is the beginning or end of {len(found)} sessions.", f"Say more of one: {found[0].id}."
    )


def refuse_untrusted(folder: Path, *, privileged: bool) -> None:
    """Raise Refused for a session that a privileged run must not act on: its journal says which commands are run."""
    problems = (*safe_path(folder), *safe_path(folder / JOURNAL)) if privileged else ()
    if problems:
        raise Refused(
            f"A privileged run does not act on the session in {drawable(str(folder))}: {problems[0].message} "
            "Nothing was changed.",
            problems[0].hint or "Name a session of the state folder: reinstate sessions.",
        )


def runner_mark(folder: Path) -> RunnerMark | None:
    """The live runner's mark; None when no runner holds its lock, whatever the file says."""
    path = folder / RUNNER
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _mark_of_the_living(file.read())
    return None


def living_socket(folder: Path) -> str | None:
    """The socket of the session's living runner, also for a login that may only watch; None where there is none.

    Empty while the runner is just starting.
    """
    if os.access(folder / RUNNER, os.R_OK | os.W_OK, effective_ids=True) or not os.path.lexists(folder / RUNNER):
        mark = runner_mark(folder)
        return mark.socket if mark is not None else None
    found = socket_of(folder)
    return str(found) if found is not None else None


def _mark_of_the_living(content: bytes) -> RunnerMark:
    """The mark, unless it is still that of the runner before: then the new one is just starting."""
    starting = RunnerMark(0, 0, "")
    try:
        mark = msgspec.json.decode(content, type=RunnerMark)
    except msgspec.MsgspecError:
        return starting
    return mark if alive(Child(mark.pid, mark.started)) else starting


def claim_runner(folder: Path) -> int:
    """Become the session's one runner: the returned descriptor keeps the claim for as long as it is open."""
    fd = os.open(folder / RUNNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    until = time.monotonic() + _CLAIM_WITHIN
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < until:
                time.sleep(0.01)
                continue
            os.close(fd)
            raise Refused(
                "This session has a living runner. Nothing was changed.",
                f"Watch it: reinstate attach {folder.name}.",
            ) from None
        _remove_socket(os.pread(fd, 4096, 0))
        os.ftruncate(fd, 0)
        return fd


def _remove_socket(mark: bytes) -> None:
    """The socket that a killed runner left."""
    with suppress(msgspec.MsgspecError, OSError):
        path = Path(msgspec.json.decode(mark, type=RunnerMark).socket)
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()


def write_mark(fd: int, mark: RunnerMark) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, msgspec.json.encode(mark), 0)


@dataclass(frozen=True, slots=True)
class Held:
    """What the target's lock file says: which session has it."""

    session: str
    folder: str


@contextmanager
def hold_target(lock: Path, session: Path) -> Iterator[None]:
    """Keep every other session off the target: a lock beside the database, whatever state folder the other uses.

    The lock file outlives a dead runner, and so does its word: an unfinished session blocks until it has ended.
    Raises Refused naming the session in the way.
    """
    fd = _lock(lock)
    try:
        content = os.pread(fd, 4096, 0)
        other = _held(content)
        if other is not None and Path(other.folder).resolve() != session.resolve():
            _check_over(other, lock)
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, msgspec.json.encode(Held(session.name, str(session))), 0)
            os.fsync(fd)
        except OSError as error:
            raise _unlocked(lock, error) from error
        try:
            yield
        finally:
            if not _may_go_on(session):
                lock.unlink(missing_ok=True)
    finally:
        os.close(fd)


def forget_target(lock: Path, session: Path) -> None:
    """Remove the lock file that a session left although it is over; anybody else's stays."""
    try:
        held = _held(lock.read_bytes())
    except OSError:
        return
    if held is not None and Path(held.folder).resolve() == session.resolve():
        with suppress(Refused), hold_target(lock, session):
            pass


def _check_over(other: Held, lock: Path) -> None:
    folder = Path(other.folder)
    if not folder.is_dir():
        raise Refused(
            f"Session {other.session} of this target may be unfinished, and its folder {folder} is not there. "
            "Nothing was changed.",
            f"Is its volume mounted? When that session is certainly over, remove {lock}.",
        )
    known = open_session(folder)
    if known.unfinished:
        raise Refused(
            f"Session {other.session} of this target is unfinished. Nothing was changed.",
            f"Go on with it, undo it or abandon it: reinstate resume {other.folder}.",
        )
    if known.error and (folder / JOURNAL).exists():
        # What can't be read may be half-way: unknown gates like unfinished.
        raise Refused(
            f"Session {other.session} of this target may be unfinished: {known.error} Nothing was changed.",
            f"See what it says: reinstate verify {other.folder}. When it is certainly over, remove {lock}.",
        )


def _lock(lock: Path) -> int:
    while True:
        try:
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise _unlocked(lock, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = _held(os.pread(fd, 4096, 0))
            os.close(fd)
            raise Refused(
                f"Session {other.session if other else '?'} is restoring this target now. Nothing was changed.",
                f"Watch it: reinstate attach {other.folder if other else ''}".rstrip() + ".",
            ) from None
        try:
            if os.fstat(fd).st_ino == lock.stat().st_ino:
                return fd
        except FileNotFoundError:
            pass  # the session before us ended and removed it: take a new one
        os.close(fd)


def _unlocked(lock: Path, error: OSError) -> Refused:
    return Refused(
        f"The target can't be locked: {lock}: {error.strerror}. Nothing was changed.",
        "The database's folder must exist, be writable for whoever runs the restore, and not be full.",
    )


def _held(content: bytes) -> Held | None:
    try:
        return msgspec.json.decode(content, type=Held)
    except msgspec.MsgspecError:
        return None


def _may_go_on(folder: Path) -> bool:
    known = open_session(folder)
    return known.unfinished or (known.error != "" and (folder / JOURNAL).exists())


def unfinished_for(state_dir: Path, target: str) -> Known | None:
    """The unfinished session of a target, if there is one."""
    return next(
        (
            known
            for known in known_sessions(state_dir)
            if known.unfinished and known.state.begun is not None and known.state.begun.target.get("name") == target
        ),
        None,
    )


__all__ = [
    "JOURNAL",
    "Held",
    "Known",
    "RunnerMark",
    "claim_runner",
    "find",
    "hold_target",
    "known_sessions",
    "new_folder",
    "open_session",
    "refuse_untrusted",
    "runner_mark",
    "sessions_root",
    "unfinished_for",
    "utc_now",
    "write_mark",
]
