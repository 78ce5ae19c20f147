"""Names beside a database file, and what makes files and folders durable.

Nothing here opens a database.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from engines.errors import UsageError

SIDECAR_ENDINGS = ("-wal", "-shm", "-journal")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


def beside(live: str, token: str, role: str) -> str:
    """The path of one of our own files next to `live`. Hidden, so that a listing of `*.sqlite` does not take it."""
    if not _TOKEN.match(token):
        raise UsageError(
            f"{token!r} can't be part of a file name. Nothing was changed.",
            "Use 1 to 64 letters, digits, - or _.",
        )
    return str(Path(live).with_name(f".{Path(live).name}.reinstate-{token}.{role}"))


def sidecars(path: str) -> tuple[str, ...]:
    """Where SQLite keeps the write-ahead log, its index and the rollback journal of `path`."""
    return tuple(path + ending for ending in SIDECAR_ENDINGS)


def present(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `paths` that exist, dangling symlinks included."""
    return tuple(path for path in paths if key(path) is not None)


def key(path: str) -> tuple[int, int] | None:
    """Device and inode of `path` itself, not of what a symlink there leads to; None where nothing is."""
    try:
        status = Path(path).lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def sync_file(path: str) -> None:
    """Makes a file's bytes and attributes durable. Only for files that no connection of this process has open."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: str) -> None:
    """Makes the names in the folder that holds `path` durable."""
    handle = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
