"""A file that is being fetched in parts, and what is known of it if the fetching dies.

Beside `NAME` lie, while it is fetched, `.NAME.part` with its bytes and `.NAME.state`, which says of which bytes they
are a copy and which parts are on the disk. The state stays with the finished file, as its receipt: started again,
only a file whose bytes still have that hash is taken for the one that was fetched.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from engines.errors import Refused
from engines.hooks import At
from engines.text import drawable

_FORMAT = 1
_LARGEST_STATE = 4 << 20  # bytes; a terabyte in parts of 16 MB has 16 kB
_SAFE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a fetched file. Only believed for the same identity, size and part size."""

    identity: Mapping[str, str]
    size: int  # bytes
    part: int  # bytes in each part but the last
    whole: str = "0"  # bit n, hexadecimal: part n is on the disk
    sha256: str = ""  # of all bytes, once they are complete and compared
    format: int = field(default=_FORMAT)

    @property
    def count(self) -> int:
        """How many parts there are."""
        return -(-self.size // self.part)

    @property
    def parts(self) -> set[int]:
        """Numbers of those that are on the disk."""
        bits = int(self.whole, 16)
        return {number for number in range(self.count) if bits >> number & 1}

    def bounds(self, number: int) -> tuple[int, int]:
        """The first byte of a part, and the one after its last."""
        return number * self.part, min((number + 1) * self.part, self.size)

    def having(self, parts: set[int]) -> State:
        bits = 0
        for number in parts:
            bits |= 1 << number
        return replace(self, whole=f"{bits:x}")

    def same(self, other: State) -> bool:
        mine = (self.format, dict(self.identity), self.size, self.part)
        return mine == (other.format, dict(other.identity), other.size, other.part)


class Folder:
    """A folder that nobody else can write to. Everything in it is reached through its descriptor."""

    def __init__(self, path: Path) -> None:
        """Makes it (0700) where it is missing. Raises Refused when others may put files there, OSError otherwise."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        facts = os.fstat(self._descriptor)
        if facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
            os.close(self._descriptor)
            raise Refused(
                f"Others can write to {drawable(str(path))}. Nothing was staged.",
                "What was verified there could be replaced. chown it to this user, and chmod 700.",
            )

    def close(self) -> None:
        os.close(self._descriptor)

    def free(self) -> int:
        """Bytes that this user may still write."""
        facts = os.fstatvfs(self._descriptor)
        return facts.f_bavail * facts.f_frsize

    def create(self, name: str) -> int:
        """A new, empty file, 0600, in place of one that may be there."""
        self.remove(name)
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFE, 0o600, dir_fd=self._descriptor)
        os.fchmod(descriptor, 0o600)  # a umask, or the folder's default ACL, could have made it another mode
        return descriptor

    def open(self, name: str, flags: int = os.O_RDONLY) -> int | None:
        """A regular file of our own, or None where there is none."""
        try:
            descriptor = os.open(name, flags | _SAFE, dir_fd=self._descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                return None  # a link, a folder or a FIFO: none of ours
            raise
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_nlink != 1:
            os.close(descriptor)
            return None
        return descriptor

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    def rename(self, name: str, to: str) -> None:
        os.rename(name, to, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def sync(self) -> None:
        os.fsync(self._descriptor)


def part_of(name: str) -> str:
    return f".{name}.part"


def _state_of(name: str) -> str:
    return f".{name}.state"


def known(folder: Folder, name: str) -> State | None:
    """What an earlier run left behind; None where that can't be believed."""
    descriptor = folder.open(_state_of(name))
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(_LARGEST_STATE + 1)
    try:
        found = msgspec.json.decode(content, type=State)
        int(found.whole, 16)
    except (msgspec.DecodeError, ValueError):
        return None
    return found


def keep(folder: Folder, name: str, state: State, at: At) -> None:
    """Write down what is known, in one step: the old state or the new one."""
    fresh = f"{_state_of(name)}.new"
    at("stage.state.before")
    descriptor = folder.create(fresh)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(state))
        file.flush()
        os.fsync(file.fileno())
    at("stage.state.written")
    folder.rename(fresh, _state_of(name))
    folder.sync()
    at("stage.state.after")


def forget(folder: Folder, name: str) -> None:
    """Remove what is unfinished: first what says that it can be trusted."""
    folder.remove(_state_of(name))
    folder.remove(f"{_state_of(name)}.new")
    folder.remove(part_of(name))
