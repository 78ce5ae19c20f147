"""Which page holds the next key, how far each page is, and what comes next in one sentence."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from engines.checks import Panel
from engines.people import Role
from engines.session.authority import roles_of_login
from engines.session.events import How, SessionBegun
from engines.session.moves import Ask, AskKind, blocking_checks
from engines.session.plan import GateKind, PlanKind
from engines.session.state import SessionState, Status, StepState
from tui.blocked import others_keyboard
from tui.view import SESSION_PAGES, Line, Page, View

NAMES = {
    Page.BACKUPS: "Backup",
    Page.READINESS: "Readiness",
    Page.RESTORE: "Restore",
    Page.VALIDATION: "Validation",
    Page.HANDOVER: "Handover",
}
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
LIVE = "live database"
STAGED = "staged copy"


LONG_WORK = 15.0  # seconds of work after which a question rings the bell


def badge(begun: SessionBegun) -> str:
    """What the first word says is at stake: of a drill nothing, whatever its target's environment is."""
    return "DRILL" if begun.drill else begun.environment.upper()


def at_stake(engine: str, address: str) -> str:
    """What is restored, as people say it: a file's path, `shop@db1:3306` for a schema on a server."""
    if engine not in ("mysql", "mariadb"):
        return address
    place, _, schema = address.rpartition("/")
    return f"{schema}@{place}"


class NextKey:
    """Follows where the next key is, whether the operator is elsewhere by hand, and how long the question is shown."""

    def __init__(self, read_first: float) -> None:
        self.page = Page.START
        self._read_first = read_first  # seconds
        self._astray = False
        self._question = ""
        self._working = False
        self.calls = False  # is somebody asked just now, after a wait long enough to have looked away?
        self._asked_at = 0.0  # since when the question is on the screen,
        self._entered_at = 0.0  # and when Enter was last pressed (monotonic clock)

    def follow(self, view: View, shown: Page) -> Page | None:
        """The page to move to now; None to stay, because it is there or the operator went elsewhere by hand."""
        ask = view.ask
        question = f"{ask.kind} {ask.step} {ask.text}"
        if question != self._question:
            now = time.monotonic()
            self.calls = self._working and ask.kind is not AskKind.WORKING and now - self._asked_at >= LONG_WORK
            self._question, self._asked_at, self._working = question, now, ask.kind is AskKind.WORKING
        else:
            self.calls = False
        self.page = page_for(view.state, ask)
        self._astray = self._astray and shown is not self.page
        return None if self._astray or shown is self.page else self.page

    def went(self, page: Page, *, by_hand: bool) -> None:
        self._astray = by_hand and page is not self.page

    def call_back(self) -> None:
        """What the operator went elsewhere for is done: follow the next key again."""
        self._astray = False

    def read_yet(self) -> bool:
        """Has the question been on the screen for long enough, and is Enter not just held down or bouncing?"""
        now = time.monotonic()
        calm = now - self._entered_at >= self._read_first
        self._entered_at = now
        return calm and now - self._asked_at >= self._read_first


@dataclass(frozen=True, slots=True)
class Next:
    """What comes next: a sentence, and the word that the footer puts beside Enter (empty: Enter does nothing)."""

    text: str
    enter: str = ""
    typing: bool = False  # letters go into a box: no key of the page does anything


def number(page: Page) -> int:
    return SESSION_PAGES.index(page) + 1


def page_for(state: SessionState, ask: Ask) -> Page:
    """The page on which the next key is pressed."""
    if ask.kind is AskKind.ENDED or (ask.kind in (AskKind.SIGN_OFF, AskKind.WORKING) and _is_signed(state)):
        return Page.HANDOVER
    plan = state.plan
    if plan is None or plan.kind is PlanKind.PREPARE:
        return Page.READINESS
    if ask.kind is AskKind.CHECKS:
        return Page.VALIDATION if _only_validation(state, ask) else Page.READINESS
    begun = any(known.attempt for known in state.current)
    if ask.kind is AskKind.APPROVE and plan.kind is PlanKind.RESTORE and not begun:
        return Page.READINESS
    return Page.RESTORE


