"""Reads, copies and probes live files in a process of its own. Standard library only; started by path.

A POSIX lock belongs to the process: closing any handle of a file drops every lock the process has on it, those of
its SQLite connections too (sqlite.org/howtocorrupt.html, 2.2). So the process that may hold a connection never opens
a live file as bytes; this one does. It takes one JSON request on standard input, answers in JSON lines, and ends
when its standard input closes, so it does not outlive the one who asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

CHUNK = 4 * 1024 * 1024


def answer(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def asker_is_gone() -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready)  # nothing more is ever sent, so readable means closed


def regular(path: str) -> int:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "not a regular file", path)
    return handle


def first_bytes(request: dict[str, Any]) -> None:
    handle = regular(request["path"])
    try:
        answer(ok=True, hex=os.pread(handle, request["count"], 0).hex(), size=os.fstat(handle).st_size)
    finally:
        os.close(handle)


def copy_all(request: dict[str, Any]) -> None:
    """Copies each pair and hashes what was copied. A file that changes meanwhile is an error, except a -shm."""
    done = 0
    files = []
    for source, destination in request["pairs"]:
        handle = regular(source)
        before = os.fstat(handle)
        target = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        os.fchmod(target, 0o600)
        digest, size = hashlib.sha256(), 0
        while chunk := os.read(handle, CHUNK):
            digest.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(target, view) :]
            size += len(chunk)
            done += len(chunk)
            answer(done=done)
            if asker_is_gone():
                sys.exit(1)
        os.fsync(target)
        os.close(target)
        after = os.fstat(handle)
        os.close(handle)
        changed = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
        if (changed or size != after.st_size) and not source.endswith("-shm"):
            answer(ok=False, changed=source, why=f"{source} changed while it was copied")
            return
        files.append({"name": Path(source).name, "size": size, "sha256": digest.hexdigest()})
    answer(ok=True, files=files)


def become(request: dict[str, Any]) -> None:
    """Takes on the application's user for good. Groups first, while that is still allowed."""
    if request["uid"] is None or os.geteuid() != 0:
        return
    os.setgroups(request["groups"])
    os.setgid(request["gid"])
    os.setuid(request["uid"])


def write_probe(request: dict[str, Any]) -> None:
    """Begins a write, makes SQLite create its journal, and takes it all back: no byte of the database changes.

    BEGIN IMMEDIATE alone does not touch the folder; writing user_version as it is does (measured, 3.40.1).
    """
    become(request)
    try:
        uri = f"file:{quote(os.fsencode(request['path']))}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=request["timeout"], isolation_level=None)) as db:
            db.execute("PRAGMA trusted_schema=OFF")
            db.execute("BEGIN IMMEDIATE")
            version = int(db.execute("PRAGMA user_version").fetchone()[0])
            db.execute(f"PRAGMA user_version={version}")
            db.execute("ROLLBACK")
    except sqlite3.Error as error:
        answer(ok=False, why=str(error))
    else:
        answer(ok=True)


def reach(request: dict[str, Any]) -> None:
    """May this user create files in the folder?"""
    become(request)
    answer(ok=os.access(request["path"], os.W_OK | os.X_OK, effective_ids=True))


DEEDS = {"first_bytes": first_bytes, "copy_all": copy_all, "write_probe": write_probe, "reach": reach}


def main() -> None:
    request = json.loads(sys.stdin.readline())
    try:
        DEEDS[request["do"]](request)
    except OSError as error:
        answer(ok=False, errno=error.errno, why=f"{error.strerror}: {error.filename}")


if __name__ == "__main__":
    main()
