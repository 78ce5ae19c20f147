"""Why a key does nothing now. The session's own rules answer: the command that it would send is tried on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from engines.errors import Refused
from engines.people import Role
from engines.recipes.mysql.exploring import staged
from engines.recipes.mysql.until import until_of
from engines.session import commands as c
from engines.session.authority import check_may, is_own, may_break_glass, names_for
from engines.session.events import Actor, How
from engines.session.moves import AskKind, check_command, check_filing, check_keyboard, needs_keyboard, overriding
from engines.session.plan import GateKind
from engines.session.state import SessionState
from tui.view import Line, View

_TO_BE_TYPED = "to be typed"
_NOTHING_FAILED = "Nothing has failed here, and no check is selected that could be asked again."
_NONE_TRIED = "Select one of the checks that the application owner tries (functional: …)."
_NEEDS_RUNNER = frozenset(
    {
        "again",
        "approve",
        "override",
        "stop",
        "skip",
        "undo",
        "note",
        "keyboard",
        "abandon",
        "choose",
        "other-backup",
        "until",
        "answer",
        "follow-up",
        "new-follow-up",
        "checklist",
        "send-again",
        "file",
        "file-all",
    },
)


def blocked(key: str, view: View, subject: str) -> str:
    """The reason why `key` does nothing with this selection; empty when it may be pressed."""
    if key == "resume":
        return "" if view.line is Line.GONE else _no_resume(view.line)
    if key.startswith("page-") and view.state.begun is None:
        return _line(Line.NONE)
    if key in ("plan", "grid", "log", "command"):
        return _nothing_to_show(key, view, subject)
    if key == "explore":
        return _nothing_to_explore(view.state)
    if key == "enter" and view.line is Line.READ_ONLY:
        return _line(view.line)
    if key not in _NEEDS_RUNNER:
        return ""
    if key == "until" and (reason := _nothing_after(view.state)):
        return reason
    if key in ("file", "file-all") and view.line is Line.OVER:
        return _filed_later(view.state)
    if view.line is not Line.ALIVE:
        return _line(view.line)
    command = _command(key, view, subject)
    if isinstance(command, str):
        return command
    return refusal(view, command)


def refusal(view: View, command: c.Command) -> str:
    """What the session's rules say against a command; empty when nothing."""
    try:
        check_command(view.state, command, _actor(view), view.now)
    except Refused as error:
        return f"{error.message} {error.hint}".strip()
    return ""


_SAYS: Mapping[AskKind, GateKind] = {
    AskKind.TYPED: GateKind.TYPED,
    AskKind.TOLD: GateKind.TOLD,
    AskKind.ACCEPT: GateKind.ACCEPT,
    AskKind.SIGN_OFF: GateKind.SIGN_OFF,
}

_BY_KEYBOARD = (AskKind.CONFIRM, AskKind.TYPED, AskKind.TOLD, AskKind.CHOOSE, AskKind.DECIDE)


def not_yours(view: View) -> str:
    """Why this console can't say what the session waits for: another's role, or another's keyboard; else empty."""
    ask = view.ask
    gate = _SAYS.get(ask.kind)
    command = c.Give(ask.step, gate, ask.role) if gate is not None else c.Approve("", "")
    try:
        if needs_keyboard(command):
            check_keyboard(view.state, _actor(view))
        check_may(view.state, command, _actor(view))
    except Refused as error:
        return f"{error.message} {error.hint}".strip()
    return ""


def others_keyboard(view: View) -> str:
    """Who holds the keyboard that the next answer has to come from, where this console can't give it; else empty."""
    holder = view.state.keyboard
    if holder is None or view.ask.kind not in _BY_KEYBOARD:
        return ""
    try:
        check_keyboard(view.state, _actor(view))
    except Refused:
        return holder.name
    return ""


def _actor(view: View) -> Actor:
    # A console of the holder's own login is given the keyboard when the holder's console is gone, which only the
    # runner knows: so let it decide.
    holder = view.state.keyboard
    if holder is not None and holder.login == view.me.login:
        return replace(view.me, console=holder.console)
    return view.me


