"""The record, `session.toml`: the session as a post-mortem wants it, derived from the journal and from nothing else.

Rendering is deterministic, so that `verify` can make the record again and compare. docs/record.md describes the format.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
import tomli_w

from engines.session.answers import bare, is_functional
from engines.session.events import Signed
from engines.session.followups import FollowUp, follow_ups
from engines.session.journal import Journal
from engines.session.notices import wanted
from engines.session.plan import LossWindow, PlanKind
from engines.session.state import CheckState, SessionState, Status, StepState, fold
from engines.text import parse_stamp, stamp
from engines.values import WrongValue, duration

RECORD_FORMAT = 1
HEADER = (
    "# Reinstate session record. Derived from journal.jsonl; `reinstate verify` recomputes it.\n"
    "# Unsigned, it is consistent, not authentic (docs/record.md).\n\n"
)


def render(journal: Journal) -> bytes:
    """The record of everything in `journal`."""
    state = fold(journal.entries)
    tables = record(state) | {"chain_head": {"entries": len(journal.lines), "sha256": journal.head}}
    return (HEADER + tomli_w.dumps(_toml(tables))).encode()


def plan_text(state: SessionState) -> bytes:
    """plan.toml: the plan in force, with the digest that an approval names."""
    tables = {"sha256": state.plan_digest, **msgspec.to_builtins(state.plan)}
    return tomli_w.dumps(_toml(tables)).encode()


def plan_as_written(line: bytes) -> bytes:
    """plan.toml from the journal's own line, whichever version wrote that."""
    fields = msgspec.json.decode(line, type=dict[str, object])
    plan = fields.get("plan")
    return tomli_w.dumps(_toml({"sha256": fields.get("digest"), **(plan if isinstance(plan, dict) else {})})).encode()


def record(state: SessionState) -> dict[str, object]:
    """The record's tables. Absent facts are absent keys: TOML has no null."""
    begun = state.begun
    if begun is None:
        return {"format": RECORD_FORMAT}
    return {
        "format": RECORD_FORMAT,
        "break_glass": "; ".join(dict.fromkeys(state.break_glass)) or None,
        "session": {
            "id": state.id,
            "state": _standing(state),
            "drill": begun.drill,
            "decided": dict(begun.decided) or None,
            "began": state.begun_at,
            "ended": state.ended_at,
            "reason": state.ended.reason if state.ended else None,
            "left_behind": list(state.ended.left_behind) if state.ended else None,
            "host": begun.host,
            "tool": begun.tool,
            "resumes": state.resumes,
            "versions": dict(state.runner.versions) if state.runner else None,
            "survival": state.runner.survives if state.runner else None,
        },
        "target": _target(state),
        "incident": begun.incident or None,
        "backup": _backup(state),
        "plan": _plan(state),
        "measures": measures(state),
        "deviation": [
            {"at": d.at, "what": d.what, "by": d.by, "reason": d.reason, "evidence": d.evidence or None}
            for d in state.deviations
        ],
        "person": people(state),
        "approval": [
            {
                "plan_sha256": a.digest,
                "by": a.actor.name,
                "login": a.actor.login,
                "how": a.actor.how,
                "at": a.at,
                "until": a.until,
                "break_glass": a.break_glass or None,
                **_signed(a.signed),
            }
            for a in state.approvals
        ],
        "functional": _functional(state),
        "sign_off": _sign_offs(state),
        "handover": [
            {"at": at, "to": taken.actor.name, "login": taken.actor.login, "reason": taken.reason}
            for at, taken in state.handovers
        ],
        "step": [_step(known) for known in state.steps],
        "check": [_check(known) for known in state.checks.values()],
        "validation": [
            {
                "where": grid.where,
                "table": row.table,
                "before": row.before,
                "expected": row.expected,
                "restored": row.restored,
                "difference": row.difference,
                "verdict": row.verdict,
                "source": row.source,
            }
            for grid in state.grids.values()
            for row in grid.rows
        ],
        "notification": _notifications(state),
        "follow_up": [
            {
                "key": one.key,
                "kind": one.kind,
                "task": one.task,
                "owner": one.owner,
                "due": one.due,
                "ticket": one.ticket,
                "filing": _filing(state, one),
            }
            for one in follow_ups(state)
        ],
        "checklist": _checklist(state),
        "rejected": [
            {"at": at, "command": r.command, "by": r.actor.name, "message": r.message} for at, r in state.rejected
        ],
        "reminder": [
            {"at": at, "about": one.about, "text": one.text, "seconds": one.seconds} for at, one in state.reminders
        ],
        "note": [{"at": note.at, "by": note.actor.name, "text": note.text} for note in state.notes],
    }


