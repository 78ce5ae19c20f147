"""The safety snapshots of a target: which a session made, which are due, and removing those."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from engines import shelf
from engines.backups import kept as in_bucket
from engines.backups.places import BucketFolder
from engines.errors import Problem, RestoreError
from engines.recipes import points
from engines.session.state import SessionState
from engines.shelf import Pruned, Snapshot
from engines.targets import Target


def kept_by(state: SessionState) -> bool:
    """Did this session take a safety snapshot that can be restored? Raw files alone are none."""
    snapshot_made = state.facts("snapshot").get("snapshot")
    return isinstance(snapshot_made, Mapping) and bool(snapshot_made.get("path"))


def kept(target: Target) -> tuple[tuple[Snapshot, ...], tuple[Problem, ...]]:
    """All of them, and the descriptions that can't be believed. Raises RestoreError where a bucket can't be listed."""
    at, spare = points.snapshots_at(target), points.spare_of(target)
    folders = [str(one) for one in (at if not isinstance(at, BucketFolder) else spare,) if one is not None]
    listings = [shelf.listed(one, Snapshot) for one in folders]
    found = [one for listing in listings for one in listing.snapshots]
    damaged = [one for listing in listings for one in listing.damaged]
    if isinstance(at, BucketFolder):
        there = in_bucket.listed(at, Snapshot)
        found, damaged = [*found, *there.snapshots], [*damaged, *there.damaged]
    return tuple(found), tuple(damaged)


def due(target: Target, now: datetime) -> tuple[Snapshot, ...]:
    """Those that are past their date, oldest first. Raises RestoreError where a bucket can't be listed."""
    at, spare = points.snapshots_at(target), points.spare_of(target)
    if not isinstance(at, BucketFolder):
        return shelf.due(str(at), now)
    return (*in_bucket.due(at, now), *(shelf.due(str(spare), now) if spare else ()))


def prune(target: Target, now: datetime) -> Pruned:
    """Remove what is due and ours, and say what was removed. What a bucket does not let go is a problem in it."""
    at, spare = points.snapshots_at(target), points.spare_of(target)
    if not isinstance(at, BucketFolder):
        return Pruned(shelf.prune(str(at), now))
    here = shelf.prune(str(spare), now) if spare else ()
    try:
        there = in_bucket.prune(at, now)
    except RestoreError as error:
        there = Pruned((), (Problem(str(at), "", error.message, error.hint),))
    return Pruned((*here, *there.removed), there.problems)
