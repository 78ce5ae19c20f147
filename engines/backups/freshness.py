"""Asks whether the newest backup that can be trusted is recent enough (A1).

An empty, stale or shrinking listing is a FAIL, so that nobody finds out during a restore.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from engines import checks
from engines.backups.catalogue import Backup, Catalogue, Status
from engines.backups.checksums import shown
from engines.checks import Check, Verdict
from engines.text import clock, size, span

NAME = "newest verified backup"
STALE = 2.0  # schedule intervals without a verified backup: FAIL
LATE = 1.25  # WARN
GAP = 1.5  # intervals between two neighbours
GAP_WINDOW = 24  # intervals back from now; what is older may have been thinned out on purpose
SHRUNK = 0.5  # of the median size of the copies before it
COMPARED = 7  # copies
CLOCKS_DIFFER = timedelta(minutes=5)  # a backup from later than this is from no honest clock

_PENDING = (Status.UNCHECKED, Status.CHECKING)
_GRAVITY = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.WARN, Verdict.OK)


@dataclass(frozen=True, slots=True)
class _Finding:
    verdict: Verdict
    evidence: str
    hint: str = ""


def freshness(catalogue: Catalogue, every: timedelta, now: datetime) -> Check:
    """Is the newest verified backup young enough for the schedule, and are sizes and spacing as usual?"""
    if every <= timedelta(0):
        raise ValueError("the interval of a schedule is positive")
    there = [backup for backup in catalogue.backups if backup.status is not Status.MISSING_FILE]
    if not there:
        return checks.fail(
            NAME,
            f"{catalogue.folder} has no backup",
            "Is this the right place (a folder: is its volume mounted)? Look for backups elsewhere first.",
        )
    findings = sorted(
        [_age(there, every, now), *_newest(catalogue.backups), *_shrinking(there), *_gaps(there, every, now)],
        key=lambda finding: _GRAVITY.index(finding.verdict),
    )
    evidence = "; ".join(finding.evidence for finding in findings)
    match findings[0]:
        case _Finding(verdict=Verdict.OK):
            return checks.ok(NAME, evidence)
        case _Finding(verdict=Verdict.WARN, hint=hint):
            return checks.warn(NAME, evidence, hint)
        case _Finding(verdict=Verdict.UNKNOWN, hint=hint):
            return checks.unknown(NAME, evidence, hint)
        case _Finding(hint=hint):
            return checks.fail(NAME, evidence, hint)


def _age(there: Sequence[Backup], every: timedelta, now: datetime) -> _Finding:
    verified = next((backup for backup in there if backup.restorable), None)
    pending = [backup for backup in there if backup.status in _PENDING]
    unread = next((backup for backup in pending if backup.unread), None)
    wait = "Let the verification finish; it begins with the newest."
    if unread and (
        verified is None or (unread.taken_at > verified.taken_at and now - verified.taken_at > every * LATE)
    ):
        return _unread(unread, every, now)
    if verified is None:
        if pending:
            return _Finding(Verdict.UNKNOWN, f"{len(pending)} of {len(there)} are not verified yet", wait)
        return _Finding(
            Verdict.FAIL,
            f"none of {len(there)} is VERIFIED, the newest is {there[0].status}",
            "Look at each backup's evidence; checksums.txt may be missing or out of date.",
        )
    found = _dated(verified, every, now)
    late = found.verdict in (Verdict.WARN, Verdict.FAIL)
    if late and any(backup.taken_at > verified.taken_at for backup in pending):
        return _Finding(Verdict.UNKNOWN, f"{found.evidence}; newer ones are not verified yet", wait)
    return found


def _unread(backup: Backup, every: timedelta, now: datetime) -> _Finding:
    """An object is not read to know its age: staging reads the one that is chosen, and compares."""
    found = _dated(backup, every, now)
    told = f"{found.evidence}; it is in a bucket and was not read"
    if found.verdict is not Verdict.OK:
        return _Finding(found.verdict, told, found.hint)
    return _Finding(Verdict.WARN, told, "Staging compares its bytes. To know before, verify it alone (v).")


def _dated(backup: Backup, every: timedelta, now: datetime) -> _Finding:
    """Is it young enough for the schedule?"""
    age = now - backup.taken_at
    if age < -CLOCKS_DIFFER:
        return _Finding(
            Verdict.UNKNOWN,
            f"{shown(backup.name)} is dated {_span(-age)} after now",
            "Compare this machine's clock with the time in the name; is the configured zone of names right?",
        )
    told = f"{shown(backup.name)} was taken {_span(max(age, timedelta(0)))} ago, one is due every {_span(every)}"
    if age <= every * LATE:
        return _Finding(Verdict.OK, told)
    hint = "Find out why no newer backup is there; all that was written since would be lost."
    return _Finding(Verdict.FAIL if age > every * STALE else Verdict.WARN, told, hint)


def _newest(backups: Sequence[Backup]) -> Iterator[_Finding]:
    # A missing file whose name tells no time has only the listing's time, which says nothing about its age.
    dated = [b for b in backups if b.status is not Status.MISSING_FILE or b.taken_at_from == "name"]
    newest = dated[0]
    if newest.restorable or newest.status in _PENDING or not any(backup.restorable for backup in dated):
        return
    yield _Finding(
        Verdict.WARN,
        f"the newest, {shown(newest.name)}, is {newest.status}",
        f"{newest.evidence}. An older backup loses more; see whether this one can be fetched again.",
    )


def _shrinking(there: Sequence[Backup]) -> Iterator[_Finding]:
    # An unreadable one has a size worth comparing only when that size is the reason: 0 bytes.
    sized = [backup for backup in there if backup.status is not Status.UNREADABLE or backup.size == 0]
    if len(sized) < 2:
        return
    newest, before = sized[0], sized[1 : 1 + COMPARED]
    from statistics import median  # here: it brings fractions, decimals and chance along

    usual = median(backup.size for backup in before)
    if newest.size < usual * SHRUNK:
        yield _Finding(
            Verdict.FAIL,
            f"{shown(newest.name)} has {size(newest.size)}, the {len(before)} before it {size(int(usual))}",
            "It was cut short, or rows were deleted before it was taken. Choose an older one.",
        )


def _gaps(there: Sequence[Backup], every: timedelta, now: datetime) -> Iterator[_Finding]:
    since = now - every * GAP_WINDOW
    recent = [backup.taken_at for backup in there if backup.taken_at >= since]
    spans = [(later - earlier, earlier) for later, earlier in pairwise(recent) if later - earlier > every * GAP]
    if not spans:
        return
    longest, after = max(spans)
    count = "a gap" if len(spans) == 1 else f"{len(spans)} gaps"
    yield _Finding(
        Verdict.WARN,
        f"{count} in the last {GAP_WINDOW} intervals, the longest {_span(longest)} after {clock(after)}",
        "A moment inside a gap can only be reached by losing all of it; see why backups were not taken.",
    )


def _span(time: timedelta) -> str:
    return span(time.total_seconds())
