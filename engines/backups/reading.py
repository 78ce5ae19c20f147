"""Opens regular files, and nothing else, in folders that others can write to.

A symbolic link could lead anywhere, a FIFO blocks for ever, a device may act on being opened: none of them is
opened, and what the open file is, is asked again of the open file.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def not_a_file(mode: int) -> str | None:
    """What it is instead of a regular file, or None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    return _KINDS.get(stat.S_IFMT(mode), "no regular file")


@contextmanager
def opened(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    """A descriptor for reading, and its facts. Raises OSError for all but a regular file."""
    _expect_file(os.lstat(path), path)
    descriptor = os.open(path, _FLAGS)
    try:
        facts = os.fstat(descriptor)
        _expect_file(facts, path)
        yield descriptor, facts
    finally:
        os.close(descriptor)


def read_small(path: Path, limit: int) -> bytes:
    """All bytes of a file of at most `limit` bytes. Raises OSError, also for a larger one."""
    with opened(path) as (descriptor, _):
        parts: list[bytes] = []
        length = 0
        while part := os.read(descriptor, 1 << 20):
            parts.append(part)
            length += len(part)
            if length > limit:
                raise OSError(errno.EFBIG, f"is larger than {limit:,} bytes", str(path))
        return b"".join(parts)


def _expect_file(facts: os.stat_result, path: Path) -> None:
    if kind := not_a_file(facts.st_mode):
        raise OSError(errno.EINVAL, f"is {kind}, no regular file", str(path))
