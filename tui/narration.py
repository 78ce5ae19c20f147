"""A session in sentences: what each event says, what a plan lists, what is asked next. For people without a screen."""

from __future__ import annotations

from collections.abc import Iterator

from engines.checks import Check
from engines.recipes.mysql.until import from_backup, told
from engines.session.events import (
    Approved,
    BackupChosen,
    CheckAnswered,
    CheckDone,
    ChecklistEdited,
    CheckOverridden,
    Entry,
    FollowUpSet,
    GateGiven,
    GridMade,
    KeyboardTaken,
    NoteAdded,
    NoticeSent,
    PlanMade,
    PlanRefused,
    Rejected,
    Reminded,
    Result,
    RunnerStarted,
    SessionBegun,
    SessionEnded,
    StepEnded,
    StepRetried,
    StepSkipped,
    StepStarted,
    StopAsked,
    TicketsAsked,
    TicketTried,
    UndoAsked,
)
from engines.session.plan import Plan, PlanKind
from engines.session.state import Grid, SessionState
from engines.session.tickets import outcome
from engines.text import both_zones, clock, count, drawable, duration, parse_stamp, size, span
from tui.pages import at_stake, badge, taken_up

_RESULTS = {Result.DONE: "done", Result.FAILED: "FAILED", Result.SKIPPED: "skipped", Result.UNKNOWN: "UNKNOWN"}


def sentences(entry: Entry, state: SessionState) -> Iterator[str]:
    """What an event says. `state` has it folded in already."""
    for line in _sentences(entry, state):
        yield drawable(line)


def _sentences(entry: Entry, state: SessionState) -> Iterator[str]:
    match entry.event:
        case SessionBegun() as begun:
            address = at_stake(begun.engine, begun.address)
            yield f"Session {begun.session}: {badge(begun)} {begun.engine} {address}"
            yield f"Operator {begun.operator.name} ({begun.operator.how}), on {begun.host}, {begun.tool}"
        case RunnerStarted(reason=reason, pid=pid, torn=torn):
            yield taken_up(state) if reason == "resume" else f"Runner {pid}."
            if torn:
                yield f"The journal ended in half a line of {torn} bytes; it was set aside."
        case BackupChosen(backup=backup):
            until = from_backup(backup)
            yield f"Backup chosen: {backup.get('name')}" + (f", {told(until)}" if until.replays else "")
        case KeyboardTaken(actor=actor, reason=reason):
            yield f"Keyboard: {actor.name} ({reason})"
        case PlanMade(plan=plan, digest=digest):
            yield f"Plan {plan.revision} ({plan.kind}), {len(plan.steps)} steps, sha256 {digest[:16]}…"
        case PlanRefused(kind_of_plan=kind, message=message, hint=hint):
            yield f"No plan to {kind} could be made: {message} {hint}"
        case CheckDone(check=check):
            yield check_line(check)
        case CheckOverridden(name=name, actor=actor, reason=reason):
            yield f"OVERRIDDEN {name} by {actor.name}: {reason}"
        case CheckAnswered(name=name, passed=passed, note=note, actor=actor):
            yield f"{name}: {'passed' if passed else 'FAILED'}, says {actor.name}" + (f": {note}" if note else "")
        case FollowUpSet(task=task, owner=owner, due=due):
            yield f"Follow-up: {task} ({owner or 'nobody yet'}, {due or 'no date'})"
        case ChecklistEdited(path=path, line=text, old_sha256=old, new_sha256=new):
            yield f"{path}: {unchanged_checklist(text) if old == new else f'has now the line {text}'}"
        case NoticeSent(about=about, channel=channel, ok=ok, reason=reason):
            yield f"Told {channel}: {about}" if ok else f"NOT SENT to {channel}: {about}. {reason}"
        case TicketsAsked(keys=keys, actor=actor):
            yield f"To be filed as issues, asked by {actor.name}: {', '.join(keys)}"
        case TicketTried(key=key, hint=hint):
            yield f"{key}: {outcome(state, state.tickets[key])}"
            if hint:
                yield f"  {hint}"
        case Approved(actor=actor, until=until, break_glass=why):
            yield f"Approved by {actor.name} ({actor.how}), until {clock(parse_stamp(until))}"
            if why:
                yield f"BREAK-GLASS: {why}"
        case GateGiven(step=step, gate=gate, actor=actor, text=text):
            yield f"{step} {gate}: {actor.name}" + (f": {text}" if gate in ("accept", "sign-off") else "")
        case Rejected(command=command, message=message):
            yield f"REFUSED {command}: {message}"
        case Reminded(text=text):
            yield f"REMINDER: {text}"
        case StepStarted(step=step):
            known = state.step(step)
            yield f"{step} {known.step.title if known else ''} …"
        case StepEnded(step=step, result=result, message=message, hint=hint, seconds=seconds):
            known = state.step(step)
            title = known.step.title if known else ""
            yield f"{step} {title}: {_RESULTS[result]} in {duration(seconds)}" + (f": {message}" if message else "")
            if hint:
                yield f"  {hint}"
        case StepSkipped(step=step, actor=actor, reason=reason):
            yield f"{step} skipped by {actor.name}: {reason}"
        case StepRetried(step=step):
            yield f"{step} again"
        case StopAsked(step=step):
            yield f"{step} is asked to stop"
        case GridMade(where=where, rows=rows):
            yield from grid_lines(Grid(where, entry.at, rows))
        case NoteAdded(actor=actor, text=text):
            yield f"Note by {actor.name}: {text}"
        case UndoAsked(actor=actor, reason=reason):
            yield f"Undo asked by {actor.name}: {reason}"
        case SessionEnded(how=how, reason=reason, left_behind=left):
            yield f"Session {how}" + (f": {reason.rstrip('. ')}." if reason else ".")
            yield from (f"  left as it is: {line}" for line in left)
        case _:
            return