def _signed(signed: Signed | None) -> dict[str, object]:
    """Whose signature it is, and by which key; the signature itself is in the journal."""
    return {"principal": signed.principal, "key": signed.key} if signed is not None else {}


def _standing(state: SessionState) -> str:
    if state.ended is not None:
        return str(state.ended.how)
    upcoming = state.next_step
    if state.running is not None:
        return f"step {state.running.id} under way"
    return f"unfinished, before step {upcoming.id}" if upcoming else "unfinished"


def _target(state: SessionState) -> dict[str, object]:
    assert state.begun is not None  # noqa: S101 - record() returned early without it
    identity = state.plan.target if state.plan else None
    return {
        "name": state.begun.target.get("name"),
        "engine": state.begun.engine,
        "environment": state.begun.environment,
        "address": state.begun.address,
        "identity": dict(identity.details) if identity else None,
    }


def _backup(state: SessionState) -> dict[str, object] | None:
    chosen = state.plan.backup if state.plan and state.plan.backup else None
    if chosen is None:
        return {key: state.backup.get(key) for key in ("name", "path", "size", "taken_at", "status", "evidence")}
    return {
        "name": chosen.name,
        "path": chosen.path,
        "size": chosen.size,
        "taken_at": chosen.taken_at,
        "sha256": chosen.sha256,
        "status": chosen.status,
        "evidence": chosen.evidence,
    }


def _plan(state: SessionState) -> dict[str, object] | None:
    plan = state.plan
    if plan is None:
        return None
    return {
        "kind": plan.kind,
        "revision": plan.revision,
        "sha256": state.plan_digest,
        "made": plan.made_at,
        "estimate_seconds": plan.estimate,
        "loss_window": {"start": plan.loss.start, "end": plan.loss.end, "seconds": plan.loss.seconds}
        if plan.loss
        else None,
    }


def measures(state: SessionState) -> dict[str, object]:
    """How long what took, in seconds; None where it is not known."""
    steps = [known for known in state.steps if known.started]
    return {
        "working_seconds": round(sum(known.seconds for known in steps), 3),
        "waiting_seconds": round(state.waited, 3),
        "whole_seconds": _seconds(state.begun_at, state.ended_at),
        "until_restored_seconds": _seconds(state.begun_at, _restored_at(state)),
        "downtime_seconds": _downtime(steps),
        **objectives(state),
    }


def objectives(state: SessionState) -> dict[str, object]:
    """What was lost, and whether the recovery objectives were met; None where one is not given or not known."""
    plan = state.plan if state.plan is not None and state.plan.kind is PlanKind.RESTORE else None
    restored, rto, rpo, lost = _seconds(state.begun_at, _restored_at(state)), None, _rpo(state), loss(state)
    rto = plan.objective if plan is not None else None
    return {
        "rto_seconds": rto,
        "rto_met": restored <= rto if restored is not None and rto is not None else None,
        "loss": {"start": lost.start, "end": lost.end, "seconds": lost.seconds} if lost is not None else None,
        "rpo_seconds": rpo,
        "rpo_met": lost.seconds <= rpo if restored is not None and lost is not None and rpo is not None else None,
    }


