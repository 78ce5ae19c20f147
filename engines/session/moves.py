"""What comes next, and what is not allowed now. Pure: the runner obeys it, the consoles show it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from engines.checks import Panel
from engines.errors import Refused
from engines.people import Role
from engines.session import commands as c
from engines.session.answers import bare, is_functional
from engines.session.authority import check_established, check_may, check_name, check_not_own, speaker
from engines.session.events import Actor, Ending
from engines.session.followups import checklist_path, follow_ups
from engines.session.notices import unsent
from engines.session.plan import GateKind, PlanKind, Step
from engines.session.state import SessionState, Status, StepState, departures
from engines.session.statement import Signable, read_until
from engines.session.tickets import tickets_of, to_be_filed, unfiled
from engines.text import parse_stamp

DEFAULT_WINDOW = 8 * 3600.0  # seconds that an approval holds unless the configuration says otherwise
BEFORE_DESTRUCTION = (Panel.SPACE, Panel.PREREQUISITES)


class AskKind(StrEnum):
    """What the session waits for."""

    WORKING = "working"
    CHOOSE = "choose"  # this backup can't be used: another, again, or abandon
    CHECKS = "checks"  # checks block: mend and check again, or the commander overrides
    APPROVE = "approve"
    CONFIRM = "confirm"
    TYPED = "typed"
    TOLD = "told"
    ACCEPT = "accept"
    SIGN_OFF = "sign-off"
    DECIDE = "decide"  # a step failed or its outcome is unknown: again, skip, undo, abandon
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Ask:
    kind: AskKind
    text: str
    role: Role = Role.OPERATOR
    step: str = ""
    checks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MakePlan:
    kind: PlanKind


@dataclass(frozen=True, slots=True)
class Start:
    step: Step
    attempt: int


@dataclass(frozen=True, slots=True)
class PassOver:
    """Record a step that is not configured as skipped."""

    step: Step


@dataclass(frozen=True, slots=True)
class End:
    how: Ending
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    ask: Ask


Move = MakePlan | Start | PassOver | End | Wait


def next_move(state: SessionState, now: datetime) -> Move:
    """What the runner does next, or whom it waits for. A drill waits for nobody."""
    move = _next_move(state, now)
    return _unattended(state, move) if is_drill(state) else move


def is_drill(state: SessionState) -> bool:
    return state.begun is not None and state.begun.drill


def _unattended(state: SessionState, move: Move) -> Move:
    """The same without anybody who could answer: where a restore would ask, a drill has failed.

    What preparing finds is gathered to its end first. Then a check that blocks is an end, not a question.
    """
    match move:
        case Wait(ask=Ask(kind=AskKind.WORKING | AskKind.ENDED)):
            return move
        case Wait(ask=ask):
            known = state.step(ask.step)  # its hint is for somebody with keys
            return End(Ending.FAILED, f"{known.step.title}: {known.message}" if known and known.message else ask.text)
    preparing = state.plan is None or state.plan.kind is PlanKind.PREPARE
    blocking = blocking_checks(state, tuple(Panel))
    if blocking and (not preparing or isinstance(move, MakePlan)):
        return End(Ending.FAILED, "; ".join(f"{name}: {state.checks[name].check.evidence}" for name in blocking))
    return End(Ending.PROVEN) if isinstance(move, End) else move


def _next_move(state: SessionState, now: datetime) -> Move:
    if state.ended is not None:
        return Wait(Ask(AskKind.ENDED, f"The session is over: {state.ended.how}."))
    if state.running is not None:
        return Wait(Ask(AskKind.WORKING, state.running.step.title, step=state.running.id))
    wanted = _plan_wanted(state)
    if wanted is not None:
        refused = state.plan_refused
        if refused is not None and refused.kind_of_plan is wanted:
            kind = AskKind.CHOOSE if wanted is not PlanKind.UNDO else AskKind.DECIDE
            return Wait(Ask(kind, f"{refused.message} {refused.hint}"))
        return MakePlan(wanted)
    upcoming = state.next_step
    if upcoming is None:
        undone = state.plan is not None and state.plan.kind is PlanKind.UNDO
        return End(Ending.UNDONE if undone else Ending.SIGNED_OFF)
    return _move_for(state, upcoming, now)


def _plan_wanted(state: SessionState) -> PlanKind | None:
    plan = state.plan
    if state.undo_asked is not None and (plan is None or plan.kind is not PlanKind.UNDO):
        return PlanKind.UNDO
    if plan is None:
        return PlanKind.PREPARE
    if plan.kind is PlanKind.PREPARE and state.next_step is None:
        return PlanKind.RESTORE
    return None


def _move_for(state: SessionState, upcoming: StepState, now: datetime) -> Move:
    step = upcoming.step
    if upcoming.status in (Status.FAILED, Status.UNKNOWN):
        kind = AskKind.DECIDE
        if upcoming.plan is PlanKind.PREPARE and not state.did_anything_destructive:
            kind = AskKind.CHOOSE
        return Wait(Ask(kind, f"{upcoming.message} {upcoming.hint}".strip(), step=upcoming.id))
    wanted = approval_wanted(state, now)
    # A way back is not barred by checks: they may be why it is taken.
    guarded = upcoming.plan is PlanKind.RESTORE
    if guarded and wanted and (blocking := blocking_checks(state, BEFORE_DESTRUCTION)):
        return Wait(_checks_ask(blocking))
    if wanted:
        return Wait(Ask(AskKind.APPROVE, wanted, Role.COMMANDER))
    if not step.configured:
        return PassOver(step)
    # Going live is a gate of its own that shows the validation of the staged copy first. What can't go live as it is
    # is decided while the application still serves.
    looked_at = tuple(Panel) if step.destructive else (Panel.VALIDATION,) if step.halts else ()
    if guarded and (blocking := blocking_checks(state, looked_at)):
        return Wait(_checks_ask(blocking))
    gate = upcoming.missing()
    if gate is None:
        return Start(step, upcoming.attempt + 1)
    if gate.kind is GateKind.SIGN_OFF and (blocking := blocking_checks(state, tuple(Panel))):
        return Wait(_checks_ask(blocking))
    return Wait(Ask(AskKind(gate.kind.value), gate.text, gate.role, upcoming.id))


def _checks_ask(blocking: tuple[str, ...]) -> Ask:
    if all(map(is_functional, blocking)):
        tried = ", ".join(map(bare, blocking))
        text = f"The application owner tries by hand and answers (f): {tried}. Or the incident commander overrides."
        return Ask(AskKind.CHECKS, text, Role.OWNER, checks=blocking)
    count = "1 check blocks" if len(blocking) == 1 else f"{len(blocking)} checks block"
    text = f"{count}: {', '.join(blocking)}. Mend and check again, or the incident commander overrides by name."
    return Ask(AskKind.CHECKS, text, Role.COMMANDER, checks=blocking)


def blocking_checks(state: SessionState, panels: tuple[Panel, ...]) -> tuple[str, ...]:
    return tuple(name for name, known in state.checks.items() if known.check.panel in panels and known.blocks)


def approval_wanted(state: SessionState, now: datetime) -> str:
    """Why an approval is needed now; empty when the plan in force is approved and inside its window."""
    if state.plan is None or not state.plan.needs_approval:
        return ""
    if not state.approved:
        if state.plan.kind is PlanKind.UNDO:
            return "The application may be up: the incident commander approves the undo, and what it discards."
        if state.approvals:
            return "The plan has changed since it was approved. It needs a new approval."
        return "The incident commander reads the plan and approves it."
    # Half-way between two destructive steps the way on must not wait. An attempt that failed opens nothing.
    destroyed = any(known.step.destructive and known.status is Status.DONE for known in state.current)
    if state.approval is not None and not destroyed and _is_over(state, state.approval.until, now):
        return "The approved restore window has ended. The plan needs a new approval."
    return ""


def _is_over(state: SessionState, until: str, now: datetime) -> bool:
    # A clock that was set back does not open a window again: time is at least what the journal has seen.
    latest = max(now, state.last_at) if state.last_at is not None else now
    try:
        return latest >= parse_stamp(until)
    except (ValueError, OverflowError):
        return True


def check_command(state: SessionState, command: c.Command, actor: Actor, now: datetime) -> None:
    """Raise Refused, saying why and what to do, for a command that is not allowed now."""
    if state.ended is not None and not isinstance(command, c.Note):
        raise Refused(
            f"The session is over ({state.ended.how}). Nothing was changed.",
            "Begin a new one: reinstate restore.",
        )
    check_may(state, command, actor)
    if needs_keyboard(command):
        check_keyboard(state, actor)
    if is_drill(state) and not isinstance(command, (c.Note, c.Stop, c.Abandon, c.TakeKeyboard)):
        raise Refused(
            "A drill asks nobody: what a person decides in a restore is configured. Nothing was changed.",
            "Watch it, stop it (s) or abandon it (x).",
        )
    match command:
        case c.Give():
            _check_give(state, command, actor, now)
        case c.Approve():
            _check_approve(state, command, actor, now)
        case c.Override(check=check, name=name, reason=reason):
            known = state.checks.get(check)
            if known is None or not known.blocks:
                raise Refused(f"The check {check!r} does not block anything.", "Choose one that says FAIL or UNKNOWN.")
            check_seen(state, command)
            who = speaker(state, actor, name)
            check_established(state, who, reason)
            check_name(state, Role.COMMANDER, who)
            _check_reason(reason, "An override")
            check_not_own(state, who.name, "override a check of their own restore", reason)
        case c.Recheck(name=name):
            _check_idle(state, "Checks run again once it has ended.")
            if is_functional(name):
                raise Refused(f"{bare(name)} is tried by hand. Nothing was asked.", "Answer it instead (f).")
            if name not in state.checks:
                raise Refused(f"There is no check {name!r}.", "Choose one of those listed.")
        case c.Answer():
            _check_answer(state, command, actor)
        case c.FollowUp():
            _check_follow_up(state, command)
        case c.Checklist():
            _check_idle(state, "Enter it once that has ended.")
            if not checklist_path(state):
                raise Refused(
                    "No security checklist is configured. Nothing was written.",
                    "`security_checklist` in the target's application section names it.",
                )
        case c.SendAgain():
            if not unsent(state):
                raise Refused("Nothing is unsent, so nothing was sent.", "What was sent is on page 5.")
        case c.FileTickets(keys=keys):
            check_filing(state, keys)
        case c.Retry(step=step) | c.Skip(step=step):
            _check_decide(state, command, step)
        case c.Stop(step=step):
            if state.running is None or state.running.id != step:
                raise Refused("No such step is under way, so there is nothing to stop.", "Look at the steps.")
        case c.Choose(backup=backup):
            _check_idle(state, "Choose another backup once it has ended.")
            if any(known.plan is not PlanKind.PREPARE and known.attempt for known in state.steps):
                raise Refused(
                    "The restore has begun, so this session keeps its backup. Nothing was changed.",
                    "Undo this restore first (u), then begin another session.",
                )
            if set(departures(backup)) - set(departures(state.backup)):
                _check_reason(str(backup.get("reason", "")), "Leaving something out of a restore")
        case c.Undo(reason=reason):
            _check_idle(state, "Stop it first (s), or wait for it.")
            _check_reason(reason, "An undo")
            if any(known.step.final and known.touched for known in state.steps):
                raise Refused(
                    "The session is signed off, so it can't be undone any more. Nothing was changed.",
                    "Go on to its end. The safety snapshot is a restore point of its own: reinstate backups.",
                )
            if state.plan is not None and state.plan.kind is PlanKind.UNDO:
                raise Refused("The undo is already under way.", "Go on with its next step.")
        case c.Abandon(reason=reason):
            _check_idle(state, "Stop it first (s), or wait for it.")
            _check_reason(reason, "Abandoning")
        case c.Note(text=text):
            if not text.strip():
                raise Refused("The note is empty. Nothing was kept.", "Type what the post-mortem should know.")
        case c.TakeKeyboard(name=name, reason=reason):
            if not speaker(state, actor, name).name.strip():
                raise Refused("Whoever takes the keyboard gives a name.", "Type your name.")
            _check_reason(reason, "Taking the keyboard")


def overriding(state: SessionState, check: str, name: str, reason: str) -> c.Override:
    """The override of what this check says in `state`: that is what was read."""
    known = state.checks.get(check)
    return c.Override(check, name, reason, known.check.sha256 if known is not None else "")


def check_seen(state: SessionState, command: c.Command) -> None:
    """Raise Refused for an override of something else than what the check says now: nobody has read that."""
    known = state.checks.get(command.check) if isinstance(command, c.Override) else None
    if known is None or not isinstance(command, c.Override) or command.seen == known.check.sha256:
        return
    raise Refused(
        f"The check {command.check!r} does not say any more what was read. It says now {known.check.verdict}: "
        f"{known.check.evidence.rstrip('. ')}. Nothing was changed.",
        "Read that, then override it if it may still pass.",
    )


def check_signable(state: SessionState, command: Signable, now: datetime) -> None:
    """Raise Refused for a signature whose time has passed, or that would hold for longer than the configured window."""
    if command.signature is None:
        return
    until = read_until(command.signature.until)
    if isinstance(command, c.Give) and command.gate not in (GateKind.ACCEPT, GateKind.SIGN_OFF):
        raise Refused("A key or a typed name takes no signature. Nothing was changed.", "Press it at the console.")
    if isinstance(command, (c.Give, c.Approve)) and command.break_glass.strip():
        raise Refused("Nobody signs for breaking the glass. Nothing was changed.", "Type it at the console.")
    if _is_over(state, command.signature.until, now):
        raise Refused(
            f"The signature could be used until {command.signature.until}, and that is past. Nothing was changed.",
            "Print what waits for a signature now, and sign that.",
        )
    window = state.begun.approval.get("window_seconds") if state.begun else None
    longest = float(window) if isinstance(window, (int, float)) else DEFAULT_WINDOW
    if (until - now).total_seconds() > longest + 60:  # the clocks of two machines
        raise Refused(
            f"The signature would hold until {command.signature.until}, longer than an approval may. Nothing was "
            "changed.",
            "Print what waits for a signature now, and sign that.",
        )


def needs_keyboard(command: c.Command) -> bool:
    """Only from the console that holds the keyboard. A note and a role's yes may come from any."""
    if isinstance(command, c.Give):
        return command.gate not in (GateKind.ACCEPT, GateKind.SIGN_OFF)
    from_any = (c.Note, c.FollowUp, c.FileTickets, c.TakeKeyboard, c.Approve, c.Override, c.Answer)
    return not isinstance(command, from_any)


