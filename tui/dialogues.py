"""What each key asks before its command is sent: the words of the dialogues, and the commands they make. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from engines.checklist import Edit
from engines.checks import Panel
from engines.errors import UsageError
from engines.people import Role
from engines.session import commands as c
from engines.session.answers import bare, is_functional
from engines.session.authority import may_break_glass, names_for
from engines.session.events import Filing, How
from engines.session.followups import FollowUp, follow_ups
from engines.session.moves import Ask, AskKind, blocking_checks, left_behind, overriding
from engines.session.plan import GateKind, Step
from engines.session.state import SessionState
from engines.session.tickets import body_of, tickets_of, title_of, to_be_filed
from engines.text import both_zones, duration, parse_stamp, span
from screens.modals.form import Field, Form
from screens.modals.question import Answer, Question
from tui.answers import has_passed
from tui.blocked import blocked
from tui.keys import ALWAYS, keys_of
from tui.narration import plan_lines, unchanged_checklist
from tui.pages import STAGED, at_stake
from tui.view import Page, View
from tui.widgets.grid import tally

NAME = "name"
TARGET = "target"
REASON = "reason"
STOP = "stop"  # and the step's number: what an answer gives that stops a step


def approve(view: View) -> Form:
    """The whole plan, and the commander's name under it."""
    state = view.state
    lines = tuple(plan_lines(state.plan, state.plan_digest)) if state.plan else ()
    fields = [_who(view, Role.COMMANDER)]
    if may_break_glass(state) and not _is_known(view):
        fields.append(_glass("approves"))
    digest = state.plan_digest
    return Form(
        "Read the plan. Whoever approves it answers for it.",
        lines,
        tuple(fields),
        "approves exactly this plan",
        lambda typed: c.Approve(digest, _named(view, typed), typed.get(REASON, "").strip()),
    )


def _is_known(view: View) -> bool:
    """Does the runner know by our login who we are? Then no name is typed."""
    return view.me.how is How.PEER


def _who(view: View, role: Role) -> Field:
    """Who says it; who is known by the login types what it is about, so that no key pressed by habit is a yes."""
    if _is_known(view):
        target = str(view.state.begun.target.get("name", "")) if view.state.begun else ""
        return Field(TARGET, f"As {view.me.name}, by your login. Type the target's name ({target})")
    return Field(NAME, _name_label(view.state, role))


def _named(view: View, typed: Mapping[str, str]) -> str:
    """The name that the command carries. Raises UsageError where the target's name was typed wrongly."""
    if not _is_known(view):
        return typed[NAME].strip()
    target = str(view.state.begun.target.get("name", "")) if view.state.begun else ""
    if typed[TARGET].strip() != target:
        raise UsageError("That is not the target's name. Nothing was changed.", f"Type {target} exactly.")
    return view.me.name


def _glass(does: str) -> Field:
    label = f"Break-glass, only if the operator {does} alone: why is no incident commander there?"
    return Field(REASON, label, required=False)


def override(view: View, check: str) -> Form:
    known = view.state.checks[check].check
    return Form(
        f"Let {known.name} pass although it says {known.verdict}?",
        (known.evidence, known.hint, "", "It goes into the record as a deviation, with the name and the reason."),
        (_who(view, Role.COMMANDER), Field(REASON, "Why it may go on")),
        "overrides this check",
        lambda typed: overriding(view.state, check, _named(view, typed), typed[REASON].strip()),
    )


def answer(view: View, check: str) -> Form:
    """What the application owner found when they tried something by hand."""
    known = view.state.checks[check].check

    def made(typed: Mapping[str, str]) -> c.Command:
        name = view.me.name if _is_known(view) else typed[NAME].strip()
        return c.Answer(check, has_passed(typed["passed"]), name, typed.get(REASON, "").strip())

    return Form(
        f"The application owner tried it: {bare(check)}",
        (known.evidence, "What failed bars the sign-off until it passes, or the commander overrides it."),
        (
            Field("passed", "Did it pass? (yes or no)"),
            *(() if _is_known(view) else (Field(NAME, _name_label(view.state, Role.OWNER)),)),
            Field(REASON, "Note; needed where it failed", required=False),
        ),
        "keeps the answer",
        made,
    )


