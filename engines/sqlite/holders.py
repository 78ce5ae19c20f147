"""Finds the processes that have a database open, by device and inode, and waits until there are none.

Locks don't show an idle connection; open files do. Nothing is ended here.
"""

from __future__ import annotations

import os
import pwd
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from engines.errors import Refused
from engines.hooks import Say, Stop, never, silent
from engines.sqlite.connect import stopped
from engines.sqlite.files import key, sidecars
from engines.text import drawable, duration

_PROC = Path("/proc")
_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h
_PAUSE = 0.25  # seconds between two looks
_DELETED = " (deleted)"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has the database, or one of its sidecars, open or mapped."""

    pid: int
    user: str
    command: str
    started: int  # clock ticks after boot (/proc/PID/stat, field 22): with the pid it names the process for good
    path: str  # as the kernel gives it, with " (deleted)" where the name is gone
    inode: int

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.user}): {self.command} has {drawable(self.path)}"


@dataclass(frozen=True, slots=True)
class Holders:
    """Who was found. When not `complete`, that nobody was found proves nothing; `why` says what could not be seen."""

    found: tuple[Holder, ...]
    complete: bool
    why: str


def holders(paths: Collection[str | tuple[int, int]], excluding: Collection[int] = ()) -> Holders:
    """Who has any of `paths` open. A path, or a device and inode for a file whose name is gone.

    A path also matches a handle that was opened under it and whose file has since been replaced or deleted.
    """
    names = {path for path in paths if isinstance(path, str)}
    files = {path for path in paths if not isinstance(path, str)}
    for name in names:
        at = key(name)
        if at is not None:
            files.add(at)
    found: list[Holder] = []
    unseen: list[int] = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) in excluding:
            continue
        try:
            match = _match(entry, files, names)
        except PermissionError:
            unseen.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while it was looked at
        else:
            if match is not None:
                found.append(_holder(entry, *match))
    return Holders(tuple(sorted(found, key=lambda holder: holder.pid)), *_completeness(unseen))


def wait_until_unused(
    path: str,
    timeout: float,
    *,
    say: Say = silent,
    stop: Stop = never,
    on_wait: Callable[[Holders], None] = lambda _holders: None,
    excluding: Collection[int] = (),
    accept_unseen: bool = False,
) -> Holders:
    """Waits until nobody has `path` or a sidecar of it open, at most `timeout` seconds.

    Says who has, each time that changes. Raises Refused, naming the holders, when time is up; and at once when not
    every process can be seen, unless the commander accepted that (`accept_unseen`).
    """
    real = os.path.realpath(path)
    deadline = time.monotonic() + timeout
    told: tuple[Holder, ...] | None = None
    pause = Event()
    while True:
        now = holders((real, *sidecars(real)), excluding)
        if now.found != told:
            told = now.found
            on_wait(now)
            for holder in now.found:
                say(f"waiting: {holder}")
        if not now.complete and not accept_unseen:
            raise Refused(
                f"Who has {drawable(real)} open is UNKNOWN: {now.why}. Nothing was changed.",
                "Run this as root, on the machine (and in the container) where the application runs.",
            )
        if not now.found:
            say(f"nobody has {drawable(real)} open" + (f" ({now.why})" if now.why else ""))
            return now
        if stop():
            raise stopped("waiting for the database to be closed")
        if time.monotonic() >= deadline:
            names = "; ".join(str(holder) for holder in now.found)
            raise Refused(
                f"{drawable(real)} is still open after {duration(timeout)}: {names}. Nothing was changed.",
                "Stop them (workers, scheduler, web server, a forgotten sqlite3), then start the step again.",
            )
        pause.wait(min(_PAUSE, max(0.0, deadline - time.monotonic())))


def refuse_holders(paths: Collection[str | tuple[int, int]], live: str, *, accept_unseen: bool) -> None:
    """Looks for open files once more, just before or after files change places; `live` says which database is live.

    Our own process may be among them: its connection holds the lock. Raises Refused.
    """
    now = holders(paths, excluding=(os.getpid(),))
    if now.found:
        raise Refused(
            f"Somebody opened the database: {'; '.join(map(str, now.found))}. The {live} database is live.",
            "Stop these processes, then go on, or undo.",
        )
    if not now.complete and not accept_unseen:
        raise Refused(
            f"Who has the database open is UNKNOWN: {now.why}. The {live} database is live.",
            "Run this as root; or have the commander accept it with a reason.",
        )


def _match(process: Path, files: set[tuple[int, int]], names: set[str]) -> tuple[str, int] | None:
    """The first open or mapped file of the process that is one of ours. Raises PermissionError, FileNotFoundError."""
    with os.scandir(process / "fd") as entries:
        for entry in entries:
            try:
                target = os.readlink(entry.path)  # noqa: PTH115 - Path drops what it takes for redundant in a name
                if not target.startswith("/"):
                    continue  # sockets, pipes and the kernel's own
                status = os.stat(entry.path)  # noqa: PTH116 - /proc/PID/fd/N leads to the open file itself, name or no name
            except (FileNotFoundError, ProcessLookupError):
                continue
            if (status.st_dev, status.st_ino) in files or target.removesuffix(_DELETED) in names:
                return target, status.st_ino
    # A mapping outlives its handle: the -shm above all.
    for line in (process / "maps").read_text("utf-8", "surrogateescape").splitlines():
        fields = line.split(None, 5)
        if len(fields) < 6 or not fields[5].startswith("/"):
            continue
        major, minor = (int(part, 16) for part in fields[3].split(":"))
        target = _OCTAL_NEWLINE.sub("\n", fields[5])
        if (os.makedev(major, minor), int(fields[4])) in files or target.removesuffix(_DELETED) in names:
            return target, int(fields[4])
    return None


_OCTAL_NEWLINE = re.compile(r"\\012")


def _holder(process: Path, path: str, inode: int) -> Holder:
    pid = int(process.name)
    try:
        uid = process.stat().st_uid
        words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        status = (process / "stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return Holder(pid, "?", "(it has just ended)", 0, drawable(path), inode)
    after_name = status.rpartition(")")[2].split()
    name = status.partition("(")[2].rpartition(")")[0]
    return Holder(pid, _user(uid), drawable(words or f"[{name}]")[:200], int(after_name[19]), drawable(path), inode)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _completeness(unseen: list[int]) -> tuple[bool, str]:
    if unseen == [1] and os.geteuid() == 0:
        # In some containers init has capabilities that root has not. An application there would have no more than root.
        return True, "all processes but init (pid 1), which has more rights than root here"
    if unseen:
        noun = "process of another user" if len(unseen) == 1 else "processes of other users"
        return False, f"{len(unseen)} {noun} could not be looked into"
    if os.geteuid() != 0 and _hides_processes():
        return False, "/proc hides other users' processes (hidepid)"
    if (_PROC / "self/ns/pid").stat().st_ino != _FIRST_PID_NAMESPACE:
        return False, "only this container's processes can be seen"
    return True, ""


def _hides_processes() -> bool:
    for line in (_PROC / "self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        if line.split()[4] == "/proc":
            return bool(re.search(r"hidepid=(?!0|off)", line))
    return False