def check_keyboard(state: SessionState, actor: Actor) -> None:
    """Raises Refused where somebody else holds the keyboard, or the same person at another console."""
    holder = state.keyboard
    if holder is not None and (holder.login, holder.console) != (actor.login, actor.console):
        raise Refused(
            f"{holder.name} holds the keyboard. Nothing was changed.", "Watch, or take the keyboard over (k)."
        )


def _check_answer(state: SessionState, answer: c.Answer, actor: Actor) -> None:
    if answer.check not in state.checks or not is_functional(answer.check):
        raise Refused(
            f"{answer.check!r} is not among what the application owner is asked. Nothing was changed.",
            "Choose one of those listed; they come once everything runs again.",
        )
    who = speaker(state, actor, answer.name)
    check_established(state, who)
    check_name(state, Role.OWNER, who)
    if not answer.passed and not answer.note.strip():
        raise Refused("What failed needs a note. Nothing was changed.", "Type what was seen, in a few words.")


def _check_follow_up(state: SessionState, told: c.FollowUp) -> None:
    if told.key and told.key not in {one.key for one in follow_ups(state)}:
        raise Refused(f"There is no follow-up {told.key!r}. Nothing was changed.", "Choose one of those listed.")
    if not told.task.strip():
        raise Refused("A follow-up says what is to be done. Nothing was kept.", "Type it, in a few words.")
    if told.due:
        try:
            date.fromisoformat(told.due)
        except ValueError:
            raise Refused(f"{told.due!r} is no date. Nothing was kept.", "Write it as 2026-11-27.") from None


