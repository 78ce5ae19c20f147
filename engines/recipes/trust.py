"""How far the bytes of a backup may be trusted when they are staged: the same for every engine."""

from __future__ import annotations

from engines import checks
from engines.backups.catalogue import Status
from engines.backups.checksums import WEAK_ALGORITHMS
from engines.checks import Check
from engines.session.plan import BackupIdentity
from engines.session.state import SessionState
from engines.session.work import Work

CHECKSUM = "backup checksum"


def expected(state: SessionState) -> tuple[str, str] | None:
    """The algorithm and digest that the staged bytes must have; None: no catalogue has one.

    What the commander accepted by an override is these very bytes, and no others: those that were found then.
    """
    if overridden(state) and (found := state.facts("stage").get("found")):
        return "sha256", str(found)
    algorithm, digest = str(state.backup.get("algorithm", "")), str(state.backup.get("digest", ""))
    return (algorithm, digest) if digest else None


def overridden(state: SessionState) -> bool:
    known = state.checks.get(CHECKSUM)
    return known is not None and known.override is not None


def mismatch(work: Work, found: str, message: str, hint: str) -> None:
    """Keep what was found instead: an override is for that, and one that was given before is over."""
    work.found(found=found)
    work.check(checks.fail(CHECKSUM, message, hint))


def judged(work: Work, sha256: str) -> Status:
    """Journal what the staged bytes are worth, unless the commander has accepted them as they are."""
    check, status = _judged(work.state, sha256)
    if overridden(work.state):
        return status if status is not Status.VERIFIED else Status.MISMATCH
    work.check(check)
    return status


def _judged(state: SessionState, sha256: str) -> tuple[Check, Status]:
    algorithm, digest = str(state.backup.get("algorithm", "")), str(state.backup.get("digest", ""))
    where = str(state.backup.get("listed_in", "")) or "the catalogue"
    if not digest:
        evidence = f"no catalogue lists it; its sha256 is {sha256}"
        hint = "Choose a listed backup, or the incident commander overrides with a reason."
        return checks.fail(CHECKSUM, evidence, hint), Status.NOT_LISTED
    told = f"{algorithm} {digest[:16]}… of the staged bytes equals {where}"
    if algorithm in WEAK_ALGORITHMS:
        hint = f"{algorithm} can be forged. List sha256, or the incident commander overrides."
        return checks.fail(CHECKSUM, f"WEAK: {told}", hint), Status.WEAK
    return checks.ok(CHECKSUM, told), Status.VERIFIED


def identity(state: SessionState, size: int, sha256: str) -> BackupIdentity:
    """The backup in the plan's words: with what staging found of it, not with what a listing once said."""
    chosen = state.backup
    check = state.checks.get(CHECKSUM)
    status = state.facts("stage").get("status")
    return BackupIdentity(
        name=str(chosen.get("name")),
        path=str(chosen.get("path")),
        size=size,
        taken_at=str(chosen.get("taken_at")),
        sha256=sha256,
        status=str(status or chosen.get("status")),
        evidence=check.check.evidence if check else str(chosen.get("evidence", "")),
    )
