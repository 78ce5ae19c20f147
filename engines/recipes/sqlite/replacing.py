"""From the chosen backup to the live database: stage, prove, keep, replace."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from engines import checks
from engines.checks import Panel
from engines.errors import OtherBytes, Refused, RestoreError
from engines.recipes import trust
from engines.recipes.recalling import recall, token
from engines.recipes.sqlite.facts import planned_swap, rows, told_rows
from engines.recipes.sqlite.ground import accepts_unseen
from engines.session.work import Work
from engines.sqlite import snapshot, swap
from engines.sqlite.files import key
from engines.sqlite.holders import wait_until_unused
from engines.sqlite.inspect import Live, look
from engines.sqlite.proof import Proof, prove
from engines.sqlite.stage import Staged, stage
from engines.targets import SqliteTarget
from engines.text import duration, size, utc_now

PROOF = "staged copy is sound"
BEFORE = "before-restore"


def stage_backup(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    _refuse_no_room(work)
    begun = time.monotonic()
    try:
        staged = stage(
            str(work.state.backup.get("path")),
            str(target.database),
            token(work.state),
            trust.expected(work.state),
            progress=lambda done, total: work.progress(done, total, text="staging"),
            stop=work.stopped,
            at=work.at,
        )
    except OtherBytes as error:
        trust.mismatch(work, error.sha256, error.message, error.hint)
        raise
    except Refused as error:
        if not trust.overridden(work.state):
            work.check(checks.fail(trust.CHECKSUM, error.message, error.hint))
        raise
    seconds = max(time.monotonic() - begun, 1e-3)
    return {
        "staged": msgspec.to_builtins(staged),
        "status": str(trust.judged(work, staged.sha256)),
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
    return told(keep(work, target, live, BEFORE), live)


def told(kept: Kept, live: Live) -> Mapping[str, object]:
    """What was kept, as the journal has it. `mark`: what the live database is compared with before it is replaced."""
    taken, mark = kept.snapshot, {"mark": msgspec.to_builtins(kept.mark)}
    if taken is None:
        return {"message": "there is nothing to keep: the live database is missing"}
    if taken.path is None:
        words = f"raw files only ({size(taken.size)}): the live database is {live.kind}"
        return {**mark, "snapshot": msgspec.to_builtins(taken), "message": words}
    counts = rows(taken.proof) if taken.proof else {}
    return {
        **mark,
        "snapshot": msgspec.to_builtins(taken),
        "before": dict(counts),
        "message": f"{taken.name}, {size(taken.size)}, verified, kept until {taken.keep_until[:10]}; "
        + told_rows(counts),
    }


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot, and the mark of the live database from just before it: whatever is committed later shows."""

    snapshot: snapshot.Snapshot | None
    mark: swap.Mark | None


def keep(work: Work, target: SqliteTarget, live: Live, kind: str, again: str = "") -> Kept:
    """A raw copy and, where SQLite can read it, a snapshot of what is live now; `again` makes its name another one."""
    if live.kind == "missing" and not live.sidecars:
        return Kept(None, None)
    name = f"{target.name}-{utc_now():%Y-%m-%dT%H-%M-%SZ}-{token(work.state)}-{kind}{again}"
    folder = str(target.snapshots)
    until = utc_now() + timedelta(days=target.keep_days)
    mark = swap.mark(live.path)
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
        return Kept(snapshot.keep_raw(raw, live.path, name, until, target=target.name, session=work.state.id), mark)
    interrupted = any(beside.path.endswith("-journal") and beside.size for beside in live.sidecars)
    try:
        if interrupted:
            work.say("an interrupted transaction is rolled back first; the raw copy has it as it was")
            swap.quiesce(live.path, say=work.say, at=work.at)
            mark = swap.mark(live.path)
        taken = snapshot.take(
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
    except BaseException:
        # No listing knows a raw copy alone, and each attempt would leave one. A journal that is played back by now
        # is nowhere else.
        if interrupted:
            snapshot.keep_raw(raw, live.path, name, until, target=target.name, session=work.state.id)
        else:
            snapshot.drop_raw(raw)
        raise
    return Kept(taken, mark)


def go_live(work: Work, target: SqliteTarget) -> Mapping[str, object]:
    """Dress the staged copy, bring the live one to rest, and swap them."""
    planned = planned_swap(work.state)
    swap.dress(planned, say=work.say, at=work.at)
    if swap.where(planned) in (swap.Position.OLD, swap.Position.LINKED):
        mark = swap.mark(planned.staged)
        counts = recall(work.state, "prove", "proof", Proof).tables
        if mark is not None:  # a rename leaves it as it is: what is written from then on shows
            work.found(fingerprint=msgspec.to_builtins(swap.Fingerprint(mark, counts)))
    since = kept_mark(work, target, planned, "snapshot", BEFORE)
    position = swap.replace(planned, since=since, accept_unseen=accepts_unseen(work.state), say=work.say, at=work.at)
    if position is not swap.Position.NEW:
        raise RestoreError(
            f"The {position} database is live after the replacement.", "Look at the log; try again (r) or undo (u)."
        )
    work.say(f"{planned.live} is the restored database; the old one is kept as {planned.kept}")
    return {
        "kept": msgspec.to_builtins(swap.mark(planned.kept)),
        "message": "the restored database is live; the old one is kept beside it",
    }


def kept_mark(work: Work, target: SqliteTarget, planned: swap.Swap, action: str, kind: str) -> swap.Mark | None:
    """The mark of what is live, from when it was kept. On a second try it is kept anew where it was written to since.

    Nothing is to be kept where the replacement, or the way back, is behind its rename already.
    """
    found = work.state.facts(work.step.action).get("mark") or work.state.facts(action).get("mark")
    mark = msgspec.convert(found, swap.Mark) if found else None
    known = work.state.step(work.step.id)
    gone_over = swap.where(planned) not in (swap.Position.OLD, swap.Position.LINKED)
    if mark is None or known is None or known.attempt < 2 or gone_over is (action == "snapshot"):
        return mark
    if not swap.differences(mark, swap.mark(planned.live)):
        return mark
    work.say("it was written to since it was kept: it is kept once more, as it is now")
    live = look(planned.live)
    kept = keep(work, target, live, kind, again=f"-{known.attempt}")
    work.found(**told(kept, live))
    return kept.mark


def clear_up(work: Work, _target: SqliteTarget) -> Mapping[str, object]:
    planned = planned_swap(work.state)
    found = work.state.facts("replace").get("kept")
    removed = swap.clear(planned, kept=msgspec.convert(found, swap.Mark) if found else None, at=work.at)
    for path in removed:
        work.say(f"removed {path}")
    message = "closed; the safety snapshot stays a restore point"
    if key(planned.kept) is not None:
        work.check(
            checks.warn(
                "The replaced file",
                f"somebody wrote to {planned.kept} after it was replaced: it was not removed",
                "Compare it with the safety snapshot; what is only in it was written by a process that was not seen.",
                Panel.VALIDATION,
            )
        )
        message += f"; {planned.kept} was written to after it was replaced and is left"
    return {"removed": list(removed), "message": message}