def _is_signed(state: SessionState) -> bool:
    """Is the step under way, or the next one, signed off by somebody?"""
    known = state.running or state.next_step
    return known is not None and any(gate.kind is GateKind.SIGN_OFF for gate in known.step.gates)


def _only_validation(state: SessionState, ask: Ask) -> bool:
    return all(name in state.checks and state.checks[name].check.panel is Panel.VALIDATION for name in ask.checks)


def marks(view: View) -> dict[Page, str]:
    """✔ for what is behind, ▶ where the next key is."""
    state = view.state
    if state.begun is None:
        return {Page.BACKUPS: "▶"}
    behind = {
        Page.BACKUPS: True,
        Page.READINESS: state.approved or state.did_anything_destructive,
        Page.RESTORE: state.did_anything_destructive and _settled_but_sign_offs(state),
        Page.VALIDATION: LIVE in state.grids and not _blocking_validation(state),
        Page.HANDOVER: state.ended is not None,
    }
    found = {page: "✔" for page, is_behind in behind.items() if is_behind}
    if state.ended is None:
        found[page_for(state, view.ask)] = "▶"
    return found


def _settled_but_sign_offs(state: SessionState) -> bool:
    return all(known.status.settled or known.step.role is not Role.OPERATOR for known in state.current)


def _blocking_validation(state: SessionState) -> bool:
    differs = any(row.verdict in ("MISMATCH", "MISSING") for row in state.grids[LIVE].rows)
    return differs or any(known.blocks and known.check.panel is Panel.VALIDATION for known in state.checks.values())


def upcoming(view: View, page: Page) -> Next:
    """What comes next in this session, as `page` shows it."""
    state, ask = view.state, view.ask
    if state.begun is None:
        return Next("")
    if view.line is Line.GONE:
        return Next("The runner is gone. What it was doing is not known until it is resumed.", "resume")
    there = page_for(state, ask)
    if ask.kind is AskKind.ENDED:
        text = f"{ask.text} Attach the record to the post-mortem. Esc: back to the targets."
        return Next(text, "" if page is there else "handover")
    if view.line is Line.READ_ONLY:
        return Next(f"Looking only. The session waits: {ask.text}")
    if ask.kind is AskKind.WORKING:
        where = "" if page is there else f" Page {number(there)} shows it."
        return Next(_working(state, ask) + where, "" if page is there else "go there")
    if page is not there:
        return Next(f"The next key is on page {number(there)}, {NAMES[there]}: {_waits_for(state, ask)}", "go there")
    if view.me.how is How.PEER and ask.role.value not in roles_of_login(state, view.me.login):
        return Next(f"You watch. The session waits for the {ask.role}: {_waits_for(state, ask)}")
    if holder := others_keyboard(view):
        return Next(f"{holder} has the keyboard; k takes it over. The session waits: {_waits_for(state, ask)}")
    return _here(state, ask)


def outcome(state: SessionState) -> str:
    """What the last step came to, so that it is not lost when the cursor goes on to the next one.

    Until a runner that took over has ended a step, what was true when it did.
    """
    ended = [known for known in state.current if known.ended is not None and known.attempt]
    last = max(ended, key=lambda known: known.ended or _LONG_AGO, default=None)
    if state.runner is not None and state.runner.reason == "resume" and state.runner_at is not None:
        since = last is not None and last.ended is not None and last.ended >= state.runner_at
        if not since and state.ended is None:
            return taken_up(state)
    if last is None or last.status not in (Status.DONE, Status.SKIPPED):
        return ""
    return f"{last.status.capitalize()}: {last.id} {last.step.title}. {last.message}".strip()