def follow_up(view: View, key: str = "") -> Form:
    """A new follow-up, or what is said of a known one."""
    known = next((one for one in follow_ups(view.state) if one.key == key), FollowUp("", "", ""))
    return Form(
        "A follow-up" if key else "Something to be done",
        ("It goes into the record and the report. A date is written as 2026-11-27.",),
        (
            Field("task", "What is to be done", known.task),
            Field("owner", "Who does it", known.owner, required=False),
            Field("due", "Until when", known.due, required=False),
            Field("ticket", "Ticket: its number or address", known.ticket, required=False),
        ),
        "keeps it",
        lambda typed: c.FollowUp(
            key, typed["task"], typed["owner"].strip(), typed["due"].strip(), typed["ticket"].strip()
        ),
    )


def tickets(view: View, keys: tuple[str, ...]) -> Question:
    """What is filed, and where, before it is sent: others can read it there."""
    state, conf = view.state, tickets_of(view.state.begun)
    wanted = to_be_filed(state, keys)
    chosen = [one for one in follow_ups(state) if one.key in wanted]
    loose = sum(not (one.owner and one.due) for one in chosen)
    lines = [f"{conf.repository if conf else ''}: whoever can read it can read this.", ""]
    if len(chosen) == 1:
        title, count = "File this follow-up as an issue?", "file it"
        lines += [title_of(chosen[0]), "", *body_of(state, chosen[0]).split("\n")]
    else:
        title, count = f"File {len(chosen)} follow-ups as issues?", f"file all {len(chosen)}"
        lines += [title_of(one) for one in chosen]
    lines.append("")
    if loose:
        lines.append(f"{loose} without owner or date. Esc, then f, gives it one first.")
    tried = [state.tickets[one.key] for one in chosen if one.key in state.tickets]
    if any(one.result is Filing.UNKNOWN for one in tried):
        lines.append("Of one it is not known whether it is there: it is looked for first, and never filed twice.")
    return Question(title, tuple(lines), (Answer("y", count, "file"),))


def checklist(edit: Edit) -> Question:
    """The change to the security checklist, before it is written."""
    if not edit.diff():
        lines: tuple[str, ...] = (str(edit.path), "", f"It {unchanged_checklist(edit.line)}.")
        return Question("The security checklist", lines, (Answer("enter", "note that in the record", "write"),))
    lines = (str(edit.path), "", *edit.diff(), "", "Nothing is written before you say so.")
    return Question("Write this into the security checklist?", lines, (Answer("y", "write it", "write"),))


def skip(view: View) -> Form:
    upcoming = view.state.next_step
    step = upcoming.id if upcoming else ""
    title = upcoming.step.title if upcoming else ""
    return Form(
        f"Pass over {step} {title}?",
        ("It is recorded as a deviation.",),
        (Field(REASON, "Why it is left out"),),
        "passes over this step",
        lambda typed: c.Skip(step, typed[REASON].strip()),
    )


def undo(view: View) -> Form:
    changed = left_behind(view.state)
    return Form(
        "Undo: put right what was changed?",
        (
            *(("Changed so far:", *(f"  {line}" for line in changed)) if changed else ("Nothing was changed so far.",)),
            "",
            "A plan for the way back is made and shown first. Each of its steps is confirmed like any other.",
        ),
        (Field(REASON, "Why it is undone"),),
        "asks for the way back",
        lambda typed: c.Undo(typed[REASON].strip()),
    )


def abandon(view: View) -> Form:
    left = left_behind(view.state)
    lines = ("It leaves behind:", *(f"  {line}" for line in left)) if left else ("Nothing is left behind.",)
    return Form(
        "Abandon the session for good? Nothing is put back.",
        (*lines, "", "Undo (u) puts things right instead. An abandoned session can't be taken up again."),
        (Field(REASON, "Why it is abandoned"),),
        "ends the session",
        lambda typed: c.Abandon(typed[REASON].strip()),
    )


def note(_view: View) -> Form:
    return Form(
        "A note for the post-mortem",
        ("It is kept in the record with the time and your name.", "Begin with todo: and it is a follow-up, on page 5."),
        (Field("text", "Note"),),
        "keeps it",
        lambda typed: c.Note(typed["text"]),
    )


def keyboard(view: View) -> Form:
    holder = view.state.keyboard
    return Form(
        f"Take the keyboard from {holder.name}?" if holder else "Take the keyboard?",
        ("Their console can only watch then. It is recorded.",),
        (*(() if _is_known(view) else (Field(NAME, "Your name", view.me.name),)), Field(REASON, "Why")),
        "takes the keyboard",
        lambda typed: c.TakeKeyboard(typed.get(NAME, view.me.name).strip(), typed[REASON].strip()),
    )


