"""Is there room? One row for each place that will need some; places on one file system add up."""

from __future__ import annotations

import os
from pathlib import Path

from engines.checks import Check, Panel, Verdict
from engines.sqlite.inspect import Live
from engines.text import drawable, size

_RESERVE = 32 * 1024 * 1024  # bytes left over for the journal, the record and step logs


def space(live: Live, backup_size: int, folder: str) -> tuple[Check, ...]:
    """Room for the staged copy beside `live`, and for raw copy and safety snapshot in `folder`. Sizes in bytes.

    What free space can't show is not in it: a quota of the user, or other writers meanwhile.
    """
    beside = str(Path(live.path).parent)
    log = sum(entry.size for entry in live.sidecars if entry.path.endswith("-wal"))
    present = (0 if live.identity is None else live.identity.size) + sum(entry.size for entry in live.sidecars)
    staging = backup_size + log  # bringing the live database to rest writes its log into it
    keeping = present + (present if live.kind == "database" else 0)  # raw copy, and the consistent one
    together = _device(beside) is not None and _device(beside) == _device(folder)
    kept_evidence = f"raw files {size(present)}" + (
        f", consistent copy up to {size(present)}" if live.kind == "database" else ""
    )
    if together:
        kept_evidence += f"; the same file system as the staged copy ({size(staging)}), so they add up"
    return (
        _row(
            "Staged copy",
            beside,
            staging + (keeping if together else 0),
            f"backup {size(backup_size)}" + (f", log to write back {size(log)}" if log else ""),
        ),
        _row("Safety snapshot", folder, keeping + (staging if together else 0), kept_evidence),
    )


def _row(name: str, folder: str, needed: int, evidence: str) -> Check:
    place = _existing(folder)
    try:
        figures = os.statvfs(place)
    except OSError as error:
        return Check(
            name,
            Panel.SPACE,
            Verdict.UNKNOWN,
            f"{drawable(folder)}: {error.strerror}",
            "Make the folder, or let this user read it.",
            needed,
        )
    free = figures.f_bavail * figures.f_frsize
    text = f"{drawable(folder)}: {evidence}; free by statvfs {size(free)}"
    if free < needed + _RESERVE:
        hint = f"Make {size(needed + _RESERVE - free)} more room there, or configure another place."
        return Check(name, Panel.SPACE, Verdict.FAIL, text, hint, needed, free)
    return Check(name, Panel.SPACE, Verdict.OK, text, "", needed, free)


def _existing(folder: str) -> str:
    """`folder`, or the nearest one above it that exists: there it would be made."""
    place = Path(folder)
    while not place.exists() and place != place.parent:
        place = place.parent
    return str(place)


def _device(folder: str) -> int | None:
    try:
        return Path(_existing(folder)).stat().st_dev
    except OSError:
        return None
