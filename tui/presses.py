"""What happens when a key of the table is pressed. Why a key does nothing is `blocked`'s to say; here it is shown."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from engines.backups.catalogue import Backup, Status
from engines.backups.checksums import shown
from engines.recipes.points import to_table
from engines.session import commands as c
from engines.session.followups import checklist_line, checklist_path
from engines.session.moves import AskKind
from engines.session.plan import GateKind, log_name
from engines.text import both_zones, drawable
from screens.modals.question import Answer, Question
from screens.modals.reading import LogModal, ReadingModal
from tui import dialogues, stops
from tui.blocked import blocked, not_yours
from tui.narration import plan_lines
from tui.pages import at_stake, page_for
from tui.view import SESSION_PAGES, Line, Page, Shelf, View
from tui.widgets.backups import is_late, lost
from tui.widgets.steps import exact

if TYPE_CHECKING:
    from tui.app import Console

_FORMS = {
    "approve": dialogues.approve,
    "skip": dialogues.skip,
    "undo": dialogues.undo,
    "abandon": dialogues.abandon,
    "note": dialogues.note,
    "keyboard": dialogues.keyboard,
}


def press(console: Console, key: str, subject: str) -> None:
    """Do what `key` means on the page that is shown, or say why not."""
    view = console.view
    reason = blocked(key, view, subject)
    if reason:
        console.say(reason)
        return
    match key:
        case "help":
            lines = dialogues.help_lines(console.page, view, subject)
            console.push_screen(ReadingModal(f"Keys on this page ({console.page})", lines))
        case "enter":
            _enter(console, view, subject)
        case "override":
            console.form(dialogues.override(view, subject))
        case "answer":
            console.form(dialogues.answer(view, subject))
        case "follow-up" | "new-follow-up":
            console.form(dialogues.follow_up(view, subject if key == "follow-up" else ""))
        case "file" | "file-all":
            keys = (subject,) if key == "file" else ()
            console.question(dialogues.tickets(view, keys), lambda _: console.ask(c.FileTickets(keys)))
        case "send-again":
            console.ask(c.SendAgain())
        case "checklist":
            console.work(_checklist(console, view))
        case "stop":
            console.question(dialogues.stop(view))
        case "again":
            _again(console, view, subject)
        case "plan" if view.state.plan is not None:
            lines = list(plan_lines(view.state.plan, view.state.plan_digest))
            console.push_screen(ReadingModal("The plan in force", lines))
        case "command" | "log":
            _step(console, view, key, subject)
        case "copy":
            _copy(console, view, subject)
        case "grid":
            console.grid = _next_grid(view)
        case "explore":
            stops.explore(console, view)
        case "until":
            _up_to_when(console, view, subject)
        case "verify":
            console.work(_verify(console, subject))
        case "other-backup":
            console.go(Page.BACKUPS, by_hand=True)
        case "resume":
            console.question(dialogues.resume(view))
        case "hide":
            console.hide_hint()
        case "back":
            _back(console, view)
        case "leave":
            console.leave()
        case _ if key in _FORMS:
            console.form(_FORMS[key](view))
        case _ if key.startswith("page-"):
            console.go(SESSION_PAGES[int(key.removeprefix("page-")) - 1], by_hand=True)


async def _checklist(console: Console, view: View) -> None:
    """Show the change; it is written by the runner, if it is still the same then."""
    path, line = Path(checklist_path(view.state)), checklist_line(view.state)
    edit = await asyncio.to_thread(console.outside.checklist, path, line)
    command = c.Checklist(edit.old_sha256, edit.new_sha256)
    console.question(dialogues.checklist(edit), lambda _: console.ask(command))


async def _verify(console: Console, subject: str) -> None:
    """Read the selected backup once more. What it came to is said, also where it is what it was before."""
    backup = console.shelving.shelf.find(subject)
    if backup is None:
        console.say(_none_selected(console))
        return
    console.say(f"Reading {shown(backup.name)} …")
    found = await console.shelving.verify(backup)
    console.say(f"{shown(found.name)} was read just now: {found.status}.")


def _back(console: Console, view: View) -> None:
    if view.state.begun is None or view.line is Line.OVER:
        _to_start(console)
        return
    there = page_for(view.state, view.ask)
    if console.page is there:
        console.say("The next key is on this page. q leaves the console; the session goes on without it.")
    console.go(there)


def _to_start(console: Console) -> None:
    if console.opening.config is None:
        console.say("q leaves the console.")
        return
    console.work(console.to_start())


def _again(console: Console, view: View, subject: str) -> None:
    waiting = view.state.next_step
    if view.ask.kind in (AskKind.CHOOSE, AskKind.DECIDE) and waiting is not None:
        console.ask(c.Retry(waiting.id))
    else:
        console.ask(c.Recheck(subject))


def _step(console: Console, view: View, key: str, subject: str) -> None:
    known = view.state.step(subject)
    if known is None:
        return
    name = f"{known.id} {known.step.title}"
    if key == "command":
        console.push_screen(ReadingModal(name, exact(known.step)))
    else:
        console.push_screen(LogModal(known.id, name, str(view.folder / "logs" / log_name(known.step))))


def _copy(console: Console, view: View, subject: str) -> None:
    """Send it to the terminal's clipboard (OSC 52), which nobody acknowledges: so say where it can be read as well."""
    known = view.state.step(subject)
    if console.page is Page.BACKUPS:
        backup = console.shelving.shelf.find(subject)
        if backup is None:
            console.say(_none_selected(console))
            return
        text, what, where = backup.where, "The backup's path", backup.where
    elif known is not None:
        text = "\n".join(known.step.shows)
        what, where = f"What {known.id} does", str(view.folder / "plan.toml")
    else:
        text = where = str(view.folder / "session.toml")
        what = "The record's path"
    console.copy_to_clipboard("\n".join(drawable(line) for line in text.split("\n")))
    # The file first: at 60 columns three lines are all there is, and a path takes two of them.
    at = where if text == where else f"in {where}"
    console.say(f"{what}: {at}. Copied, if tmux and the terminal pass it on.")