def check_filing(state: SessionState, keys: tuple[str, ...]) -> None:
    """Raise Refused where these follow-ups, or with no key any, can't be filed as issues."""
    if tickets_of(state.begun) is None:
        raise Refused(
            "No repository for tickets is configured. Nothing was filed.",
            "[tickets] in the configuration names it, from the next session on. A ticket's number can be typed.",
        )
    known = {one.key: one for one in follow_ups(state)}
    for key in keys:
        if key not in known:
            raise Refused(f"There is no follow-up {key!r}. Nothing was filed.", "Choose one of those listed.")
        if known[key].ticket:
            raise Refused(f"It has its ticket: {known[key].ticket}. Nothing was filed.", "Choose one without.")
    if not to_be_filed(state, keys):
        under_way = "What is left is being filed." if unfiled(state) else "Every follow-up has its ticket."
        raise Refused(f"{under_way} Nothing more was filed.", "What became of it is on page 5.")


def _check_idle(state: SessionState, hint: str) -> None:
    if state.running is not None:
        raise Refused(f"Step {state.running.id} {state.running.step.title} is under way.", hint)


def _check_reason(reason: str, what: str) -> None:
    if len(reason.strip()) < 3:
        raise Refused(
            f"{what} needs a reason; it goes into the record. Nothing was changed.",
            "Type why, in a few words.",
        )


