"""The safety snapshots of a target: which a session made, which are due, and removing those."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from engines import shelf
from engines.backups import kept as in_bucket
from engines.backups.places import BucketFolder
from engines.recipes import points
from engines.session.state import SessionState
from engines.shelf import Snapshot
from engines.targets import Target


def kept_by(state: SessionState) -> bool:
    """Did this session take a safety snapshot that can be restored? Raw files alone are none."""
    snapshot_made = state.facts("snapshot").get("snapshot")
    return isinstance(snapshot_made, Mapping) and bool(snapshot_made.get("path"))


def due(target: Target, now: datetime) -> tuple[Snapshot, ...]:
    """Those that are past their date, oldest first. Raises RestoreError where a bucket can't be listed."""
    at, spare = points.snapshots_at(target), points.spare_of(target)
    if not isinstance(at, BucketFolder):
        return shelf.due(str(at), now)
    return (*in_bucket.due(at, now), *(shelf.due(str(spare), now) if spare else ()))


def prune(target: Target, now: datetime) -> tuple[str, ...]:
    """Remove what is due and ours; the paths removed. Raises RestoreError where a bucket does not let it."""
    at, spare = points.snapshots_at(target), points.spare_of(target)
    if not isinstance(at, BucketFolder):
        return shelf.prune(str(at), now)
    return (*in_bucket.prune(at, now), *(shelf.prune(str(spare), now) if spare else ()))