def gate(view: View, ask: Ask) -> Form:
    """Typing the target's name, accepting a risk, signing off."""
    state = view.state
    known = state.step(ask.step)
    step, role = ask.step, ask.role
    title = f"{known.id} {known.step.title}" if known else ask.step
    if ask.kind is AskKind.TYPED:
        return Form(
            title,
            (*_at_stake(state), *(_exactly(known.step) if known else ()), "", ask.text),
            (Field(NAME, "The target's name"),),
            "runs it",
            lambda typed: c.Give(step, GateKind.TYPED, role, view.me.name, typed[NAME]),
        )
    if ask.kind is AskKind.TOLD:
        return Form(
            title,
            (*(_exactly(known.step) if known else ()), "", ask.text),
            (Field(REASON, "Whom you told, and how"),),
            "keeps it and goes on",
            lambda typed: c.Give(step, GateKind.TOLD, role, view.me.name, typed[REASON].strip()),
        )
    kind = GateKind(ask.kind.value)
    word = "accepts this" if kind is GateKind.ACCEPT else "signs off"
    open_tasks = [one for one in follow_ups(state) if not (one.owner and one.due)]
    many = f"{len(open_tasks)} follow-ups have" if len(open_tasks) > 1 else "1 follow-up has"
    loose = f"{many} no owner or no date yet: Esc, then f." if open_tasks else ""
    validated = [f"Validation of the {where}: {tally(grid.rows)}" for where, grid in state.grids.items()]
    return Form(
        title,
        (ask.text, *((*validated, loose) if kind is GateKind.SIGN_OFF else ()), "", "It goes into the record by name."),
        (
            _who(view, role),
            *(
                (_glass("accepts"),)
                if kind is GateKind.ACCEPT and may_break_glass(state) and not _is_known(view)
                else ()
            ),
        ),
        word,
        lambda typed: c.Give(step, kind, role, _named(view, typed), "", typed.get(REASON, "").strip()),
    )


def _at_stake(state: SessionState) -> list[str]:
    plan = state.plan
    if plan is None:
        return []
    lines = [
        f"{plan.target.environment.upper()}  {plan.target.name}  {at_stake(plan.target.engine, plan.target.address)}"
    ]
    if plan.backup is not None:
        lines.append(
            f"backup {plan.backup.name}, {plan.backup.status}, taken {both_zones(parse_stamp(plan.backup.taken_at))}"
        )
    if plan.loss is not None:
        lines.append(f"lost: {span(plan.loss.seconds)} of writes")
    if STAGED in state.grids and not state.did_anything_destructive:
        lines.append(f"validation of the staged copy: {tally(state.grids[STAGED].rows)} (page 4)")
    return lines


def _exactly(step: Step) -> list[str]:
    lines = [f"  {line}" for line in step.shows]
    return [*lines, f"undo: {step.undo}"] if step.undo else lines


def decide(view: View, ask: Ask) -> Question:
    """A step failed, or its outcome is not known, or the backup can't be used: what can be done."""

    def answer(key: str, key_id: str, label: str) -> Answer:
        return Answer(key, label, key_id, blocked(key_id, view, ""))

    answers = [
        answer("r", "again", "try the step again from its start"),
        answer("p", "skip", "pass over it (optional steps only)"),
    ]
    if ask.kind is AskKind.CHOOSE:
        if check := failing_check(view.state, ask):
            label = f"the incident commander overrides {check}; then r"
            answers.append(Answer("o", label, "override", blocked("override", view, check)))
        answers.append(answer("b", "other-backup", "choose another backup (page 1)"))
        if not blocked("explore", view, ""):
            answers.append(Answer("e", "look at the transactions in the logs, and choose another stop", "explore"))
    else:
        answers.append(answer("u", "undo", "undo what was changed"))
    answers.append(answer("x", "abandon", "abandon the session, leaving everything as it is"))
    known = view.state.step(ask.step)
    return Question(
        f"{known.id} {known.step.title}: {known.status}" if known else "This can't go on as it is",
        (ask.text, "", "Nothing happens until you choose."),
        tuple(answers),
    )


def failing_check(state: SessionState, ask: Ask) -> str:
    """The check that this step failed over, else the first that blocks; empty when none does."""
    known = state.step(ask.step)
    blocking = blocking_checks(state, tuple(Panel))
    asked = [name for name in blocking if known and known.started and state.checks[name].at >= known.started]
    return next(iter((*asked, *blocking)), "")


def stop(view: View) -> Question:
    """Before a step is stopped: what that leaves behind."""
    running = view.state.running
    title = f"{running.id} {running.step.title}" if running else "the step under way"
    return Question(f"Stop {title}?", _stopping(view), (_stop(view, "y", "stop it at the next safe place"),))