def _next_grid(view: View) -> str:
    names = list(view.state.grids)
    newest = max(view.state.grids.values(), key=lambda grid: grid.at).where
    shown_now = view.grid if view.grid in names else newest
    return names[(names.index(shown_now) + 1) % len(names)]


# -- Enter: whatever comes next ------------------------------------------------------------------------------


def _enter(console: Console, view: View, subject: str) -> None:
    if console.page is Page.START:
        _open(console, subject)
    elif console.page is Page.BACKUPS and view.line in (Line.NONE, Line.ALIVE) and not _selected(console, subject):
        console.say(_none_selected(console))
    elif console.page is Page.BACKUPS and not _is_chosen(console, view, subject):
        _choose(console, view, subject)
    elif view.line is Line.GONE:
        console.question(dialogues.resume(view))
    elif view.state.begun is not None:
        _answer(console, view, subject)


def _open(console: Console, subject: str) -> None:
    kind, _, rest = subject.partition(":")
    if kind == "target":
        console.open_target(rest)
        return
    known = next((known for known in console.choices.sessions or () if str(known.folder) == rest), None)
    if known is None:
        return
    if known.error:
        console.say(f"This session's journal can't be used: {known.error}")
        return
    console.work(console.join(known.folder))


def _selected(console: Console, subject: str) -> bool:
    return console.shelving.shelf.find(subject) is not None


def _none_selected(console: Console) -> str:
    """Why there is no backup under the cursor."""
    shelf = console.shelving.shelf
    if shelf.trouble:
        return shelf.trouble
    if shelf.catalogue is None:
        return "The backups are still being read."
    return (
        "No backup is selected: none matches the filter. Esc takes it away."
        if shelf.catalogue.backups
        else (f"There is no backup to choose: {shelf.catalogue.folder} is empty.")
    )


