"""Where a session's safety snapshots go: a folder of this machine, or made in one and brought into a bucket.

The copy here stays with what is staged, until the session is over: an undo takes it where it is still what it was, and
fetches the bucket's where it is not. What an undo itself keeps goes to a folder of this machine while the bucket does
not take it: the way back needs no bucket.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from engines import checks, shelf
from engines.backups import kept as in_bucket
from engines.backups import staging
from engines.backups.checksums import Digest
from engines.backups.places import SCHEME, BucketFolder
from engines.errors import Refused, RestoreError
from engines.mysql.snapshot import Snapshot
from engines.recipes import points
from engines.recipes.mysql import reach
from engines.recipes.recalling import token
from engines.session.state import SessionState
from engines.session.work import Work
from engines.targets import MysqlTarget
from engines.text import drawable, size, utc_now

SPARE = "Present state"
STORED = ("upload it, read it back from there and compare", "whole or not at all: nothing is replaced before that")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a snapshot is made, and under which name. `closed`: why it stays there, and is not uploaded."""

    folder: Path
    name: str
    spare: bool  # may it stay on this machine where the bucket does not take it?
    closed: RestoreError | None = None


def bucket_of(target: MysqlTarget) -> BucketFolder | None:
    found = points.snapshots_at(target)
    return found if isinstance(found, BucketFolder) else None


def folder_of(target: MysqlTarget, state: SessionState) -> Path:
    """The folder of this machine that a snapshot is made in."""
    found = points.snapshots_at(target)
    return reach.staging_of(target, state) / "snapshots" if isinstance(found, BucketFolder) else found


def name_for(work: Work, target: MysqlTarget, kind: str) -> str:
    """The same at every attempt, so that what a killed one left is written over; another where one is complete."""
    name, here = _name(work, target, kind), folder_of(target, work.state)
    if (bucket := bucket_of(target)) is None:
        return _another(work, name, here)
    taken = in_bucket.described(bucket, name)
    Path(here, f"{name}.toml").unlink(missing_ok=True)  # in a bucket only what is described there is complete
    return _numbered(work, name) if taken else name


def _name(work: Work, target: MysqlTarget, kind: str) -> str:
    begun = work.state.begun_at or utc_now()
    return f"{target.name}-{begun:%Y-%m-%dT%H-%M-%SZ}-{token(work.state)}-{kind}"


def _another(work: Work, name: str, folder: Path) -> str:
    """The name, or another one where a snapshot of that name is complete in `folder`."""
    return _numbered(work, name) if Path(folder, f"{name}.toml").exists() else name


def _numbered(work: Work, name: str) -> str:
    known = work.state.step(work.step.id)
    return f"{name}-{known.attempt if known else 2}"


def has_spare(target: MysqlTarget) -> bool:
    return points.spare_of(target) is not None


def place_for(work: Work, target: MysqlTarget, kind: str, *, spare: bool) -> Place:
    """Where a snapshot is made. `spare`: in the spare folder from the start while the bucket does not answer."""
    here, spare = folder_of(target, work.state), spare and has_spare(target)
    try:
        name = name_for(work, target, kind)
    except RestoreError as error:
        if not spare or work.stopped():
            raise
        # What the bucket has can't be known: no snapshot that goes there has such a name.
        name = _another(work, _name(work, target, f"{kind}-here"), target.spare)
        return Place(target.spare, name, spare, error)
    return Place(here, _another(work, name, target.spare) if spare else name, spare)


def settled(work: Work, target: MysqlTarget, taken: Snapshot, place: Place) -> Snapshot:
    """As `stored`; where the bucket does not take it and it may stay here, in the spare folder, and a check says so."""
    kept, closed = taken, place.closed
    if closed is None:
        try:
            return stored(work, target, taken)
        except RestoreError as error:
            if not place.spare or work.stopped():
                raise
            closed = error
            kept = shelf.moved(taken, str(target.spare))
    told = f"it is kept as {drawable(str(kept.path))}, and not in {bucket_of(target)}: {closed.message}"
    hint = "Keep this machine's copy until it is elsewhere. `reinstate backups` lists it, `reinstate prune` removes it."
    work.check(checks.warn(SPARE, told, f"{closed.hint} {hint}"))
    return kept


def stored(work: Work, target: MysqlTarget, taken: Snapshot) -> Snapshot:
    """A snapshot that was made here, where it is to be kept: there and proven when this returns."""
    bucket = bucket_of(target)
    if bucket is None:
        return taken
    counts = taken.counts
    kept = in_bucket.keep(
        taken,
        bucket,
        say=work.say,
        progress=lambda done, total: work.progress(done, total, text="uploading, and reading it back"),
        stop=work.stopped,
        at=work.at,
    )
    return replace(kept, counts=counts)


def brought(work: Work, target: MysqlTarget, kept: Snapshot) -> Snapshot:
    """The same snapshot as a file of this machine, its hash compared. Raises Refused where it is not what was kept."""
    if kept.path is None or not kept.path.startswith(SCHEME):
        return kept
    folder = folder_of(target, work.state)
    place = in_bucket.place_of(kept, points.service_of(target))
    here = folder / place.name
    if not _is(here, kept.sha256):
        work.say(f"{place} is fetched: {size(kept.size)}")
        try:
            staging.stage(
                place,
                folder,
                Digest("sha256", kept.sha256, "the journal"),
                say=work.say,
                progress=lambda done, total: work.progress(done, total, text="fetching the snapshot"),
                stop=work.stopped,
                at=work.at,
            )
        except Refused as error:
            raise Refused(
                f"The safety snapshot {drawable(str(place))} can't be put back: {error.message}",
                "Find out who changed it. A bucket with versions may have the right one: aws s3api "
                "list-object-versions; else restore another backup.",
            ) from error
    return replace(kept, folder=str(folder), path=str(here))


def _is(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False
    except OSError as error:
        raise RestoreError(
            f"{drawable(str(path))} can't be read: {error.strerror}. Nothing was changed.",
            "Remove it: it is fetched from the bucket then.",
        ) from error
