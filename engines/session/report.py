"""The report, `report.md`: what happened, for people who were not there. A post-mortem can take it as it is.

Derived from the folded journal, like the record, and made again from it at any time. What only people know (causes,
what went well) is not guessed: the last section asks for it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from engines.checks import Verdict
from engines.people import Role
from engines.session.answers import bare, is_functional
from engines.session.followups import follow_ups, task_of
from engines.session.notices import unsent
from engines.session.plan import GateKind, PlanKind
from engines.session.record import loss, measures, people
from engines.session.state import CheckState, Grid, NoteTaken, SessionState, Status, StepState
from engines.session.tickets import outcome
from engines.text import clock, count, drawable, duration, parse_stamp, size, span

_SAID = {
    GateKind.TYPED: "typed the target's name for",
    GateKind.TOLD: "told somebody, as said there, for",
    GateKind.ACCEPT: "accepted the risk of",
    GateKind.SIGN_OFF: "signed off",
}
_OF_LOGINS = ("login", "connection", "sudo", "principal", "key")
_MARKUP = re.compile(r"([\\`*{}\[\]<>#|~&]|(?<!\w)_|_(?!\w))")  # an underscore inside of a word is none
_OPEN = (
    "Impact: who noticed what, and for how long",
    "Trigger, and what contributed",
    "How it was detected, and what would have shown it earlier",
    "What went well, what went badly, where we were lucky",
    "What is changed so that it does not happen again: owner and date for each",
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A line of the timeline."""

    at: datetime
    what: str


def report(state: SessionState, *, roles: bool = False) -> str:
    """The report in Markdown (CommonMark, with tables). `roles`: everybody's name is their role instead."""
    parts = (
        _head(state),
        _in_words(state),
        _table("", ("", ""), _summary(state)),
        _deviations(state),
        _table("## Steps that did not go well at once", ("step", "what became of it"), _troubles(state)),
        _left_behind(state),
        _table("## People", ("role", "who", "how that is known"), _people(state)),
        _table(f"## {_what_of_backup(state)}", ("", ""), _backup(state)),
        _table("## The plan", ("", ""), _planned(state)),
        *(_grid(grid, state) for grid in state.grids.values()),
        _table("## Tried by the application owner", ("what", "result", "by", "note"), _functional(state)),
        _table("## Metrics", ("metric", "before", "now", "verdict", "what was found"), _metrics(state)),
        _table("## Checks that were not simply OK", ("check", "verdict", "what was found"), _checks(state)),
        _fine(state),
        _table("## Timeline (UTC)", ("at", "what"), ((_clock(one.at), one.what) for one in timeline(state))),
        _table("## Steps", ("step", "result", "work", "waiting", "what came of it"), _steps(state)),
        _not_configured(state),
        _table("## Not sent", ("what", "to", "why not"), _not_sent(state)),
        _table("## Follow-ups", ("what", "owner", "due", "ticket"), _follow_ups(state)),
        _list("## Notes", [_note(note) for note in state.notes if not task_of(note.text)]),
        "## Still to be written\n\n" + "\n".join(f"- [ ] {line}" for line in _OPEN) + "\n",
        _foot(state),
    )
    text = "\n".join(part for part in parts if part)
    return str(without_names(text, state)) if roles else text


def without_names(value: object, state: SessionState) -> object:
    """The text, or the record's tables, with everybody's role in place of their name, and without their logins.

    Two people of one role are told apart by a number. A name is found wherever it stands as a word of its own.
    """
    return _unnamed(value, sorted(_roles(state).items(), key=lambda pair: -len(pair[0])))


def _unnamed(value: object, roles: Sequence[tuple[str, str]]) -> object:
    match value:
        case str():
            for name, role in roles:
                value = re.sub(rf"(?<!\w)(?:{re.escape(name)}|{re.escape(_plain(name))})(?!\w)", role, value)
            return value
        case Mapping():
            return {key: _unnamed(item, roles) for key, item in value.items() if key not in _OF_LOGINS}
        case list() | tuple():
            return [_unnamed(item, roles) for item in value]
        case _:
            return value