def _check_give(state: SessionState, give: c.Give, actor: Actor, now: datetime) -> None:
    move = next_move(state, now)
    if not isinstance(move, Wait) or move.ask.step != give.step or move.ask.kind.value != give.gate.value:
        waiting = move.ask.text if isinstance(move, Wait) else "The runner is about to go on by itself."
        raise Refused(
            f"Step {give.step} does not wait for this now. {waiting}", "Look again: the session has moved on."
        )
    if give.role is not move.ask.role:
        raise Refused(f"This is for the {move.ask.role} to say. Nothing was changed.", "Ask them.")
    if give.gate is GateKind.TYPED and state.begun is not None:
        name = str(state.begun.target.get("name", ""))
        if give.text != name:
            raise Refused("That is not the target's name. Nothing was changed.", f"Type {name} exactly.")
    if give.gate is GateKind.TOLD and len(give.text.strip()) < 3:
        raise Refused(
            "Whom you told goes into the record. Nothing was changed.", "Type their name, and how you told them."
        )
    if give.gate in (GateKind.ACCEPT, GateKind.SIGN_OFF):
        who = speaker(state, actor, give.name)
        check_established(state, who, give.break_glass if give.gate is GateKind.ACCEPT else "")  # a sign-off can wait
        check_name(state, give.role, who)
        if give.gate is GateKind.ACCEPT:
            check_not_own(state, who.name, "accept a risk of their own restore", give.break_glass)