def _stop(view: View, key: str, label: str) -> Answer:
    """Stops the step that was asked about, and no other that has begun meanwhile."""
    running = view.state.running
    return Answer(key, label, f"{STOP} {running.id if running else ''}", blocked("stop", view, ""))


def _stopping(view: View) -> tuple[str, ...]:
    """How far the step under way is, what stopping it now leaves as it is, and how to go on from there."""
    running, changed = view.state.running, left_behind(view.state)
    if running is None:
        return ()
    progress = view.progress
    far = []
    if progress is not None and progress.step == running.id and progress.total:
        far.append(f"{100 * progress.done // progress.total} % done")
    if running.started is not None:
        far.append(f"under way for {duration((view.now - running.started).total_seconds())}")
    lines = [f"{', '.join(far).capitalize()}." if far else "It has just begun.", ""]
    if changed:
        lines += ["Stopping now leaves behind, each with its undo:", *(f"  {line}" for line in changed)]
    else:
        lines.append("Stopping now leaves nothing behind: nothing was changed so far.")
    if not view.state.did_anything_destructive:
        lines.append("The live database was not touched.")
    undo = ", u puts right what was changed" if changed else ""
    lines += ["", f"Afterwards: r does the step again from its start{undo}. The session stays."]
    return tuple(lines)


def interrupt(view: View) -> Question:
    """Ctrl+C: hit in fear, so it asks."""
    if view.state.begun is None:
        return Question("Leave?", ("Nothing has begun.",), (Answer("q", "leave", "interrupted"),))
    running = view.state.running
    leave = Answer("q", "leave the console; the runner goes on without it", "leave")
    if running is not None:
        return Question(
            f"{running.id} {running.step.title} is under way",
            ("Nothing was interrupted. What do you want?", "", *_stopping(view)),
            (_stop(view, "s", "stop the step at the next safe place"), leave),
        )
    return Question("Leave?", ("The session waits for you; nothing is under way.",), (leave,))


def resume(view: View) -> Question:
    """The runner is gone: what is known, before anything is begun."""
    state = view.state
    running = state.running
    if running is not None:
        stood = f"It was gone while {running.id} {running.step.title} was under way: that outcome is not known yet."
    else:
        upcoming = state.next_step
        stood = (
            f"No step was under way. Next was {upcoming.id} {upcoming.step.title}." if upcoming else "It had no plan."
        )
    done = sum(known.status.settled for known in state.steps)
    children = f" {len(state.children)} of its processes may still run; they are ended first." if state.children else ""
    return Question(
        "Resume this session?",
        (
            stood,
            f"{done} steps are done.{children}",
            "Resuming starts a runner. It looks at what is true now, says so, and waits for you:",
            "no step begins that nobody has confirmed.",
        ),
        (Answer("enter", "start the runner and let it look", "resume"),),
    )


def check(view: View, name: str) -> Question:
    """A check blocks: mend what it found and ask it again, or let it pass by name."""
    known = view.state.checks[name].check
    again = Answer("r", "it is mended: ask it again", "again", blocked("again", view, name))
    if is_functional(name):
        again = Answer("f", "the application owner has tried it: passed or failed", "answer")
    lines = [known.evidence, f"Do: {known.hint}", ""]
    others = [other for other in view.ask.checks if other != name]
    if others:
        lines.append(f"Then: {', '.join(others)}.")
    return Question(
        f"{known.verdict}: {known.name}",
        tuple(lines),
        (
            again,
            Answer("o", "the incident commander overrides it", "override", blocked("override", view, name)),
        ),
    )


def help_lines(page: Page, view: View, subject: str) -> list[str]:
    """The keys of a page, each with what it does and, where it is blocked, why."""
    lines: list[str] = []
    pages = [key for key in keys_of(page) if key.id.startswith("page-")]
    for key in keys_of(page):
        if key in pages:
            continue
        lines.append(f"{key.shown:>6}  {key.help}")
        reason = blocked(key.id, view, subject)
        if reason:
            lines.append(f"        not now: {reason}")
    if pages:
        lines.append(f"{'1 to 5':>6}  Look at another page of the session.")
        reason = blocked(pages[0].id, view, subject)
        if reason:
            lines.append(f"        not now: {reason}")
    lines += ["", *(f"{keys:>6}  {text}" for keys, text in ALWAYS)]
    return lines


def _name_label(state: SessionState, role: Role) -> str:
    listed = names_for(state, role)
    return f"Name of the {role}" + (f" ({', '.join(listed)})" if listed else "")