def _is_chosen(console: Console, view: View, subject: str) -> bool:
    backup = console.shelving.shelf.find(subject)
    return backup is None or backup.name == view.state.backup.get("name")


def _choose(console: Console, view: View, subject: str) -> None:
    shelf = console.shelving.shelf
    backup = shelf.find(subject)
    if backup is None:
        return
    if view.state.begun is not None:
        reason = blocked("choose", view, subject)
        if reason:
            console.say(reason)
            return
    lines = _about(shelf, backup, view)
    if shelf.is_server:
        stops.ask(console, view, subject, backup, lines)
        return

    def answered(_value: str) -> None:
        if view.state.begun is None:
            console.work(console.begin(subject))
        else:
            console.ask(c.Choose(to_table(backup)))

    title = "Prepare a restore from this backup?" if view.state.begun is None else "Restore this backup instead?"
    # Enter is pressed by habit: what may bring the damage back, or can't be trusted, wants another key.
    usual = backup.restorable and not is_late(backup, shelf)
    answer = Answer("enter", "prepare it", "yes") if usual else Answer("y", "prepare it all the same", "yes")
    console.question(Question(title, tuple(lines), (answer,)), answered)


def _up_to_when(console: Console, view: View, subject: str) -> None:
    """The same question again in a session, about the dump under the cursor."""
    shelf = console.shelving.shelf
    backup = shelf.find(subject)
    if backup is not None:
        stops.ask(console, view, subject, backup, _about(shelf, backup, view))


def _about(shelf: Shelf, backup: Backup, view: View) -> list[str]:
    """What is chosen, and what that means."""
    lines = [
        f"{shelf.environment.upper()}  {shelf.target}  {at_stake(shelf.engine, shelf.address)}",
        f"from {shown(backup.name)}, taken {both_zones(backup.taken_at)}",
        lost(backup, shelf, view.now),
        f"{backup.status}: {backup.evidence}",
    ]
    if backup.status in (Status.UNCHECKED, Status.CHECKING):
        lines.append("It is not verified yet; Readiness compares its checksum while it is staged.")
    elif not backup.restorable:
        lines.append("It CAN'T BE RESTORED unless the incident commander overrides, by name and with a reason:")
        lines.append("the checksum check will FAIL in Readiness and block.")
    lines += [
        "",
        "Now it is staged and read to its end, and the logs after it are proven. The schema is not touched before a "
        "plan is approved."
        if shelf.is_server
        else "Now it is staged beside the database and checked. The database is not touched before a plan is approved.",
    ]
    return lines


def _answer(console: Console, view: View, subject: str) -> None:
    """Enter on a page of a session: what the session waits for, if that is on this page."""
    ask = view.ask
    there = page_for(view.state, ask)
    if console.page is not there:
        console.go(there)
        return
    match ask.kind:
        case AskKind.CONFIRM:
            if console.next_key.read_yet():
                console.ask(c.Give(ask.step, GateKind.CONFIRM, ask.role))
            else:
                console.say(f"That Enter came too soon to be an answer to step {ask.step}. Read it, then press Enter.")
        case AskKind.APPROVE | AskKind.TYPED | AskKind.TOLD | AskKind.ACCEPT | AskKind.SIGN_OFF:
            if reason := not_yours(view):  # said before a plan is read and a name is typed in vain
                console.say(reason)
            else:
                console.form(dialogues.approve(view) if ask.kind is AskKind.APPROVE else dialogues.gate(view, ask))
        case AskKind.CHECKS:
            check = subject if subject in ask.checks else ask.checks[0]
            console.question(dialogues.check(view, check), lambda key: press(console, key, check))
        case AskKind.CHOOSE | AskKind.DECIDE:
            check = dialogues.failing_check(view.state, ask)
            console.question(dialogues.decide(view, ask), lambda key: press(console, key, check))
        case AskKind.WORKING | AskKind.ENDED:
            console.say(ask.text)
