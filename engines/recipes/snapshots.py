"""The safety snapshots of a target: which are due, and removing those."""

from __future__ import annotations

from datetime import datetime

from engines import shelf
from engines.shelf import Snapshot
from engines.targets import Target


def due(target: Target, now: datetime) -> tuple[Snapshot, ...]:
    """Those that are past their date, oldest first."""
    return shelf.due(str(target.snapshots), now)


def prune(target: Target, now: datetime) -> tuple[str, ...]:
    """Remove what is due and ours; the paths removed."""
    return shelf.prune(str(target.snapshots), now)