def loss(state: SessionState) -> LossWindow | None:
    """What the restore in force does not bring back, up to when writing stopped as far as it has.

    The plan reckons up to the moment at which it was made; the application wrote on until it was stopped.
    """
    plan = state.plan
    if plan is None or plan.loss is None or state.puts_back:
        return None
    start, end = _parsed(plan.loss.start), _parsed(plan.loss.end)
    if start is None or end is None:
        return plan.loss
    current = [known for known in state.current if known.status is Status.DONE]
    stopped = [known.ended for known in current if known.step.action == "stop-maintenance"]
    replaced = [known.started for known in current if known.step.destructive]
    until = max((at for at in (*(stopped or replaced), end) if at is not None), default=end)
    return LossWindow(stamp(start), stamp(until), (until - start).total_seconds())


def _rpo(state: SessionState) -> float | None:
    """Seconds: the report's objective, else the target's."""
    objective = state.begun.incident.get("objective") if state.begun else None
    told = objective.get("rpo") if isinstance(objective, Mapping) else None
    told = told or (state.begun.target.get("rpo") if state.begun else None)
    try:
        return duration(told).total_seconds() if told else None
    except WrongValue:
        return None


def _parsed(written: str) -> datetime | None:
    try:
        return parse_stamp(written)
    except (ValueError, OverflowError):
        return None


def _downtime(steps: Sequence[StepState]) -> float | None:
    """From each first try to stop the application to its start; None where it never was, or still is, stopped."""
    moments = [(known.first_started, False) for known in steps if known.step.action == "stop-maintenance"]
    moments += [
        (known.ended, True)
        for known in steps
        if known.step.action == "start-maintenance" and known.status is Status.DONE
    ]
    total, down_since = None, None
    for moment, up in sorted((at, up) for at, up in moments if at is not None):
        if not up:
            down_since = down_since or moment
        elif down_since is not None:
            total = (total or 0.0) + (moment - down_since).total_seconds()
            down_since = None
    return round(total, 3) if total is not None and down_since is None else None


def _restored_at(state: SessionState) -> datetime | None:
    """When the last step that changes the live database was done; None while one of them is not, and after an undo."""
    if state.puts_back:
        return None
    restoring = [known for known in state.steps if known.plan is PlanKind.RESTORE and known.step.destructive]
    newest = max((known.revision for known in restoring), default=0)
    last = [known for known in restoring if known.revision == newest and known.status is not Status.SKIPPED]
    ends = [known.ended for known in last if known.status is Status.DONE and known.ended is not None]
    return max(ends) if ends and len(ends) == len(last) else None


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return round((end - start).total_seconds(), 3) if start and end else None


def people(state: SessionState) -> list[dict[str, object]]:
    """Everybody who acted, in each of their roles, and how it is known who they are."""
    if state.begun is None:
        return []
    operator = state.begun.operator
    present = [("database operator", operator), *(("database operator", taken.actor) for _, taken in state.handovers)]
    present += [("incident commander", approval.actor) for approval in state.approvals]
    present += [("incident commander", known.override.actor) for known in state.checks.values() if known.override]
    present += [("application owner", answer.actor) for _, answer in state.tried]
    present += [(str(gate.role), gate.actor) for known in state.steps for gate in known.gates if gate.actor.name]
    seen: dict[tuple[str, str, str], dict[str, object]] = {}
    for role, actor in present:
        entry: dict[str, object] = {
            "role": role,
            "name": actor.name,
            "login": actor.login,
            "how": actor.how,
            "connection": actor.connection or None,
            "sudo": actor.sudo or None,
        }
        seen.setdefault((role, actor.name, actor.login), entry)
    return list(seen.values())


def _functional(state: SessionState) -> list[dict[str, object]]:
    """Each time that the application owner tried something, then what was left unanswered."""
    found: list[dict[str, object]] = [
        {
            "tried": bare(answer.name),
            "result": "passed" if answer.passed else "failed",
            "note": answer.note,
            "by": answer.actor.name,
            "login": answer.actor.login,
            "how": answer.actor.how,
            "at": at,
            "overridden_by": _overridden_by(state, answer.name)
            if state.answers.get(answer.name) == (at, answer)
            else None,
        }
        for at, answer in state.tried
    ]
    return found + [
        {"tried": bare(name), "result": "not answered", "overridden_by": _overridden_by(state, name)}
        for name in state.checks
        if is_functional(name) and name not in state.answers
    ]