def _check_approve(state: SessionState, approve: c.Approve, actor: Actor, now: datetime) -> None:
    if state.plan is None or not state.plan.needs_approval:
        raise Refused("There is no plan that needs an approval yet.", "Wait until it is made.")
    if approve.digest != state.plan_digest:
        raise Refused(
            f"This approval names plan {approve.digest[:12]}, but the plan in force is {state.plan_digest[:12]}.",
            "Read the plan in force, then approve that one.",
        )
    if not approval_wanted(state, now):
        raise Refused("This plan is approved already.", "Go on with its next step.")
    blocking = blocking_checks(state, BEFORE_DESTRUCTION)
    if blocking and state.plan.kind is PlanKind.RESTORE:
        raise Refused(f"These checks block: {', '.join(blocking)}.", "Mend and check again, or override them by name.")
    who = speaker(state, actor, approve.name)
    check_established(state, who, approve.break_glass)
    check_name(state, Role.COMMANDER, who)
    check_not_own(state, who.name, "approve their own plan", approve.break_glass)


def _check_decide(state: SessionState, command: c.Retry | c.Skip, step: str) -> None:
    known = state.step(step)
    if known is None or state.next_step is None or state.next_step.id != step:
        raise Refused(f"Step {step} is not the one that waits.", "Look again: the session has moved on.")
    if isinstance(command, c.Retry):
        if known.status not in (Status.FAILED, Status.UNKNOWN):
            raise Refused(f"Step {step} has not failed.", "Go on with it instead.")
        return
    _check_reason(command.reason, "Skipping a step")
    if not known.step.optional:
        raise Refused(
            f"Step {step} {known.step.title} can't be skipped. Nothing was changed.",
            "What comes after it relies on it. Try it again, undo, or abandon.",
        )
    _check_idle(state, "Stop it first (s), or wait for it.")


def left_behind(state: SessionState) -> tuple[str, ...]:
    """What stopping for good now would leave as it is: each step that changed something, with its undo."""
    return tuple(_with_undo(known) for known in _not_put_right(state))


def still_stopped(state: SessionState) -> tuple[str, ...]:
    """What a signed-off session leaves as it is: each thing that was stopped and not started again since.

    What the restore itself replaced is not among them: closing the session has cleared that away.
    """
    counterparts = {action for known in state.steps for action in _puts_right(known)}
    return tuple(
        _with_undo(known)
        for known in _not_put_right(state)
        if known.step.action in counterparts and not known.step.destructive
    )


def out_of_service_since(state: SessionState) -> datetime | None:
    """Since when something that people use is stopped; None while everything serves."""
    stopped = [known.first_started for known in _not_put_right(state) if known.step.halts and known.first_started]
    return min(stopped, default=None)


def _with_undo(known: StepState) -> str:
    return f"{known.id} {known.step.title}: {known.step.undo}"


def _puts_right(known: StepState) -> list[str]:
    """The actions that this step takes back."""
    return str(known.step.params.get("puts_right", "")).split()


def _not_put_right(state: SessionState) -> tuple[StepState, ...]:
    """Steps with an undo that were begun, and whose opposite has not been carried out after them."""
    return tuple(
        known
        for place, known in enumerate(state.steps)
        if known.step.undo
        and known.attempt > 0
        and not any(
            later.status is Status.DONE and known.step.action in _puts_right(later)
            for later in state.steps[place + 1 :]
        )
    )