def taken_up(state: SessionState) -> str:
    """What a runner found that took up a dead one's session."""
    pid = state.runner.pid if state.runner else 0
    cut_off = state.running
    under_way = f"{cut_off.id} {cut_off.step.title} was under way" if cut_off else "nothing was under way"
    return f"Runner {pid} took over; {under_way}; {_live(state)}."


def _live(state: SessionState) -> str:
    """Which database is live, as far as the steps say."""
    changing = [known for known in state.steps if known.step.destructive]
    begun = [known for known in changing if known.attempt]
    if not begun:
        return "the old database is live"
    undoing = begun[-1].plan is PlanKind.UNDO
    left = [known for known in changing if known.plan is begun[-1].plan and known.status is not Status.DONE]
    if left:
        return f"{left[0].id} {left[0].step.title} is {left[0].status}: reinstate check says what is live"
    return "the old database is live again" if undoing else "the restored database is live"


def _working(state: SessionState, ask: Ask) -> str:
    if state.running is None:
        return ask.text
    if state.stop_asked == state.running.id:
        return f"{state.running.id} {state.running.step.title} is asked to stop; it does so at the next safe place."
    return f"{state.running.id} {state.running.step.title} is under way. Nothing to press; s stops it safely."


def _waits_for(state: SessionState, ask: Ask) -> str:
    """What is asked on another page. Enter does not answer it here, so it is not named."""
    known = state.step(ask.step)
    name = f"{known.id} {known.step.title}" if known else ""
    match ask.kind:
        case AskKind.CONFIRM | AskKind.TYPED | AskKind.TOLD:
            return f"{name}."
        case AskKind.ACCEPT | AskKind.SIGN_OFF:
            return f"{ask.role}: {ask.text}"
        case AskKind.CHOOSE | AskKind.DECIDE if known is not None:
            return f"{name} {_went_wrong(known)}. {ask.text}"
        case _:
            return ask.text


def _here(state: SessionState, ask: Ask) -> Next:
    known = state.step(ask.step)
    name = f"{known.id} {known.step.title}" if known else ""
    match ask.kind:
        case AskKind.CONFIRM:
            return Next(f"Next: {name}. {_sentence(ask.text)}", "run it")
        case AskKind.TYPED:
            return Next(f"Next: {name}. {_sentence(ask.text)} Enter asks for the target's name.", "type name")
        case AskKind.TOLD:
            return Next(f"Next: {name}. {_sentence(ask.text)} Enter asks whom.", "type whom")
        case AskKind.ACCEPT:
            return Next(f"Before {name}, the {ask.role} accepts by name: {ask.text}", "accept")
        case AskKind.SIGN_OFF:
            return Next(f"The {ask.role} signs off by name: {ask.text}", "sign off")
        case AskKind.APPROVE:
            return Next(f"{ask.text} Enter shows the plan.", "approve")
        case AskKind.CHECKS:
            return Next(ask.text, "choose")
        case _:
            return Next(_stuck(state, ask), "choose")


def _stuck(state: SessionState, ask: Ask) -> str:
    """What can't go on, the key first: the reason may be longer than there is room for."""
    known = state.step(ask.step)
    if known is None:
        return f"No plan can be made. Enter: what can be done. {ask.text}"
    name = f"{known.id} {known.step.title}"
    if passed := _let_pass_since(state, known):
        return f"{name} failed. Let pass since: {', '.join(passed)}. r does it again; Enter: what else can be done."
    return f"{name} {_went_wrong(known)}. Enter: what can be done. {ask.text}"


def _went_wrong(known: StepState) -> str:
    return "failed" if known.status is Status.FAILED else "has an outcome that is not known"


def _let_pass_since(state: SessionState, known: StepState) -> list[str]:
    """The checks that were overridden after this step failed, where none is left that blocks."""
    if known.status is not Status.FAILED or known.ended is None or blocking_checks(state, tuple(Panel)):
        return []
    when = {name: check.overridden_at for name, check in state.checks.items() if check.override is not None}
    return [name for name, at in when.items() if at is not None and at >= known.ended]


def _sentence(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?" else text + "."