def _overridden_by(state: SessionState, check: str) -> str | None:
    known = state.checks.get(check)
    return known.override.actor.name if known is not None and known.override is not None else None


def _notifications(state: SessionState) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for notice, channel in wanted(state):
        tried = notice.attempts.get(channel)
        found.append(
            {
                "line": notice.number,
                "about": notice.about,
                "channel": channel,
                "sent": tried is not None and tried.ok,
                "at": tried.at if tried else None,
                "reason": tried.reason if tried else "not tried yet",
                "text": tried.text if tried else None,
            }
        )
    return found


def _filing(state: SessionState, one: FollowUp) -> dict[str, object] | None:
    """What became of filing it; nothing where nobody asked for that."""
    known = state.tickets.get(one.key)
    if known is None:
        return None
    return {
        "result": known.result or "not known yet",
        "at": known.at,
        "by": known.by,
        "number": known.number or None,
        "address": known.address,
        "found": known.found or None,
        "reason": known.reason,
    }


def _checklist(state: SessionState) -> dict[str, object] | None:
    edited = state.checklist
    if edited is None:
        return None
    return {
        "path": edited.path,
        "changed": edited.old_sha256 != edited.new_sha256,
        "line": edited.line,
        "old_sha256": edited.old_sha256,
        "new_sha256": edited.new_sha256,
        "by": edited.actor.name,
    }


def _sign_offs(state: SessionState) -> list[dict[str, object]]:
    return [
        {
            "step": known.id,
            "gate": gate.gate,
            "role": gate.role,
            "by": gate.actor.name,
            "login": gate.actor.login,
            "how": gate.actor.how,
            "at": gate.at,
            "text": gate.text,
            **_signed(gate.signed),
        }
        for known in state.steps
        for gate in known.gates
        if gate.gate in ("accept", "sign-off")
    ]


def _step(known: StepState) -> dict[str, object]:
    return {
        "id": known.id,
        "title": known.step.title,
        "plan": known.plan,
        "revision": known.revision,
        "state": known.status,
        "role": known.step.role,
        "attempt": known.attempt,
        "started": known.started,
        "ended": known.ended,
        "working_seconds": round(known.seconds, 3),
        "waiting_seconds": round(known.waited, 3),
        "shown": list(known.step.shows),
        "commands": [{"command": command, "exit": code} for command, code in known.commands],
        "message": known.message or None,
        "skipped_for": known.skipped_for or None,
        "undo": known.step.undo or None,
        "destructive": known.step.destructive,
        "confirmed_by": [f"{gate.actor.name} ({gate.gate})" for gate in known.gates],
        "facts": dict(known.facts) or None,
        "log": {"file": known.log.file, "size": known.log.size, "sha256": known.log.sha256} if known.log else None,
    }


def _check(known: CheckState) -> dict[str, object]:
    check, override = known.check, known.override
    return {
        "name": check.name,
        "panel": check.panel,
        "verdict": check.verdict,
        "evidence": check.evidence,
        "hint": check.hint or None,
        "before": check.before,
        "now": check.now,
        "at": known.at,
        "overridden_by": override.actor.name if override else None,
        "overridden_how": override.actor.how if override else None,
        "override_reason": override.reason if override else None,
        "overridden_sha256": override.seen if override else None,
    }


_NOTHING: tuple[object, ...] = ("", [], ())


def _toml(value: object) -> dict[str, object]:
    converted = _plain(value)
    assert isinstance(converted, dict)  # noqa: S101 - called with a table only
    return converted


def _plain(value: object) -> object:
    """TOML's types only: times as stamps. What is not known is absent: nulls, empty texts, empty arrays."""
    match value:
        case datetime():
            return stamp(value)
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items() if item is not None and item not in _NOTHING}
        case str():
            return str(value)
        case bool() | int() | float():
            return value
        case Iterable():
            return [_plain(item) for item in value if item is not None]
        case _:
            return str(value)
