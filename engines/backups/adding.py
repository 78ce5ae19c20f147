"""Adds a backup to where backups are: the file, whole and compared, and then the line that says which hash it has.

A backup that nothing lists can't be restored without an override, so a new one is of no use before its line is there.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from engines.backups import catalogue
from engines.backups.catalogue import SIDECAR, matcher
from engines.backups.checksums import shown
from engines.backups.places import BucketFolder, ObjectAt
from engines.backups.uploading import client_of, content_of, small, upload
from engines.errors import Refused, RestoreError
from engines.hooks import Progress, Say, Stop, never, silent, unmeasured
from engines.text import drawable, size

_BLOCK = 1 << 20  # bytes


def name_for(moment: datetime, ending: str, stem: str, pattern: str) -> str:
    """A name with the time in it that `pattern` takes for a backup's. Raises Refused where none does."""
    at = f"{moment:%Y-%m-%dT%H-%M-%SZ}"
    fits = matcher(pattern)
    candidates: Sequence[str] = (f"{at}{ending}", f"{stem}-{at}{ending}", pattern.replace("*", at, 1).replace("*", ""))
    for name in candidates:
        if fits(name) and "/" not in name and name.endswith(ending):
            return name
    raise Refused(
        f"No name for a new backup that ends in {ending} fits the pattern {drawable(pattern)}. Nothing was changed.",
        "Configure full_backup, the command that makes your backups; or pass over it (p) with a reason.",
    )


def add_to_folder(
    source: Path,
    folder: Path,
    name: str,
    sha256: str,
    checksums: str,
    *,
    progress: Progress = unmeasured,
    stop: Stop = never,
) -> Path:
    """Copy `source`, which has that hash, to `folder`/`name`, and list it in `checksums` there. Raises RestoreError.

    It has mode 0600 and belongs to whom the folder belongs. Nothing that is there already is replaced.
    """
    place = folder / name
    part = folder / f".{name}.part"
    try:
        _refuse_taken(place)
        part.unlink(missing_ok=True)
        _copy(source, part, sha256, progress, stop)
        os.link(part, place, follow_symlinks=False)  # never replaces
        part.unlink()
        _sync(folder)
        _list(folder / checksums, f"{sha256}  {name}\n")
        _sync(folder)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise RestoreError(
            f"The new backup can't be kept as {shown(str(place))}: {error.strerror or error}.",
            f"Make {drawable(str(folder))} writable and make room there; then try again (r), or pass over it (p).",
        ) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return place


def added_earlier(folder: Path, name: str, sha256: str, checksums: str) -> bool:
    """Did an earlier attempt, which had that hash, come to its end? What it left without its line is removed.

    A file of that name with other bytes is somebody else's, and stays. Raises RestoreError.
    """
    place = folder / name
    try:
        handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            ours = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        if not ours:
            return False
        if any(
            one.name == name and one.expected is not None for one in catalogue.read(folder, name, checksums).backups
        ):
            return True
        place.unlink()
        _sync(folder)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RestoreError(
            f"What an earlier attempt left as {shown(str(place))} can't be looked at: {error.strerror or error}.",
            "Look at it, then try again (r), or pass over it (p).",
        ) from error
    return False


def add_to_bucket(
    source: Path,
    folder: BucketFolder,
    name: str,
    sha256: str,
    *,
    say: Say = silent,
    progress: Progress = unmeasured,
    stop: Stop = never,
) -> ObjectAt:
    """Upload `source` and read it back; then its `.sha256` beside it, which lists it. Raises RestoreError.

    The bucket's own listing is not written: whoever makes it could be writing it at the same time.
    """
    line = f"{sha256}  {name}\n".encode()
    with client_of(folder.service) as client, content_of(source, source.stat().st_size, sha256) as content:
        place = upload(client, content, folder, name, say=say, progress=progress, stop=stop)
        upload(client, small(line), folder, name + SIDECAR, say=say, stop=stop)
    return place


def _refuse_taken(place: Path) -> None:
    if os.path.lexists(place):
        raise Refused(f"{shown(str(place))} is there already. It was not touched.", "Try again (r) in a second.")


def _copy(source: Path, part: Path, sha256: str, progress: Progress, stop: Stop) -> None:
    facts = part.parent.stat()
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    hashed, done, total = hashlib.sha256(), 0, source.stat().st_size
    with os.fdopen(handle, "wb") as copy, source.open("rb") as original:
        if os.geteuid() == 0:
            os.fchown(handle, facts.st_uid, facts.st_gid)
        while block := original.read(_BLOCK):
            hashed.update(block)
            copy.write(block)
            done += len(block)
            progress(done, total)
            if stop():
                raise RestoreError("Stopped on request; no backup was added.", "Start the step again when ready.")
        copy.flush()
        os.fsync(handle)
    if hashed.hexdigest() != sha256:
        raise RestoreError(
            f"The copy of {size(done)} is not what was read before: its hash differs. No backup was added.",
            "Look at the disk, then try again (r).",
        )


def _list(listing: Path, line: str) -> None:
    """One write at the end: a job that adds its own line at the same time loses nothing."""
    handle = os.open(listing, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        length = os.fstat(handle).st_size
        unfinished = length > 0 and os.pread(handle, 1, length - 1) != b"\n"
        os.write(handle, (("\n" if unfinished else "") + line).encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
