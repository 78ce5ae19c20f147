"""Makes one archive of a session, for whoever has to keep or read it elsewhere."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

from engines.errors import Refused, RestoreError
from engines.session.store import JOURNAL

_ALWAYS = ("session.toml", "session.toml.sig", "plan.toml", "report.md", JOURNAL)


def export(folder: Path, to: Path, *, logs: bool) -> tuple[str, ...]:
    """Write `to` (tar, gzip) and return the names in it. Step logs only when asked for: they hold what commands said.

    The private folder is never part of it. Raises Refused when `to` exists.
    """
    names = [name for name in _ALWAYS if (folder / name).is_file() and not (folder / name).is_symlink()]
    if logs:
        names += sorted(
            f"logs/{path.name}" for path in (folder / "logs").glob("*") if path.is_file() and not path.is_symlink()
        )
    try:
        fd = os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise Refused(f"{to} exists. Nothing was written.", "Name another file with --to, or move that one.") from error
    except OSError as error:
        raise RestoreError(f"{to} can't be written: {error.strerror}.", "Name another place with --to.") from error
    try:
        _write(fd, folder, names)
    except OSError as error:
        to.unlink()  # half an archive looks like one
        raise RestoreError(
            f"{to} can't be written: {error.strerror or error}. Nothing was kept.", "Name another place with --to."
        ) from error
    return tuple(names)


def _write(fd: int, folder: Path, names: Sequence[str]) -> None:
    with os.fdopen(fd, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name in names:
                archive.add(folder / name, arcname=f"{folder.name}/{name}", recursive=False)
        file.flush()
        os.fsync(file.fileno())