def _command(key: str, view: View, subject: str) -> c.Command | str:
    """The command that the key would send; a text when there is none."""
    state = view.state
    waiting = state.next_step.id if state.next_step else ""
    match key:
        case "again":
            if view.ask.kind in (AskKind.CHOOSE, AskKind.DECIDE):
                return c.Retry(waiting)
            return c.Recheck(subject) if subject in state.checks else _NOTHING_FAILED
        case "approve":
            return c.Approve(state.plan_digest, _somebody(view, Role.COMMANDER), _TO_BE_TYPED)
        case "override":
            return overriding(state, subject, _somebody(view, Role.COMMANDER), _TO_BE_TYPED)
        case "answer":
            return c.Answer(subject, True, _somebody(view, Role.OWNER)) if subject in state.checks else _NONE_TRIED
        case "follow-up":
            return c.FollowUp(subject, _TO_BE_TYPED) if subject else "There is no follow-up yet. t writes one down."
        case "new-follow-up":
            return c.FollowUp("", _TO_BE_TYPED)
        case "checklist":
            return c.Checklist("", "")
        case "send-again":
            return c.SendAgain()
        case "file":
            return c.FileTickets((subject,)) if subject else "There is no follow-up yet. t writes one down."
        case "file-all":
            return c.FileTickets()
        case "stop":
            return c.Stop(state.running.id if state.running else "")
        case "skip":
            return c.Skip(waiting, _TO_BE_TYPED)
        case "undo":
            return c.Undo(_TO_BE_TYPED)
        case "abandon":
            return c.Abandon(_TO_BE_TYPED)
        case "choose" | "other-backup" | "until":
            return c.Choose({})
        case "keyboard":
            if state.keyboard is not None and state.keyboard.console == view.me.console:
                return "You hold the keyboard."
            return c.TakeKeyboard(view.me.name, _TO_BE_TYPED)
        case _:
            return c.Note(_TO_BE_TYPED)


def _somebody(view: View, role: Role) -> str:
    """A name that the role's check of names lets pass, an operator's last: who it really is gets typed later."""
    if view.me.how is How.PEER:
        return view.me.name
    state = view.state
    # Where no typed name is enough, the operator's own is, with a reason.
    alone = state.begun is not None and state.begun.approval.get("asserted") is False and may_break_glass(state)
    listed = sorted(names_for(state, role), key=lambda name: is_own(state, name) is not alone)
    return listed[0] if listed else _TO_BE_TYPED


def _filed_later(state: SessionState) -> str:
    """A session that is over has no runner that could file anything; a command does it."""
    try:
        check_filing(state, ())
    except Refused as error:
        return f"{error.message} {error.hint}"
    return f"The session is over. What has no ticket is filed by: reinstate tickets {state.id}"


def _line(line: Line) -> str:
    match line:
        case Line.GONE:
            return "The runner of this session is gone, so nothing can be asked of it. R resumes it."
        case Line.OVER:
            return "The session is over. Its record is on page 5."
        case Line.READ_ONLY:
            return "This console only looks. Nothing was changed."
        case _:
            return "There is no session yet. Choose a backup first (Enter)."


def _no_resume(line: Line) -> str:
    return "The runner is alive: there is nothing to resume." if line is Line.ALIVE else _line(line)


def _nothing_after(state: SessionState) -> str:
    if state.begun is None:
        return "No backup is chosen yet. Enter on a dump asks how far to go beyond it; an SQLite copy has no logs."
    return "An SQLite copy has no logs after it." if state.begun.engine == "sqlite" else ""


def _nothing_to_explore(state: SessionState) -> str:
    if state.begun is None:
        return "There is no session yet. Choose a backup first."
    if reason := _nothing_after(state):
        return reason
    if not until_of(state).replays:
        return "The dump alone is restored, so no logs are staged. Page 1, then t: go beyond it."
    return "" if staged(state) is not None else "The logs are not staged yet: that is a step of the preparation."


def _nothing_to_show(key: str, view: View, subject: str) -> str:
    state = view.state
    if key == "plan":
        return "" if state.plan is not None else "There is no plan yet."
    if key == "grid":
        return "" if len(state.grids) > 1 else "There is only one grid so far." if state.grids else "No grid yet."
    step = state.step(subject)
    if step is None:
        return "Select a step first."
    if key == "log" and not step.attempt:
        return "This step has not begun: it has no log yet."
    return ""