def unchanged_checklist(line: str) -> str:
    """Why nothing had to change in the security checklist."""
    return f"has the line {line}" if line else "has a date that is not older: nothing had to change"


def check_line(check: Check) -> str:
    evidence = check.evidence.rstrip(".") if check.hint else check.evidence
    return f"{check.verdict:<8}{check.name}: {evidence}" + (f". {check.hint}" if check.hint else "")


def grid_lines(grid: Grid) -> Iterator[str]:
    """The validation grid, differences first."""
    yield f"Validation of the {grid.where}:"
    yield f"  {'table':<22}{'before':>12}{'expected':>16}{'restored':>12}{'diff':>8}  verdict"
    for row in sorted(grid.rows, key=lambda row: row.verdict == "MATCH"):
        difference = "" if row.difference is None else f"{row.difference:+d}" if row.difference else "0"
        yield (
            f"  {row.table:<22}{_number(row.before):>12}{row.expected or '—':>16}{_number(row.restored):>12}"
            f"{difference:>8}  {row.verdict}  {row.source}"
        )


def _number(value: int | None) -> str:
    return "—" if value is None else count(value)


def plan_lines(plan: Plan, digest: str) -> Iterator[str]:
    """A plan as it is read before it is approved."""
    for line in _plan_lines(plan, digest):
        yield drawable(line)


def _plan_lines(plan: Plan, digest: str) -> Iterator[str]:
    target = plan.target
    yield f"Plan {plan.revision} to {plan.kind} {target.name} ({target.environment.upper()}, {target.engine})"
    yield f"  target    {at_stake(target.engine, target.address)}"
    for name, value in target.details.items():
        yield f"            {name}: {value}"
    if plan.backup is not None:
        yield f"  backup    {plan.backup.name}, {size(plan.backup.size)}, {plan.backup.status}"
        yield f"            taken {both_zones(parse_stamp(plan.backup.taken_at))}"
        yield f"            sha256 {plan.backup.sha256 or 'not known before it is staged'}"
    if plan.loss is not None:
        yield (
            f"  loss      {span(plan.loss.seconds)}: what was written from {clock(parse_stamp(plan.loss.start))} "
            f"to {clock(parse_stamp(plan.loss.end))} does not come back"
        )
    if plan.estimate is not None:
        against = f", objective {span(plan.objective)}" if plan.objective else ""
        yield f"  estimate  {duration(plan.estimate)} of work, people's waiting apart{against}"
    if plan.incident:
        yield f"  incident  {plan.incident}"
    if plan.reason:
        yield f"  reason    {plan.reason}"
    for step in plan.steps:
        mark = "!" if step.destructive else " "
        off = "" if step.configured else "  (not configured: recorded as skipped)"
        yield f"{mark} {step.id:<5} {step.title}  [{step.role}]{off}"
        for shown in step.shows if step.configured else ():
            yield f"          {shown}"
        if step.undo and step.configured:
            yield f"          undo: {step.undo}"
        if step.note:
            yield f"          note: {step.note}"
    yield f"  sha256    {digest}"


def header(state: SessionState) -> str:
    """One line: who and what is at stake."""
    begun = state.begun
    if begun is None:
        return ""
    incident = begun.incident_id or "no incident"
    address = at_stake(begun.engine, begun.address)
    return drawable(f"{badge(begun)}  {begun.engine}  {address}  {incident}  {state.id[-4:]}")


def standing(state: SessionState) -> str:
    """Where a session stands, in a few words."""
    if state.ended is not None:
        return str(state.ended.how)
    if state.running is not None:
        return f"{state.running.id} {state.running.step.title} under way"
    upcoming = state.next_step
    if upcoming is not None:
        verb = "" if state.plan is None or state.plan.kind is not PlanKind.UNDO else "undo: "
        return f"{verb}{upcoming.status}, {upcoming.id} {upcoming.step.title}"
    return "before its plan"
