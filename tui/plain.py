"""The session line by line: for screen readers, dumb terminals, scripts and rehearsals.

It is a console like the other one: it folds what the runner says and asks; it decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from engines.checklist import proposed
from engines.checks import Panel
from engines.errors import RestoreError, UsageError
from engines.people import Role
from engines.recipes.mysql.until import Kind, Until, stops_before, told, typed
from engines.session import commands as c
from engines.session.answers import is_functional
from engines.session.authority import is_own, may_break_glass
from engines.session.client import Client, Gone, Said, Trouble, connect
from engines.session.events import Ending, Entry, How
from engines.session.followups import FollowUp, checklist_line, checklist_path, follow_ups
from engines.session.moves import Ask, AskKind, Wait, blocking_checks, left_behind, next_move, overriding
from engines.session.notices import unsent
from engines.session.plan import GateKind, log_name
from engines.session.store import living_socket
from engines.session.tickets import fileable, not_filed, tickets_of, title_of
from engines.session.work import Progress
from engines.text import drawable, duration, size, to_the_second, utc_now
from tui.answers import Answers, FromFile, has_passed
from tui.interrupt import Interrupts
from tui.narration import check_line, header, plan_lines, sentences, unchanged_checklist
from tui.output import out
from tui.pasting import pasted

LEFT, INTERRUPTED = 3, 130
PROGRESS_EVERY = 5.0  # seconds between lines about a long step
LOG_END, LOG_LINES = 16_384, 20  # bytes read from a log's end, and lines of them that are told


class _Leave(Exception):
    """The operator leaves; the session goes on waiting."""


@dataclass(frozen=True, slots=True)
class Choosing:
    """How the plain mode finds another backup by name, and how far to go beyond it where logs follow it."""

    find: Callable[[str, Until | None, str], dict[str, object]]
    names: Callable[[], tuple[str, ...]]
    replays: bool = False


async def drive(
    folder: Path, name: str, answers: Answers, choosing: Choosing | None, config: Path | None = None
) -> int:
    """Follow and steer the session in `folder` until it ends or nobody answers. Returns the exit code.

    `config` is the configuration that was given on the command line, for the commands that are suggested.
    """
    socket = living_socket(folder)
    if socket is None:
        raise RestoreError(f"Session {folder.name} has no living runner.", f"reinstate resume {folder.name}")
    client = await connect(socket, name)
    try:
        return await _Driver(client, answers, choosing, config).run()
    finally:
        await client.close()


async def up_to_when(answers: Answers, ask: Ask) -> Until | None:
    """Ask how far to go beyond a dump, until the answer can be read. None when nobody answers."""
    while True:
        text = await answers.line(
            "Up to just before when (dump, end, a time with its zone, FILE:POSITION or a GTID): ", ask, "until"
        )
        if text is None:
            return None
        names = ""
        if text.strip() != Kind.DUMP:
            told_names = await answers.line(
                "Leave out which transactions before that (FILE:POSITION or GTID; Enter for none): ", ask, "exclude"
            )
            names = told_names or ""
        try:
            until = typed(text, tuple(names.replace(",", " ").split()))
        except UsageError as error:
            if isinstance(answers, FromFile):
                raise  # it would answer the same for ever
            out(f"REFUSED: {drawable(error.message)}")
            out(f"  {drawable(error.hint)}")
            continue
        first = stops_before(until)
        out(f"Restored {told(until)}" + (f": before {to_the_second(first)}" if first else ""))
        return until


class _Driver:
    def __init__(self, client: Client, answers: Answers, choosing: Choosing | None, config: Path | None = None) -> None:
        self._client = client
        self._config = config
        self._answers = answers
        self._choosing = choosing
        self._planned = ""
        self._told = 0.0
        self._interrupts = Interrupts()

    async def run(self) -> int:
        client = self._client
        out(header(client.state))
        said = client.said()
        self._interrupts.catch()
        try:
            while True:
                # Everything that happened is told before the next question is asked.
                if client.quiet:
                    move = next_move(client.state, utc_now())
                    if isinstance(move, Wait) and move.ask.kind is AskKind.ENDED:
                        return self._ended()
                    if isinstance(move, Wait) and move.ask.kind is not AskKind.WORKING:
                        with self._interrupts.released():
                            await self._asked(move.ask)
                item = await self._next(said)
                self._tell(item)
                if isinstance(item, Gone):
                    return self._ended()
        except _Leave:
            out(pasted(f"The session waits. Go on with: reinstate attach {client.state.id}", self._config))
            return LEFT
        finally:
            self._interrupts.release()

    async def _next(self, said: AsyncIterator[Said]) -> Said:
        """What the runner says next. Ctrl-C meanwhile asks what is meant by it."""
        coming = asyncio.ensure_future(anext(said))
        try:
            while not await self._interrupts.before(coming):
                with self._interrupts.released():
                    await self._interrupted()
                out("Waiting; Ctrl-C asks again.")
            return coming.result()
        finally:
            coming.cancel()

    async def _interrupted(self) -> None:
        """Raises KeyboardInterrupt where the step is to run on without us."""
        state, move = self._client.state, next_move(self._client.state, utc_now())
        running = state.running
        if running is None or not isinstance(move, Wait):
            raise KeyboardInterrupt
        out(f"Step {running.id} {drawable(running.step.title)} is under way, and goes on meanwhile.")
        for line in left_behind(state):
            out(f"  Changed so far: {drawable(line)}")
        prompt = "[Enter wait on, s stop it at the next safe place, q leave it running] "
        answer = await self._answers.line(prompt, move.ask, "do")
        match "q" if answer is None else answer.strip().lower():
            case "s":
                await self._stop(running.id)
            case "q":
                raise KeyboardInterrupt

    async def _stop(self, step: str) -> None:
        try:
            await self._client.do(c.Stop(step))
        except RestoreError as error:  # it has ended meanwhile
            out(f"REFUSED: {drawable(pasted(error.message, self._config))}")
            out(f"  {drawable(pasted(error.hint, self._config))}")

    def _ended(self) -> int:
        state = self._client.state
        out(f"Record: {self._client.folder / 'session.toml'}")
        if state.ended is None:
            out(pasted(f"The runner is gone. See what is true: reinstate resume {state.id}", self._config))
            return 1
        out(f"Report: {self._client.folder / 'report.md'}")
        if any(not_filed(state)):
            out(pasted(f"Not every ticket is filed. Again: reinstate tickets {state.id}", self._config))
        return 1 if state.ended.how in (Ending.ABANDONED, Ending.FAILED) else 0

    def _tell(self, item: Said) -> None:
        match item:
            case Entry():
                for line in sentences(item, self._client.state):
                    out(f"{item.at:%H:%M:%S} {line}")
            case Progress():
                self._progress(item)
            case Trouble(text=text):
                out(f"TROUBLE: {drawable(text)}")
            case Gone():
                pass

    def _progress(self, progress: Progress) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told < PROGRESS_EVERY or not progress.total:
            return
        self._told = now
        share = f"{100 * progress.done / progress.total:.0f} %"
        amount = f"{size(progress.done)} of {size(progress.total)}" if progress.unit == "B" else progress.text
        eta = f", {duration(progress.eta)} left" if progress.eta is not None else ""
        if progress.still:
            eta = f", nothing for {duration(progress.still)}, see the step's log"
        out(f"         {share} {drawable(amount)}{eta}")

    async def _asked(self, ask: Ask) -> None:
        """Ask until a command was accepted, then let the runner's events say what became of it."""
        if ask.kind is AskKind.CHOOSE:
            # The step failed over a check: overriding that one, then trying again, is a way on as well.
            ask = replace(ask, checks=blocking_checks(self._client.state, tuple(Panel)))
        if ask.kind is AskKind.APPROVE and self._planned != self._client.state.plan_digest:
            self._show_plan()
        while True:
            command = await self._command(ask)
            if command is None:
                continue
            try:
                await self._client.do(command)
            except RestoreError as error:
                out(f"REFUSED: {drawable(pasted(error.message, self._config))}")
                out(f"  {drawable(pasted(error.hint, self._config))}")
                self._answers.refused()
                continue
            return

    def _show_plan(self) -> None:
        state = self._client.state
        if state.plan is not None:
            self._planned = state.plan_digest
            for line in plan_lines(state.plan, state.plan_digest):
                out(line)

    async def _command(self, ask: Ask) -> c.Command | None:
        out(f"{'' if not ask.step else ask.step + ' '}{drawable(ask.text)}")
        if ask.kind in (AskKind.CONFIRM, AskKind.TYPED, AskKind.TOLD, AskKind.ACCEPT):
            self._show_step(ask.step)
        choice = await self._ask(f"[{self._choices(ask)}] ", ask, "do")
        match choice.strip().lower():
            case "":
                return await self._yes(ask)
            case "n":
                return c.Note(await self._ask("Note: ", ask, "reason"))
            case "r" if ask.kind is AskKind.CHECKS:
                return c.Recheck(await self._ask(f"Which check ({', '.join(ask.checks)}): ", ask, "check"))
            case "r":
                return c.Retry(ask.step)
            case "o" if ask.checks:
                return await self._override(ask)
            case "f" if any(map(is_functional, ask.checks)):
                return await self._answer(ask)
            case "t" if ask.kind is AskKind.SIGN_OFF:
                return await self._follow_up(ask)
            case "c" if ask.kind is AskKind.SIGN_OFF:
                return await self._checklist(ask)
            case "i" if ask.kind is AskKind.SIGN_OFF and self._files:
                return await self._tickets(ask)
            case "m" if unsent(self._client.state):
                return c.SendAgain()
            case "b" if self._choosing is not None:
                return await self._choose(ask, self._choosing)
            case "p":
                return c.Skip(ask.step, await self._ask("Why is it skipped? ", ask, "reason"))
            case "u":
                return c.Undo(await self._ask("Why is it undone? ", ask, "reason"))
            case "x":
                for line in left_behind(self._client.state):
                    out(f"  left as it is: {drawable(line)}")
                return c.Abandon(await self._ask("Why is it abandoned? ", ask, "reason"))
            case "k":
                reason = await self._ask("Why do you take the keyboard? ", ask, "reason")
                return c.TakeKeyboard(self._client.me.name or self._client.me.login, reason)
            case "l" if ask.step:
                await self._show_log(ask.step)
            case "v":
                self._show_plan()
            case "q":
                raise _Leave
            case _:
                out(f"That is none of the keys. {self._choices(ask)}.")
        return None

    def _choices(self, ask: Ask) -> str:
        """The keys that do something now."""
        known = self._client.state.step(ask.step)
        keys = _CHOICES[ask.kind]
        if not ask.checks:
            keys = keys.replace("o override, ", "")
        if any(map(is_functional, ask.checks)):
            keys = f"f answer what the owner tried, {keys}"
        if ask.kind is AskKind.SIGN_OFF and self._files:
            keys = f"{keys}, i file tickets"
        if unsent(self._client.state):
            keys = f"{keys}, m send again"
        if self._is_watching():
            keys = f"{keys}, k take the keyboard"
        return keys if known is not None and known.step.optional else keys.replace("p pass over, ", "")

    async def _yes(self, ask: Ask) -> c.Command | None:
        match ask.kind:
            case AskKind.CONFIRM:
                return c.Give(ask.step, GateKind.CONFIRM, ask.role)
            case AskKind.TYPED:
                name = await self._ask("Type the target's name: ", ask, "target")
                return c.Give(ask.step, GateKind.TYPED, ask.role, text=name)
            case AskKind.TOLD:
                told = await self._ask("Whom did you tell, and how? ", ask, "reason")
                return c.Give(ask.step, GateKind.TOLD, ask.role, text=told)
            case AskKind.ACCEPT | AskKind.SIGN_OFF:
                name = await self._name(ask, ask.role)
                glass = await self._glass(ask, name) if ask.kind is AskKind.ACCEPT else ""
                return c.Give(ask.step, GateKind(ask.kind.value), ask.role, name=name, break_glass=glass)
            case AskKind.APPROVE:
                name = await self._name(ask, Role.COMMANDER)
                glass = await self._glass(ask, name)
                return c.Approve(self._client.state.plan_digest, name, glass)
            case _:
                out(f"Enter does nothing here. {self._choices(ask)}.")
                return None

    async def _name(self, ask: Ask, role: Role) -> str:
        """Who says it: typed, unless the runner knows this console's login."""
        me = self._client.me
        if me.how is not How.ASSERTED:
            out(f"As {drawable(me.name)}, by the login {drawable(me.login)}.")
            return me.name
        return await self._ask(f"Name of the {role}: ", ask, "name")

    async def _glass(self, ask: Ask, name: str) -> str:
        state = self._client.state
        if not may_break_glass(state) or not is_own(state, name):
            return ""
        return await self._ask(f"Break-glass: why does no incident commander {ask.kind}? ", ask, "reason")

    async def _override(self, ask: Ask) -> c.Command:
        check = await self._ask(f"Which check ({', '.join(ask.checks)}): ", ask, "check")
        check = check or ask.checks[0]
        seen = (
            self._client.state
        )  # what was said on the way here; a recheck from elsewhere may come while this is typed
        if check in seen.checks:
            out(f"  {drawable(check_line(seen.checks[check].check))}")
        name = await self._name(ask, Role.COMMANDER)
        return overriding(seen, check, name, await self._ask("Why does it go on? ", ask, "reason"))

    async def _answer(self, ask: Ask) -> c.Command | None:
        tried = [name for name in ask.checks if is_functional(name)]
        check = await self._ask(f"Which ({', '.join(tried)}): ", ask, "check") or tried[0]
        passed = await self._ask("Did it pass (yes or no): ", ask, "passed")
        name = await self._name(ask, Role.OWNER)
        note = await self._ask("Note: ", ask, "reason")
        try:
            return c.Answer(check, has_passed(passed), name, note)
        except UsageError as error:
            out(f"{error.message} {error.hint}")
            return None

    async def _follow_up(self, ask: Ask) -> c.Command:
        known = follow_ups(self._client.state)
        for one in known:
            out(f"  {one.key}: {drawable(one.task)} ({drawable(one.owner) or 'nobody yet'}, {one.due or 'no date'})")
        key = await self._ask("Which (Enter: a new one): ", ask, "follow_up")
        before = next((one for one in known if one.key == key), FollowUp(key, "", ""))
        task = await self._ask(f"What is to be done (Enter: {drawable(before.task) or 'nothing'}): ", ask, "reason")
        owner = await self._ask("Who does it: ", ask, "name")
        due = await self._ask("Until when (2026-11-27): ", ask, "due")
        return c.FollowUp(key, task or before.task, owner or before.owner, due or before.due, before.ticket)

    @property
    def _files(self) -> bool:
        return tickets_of(self._client.state.begun) is not None and bool(fileable(self._client.state))

    async def _tickets(self, ask: Ask) -> c.Command | None:
        state, conf = self._client.state, tickets_of(self._client.state.begun)
        for one in fileable(state):
            out(f"  {one.key}: {drawable(title_of(one))}")
        named = await self._ask("Which (Enter: all of them): ", ask, "follow_up")
        where = drawable(conf.repository) if conf else ""
        said = await self._ask(f"File as issues in {where}, where others can read it (yes or no): ", ask, "passed")
        if said.strip().casefold() in ("yes", "y"):
            return c.FileTickets(tuple(named.replace(",", " ").split()))
        out("Nothing was filed.")
        return None

    async def _checklist(self, ask: Ask) -> c.Command | None:
        state = self._client.state
        if not checklist_path(state):
            out("No security checklist is configured.")
            return None
        try:
            edit = await asyncio.to_thread(proposed, Path(checklist_path(state)), checklist_line(state))
        except RestoreError as error:
            out(f"REFUSED: {drawable(error.message)}")
            out(f"  {drawable(error.hint)}")
            return None
        for line in edit.diff() or (f"It {unchanged_checklist(edit.line)}.",):
            out(f"  {drawable(line)}")
        if not await self._confirms(ask):
            return None
        return c.Checklist(edit.old_sha256, edit.new_sha256)

    async def _confirms(self, ask: Ask) -> bool:
        said = await self._ask("Write it (yes or no): ", ask, "passed")
        if said.strip().casefold() in ("yes", "y"):
            return True
        out("Nothing was written.")
        return False

    async def _choose(self, ask: Ask, choosing: Choosing) -> c.Command | None:
        out("Newest: " + ", ".join(drawable(name) for name in choosing.names()[:8]))
        name = await self._ask("Which backup: ", ask, "backup")
        until, reason = None, ""
        if choosing.replays:
            until = await up_to_when(self._answers, ask)
            if until is None:
                raise _Leave
            if until.exclude:
                reason = await self._ask("Why are they left out? ", ask, "reason")
        try:
            return c.Choose(choosing.find(name, until, reason))
        except RestoreError as error:
            out(f"{drawable(error.message)} {drawable(error.hint)}")
            return None

    def _is_watching(self) -> bool:
        """Does somebody else hold the keyboard?"""
        holder, me = self._client.state.keyboard, self._client.me
        return holder is not None and (holder.login != me.login or holder.console not in ("", me.console))

    async def _show_log(self, step_id: str) -> None:
        """The end of the step's log, and the file that has all of it."""
        known = self._client.state.step(step_id)
        if known is None or not known.attempt:
            out("This step has not begun: it has no log yet.")
            return
        file = log_name(known.step)
        try:
            piece = await self._client.log(file, -LOG_END)
        except RestoreError as error:
            out(f"{drawable(error.message)} {drawable(error.hint)}")
            return
        for line in piece.text.splitlines()[-LOG_LINES:]:
            out(f"  | {drawable(line)}")
        out(f"The log: {drawable(str(self._client.folder / 'logs' / file))}")

    def _show_step(self, step_id: str) -> None:
        known = self._client.state.step(step_id)
        if known is None:
            return
        out(f"  {drawable(known.step.title)}")
        for line in known.step.shows:
            out(f"    {drawable(line)}")
        if known.step.undo:
            out(f"    undo: {drawable(known.step.undo)}")

    async def _ask(self, prompt: str, ask: Ask, field: str) -> str:
        text = await self._answers.line(prompt, ask, field)
        if text is None:
            raise _Leave
        return text


_ALWAYS = "n note, u undo, x abandon, q leave it waiting"
_CHOICES = {
    AskKind.CHOOSE: "b another backup, r again, o override, p pass over, l log, n note, x abandon, q leave it waiting",
    AskKind.CHECKS: f"r check again, o override, b another backup, {_ALWAYS}",
    AskKind.APPROVE: f"Enter approve, v plan, b another backup, {_ALWAYS}",
    AskKind.CONFIRM: f"Enter go on, p pass over, v plan, {_ALWAYS}",
    AskKind.TYPED: f"Enter go on, v plan, {_ALWAYS}",
    AskKind.TOLD: f"Enter type whom you told, p pass over, v plan, {_ALWAYS}",
    AskKind.ACCEPT: f"Enter accept, v plan, {_ALWAYS}",
    AskKind.SIGN_OFF: f"Enter sign off, t follow-ups, c security checklist, v plan, {_ALWAYS}",
    AskKind.DECIDE: f"r again, p pass over, l log, {_ALWAYS}",
}
