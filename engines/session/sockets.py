"""Where the runners' sockets are: how a runner places its own, and how another login finds it.

Others can't read a session's runner.pid: whoever may open it could lock it, and so bar a resume. They look for the
socket itself, in folders that only the runner's account can write.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engines.errors import RestoreError, UsageError
from engines.session.sharing import ALONE, give, group_name, watchers_of
from engines.session.wire import REQUEST_LIMIT, pack, unpack

_SYSTEM = Path("/run/reinstate")
_PASS_ONLY = 0o711  # others get through it to their own group's folder, and see nothing
_ANSWERS_WITHIN = 2.0  # seconds to be greeted: a runner's loop is never busy for long


def runtime_folder() -> Path:
    """Where sockets go that are nobody else's: /run/reinstate for root, else the user's runtime folder."""
    if os.geteuid() == 0:
        folder = _SYSTEM
    elif runtime := os.environ.get("XDG_RUNTIME_DIR"):
        folder = Path(runtime) / "reinstate"
    else:
        folder = Path("/tmp") / f"reinstate-{os.geteuid()}"  # noqa: S108 - owner and mode are checked below
    return _own(folder)


def new_socket(session: Path) -> Path:
    """A socket's path for a session's folder: short, since the kernel takes 107 bytes (unix(7))."""
    name = f"{session.name[-4:]}-{secrets.token_hex(3)}.sock"
    gid = watchers_of(session)
    if gid is None:
        return runtime_folder() / name
    if os.geteuid() == 0:
        _own(_SYSTEM).chmod(_PASS_ONLY)
        folder = _own(_SYSTEM / group_name(gid))
    else:
        folder = _own(_beside(session))
    give(folder, gid)
    if len(os.fsencode(folder / name)) > 107:
        raise RestoreError(
            f"{folder} is too long for a socket's path. Nothing was started.",
            "Set `state` in the configuration to a folder with a shorter path.",
        )
    return folder / name


def _beside(session: Path) -> Path:
    return session.parent.parent / "sockets"


def _own(folder: Path) -> Path:
    """The folder, made 0700 where it is not there. Raises RestoreError for one that others could write to."""
    folder.mkdir(mode=ALONE, exist_ok=True, parents=True)
    found = folder.lstat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022 or folder.is_symlink():
        raise RestoreError(
            f"{folder} belongs to somebody else or can be written by others. Nothing was started.",
            "Remove it, or set XDG_RUNTIME_DIR to a folder of your own.",
        )
    return folder


def shared_folders(state: Path | None) -> Iterator[Path]:
    """Where the sockets are that this login may reach through one of its groups."""
    for gid in sorted({os.getegid(), *os.getgroups()}):
        yield _SYSTEM / group_name(gid)
    if state is not None:
        yield state / "sockets"


@dataclass(frozen=True, slots=True)
class Served:
    """A session whose runner answers at a socket."""

    socket: Path
    session: str
    folder: Path


def served(folders: Iterable[Path], ending: str = "") -> Iterator[Served]:
    """The sessions that are served in these folders; `ending`: only of those whose id ends like that."""
    for folder in folders:
        with suppress(OSError):
            if folder.stat().st_mode & stat.S_IWOTH:
                continue  # anybody could have put a socket there
            for path in sorted(folder.glob(f"{ending[-4:] or '*'}-*.sock")):
                found = _greeted(path)
                if found is not None and found.session.endswith(ending):
                    yield found


def socket_of(session: Path) -> Path | None:
    """The socket of a session's living runner, for a login that may not read its runner.pid."""
    found = next(served(shared_folders(session.parent.parent), session.name), None)
    return found.socket if found is not None else None


def _greeted(path: Path) -> Served | None:
    """What the runner at this socket serves; None where nobody answers, or not to us."""
    with socket.socket(socket.AF_UNIX) as asking, suppress(OSError, RestoreError, ValueError):
        asking.settimeout(_ANSWERS_WITHIN)
        asking.connect(str(path))
        asking.sendall(pack({"hello": {"name": "", "console": "looking"}}))
        with asking.makefile("rb") as told:
            said = unpack(told.readline(REQUEST_LIMIT))
        return Served(path, str(said.get("session", "")), Path(str(said.get("folder", ""))))
    return None


def one_served(state: Path | None, wanted: str) -> Served | None:
    """The session of this id, of the beginning or end of one, or `last`. Raises UsageError where unclear."""
    found = list(served(shared_folders(state)))
    if wanted == "last":
        return max(found, key=lambda one: one.session, default=None)
    fits = [one for one in found if one.session == wanted] or [
        one for one in found if one.session.startswith(wanted) or one.session.endswith(wanted)
    ]
    if len(fits) > 1:
        raise UsageError(
            f"{wanted!r} is the beginning or end of {len(fits)} sessions.", f"Say more of one: {fits[0].session}."
        )
    return fits[0] if fits else None


__all__ = ["Served", "new_socket", "one_served", "runtime_folder", "served", "shared_folders", "socket_of"]
