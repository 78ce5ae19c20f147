"""From the chosen backup to the live database: stage, prove, keep, replace."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta

import msgspec

from engines import checks
from engines.backups.checksums import WEAK_ALGORITHMS
from engines.checks import Panel
from engines.errors import Refused, RestoreError
from engines.recipes.recalling import recall, token
from engines.recipes.sqlite.facts import planned_swap, rows, told_rows
from engines.recipes.sqlite.ground import accepts_unseen
from engines.session.work import Work
from engines.sqlite import snapshot, swap
from engines.sqlite.holders import wait_until_unused
from engines.sqlite.inspect import Live, look
from engines.sqlite.proof import prove
from engines.sqlite.stage import Staged, stage
from engines.targets import SqliteTarget
from engines.text import duration, size, utc_now

CHECKSUM = "backup checksum"
PROOF = "staged copy is sound"
BEFORE = "before-restore"


def stage_backup(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    state, chosen = work.state, work.state.backup
    _refuse_no_room(work)
    algorithm, digest = str(chosen.get("algorithm", "")), str(chosen.get("digest", ""))
    known = state.checks.get(CHECKSUM)
    overridden = known is not None and known.override is not None
    expected = (algorithm, digest) if digest and not overridden else None
    begun = time.monotonic()
    try:
        staged = stage(
            str(chosen.get("path")),
            str(target.database),
            token(state),
            expected,
            progress=lambda done, total: work.progress(done, total, text="staging"),
            stop=work.stopped,
            at=work.at,
        )
    except Refused as error:
        if not overridden:
            work.check(checks.fail(CHECKSUM, error.message, error.hint))
        raise
    seconds = max(time.monotonic() - begun, 1e-3)
    if not overridden:
        work.check(_checksum(algorithm, digest, str(chosen.get("listed_in", "")), staged))
    return {
        "staged": msgspec.to_builtins(staged),
        "rate": round(staged.size / seconds),
        "message": f"{size(staged.size)} in {duration(seconds)}, sha256 {staged.sha256[:16]}…",
    }


def _refuse_no_room(work: Work) -> None:
    full = [name for name, known in work.state.checks.items() if known.check.panel is Panel.SPACE and known.blocks]
    if full:
        raise Refused(
            f"There is not enough room ({', '.join(full)}). Nothing was copied.",
            "Make room, check again (r), then stage again; or the incident commander overrides.",
        )


def _checksum(algorithm: str, digest: str, where: str, staged: Staged) -> checks.Check:
    if not digest:
        return checks.fail(
            CHECKSUM,
            f"no catalogue lists it; its sha256 is {staged.sha256}",
            "Choose a listed backup, or the incident commander overrides with a reason.",
        )
    told = f"{algorithm} {digest[:16]}… of the staged bytes equals {where or 'the catalogue'}"
    if algorithm in WEAK_ALGORITHMS:
        return checks.fail(
            CHECKSUM, f"WEAK: {told}", f"{algorithm} can be forged. List sha256, or the incident commander overrides."
        )
    return checks.ok(CHECKSUM, told)


def prove_staged(work: Work, _target: SqliteTarget) -> Mapping[str, object]:
    staged = recall(work.state, "stage", "staged", Staged)
    proof = prove(
        staged.path,
        progress=lambda done, total: work.progress(done, total, text="integrity_check"),
        stop=work.stopped,
    )
    if proof.ok:
        told = f"integrity ok, foreign keys ok, {told_rows(rows(proof))}"
        work.check(checks.ok(PROOF, told))
    else:
        told = "; ".join(proof.problems)
        hint = "Choose another backup (b), or the incident commander overrides with a reason."
        work.check(checks.fail(PROOF, told, hint))
    return {"proof": msgspec.to_builtins(proof), "message": told}


def prove_unused(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    found = wait_until_unused(
        str(target.database),
        target.holders_timeout.total_seconds(),
        say=work.say,
        stop=work.stopped,
        accept_unseen=accepts_unseen(work.state),
    )
    who = "nobody" if found.complete else "nobody that can be seen"
    return {"message": f"{who} has it open" + (f" ({found.why})" if found.why else "")}


def keep_safe(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    """Raw files first, then a consistent snapshot; where the live database can't be read, the raw files alone."""
    live = look(str(target.database))
    planned = recall(work.state, "look", "live", Live)
    if live.kind != planned.kind:
        raise Refused(
            f"The live database is {live.kind} now; the approved plan was made for one that is {planned.kind}. "
            "Nothing was changed.",
            "Somebody else is working on it. Find out who, then begin another session.",
        )
    kept = keep(work, target, live, BEFORE)
    if kept is None:
        return {"message": "there is nothing to keep: the live database is missing"}
    if kept.path is None:
        told = f"raw files only ({size(kept.size)}): the live database is {live.kind}"
        return {"snapshot": msgspec.to_builtins(kept), "message": told}
    proof = kept.proof
    counts = rows(proof) if proof else {}
    return {
        "snapshot": msgspec.to_builtins(kept),
        "before": dict(counts),
        "message": f"{kept.name}, {size(kept.size)}, verified, kept until {kept.keep_until[:10]}; {told_rows(counts)}",
    }


def keep(work: Work, target: SqliteTarget, live: Live, kind: str) -> snapshot.Snapshot | None:
    """A raw copy and, where SQLite can read it, a snapshot of what is live now."""
    if live.kind == "missing" and not live.sidecars:
        return None
    name = f"{target.name}-{utc_now():%Y-%m-%dT%H-%M-%SZ}-{token(work.state)}-{kind}"
    folder = str(target.snapshots)
    until = utc_now() + timedelta(days=target.keep_days)
    raw = snapshot.raw_copy(
        live.path,
        f"{folder}/{name}.raw",
        progress=lambda done, total: work.progress(done, total, text="raw copy"),
        stop=work.stopped,
        at=work.at,
    )
    for file in raw.files:
        work.say(f"raw {file.name}: {size(file.size)}, sha256 {file.sha256}")
    if live.kind != "database":
        return snapshot.keep_raw(raw, live.path, name, until, target=target.name, session=work.state.id)
    if any(beside.path.endswith("-journal") and beside.size for beside in live.sidecars):
        work.say("an interrupted transaction is rolled back first; the raw copy has it as it was")
        swap.quiesce(live.path, say=work.say, at=work.at)
    return snapshot.take(
        live.path,
        folder,
        name,
        until,
        target=target.name,
        session=work.state.id,
        kind=kind,
        raw=raw,
        progress=lambda done, total: work.progress(done, total, text="snapshot"),
        stop=work.stopped,
        at=work.at,
    )


def go_live(work: Work, _target: SqliteTarget) -> Mapping[str, object]:
    """Dress the staged copy, bring the live one to rest, and swap them."""
    planned = planned_swap(work.state)
    swap.dress(planned, say=work.say, at=work.at)
    position = swap.replace(planned, accept_unseen=accepts_unseen(work.state), say=work.say, at=work.at)
    if position is not swap.Position.NEW:
        raise RestoreError(
            f"The {position} database is live after the replacement.", "Look at the log; try again (r) or undo (u)."
        )
    return {
        "fingerprint": msgspec.to_builtins(swap.fingerprint(planned.live)),
        "message": f"{planned.live} is the restored database; the old one is kept as {planned.kept}",
    }


def clear_up(work: Work, _target: SqliteTarget) -> Mapping[str, object]:
    removed = swap.clear(planned_swap(work.state), at=work.at)
    for path in removed:
        work.say(f"removed {path}")
    return {"removed": list(removed), "message": "closed; the safety snapshot stays a restore point"}