def timeline(state: SessionState) -> tuple[Moment, ...]:
    """What happened when, in order: people's words, what each step came to, what was seen."""
    found = [Moment(at, what) for at, what in _incident_moments(state)]
    if state.begun_at is not None and state.begun is not None:
        found.append(Moment(state.begun_at, f"{state.begun.operator.name} began the session"))
    for one in state.approvals:
        alone = f", alone: {one.break_glass}" if one.break_glass else ""
        found.append(Moment(one.at, f"{one.actor.name} approved plan {one.digest[:12]}{alone}"))
    for at, taken in state.handovers:
        found.append(Moment(at, f"{taken.actor.name} took the keyboard: {taken.reason}"))
    for known in state.steps:
        found += [
            Moment(gate.at, f"{gate.actor.name}, {gate.role}, {_SAID[gate.gate]} {known.id} {known.step.title}")
            for gate in known.gates
            if gate.gate in _SAID
        ]
        if known.ended is not None and known.started is not None:
            told = f": {known.message}" if known.message else ""
            found.append(Moment(known.ended, f"{known.id} {known.step.title} {known.status}{told}"))
    found += [Moment(one.at, f"{one.by}: {one.what}. {one.reason}") for one in state.deviations]
    found += [Moment(at, f"refused to {one.actor.name}: {one.message}") for at, one in state.rejected]
    for at, answer in state.tried:
        told = f": {answer.note}" if answer.note else ""
        result = "it passed" if answer.passed else "it FAILED"
        found.append(Moment(at, f"{answer.actor.name} tried {bare(answer.name)}, {result}{told}"))
    found += [
        Moment(one.at, f"{one.by} filed a ticket for {key}, {one.address}")
        for key, one in state.tickets.items()
        if one.filed
    ]
    found += [Moment(at, f"reminder: {one.text}") for at, one in state.reminders]
    found += [Moment(note.at, f"{note.actor.name} noted: {note.text}") for note in state.notes]
    if state.ended is not None and state.ended_at is not None:
        why = f": {state.ended.reason}" if state.ended.reason else ""
        found.append(Moment(state.ended_at, f"the session ended, {state.ended.how}{why}"))
    return tuple(sorted(found, key=lambda one: one.at))


# -- the parts --------------------------------------------------------------------------------------------------


def _head(state: SessionState) -> str:
    if state.begun is None:
        return "# A session that has not begun\n"
    about = _about(state)
    incident = " ".join(str(about[key]) for key in ("id", "title") if about.get(key))
    drill = "DRILL: " if state.begun.drill else ""
    name, environment = _plain(str(state.begun.target.get("name", ""))), _plain(state.begun.environment.upper())
    title = f"# {drill}Restore of {name} ({environment})"
    return f"{title}\n\n{_plain(incident)}\n" if incident else f"{title}\n"


def _summary(state: SessionState) -> Iterable[tuple[str, str]]:
    begun, plan = state.begun, state.plan
    if begun is None:
        return
    found = measures(state)
    yield "Outcome", str(state.ended.how) if state.ended else "not over yet"
    yield "Database", f"{begun.engine}, {begun.address}"
    yield "Began", clock(state.begun_at) if state.begun_at else ""
    yield "Ended", clock(state.ended_at) if state.ended_at else "not yet"
    yield "Restored after", _lasted(found["until_restored_seconds"])
    yield "Application down for", _lasted(found["downtime_seconds"])
    yield "Work, and waiting for people", f"{_lasted(found['working_seconds'])}, {_lasted(found['waiting_seconds'])}"
    lost = loss(state)
    if lost is not None:
        yield "Writes lost", f"{span(lost.seconds)}, from {_moment(lost.start)} to {_moment(lost.end)}"
    if plan is not None and plan.kind is PlanKind.RESTORE:
        yield "Objective of time", _objective(plan.objective, found["until_restored_seconds"])
        yield "Objective of loss", _loss_objective(found)
    if state.break_glass:
        yield "Break-glass", "; ".join(dict.fromkeys(state.break_glass))


