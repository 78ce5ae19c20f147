"""What is true of a session: a pure fold of its journal. The console and the record use the same one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from engines.checks import Check
from engines.session.answers import answered
from engines.session.events import (
    Actor,
    Approved,
    BackupChosen,
    CheckAnswered,
    CheckDone,
    ChecklistEdited,
    CheckOverridden,
    ChildEnded,
    ChildStarted,
    Ending,
    Entry,
    FactFound,
    FollowUpSet,
    GateGiven,
    GridMade,
    GridRow,
    KeyboardTaken,
    NoteAdded,
    NoticeSent,
    PlanMade,
    PlanRefused,
    Rejected,
    Reminded,
    Result,
    RunnerStarted,
    SendingAsked,
    SessionBegun,
    SessionEnded,
    Signed,
    StepEnded,
    StepLog,
    StepRetried,
    StepSkipped,
    StepStarted,
    StopAsked,
    TicketsAsked,
    TicketTried,
    UndoAsked,
)
from engines.session.notices import Attempt, Notice, due
from engines.session.plan import Gate, GateKind, Plan, PlanKind, Step
from engines.session.tickets import Ticket, asked_for, cut_off, tried

_EMPTY: Mapping[str, object] = MappingProxyType({})


class Status(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"

    @property
    def settled(self) -> bool:
        return self in (Status.DONE, Status.SKIPPED)


@dataclass(frozen=True, slots=True)
class GivenGate:
    gate: GateKind
    role: str
    actor: Actor
    text: str
    at: datetime
    signed: Signed | None = None


@dataclass(frozen=True, slots=True)
class StepState:
    step: Step
    plan: PlanKind
    revision: int
    status: Status = Status.PENDING
    attempt: int = 0
    touched: bool = False  # has an attempt ended that may have changed something?
    first_started: datetime | None = None
    started: datetime | None = None  # of the latest attempt
    ended: datetime | None = None
    seconds: float = 0.0  # of work, people's waiting apart
    waited: float = 0.0  # seconds in which it was next and no step ran: people's time
    message: str = ""
    hint: str = ""
    facts: Mapping[str, object] = field(default_factory=lambda: _EMPTY)
    log: StepLog | None = None
    gates: tuple[GivenGate, ...] = ()
    commands: tuple[tuple[str, int | None], ...] = ()  # what ran, and how it exited
    skipped_for: str = ""

    @property
    def id(self) -> str:
        return self.step.id

    def missing(self) -> Gate | None:
        """The next gate that nobody has given yet. One yes is for one gate, also where two are of the same kind."""
        given = [(str(gate.gate), str(gate.role)) for gate in self.gates]
        for gate in self.step.gates:
            if (gate.kind, gate.role) not in given:
                return gate
            given.remove((gate.kind, gate.role))
        return None


@dataclass(frozen=True, slots=True)
class CheckState:
    check: Check
    at: datetime
    override: CheckOverridden | None = None
    overridden_at: datetime | None = None

    @property
    def blocks(self) -> bool:
        return self.check.verdict.blocks and self.override is None


@dataclass(frozen=True, slots=True)
class Approval:
    digest: str
    actor: Actor
    at: datetime
    until: str
    break_glass: str
    signed: Signed | None = None


@dataclass(frozen=True, slots=True)
class RunningChild:
    step: str
    pid: int
    started: int
    command: str


@dataclass(frozen=True, slots=True)
class NoteTaken:
    at: datetime
    actor: Actor
    text: str


@dataclass(frozen=True, slots=True)
class Deviation:
    """Something that was not done as the runbook has it, with its reason."""

    at: datetime
    what: str
    by: str
    reason: str
    evidence: str = ""  # of an override: what the check said


@dataclass(frozen=True, slots=True)
class Grid:
    where: str
    at: datetime
    rows: tuple[GridRow, ...]


@dataclass(frozen=True, slots=True)
class SessionState:
    begun: SessionBegun | None = None
    begun_at: datetime | None = None
    backup: Mapping[str, object] = field(default_factory=lambda: _EMPTY)
    backup_revision: int = 0
    runner: RunnerStarted | None = None
    runner_at: datetime | None = None
    resumes: int = 0
    keyboard: Actor | None = None
    keyboard_since: datetime | None = None  # since when the same person has it, from whichever console
    handovers: tuple[tuple[datetime, KeyboardTaken], ...] = ()
    plan: Plan | None = None
    plan_digest: str = ""
    plan_refused: PlanRefused | None = None
    steps: tuple[StepState, ...] = ()
    checks: Mapping[str, CheckState] = field(default_factory=dict)
    approval: Approval | None = None
    approvals: tuple[Approval, ...] = ()
    break_glass: tuple[str, ...] = ()  # the reasons, each time an operator said yes alone
    children: tuple[RunningChild, ...] = ()
    grids: Mapping[str, Grid] = field(default_factory=dict)
    notes: tuple[NoteTaken, ...] = ()
    answers: Mapping[str, tuple[datetime, CheckAnswered]] = field(default_factory=dict)  # the latest to each check
    tried: tuple[tuple[datetime, CheckAnswered], ...] = ()  # all of them, in order
    follow_ups: Mapping[str, FollowUpSet] = field(default_factory=dict)  # what was said of each, by its key
    checklist: ChecklistEdited | None = None
    notices: tuple[Notice, ...] = ()
    sending_asked: int = 0  # line of the journal; 0: never
    tickets: Mapping[str, Ticket] = field(default_factory=dict)  # what became of filing each follow-up, by its key
    deviations: tuple[Deviation, ...] = ()
    rejected: tuple[tuple[datetime, Rejected], ...] = ()
    reminders: tuple[tuple[datetime, Reminded], ...] = ()
    signatures: frozenset[str] = frozenset()  # those that were used
    stop_asked: str = ""
    undo_asked: UndoAsked | None = None
    ended: SessionEnded | None = None
    ended_at: datetime | None = None
    waited: float = 0.0  # seconds in which no step ran, also those of steps that no plan lists any more
    last_seq: int = 0
    last_at: datetime | None = None
    stirred_at: datetime | None = None  # the last thing that changed what is waited for

    @property
    def id(self) -> str:
        return self.begun.session if self.begun else ""

    def step(self, step_id: str) -> StepState | None:
        return next((known for known in self.steps if known.id == step_id), None)

    @property
    def running(self) -> StepState | None:
        return next((known for known in self.steps if known.status is Status.RUNNING), None)

    @property
    def current(self) -> tuple[StepState, ...]:
        """The steps of the plan in force."""
        if self.plan is None:
            return ()
        return tuple(known for known in self.steps if known.revision == self.plan.revision)

    @property
    def latest_revision(self) -> int:
        """The number of the newest plan, 0 before the first. Choosing another backup does not start it anew."""
        return max((known.revision for known in self.steps), default=0)

    @property
    def next_step(self) -> StepState | None:
        """The first step of the plan in force that is not settled."""
        return next((known for known in self.current if not known.status.settled), None)

    @property
    def approved(self) -> bool:
        return self.approval is not None and self.approval.digest == self.plan_digest

    def facts(self, action: str) -> Mapping[str, object]:
        """What the latest step with this action found; empty when it was not carried out."""
        for known in reversed(self.steps):
            if known.step.action == action and known.facts:
                return known.facts
        return _EMPTY

    @property
    def did_anything_destructive(self) -> bool:
        return any(known.step.destructive and known.attempt > 0 for known in self.steps)

    @property
    def puts_back(self) -> bool:
        """Has an undo begun to put the old database back? What was counted in the live one before is no longer it."""
        return any(known.plan is PlanKind.UNDO and known.step.destructive and known.attempt > 0 for known in self.steps)

    def did(self, action: str) -> bool:
        """Was a step with this action begun at all? A step that failed half-way was."""
        return any(known.step.action == action and known.attempt > 0 for known in self.steps)


Change = Callable[[StepState], StepState]


def fold(entries: Iterable[Entry]) -> SessionState:
    state = SessionState()
    for entry in entries:
        state = after(state, entry)
    return state


def after(state: SessionState, entry: Entry) -> SessionState:
    """The state once `entry` has happened. Pure: no clock, no file, no decision about what is allowed."""
    then = _after(state, entry)
    notice = due(state, then, entry)
    return replace(then, notices=(*then.notices, notice)) if notice is not None else then


def _after(state: SessionState, entry: Entry) -> SessionState:
    state = replace(_waiting(state, entry.at), last_seq=entry.seq, last_at=entry.at)
    at = entry.at
    if not isinstance(entry.event, (Reminded, NoteAdded, Rejected, KeyboardTaken)):
        state = replace(state, stirred_at=at)
    match entry.event:
        case SessionBegun() as begun:
            return replace(
                _departing(state, begun.backup, at, begun.operator.name),
                begun=begun,
                begun_at=at,
                backup=begun.backup,
                backup_revision=1,
                keyboard=begun.operator,
                keyboard_since=at,
            )
        case RunnerStarted() as runner:
            resumes = state.resumes + (runner.reason == "resume")
            state = replace(state, runner=runner, runner_at=at, resumes=resumes, stop_asked="")
            state = replace(state, tickets=cut_off(state.tickets, at))
            return _without_keys(state) if runner.reason == "resume" else state
        case BackupChosen(backup=backup):
            # What was found out about the other backup says nothing about this one.
            return replace(
                _departing(state, backup, at, entry.by),
                backup=backup,
                backup_revision=state.backup_revision + 1,
                plan=None,
                plan_digest="",
                plan_refused=None,
                approval=None,
                checks={},
                answers={},
                grids={},
            )
        case KeyboardTaken() as taken:
            # The operator's own first console takes it from nobody: the session was begun before there was one.
            holder, actor = state.keyboard, taken.actor
            own = holder is not None and not holder.console and (holder.name, holder.login) == (actor.name, actor.login)
            handovers = state.handovers if own else (*state.handovers, (at, taken))
            same = holder is not None and (holder.name, holder.login) == (actor.name, actor.login)
            since = state.keyboard_since if same else at
            return replace(state, keyboard=actor, keyboard_since=since, handovers=handovers)
        case PlanMade(plan=plan, digest=digest):
            return _with_plan(state, plan, digest)
        case PlanRefused() as refused:
            return replace(state, plan_refused=refused)
        case CheckDone(check=check):
            return replace(state, checks={**state.checks, check.name: CheckState(check, at)})
        case CheckOverridden(name=name) as override:
            known = state.checks.get(name)
            passed = {name: replace(known, override=override, overridden_at=at)} if known else {}
            alone = ", break-glass: by the operator alone" if override.break_glass else ""
            chosen = f" (backup {state.backup['name']})" if state.backup.get("name") else ""
            state = _using(state, override.signed)
            return _deviating(
                _breaking_glass(replace(state, checks={**state.checks, **passed}), override.break_glass),
                at,
                f"check overridden: {name} was {override.verdict}{chosen}{alone}",
                override.actor.name,
                override.reason,
                override.evidence,
            )
        case CheckAnswered(name=name) as answer:
            check = answered(name, passed=answer.passed, note=answer.note, by=answer.actor.name)
            return replace(
                state,
                checks={**state.checks, name: CheckState(check, at)},
                answers={**state.answers, name: (at, answer)},
                tried=(*state.tried, (at, answer)),
            )
        case Approved() as given:
            approval = Approval(given.digest, given.actor, at, given.until, given.break_glass, given.signed)
            state = replace(_using(state, given.signed), approval=approval, approvals=(*state.approvals, approval))
            state = _breaking_glass(state, given.break_glass)
            if given.break_glass:
                what = "break-glass: approved by the operator alone"
                return _deviating(state, at, what, given.actor.name, given.break_glass)
            return state
        case GateGiven() as gate:
            given_gate = GivenGate(gate.gate, gate.role, gate.actor, gate.text, at, gate.signed)
            state = _with_step(
                _using(state, gate.signed), gate.step, lambda s: replace(s, gates=(*s.gates, given_gate))
            )
            if gate.break_glass:
                what = f"break-glass: {gate.step}, a risk accepted by the operator alone"
                state = _breaking_glass(state, gate.break_glass)
                return _deviating(state, at, what, gate.actor.name, gate.break_glass)
            return state
        case Rejected() as rejected:
            return replace(state, rejected=(*state.rejected, (at, rejected)))
        case Reminded() as reminded:
            return replace(state, reminders=(*state.reminders, (at, reminded)))
        case StepStarted(step=step, attempt=attempt):
            state = _with_step(
                state,
                step,
                lambda s: replace(
                    s,
                    status=Status.RUNNING,
                    attempt=attempt,
                    first_started=s.first_started or at,
                    started=at,
                    ended=None,
                    message="",
                    hint="",
                ),
            )
            return replace(state, stop_asked="")
        case ChildStarted(step=step, pid=pid, started=started, command=command):
            return replace(state, children=(*state.children, RunningChild(step, pid, started, command)))
        case ChildEnded(step=step, pid=pid) as ended:
            gone = next((child for child in state.children if child.pid == pid), None)
            state = replace(state, children=tuple(child for child in state.children if child.pid != pid))
            ran = (gone.command if gone else "", ended.exit)
            return _with_step(state, step, lambda s: replace(s, commands=(*s.commands, ran)))
        case FactFound(step=step, facts=facts):
            return _with_step(state, step, lambda s: replace(s, facts={**s.facts, **facts}))
        case StepEnded() as ended_step:
            return _step_ended(state, ended_step, at)
        case StepSkipped(step=step, actor=actor, reason=reason):
            known_step = state.step(step)
            state = _with_step(state, step, lambda s: replace(s, status=Status.SKIPPED, ended=at, skipped_for=reason))
            title = known_step.step.title if known_step else step
            return _deviating(state, at, f"step skipped: {step} {title}", actor.name, reason)
        case StepRetried(step=step):
            return _with_step(state, step, _again)
        case StopAsked(step=step):
            return replace(state, stop_asked=step)
        case GridMade(where=where, rows=rows):
            return replace(state, grids={**state.grids, where: Grid(where, at, rows)})
        case NoteAdded(actor=actor, text=text):
            return replace(state, notes=(*state.notes, NoteTaken(at, actor, text)))
        case FollowUpSet(key=key) as follow_up:
            return replace(state, follow_ups={**state.follow_ups, key: follow_up})
        case ChecklistEdited() as edited:
            return replace(state, checklist=edited)
        case NoticeSent() as sent:
            told = Attempt(at, entry.seq, sent.ok, sent.reason, sent.text)
            return replace(state, notices=tuple(_tried(one, sent, told) for one in state.notices))
        case SendingAsked():
            return replace(state, sending_asked=entry.seq)
        case TicketsAsked() as filing:
            return replace(state, tickets=asked_for(state.tickets, filing, at))
        case TicketTried() as ticket:
            return replace(state, tickets=tried(state.tickets, ticket, at))
        case UndoAsked() as undo:
            return _deviating(
                replace(state, undo_asked=undo, plan_refused=None), at, "undo", undo.actor.name, undo.reason
            )
        case SessionEnded() as ended_session:
            state = replace(state, ended=ended_session, ended_at=at)
            if ended_session.how is Ending.ABANDONED:
                return _deviating(state, at, "abandoned", entry.by, ended_session.reason)
            return state


def _tried(notice: Notice, sent: NoticeSent, tried: Attempt) -> Notice:
    if notice.number != sent.notice:
        return notice
    return replace(notice, attempts={**notice.attempts, sent.channel: tried})


def _with_plan(state: SessionState, plan: Plan, digest: str) -> SessionState:
    # Steps that were never begun go with the plan that listed them.
    kept = tuple(known for known in state.steps if known.attempt > 0 or known.status is Status.SKIPPED)
    taken = {known.id for known in kept}
    steps = tuple(_renamed(StepState(step, plan.kind, plan.revision), taken, plan.revision) for step in plan.steps)
    return replace(state, plan=plan, plan_digest=digest, plan_refused=None, steps=(*kept, *steps), stop_asked="")


def _renamed(known: StepState, taken: set[str], revision: int) -> StepState:
    """Ids name one step of a session: a later revision's repeat carries its revision, as 2.1/r3."""
    if known.id not in taken:
        return known
    return replace(known, step=replace(known.step, id=f"{known.id}/r{revision}"))


