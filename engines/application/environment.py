"""Keeps the application's settings (`.env`) for the time of a session. Only their hash and their names are told."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from engines.application.hosts import read_file
from engines.errors import RestoreError
from engines.surroundings import Host
from engines.text import size

_LARGEST = 1_000_000  # bytes; a .env has a few hundred lines
_NAME = re.compile(rb"^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Exported:
    """What may be told of exported settings: no value."""

    sha256: str
    size: int  # bytes
    names: tuple[str, ...]


def export(source: Path, to: Path) -> Exported:
    """Copy `source` into the new file `to`, 0600. Raises RestoreError; nothing is left then."""
    try:
        handle = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise RestoreError(
            f"The application's settings {source} can't be read: {error.strerror}. Nothing was changed.",
            "Correct `env_file` in the configuration, or set it to false.",
        ) from error
    return keep(content, str(source), to)


def export_from(host: Host, source: Path, user: str | None, to: Path) -> Exported:
    """The same of a file on a host."""
    return keep(read_file(host, source, user, _LARGEST), f"{host.name}:{source}", to)


def keep(content: bytes, source: str, to: Path) -> Exported:
    """Write the settings, which came from `source`, into the new file `to`, 0600. Raises RestoreError."""
    if len(content) > _LARGEST:
        raise RestoreError(
            f"{source} is larger than {size(_LARGEST)}: these are no settings. Nothing was changed.",
            "Correct `env_file` in the configuration.",
        )
    to.unlink(missing_ok=True)
    kept = os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(kept, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    names = tuple(dict.fromkeys(match.decode() for match in _NAME.findall(content)))
    return Exported(hashlib.sha256(content).hexdigest(), len(content), names)