def _objective(wanted: float | None, restored: object) -> str:
    """Was the recovery time kept to? Counted from the session's beginning: what came before it is in the timeline."""
    if wanted is None:
        return "none given"
    if not isinstance(restored, float):
        return f"{duration(wanted)}; not restored"
    return f"{duration(wanted)}; {'met' if restored <= wanted else 'MISSED'} by {duration(abs(wanted - restored))}"


def _loss_objective(found: Mapping[str, object]) -> str:
    wanted = found["rpo_seconds"]
    if not isinstance(wanted, float):
        return "none given"
    met = {True: "met", False: "MISSED", None: "not restored"}[cast(bool | None, found["rpo_met"])]
    return f"{span(wanted)}; {met}"


def _in_words(state: SessionState) -> str:
    """The session in a few sentences, for whoever reads no further."""
    return " ".join(_plain(sentence) for sentence in _sentences(state)) + "\n" if state.begun else ""


def _sentences(state: SessionState) -> Iterator[str]:
    begun, found = state.begun, measures(state)
    if begun is None or state.begun_at is None:
        return
    name, chosen = begun.target.get("name", ""), state.plan.backup if state.plan else None
    taken = f", taken {_moment(chosen.taken_at)}" if chosen else ""
    backup = f"{chosen.name if chosen else state.backup.get('name', 'a backup')}{taken}"
    began = f"On {clock(state.begun_at)} {begun.operator.name} began to restore {name} from {backup}"
    if state.puts_back:
        yield f"{began}. It was taken back."
    elif isinstance(restored := found["until_restored_seconds"], float):
        yield f"{began}; it was restored after {duration(restored)}."
    else:
        yield f"{began}. Nothing was restored{'' if state.ended else ' so far'}."
    if isinstance(down := found["downtime_seconds"], float):
        yield f"The application was down for {duration(down)}."
    lost = loss(state) if found["until_restored_seconds"] else None
    if lost is not None:
        yield f"What was written from {_moment(lost.start)} to {_moment(lost.end)}, {span(lost.seconds)}, is lost."
    wrong = sum(known.blocks for known in state.checks.values())
    many = len(state.deviations)
    yield f"{many or 'No'} deviation{'' if many == 1 else 's'} from the runbook" + (
        f", {wrong} open check{'' if wrong == 1 else 's'}." if wrong else "."
    )
    if state.ended is not None and state.ended_at is not None:
        yield f"The session ended {clock(state.ended_at)}: {state.ended.how}."


def _planned(state: SessionState) -> Iterable[tuple[str, str]]:
    plan = state.plan
    if plan is None or plan.kind is PlanKind.PREPARE:
        return
    yield "What for", f"to {plan.kind}, {len(plan.steps)} steps, revision {plan.revision}"
    yield "Plan" + ("" if state.approved or not plan.needs_approval else ", not approved"), state.plan_digest
    if state.approval is not None and state.approved:
        one = state.approval
        yield (
            "Approved",
            f"by {one.actor.name} ({one.actor.how}), {clock(one.at)}, for a start before {_moment(one.until)}",
        )
    if plan.estimate is not None:
        took = sum(known.seconds for known in state.current if known.attempt)
        yield "Estimated, and took", f"{duration(plan.estimate)}, {duration(took)} of work"


def _functional(state: SessionState) -> Iterable[tuple[str, str, str, str]]:
    for name, known in state.checks.items():
        if not is_functional(name):
            continue
        _at, answer = state.answers.get(name, (None, None))
        result = ("passed" if answer.passed else "FAILED") if answer else "not answered"
        note = f"{answer.note if answer else ''}{_overridden(known)}".removeprefix("; ")
        yield bare(name), result, answer.actor.name if answer else "", note


def _metrics(state: SessionState) -> Iterable[tuple[str, str, str, str, str]]:
    for name, known in state.checks.items():
        check = known.check
        if name.startswith("metric: "):
            told = f"{check.evidence}{_overridden(known)}"
            yield name.removeprefix("metric: "), _measured(check.before), _measured(check.now), str(check.verdict), told


