"""The safety snapshots of a target: which are due, and removing those."""

from __future__ import annotations

from datetime import datetime

from engines.sqlite import snapshot
from engines.sqlite.snapshot import Snapshot
from engines.targets import Target


def due(target: Target, now: datetime) -> tuple[Snapshot, ...]:
    """Those that are past their date, oldest first."""
    return snapshot.due(str(target.snapshots), now)


def prune(target: Target, now: datetime) -> tuple[str, ...]:
    """Remove what is due and ours; the paths removed."""
    return snapshot.prune(str(target.snapshots), now)