def _without_keys(state: SessionState) -> SessionState:
    """Keys pressed before a runner died start nothing after it: what is true now is shown first."""
    steps = tuple(_keyless(known) if known.status is Status.PENDING else known for known in state.steps)
    return replace(state, steps=steps)


def _keyless(known: StepState) -> StepState:
    kept = (GateKind.ACCEPT, GateKind.SIGN_OFF)  # a role's word stays given
    return replace(known, gates=tuple(gate for gate in known.gates if gate.gate in kept))


def _again(known: StepState) -> StepState:
    """Trying again is a key of its own, and enough for what is harmless. What destroys is confirmed anew."""
    pending = replace(known, status=Status.PENDING)
    return _keyless(pending) if known.step.destructive else pending


def _using(state: SessionState, signed: Signed | None) -> SessionState:
    return replace(state, signatures=state.signatures | {signed.signature}) if signed is not None else state


def _breaking_glass(state: SessionState, reason: str) -> SessionState:
    return replace(state, break_glass=(*state.break_glass, reason)) if reason else state


def _waiting(state: SessionState, at: datetime) -> SessionState:
    """Time since the last event in which no step ran. It is the next step's, whatever the event turns out to be."""
    if state.last_at is None or state.running is not None or state.ended is not None:
        return state
    passed = max((at - state.last_at).total_seconds(), 0.0)
    state = replace(state, waited=state.waited + passed)
    upcoming = state.next_step
    return _with_step(state, upcoming.id, lambda s: replace(s, waited=s.waited + passed)) if upcoming else state