def _measured(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _not_sent(state: SessionState) -> Iterable[tuple[str, str, str]]:
    return ((str(notice.about), channel, why) for notice, channel, why in unsent(state))


def _follow_ups(state: SessionState) -> Iterable[tuple[str, str, str, str]]:
    for one in follow_ups(state):
        tried = state.tickets.get(one.key)
        ticket = one.ticket or (outcome(state, tried) if tried is not None else "")
        yield one.task, one.owner or "nobody yet", one.due or "no date", ticket


def _note(note: NoteTaken) -> str:
    return f"{_clock(note.at)} {note.actor.name}: {note.text}"


def _deviations(state: SessionState) -> str:
    rows = [
        (_clock(one.at), f"{one.what}: {one.evidence}" if one.evidence else one.what, one.by, one.reason)
        for one in state.deviations
    ]
    if not rows:
        return "## Deviations\n\nNone: nothing was left out, overridden, undone or given up.\n"
    return _table("## Deviations", ("at", "what", "by", "why"), rows)


def _troubles(state: SessionState) -> Iterable[tuple[str, str]]:
    """Steps that did not go well at once."""
    for known in state.steps:
        title = f"{known.id} {known.step.title}"
        if known.status in (Status.FAILED, Status.UNKNOWN):
            yield title, f"{known.status}: {known.message}"
        elif known.attempt > 1:
            yield title, f"{known.status} at attempt {known.attempt}"


def _left_behind(state: SessionState) -> str:
    return _list("## Left as it is", state.ended.left_behind if state.ended else ())


def _people(state: SessionState) -> Iterable[tuple[str, str, str]]:
    for one in people(state):
        yield str(one["role"]), str(one["name"]), str(one["how"])


def _what_of_backup(state: SessionState) -> str:
    if state.puts_back:
        return "The backup, before the undo"
    return "What was restored" if measures(state)["until_restored_seconds"] else "The backup that was chosen"


def _backup(state: SessionState) -> Iterable[tuple[str, str]]:
    chosen = state.plan.backup if state.plan else None
    if chosen is None:
        kept = {key: str(state.backup.get(key, "")) for key in ("name", "taken_at", "status", "evidence")}
        if kept["name"]:
            yield "Backup", kept["name"]
            yield "Taken", _moment(kept["taken_at"])
            yield "Proof", f"{kept['status']}: {kept['evidence']}"
        return
    yield "Backup", chosen.name
    yield "Taken", _moment(chosen.taken_at)
    yield "Size", size(chosen.size)
    yield "sha256", chosen.sha256
    yield "Proof", f"{chosen.status}: {chosen.evidence}".removesuffix(": ")


def _grid(grid: Grid, state: SessionState) -> str:
    """What was counted before an undo is not what is live."""
    undone = [
        known.first_started
        for known in state.steps
        if known.plan is PlanKind.UNDO and known.step.destructive and known.first_started
    ]
    before = ", before the undo" if undone and grid.at < min(undone) else ""
    rows = (
        (
            row.table,
            _number(row.before),
            row.expected,
            _number(row.restored),
            "" if row.difference is None else f"{row.difference:+}" if row.difference else "0",
            row.verdict,
            row.source,
        )
        for row in grid.rows
    )
    heads = ("table", "before", "expected", "restored", "difference", "verdict", "source")
    return _table(f"## Validation: {_plain(grid.where)}{before}", heads, rows)


def _checks(state: SessionState) -> Iterable[tuple[str, str, str]]:
    for name, known in state.checks.items():
        # What the owner tried, and the metrics, have tables of their own.
        if known.check.verdict is not Verdict.OK and not is_functional(name) and not name.startswith("metric: "):
            yield name, str(known.check.verdict), f"{known.check.evidence}{_overridden(known)}"


def _overridden(known: CheckState) -> str:
    word = known.override
    return f"; overridden by {word.actor.name}: {word.reason}" if word else ""


def _steps(state: SessionState) -> Iterable[tuple[str, str, str, str, str]]:
    for known in state.steps:
        if known.status is Status.PENDING or _is_not_configured(known):
            continue
        title = f"{known.id} {known.step.title}"
        again = f", attempt {known.attempt}" if known.attempt > 1 else ""
        came_of_it = known.skipped_for or known.message
        yield title, f"{known.status}{again}", duration(known.seconds), duration(known.waited), came_of_it


def _is_not_configured(known: StepState) -> bool:
    return known.status is Status.SKIPPED and not known.step.configured


def _not_configured(state: SessionState) -> str:
    left = [f"{known.id} {known.step.title}" for known in state.steps if _is_not_configured(known)]
    return f"Not configured, and left out: {_plain(', '.join(left))}.\n" if left else ""


def _fine(state: SessionState) -> str:
    count = sum(known.check.verdict is Verdict.OK for known in state.checks.values())
    return f"{count} check{'' if count == 1 else 's'} said OK; they are in session.toml.\n" if count else ""


def _foot(state: SessionState) -> str:
    tool = state.begun.tool if state.begun else ""
    return (
        f"---\n\nSession {_plain(state.id)}, {_plain(tool)}. Made from the session's journal, like session.toml,\n"
        "which has each step's exact commands. `reinstate verify` proves it against the journal and the step logs.\n"
    )


# -- the facts ----------------------------------------------------------------------------------------------------


def _about(state: SessionState) -> Mapping[str, object]:
    about = state.begun.incident.get("incident") if state.begun else None
    return about if isinstance(about, Mapping) else {}


def _incident_moments(state: SessionState) -> Iterable[tuple[datetime, str]]:
    """What the incident report knows of the time before the session."""
    told = {
        "started_at": "the incident began (by the incident report)",
        "detected_at": "it was detected (by the incident report)",
        "declared_at": "the incident was declared (by the incident report)",
    }
    for key, what in told.items():
        at = _parsed(_about(state).get(key))
        if at is not None:
            yield at, what


def _roles(state: SessionState) -> dict[str, str]:
    """Each name's role. Those whom only the incident report names have one too."""
    about = _about(state)
    by_report = (("commander", Role.COMMANDER), ("operator", Role.OPERATOR), ("app_owner", Role.OWNER))
    named = [(str(about.get(key) or ""), str(role)) for key, role in by_report]
    named += [(str(one["name"]), str(one["role"])) for one in people(state)]
    named += [(str(one.get("name", "")), "somebody") for one in (state.begun.people if state.begun else ())]
    named += [(one.by, "somebody") for one in state.deviations]
    named += [(note.actor.name, "somebody") for note in state.notes]
    named += [(one.owner, "somebody") for one in follow_ups(state)]
    named += [(one.actor.name, "somebody") for _at, one in state.rejected]
    found: dict[str, str] = {}
    many: Counter[str] = Counter()
    for name, role in named:
        if name.strip() and name not in found:
            many[role] += 1
            found[name] = role if many[role] == 1 else f"{role} {many[role]}"
    return found


def _parsed(written: object) -> datetime | None:
    if isinstance(written, datetime):
        return written if written.tzinfo else None
    try:
        return parse_stamp(str(written))
    except (ValueError, OverflowError):
        return None


# -- the form -----------------------------------------------------------------------------------------------------


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows]
    if not lines:
        return ""
    top = [f"{title}\n"] if title else []
    return "\n".join([*top, f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *lines]) + "\n"


def _list(title: str, lines: Iterable[str]) -> str:
    told = [f"- {_plain(line)}" for line in lines]
    return "\n".join([f"{title}\n", *told]) + "\n" if told else ""


def _plain(text: str) -> str:
    """Text from anywhere, as text: on one line, and no markup in it."""
    return _MARKUP.sub(r"\\\1", drawable(text)).strip()


def _clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _moment(written: str) -> str:
    at = _parsed(written)
    return clock(at) if at else written


def _lasted(seconds: object) -> str:
    return duration(seconds) if isinstance(seconds, int | float) else "not known"


def _number(value: int | None) -> str:
    return "" if value is None else count(value)