def _with_step(state: SessionState, step_id: str, change: Change) -> SessionState:
    return replace(state, steps=tuple(change(known) if known.id == step_id else known for known in state.steps))


def _step_ended(state: SessionState, ended: StepEnded, at: datetime) -> SessionState:
    status = {
        Result.DONE: Status.DONE,
        Result.FAILED: Status.FAILED,
        Result.SKIPPED: Status.SKIPPED,
        Result.UNKNOWN: Status.UNKNOWN,
    }[ended.result]
    state = _with_step(
        state,
        ended.step,
        lambda s: replace(
            s,
            status=status,
            touched=s.touched or (s.attempt > 0 and not ended.refused),
            ended=at,
            seconds=s.seconds + ended.seconds,
            message=ended.message,
            hint=ended.hint,
            facts={**s.facts, **ended.facts},
            log=ended.log or s.log,
            skipped_for=ended.message if status is Status.SKIPPED else "",
        ),
    )
    return replace(state, stop_asked="")


def _deviating(state: SessionState, at: datetime, what: str, by: str, reason: str, evidence: str = "") -> SessionState:
    return replace(state, deviations=(*state.deviations, Deviation(at, what, by, reason, evidence)))


def departures(backup: Mapping[str, object]) -> tuple[str, ...]:
    """How this restore point departs from the runbook, as by leaving a transaction out."""
    told = backup.get("deviations", ())
    return tuple(str(what) for what in told) if isinstance(told, (list, tuple)) else ()


def _departing(state: SessionState, backup: Mapping[str, object], at: datetime, by: str) -> SessionState:
    """The departures of another restore point are not made any more; those of this one are."""
    before, now = departures(state.backup), departures(backup)
    kept = tuple(known for known in state.deviations if known.what not in before or known.what in now)
    state = replace(state, deviations=kept)
    for what in now:
        if what not in before:
            state = _deviating(state, at, what, by, str(backup.get("reason", "")))
    return state
