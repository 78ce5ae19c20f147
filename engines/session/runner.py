"""The process that executes the session. It is the only writer, and it outlives the terminal.

It asks `moves.next_move` what comes next and does that; commands from the consoles become events or refusals.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from engines import checklist
from engines.children import Child, alive, end, identified
from engines.errors import Refused, RestoreError
from engines.github_api import token_of
from engines.session import commands as c
from engines.session import filer, messenger, store
from engines.session.authority import check_may, is_own, person_of, principals_for, speaker
from engines.session.defects import defect, way_there
from engines.session.events import (
    Actor,
    Approved,
    BackupChosen,
    CheckAnswered,
    CheckDone,
    ChecklistEdited,
    CheckOverridden,
    ChildEnded,
    Ending,
    Event,
    FollowUpSet,
    GateGiven,
    How,
    KeyboardTaken,
    NoteAdded,
    NoticeSent,
    PlanMade,
    PlanRefused,
    Rejected,
    Result,
    RunnerStarted,
    SendingAsked,
    SessionBegun,
    SessionEnded,
    Signed,
    StepEnded,
    StepRetried,
    StepSkipped,
    StepStarted,
    StopAsked,
    TicketsAsked,
    TicketTried,
    UndoAsked,
)
from engines.session.followers import Follower, close
from engines.session.followups import checklist_line, checklist_path, new_key
from engines.session.journal import Journal, Writer, keep_reserve, release_reserve, replace_file
from engines.session.moves import (
    DEFAULT_WINDOW,
    End,
    MakePlan,
    Move,
    PassOver,
    Start,
    Wait,
    check_command,
    check_seen,
    check_signable,
    is_drill,
    left_behind,
    needs_keyboard,
    next_move,
    still_stopped,
)
from engines.session.notices import waiting
from engines.session.peers import watched_by
from engines.session.plan import GateKind, PlanKind, Step, digest
from engines.session.recipe import Recipe
from engines.session.record import plan_text, render
from engines.session.reminders import due, seconds_to_next
from engines.session.report import report
from engines.session.seal import SEAL, seal, try_key
from engines.session.server import Server
from engines.session.sharing import barred, file_mode, group_name, watchers_of
from engines.session.ssh_keys import Signers, canonical, signer
from engines.session.state import Status, after, fold
from engines.session.statement import read_until, stated
from engines.session.tickets import tickets_of, to_be_filed
from engines.session.verify import verify
from engines.session.work import Progress, Work
from engines.text import stamp, utc_now

UNREMINDED = 60.0  # seconds until a reminder that could not be kept is tried again
MOST_REJECTED = 20  # refusals of one other login that are kept: a journal is not for anybody to fill
# After these the record is written again; the others are details that the next of these brings along.
_RECORDED = (
    SessionBegun,
    RunnerStarted,
    KeyboardTaken,
    PlanMade,
    PlanRefused,
    Approved,
    CheckOverridden,
    Rejected,
    GateGiven,
    StepEnded,
    StepSkipped,
    NoteAdded,
    CheckAnswered,
    ChecklistEdited,
    FollowUpSet,
    NoticeSent,
    TicketTried,
    SessionEnded,
)

At = Callable[[str], None]


def _nothing(_name: str) -> None:
    """Kill points do nothing outside the torture tests."""


class Runner:
    """Executes one session to its end, or until it is told to leave."""

    def __init__(
        self, folder: Path, recipe: Recipe, *, at: At = _nothing, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._folder = folder
        self._recipe = recipe
        self._at = at
        self._now = now
        self._lock = threading.RLock()
        self._journal = Writer(folder / store.JOURNAL, now)
        self.state = fold(self._journal.entries)
        identify = watched_by(folder, lambda: self.state.begun)
        self._server = Server(folder.name, folder, lambda: list(self._journal.lines), self._handle, identify)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._working = asyncio.Lock()
        self._leaving = False
        self._closing = False
        self._reported = b""  # the report as we wrote it
        self._followers: list[Follower[Any]] = []

    # -- the journal ------------------------------------------------------------------------------------

    def record(self, event: Event, by: str = "runner") -> None:
        """Journal a fact, fold it, tell everybody. From any thread. Raises RestoreError when it can't be kept."""
        name = type(event).__name__
        with self._lock:
            self._at(f"before {name}")
            entry, line = self._journal.append(event, by)
            self._at(f"after {name}")
            self.state = after(self.state, entry)
            if isinstance(event, _RECORDED) or self.state.ended is not None:
                self._write_record()
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._tell, line)
            for follower in self._followers:
                follower.wake()

    def _tell(self, line: bytes) -> None:
        self._server.send({"line": line.decode()})
        self._changed.set()

    def _write_record(self) -> None:
        """Make the derived files anew. They can always be made again, so a failure is said, not fatal."""
        journal = Journal(tuple(self._journal.entries), tuple(self._journal.lines))
        try:
            if self.state.plan is not None:
                replace_file(self._folder / "plan.toml", plan_text(self.state), file_mode(self._folder))
            replace_file(self._folder / "session.toml", render(journal), file_mode(self._folder))
        except OSError as error:
            self._complain(f"The record can't be written: {error.strerror}. The journal holds everything.")

        try:
            if self.state.ended is not None:
                self._write_report(self._folder / "report.md")
        except Exception as error:  # noqa: BLE001 - a report that can't be made must not keep a session from its end
            self._complain(f"report.md can't be written: {defect(error)}. Make it later: reinstate report.")

    def _write_report(self, path: Path) -> None:
        """People write on in it: one that is not as we left it stays."""
        if path.exists() and path.read_bytes() != self._reported:
            return
        written = report(self.state).encode()
        replace_file(path, written, file_mode(self._folder))
        self._reported = written

    @property
    def _record_key(self) -> Path | None:
        named = self.state.begun.approval.get("record_key") if self.state.begun else None
        return Path(str(named)) if named else None

    def _seal(self) -> None:
        """Sign the finished record. Without a signature it is as good as it was: consistent."""
        if self._record_key is None:
            return
        try:
            seal(self._folder, self._record_key)
        except (RestoreError, OSError) as error:
            self._complain(f"The record is not signed: {error}")

    def _complain(self, text: str) -> None:
        _write(text)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._server.send, {"trouble": text})

    # -- the session ------------------------------------------------------------------------------------

    async def run(self, socket: Path, mark: int) -> None:
        """Serve and drive the session. `mark` is the descriptor that `store.claim_runner` gave."""
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._loop.add_signal_handler(number, self._leave)
        await self._server.open(socket)
        store.write_mark(mark, store.RunnerMark(os.getpid(), identified(os.getpid()).started, str(socket)))
        if self.state.begun is not None:
            self._followers += messenger.followers(self.state.begun, lambda: self.state, self.record)
            self._followers += filer.followers(lambda: self.state, self.record, self._now)
        try:
            await self._drive()
        finally:
            self._closing = True
            if self._followers:
                await asyncio.to_thread(close, self._followers, wait=self.state.ended is not None)
            if self.state.ended is not None:
                await asyncio.to_thread(self._seal)
            await self._server.close()
            self._clear_up(socket)

    def _clear_up(self, socket: Path) -> None:
        socket.unlink(missing_ok=True)
        if self.state.ended is not None:
            self._clear_private()
        self._journal.close()

    def finish(self) -> None:
        """Do for a session that is over what a runner killed at its very end left undone: the record, the clearing."""
        if self._record_holds():
            self._write_record()
            self.send_due()
            self._seal()
        self._clear_private()
        self._journal.close()

    def send_due(self) -> None:
        """Tell people what they have not been told, one after the other: for a session without a living runner."""
        known = messenger.channels_of(self.state.begun) if self.state.begun is not None else {}
        for notice, channel in tuple(waiting(self.state)):
            if channel in known:
                self.record(messenger.attempt(self.state, notice, channel, known[channel]))

    def send_again(self, actor: Actor) -> None:
        """The same once more for what did not arrive, in a session that is over.

        Raises RestoreError where a record that was signed could not be signed anew: nothing is changed then.
        """
        self._open_again()
        self.record(SendingAsked(actor), actor.name)
        self.send_due()
        self._seal()
        self._journal.close()

    def file_tickets(self, keys: tuple[str, ...], actor: Actor) -> None:
        """File these follow-ups, in a session that is over. Raises as `send_again`."""
        self._open_again()
        self.record(TicketsAsked(keys, actor), actor.name)
        for key in keys:
            self.record(filer.attempt(self.state, key, self._now()))
        self._seal()
        self._journal.close()

    def _open_again(self) -> None:
        """More is about to be said of a session that is over. Raises RestoreError where it could not be signed anew."""
        if self._record_key is not None and (self._folder / SEAL).exists():
            try_key(self._record_key)
        self._reported = report(self.state).encode()  # a report that is still as it was made is made anew

    def _record_holds(self) -> bool:
        """A record that is only behind is made again; one that was changed stays as it is, for `verify` to name."""
        try:
            return not verify(self._folder).wrong
        except RestoreError:
            return not (self._folder / "session.toml").exists()

    def _clear_private(self) -> None:
        """Remove what was kept for the session's time only, as exported settings, and the reserve."""
        release_reserve(self._folder)
        for kept in (self._folder / "private").iterdir():
            if kept.is_dir() and not kept.is_symlink():
                shutil.rmtree(kept)  # the login of a client program whose runner was killed
            else:
                kept.unlink()

    def begin(self, begun: SessionBegun | None, versions: Mapping[str, str], survives: str) -> None:
        """Journal the beginning, or take up a session whose runner died."""
        with suppress(OSError):
            keep_reserve(self._folder)
        if begun is not None:
            self.record(begun, begun.operator.name)
        self.record(
            RunnerStarted(
                pid=os.getpid(),
                started=identified(os.getpid()).started,
                reason="begin" if begun is not None else "resume",
                versions=versions,
                survives=survives,
                torn=len(self._journal.torn),
            )
        )
        if begun is None:
            self._take_up()
        else:
            for text in self._foreseen():
                self.record(NoteAdded(Actor("the runner", "runner"), text))

    def _foreseen(self) -> Iterator[str]:
        """What will not work later, said while there is time to mend it. It keeps no restore from beginning."""
        if self._record_key is not None:
            try:
                try_key(self._record_key)
            except RestoreError as error:
                yield f"The record will not be signed: {error.message} {error.hint}"
        if (conf := tickets_of(self.state.begun)) is not None:
            try:
                token_of(conf)
            except RestoreError as error:
                yield f"No ticket can be filed: {error.message} {error.hint}"
        group = watchers_of(self._folder)
        if group is not None and (way := barred(self._folder, group)) is not None:
            yield (
                f"The group {group_name(group)} may watch, but can't get to this session's folder: {way} is closed to "
                f"it. Its socket may still be reached. chmod o+x {way}, or set `state` to another folder."
            )

    def _take_up(self) -> None:
        """End what the dead runner left running, and find out how far its step had come."""
        for child in self.state.children:
            left = Child(child.pid, child.started)
            if alive(left) and (survivors := end(left)):
                pids = ", ".join(map(str, survivors))
                raise Refused(
                    f"What the dead runner had started can't be ended: {child.command} (pid {pids}). "
                    "Nothing was begun.",
                    "End it as root (kill -9), then: reinstate resume.",
                )
            self.record(ChildEnded(child.step, child.pid, None, 0.0))
        cut_off = self.state.running
        if cut_off is None:
            return
        ended = "".join(f"{line}; " for line in self._recipe.quiet(self.state))
        try:
            finding = self._recipe.probe(cut_off.step, self.state)
        except Exception as error:  # noqa: BLE001 - a defect in a probe must not bar the way back
            told = _told(error, "looking at the step that was cut off")
            self.record(StepEnded(step=cut_off.id, result=Result.UNKNOWN, message=told.message, hint=told.hint))
            return
        if finding.done:
            done = StepEnded(
                step=cut_off.id,
                result=Result.DONE,
                message=f"The runner died; probed: {ended}{finding.evidence}",
                facts=finding.facts,
            )
            self.record(done)
            return
        self.record(
            StepEnded(
                step=cut_off.id,
                result=Result.UNKNOWN,
                message=f"The runner died during this step. Probed now: {ended}{finding.evidence}",
                hint="Try it again from its start (r), or undo (u).",
                facts=finding.facts,
            )
        )

    def _leave(self) -> None:
        """Told to go (shutdown, systemctl stop): stop the step at a safe place, leave the session unfinished."""
        self._leaving = True
        running = self.state.running
        if running is not None and not self.state.stop_asked:
            self.record(StopAsked(running.id, Actor("the machine", "signal")))
        self._changed.set()

    async def _drive(self) -> None:
        while not self._leaving:
            async with self._working:
                move = next_move(self.state, self._now())
                if not isinstance(move, Wait):
                    await self._make(move)
                    continue
            if self.state.ended is not None:
                return
            await self._wait_for_change()
            self._changed.clear()

    async def _wait_for_change(self) -> None:
        """Until something happened, or somebody has to be reminded of something."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds_to_next(self.state, self._now()))
        try:
            with self._lock:
                reminded = due(self.state, self._now())
                if reminded is not None:
                    self.record(reminded)
        except RestoreError as error:  # a full disk must not end a session over a reminder
            self._complain(error.message)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), UNREMINDED)

    async def _make(self, move: MakePlan | Start | PassOver | End) -> None:
        match move:
            case MakePlan(kind=kind):
                await asyncio.to_thread(self._make_plan, kind)
            case Start(step=step, attempt=attempt):
                await asyncio.to_thread(self._perform, step, attempt, move)
            case PassOver(step=step):
                self.record(StepEnded(step=step.id, result=Result.SKIPPED, message="not configured"))
            case End(how=Ending.FAILED, reason=reason):
                left = await asyncio.to_thread(self._clear_away)
                self.record(SessionEnded(Ending.FAILED, reason, left))
            case End(how=how):
                left = (still_stopped if how is Ending.SIGNED_OFF else left_behind)(self.state)
                self.record(SessionEnded(how, left_behind=left))

    def _make_plan(self, kind: PlanKind) -> None:
        make = {
            PlanKind.PREPARE: self._recipe.prepare,
            PlanKind.RESTORE: self._recipe.restore,
            PlanKind.UNDO: self._recipe.undo,
        }[kind]
        asked_for = self.state
        try:
            plan = make(asked_for)
            made: PlanMade | PlanRefused = PlanMade(plan, digest(plan))
        except Exception as error:  # noqa: BLE001 - a defect in a recipe must leave undoing and abandoning possible
            told = _told(error, f"making the {kind} plan")
            made = PlanRefused(kind, told.message, told.hint)
        with self._lock:
            # Another backup, an undo or the end may have been asked for meanwhile: this plan is not theirs.
            if self._is_next(MakePlan(kind)) and self.state.backup_revision == asked_for.backup_revision:
                self.record(made)

    def _is_next(self, move: Move) -> bool:
        return next_move(self.state, self._now()) == move

    def _perform(self, step: Step, attempt: int, move: Start) -> None:
        with self._lock:
            if not self._is_next(move):
                return  # a command that came just before took the step away
            self.record(StepStarted(step.id, attempt))
        begun = time.monotonic()
        try:
            work = Work(
                step=step,
                folder=self._folder,
                look=lambda: self.state,
                record=self.record,
                telemetry=self._telemetry,
                at=self._at,
                now=self._now,
            )
        except OSError as error:
            message = f"The step's log can't be opened: {error.strerror}. The step was not begun."
            hint = f"Free some space, and make {self._folder / 'logs'} writable. Then try again (r)."
            self.record(StepEnded(step=step.id, result=Result.FAILED, message=message, hint=hint))
            return
        result, message, hint, facts = Result.DONE, "", "", dict[str, object]()
        refused = False
        try:
            facts = dict(self._recipe.perform(work))
            message = str(facts.pop("message", ""))
        except RestoreError as error:
            result, message, hint = Result.FAILED, error.message, error.hint
            refused = isinstance(error, Refused)
            work.say(f"FAILED: {error.message} {error.hint}")
        except Exception as error:  # noqa: BLE001 - a defect of ours in a step must not end the session
            result = Result.UNKNOWN
            message = f"Reinstate failed inside this step: {defect(error)}."
            _write(way_there(error))
            hint = "Its outcome is not known. Look at the database before trying again (r) or undoing (u)."
            work.say(message)
        try:
            log = work.close()
        except OSError as error:  # the step is over, whatever became of its log
            log = None
            message = f"{message} The step's log could not be kept: {error.strerror}.".strip()
        self.record(
            StepEnded(
                step=step.id,
                result=result,
                message=message,
                hint=hint,
                facts=facts,
                log=log,
                seconds=round(time.monotonic() - begun, 3),
                refused=refused,
            )
        )

    def _telemetry(self, progress: Progress) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._server.send, {"progress": asdict(progress)})

    # -- commands ---------------------------------------------------------------------------------------

    async def _handle(self, request: dict[str, object], actor: Actor) -> dict[str, object]:
        """A console's request. Raises RestoreError when it is refused."""
        if self._closing:
            raise Refused("The runner is leaving. Nothing was changed.", "Look again: reinstate show.")
        command = c.from_wire(request)
        if needs_keyboard(command):
            self._take_free_keyboard(actor)
        if isinstance(command, c.Recheck):
            return await self._recheck(command, actor)
        if isinstance(command, c.Checklist):
            return await self._enter(command, actor)
        try:
            actor, signed, text = await self._signed(command, actor)
        except RestoreError as error:
            with self._lock:
                self._rejected(command, actor, error)
            raise
        with self._lock:
            try:
                check_command(self.state, command, actor, self._now())
                self._check_still_said(command, signed, text)
            except RestoreError as error:
                self._rejected(command, actor, error)
                raise
            if isinstance(command, c.Abandon):
                self._abandon(command.reason, actor)
            else:
                event = self._event(command, actor, signed)
                self.record(event, getattr(event, "actor", actor).name)
        await asyncio.sleep(0)  # let the event go out before the answer that it was accepted
        return {"ok": True}

    async def _signed(self, command: c.Command, actor: Actor) -> tuple[Actor, Signed | None, str]:
        """Who says it, where that is signed, and the text: whoever brought it speaks for the key. Raises Refused."""
        given = getattr(command, "signature", None)
        if given is None or not isinstance(command, (c.Approve, c.Give, c.Override)):
            return actor, None, ""
        check_may(self.state, command, actor)
        check_signable(self.state, command, self._now())
        check_seen(self.state, command)
        statement = stated(self.state, command, given.until)
        principals = principals_for(self.state, statement.role, command.name)
        found = self._signers()
        principal, read = await asyncio.to_thread(
            signer, statement.text.encode(), given.armoured, statement.namespace, principals, found, self._now()
        )
        signed = Signed(principal, read.key, given.until, canonical(given.armoured))
        if signed.signature in self.state.signatures:
            raise Refused(
                "This signature was used already, and one is for one yes. Nothing was changed.",
                "Print what waits for a signature now, and sign that.",
            )
        name = person_of(self.state, principal)
        return replace(actor, name=name, how=How.SIGNED), signed, statement.text

    def _check_still_said(self, command: c.Command, signed: Signed | None, text: str) -> None:
        """Raise Refused where the plan has become another one while the signature was looked at."""
        if signed is None or not isinstance(command, (c.Approve, c.Give, c.Override)):
            return
        if stated(self.state, command, signed.until).text != text:
            raise Refused(
                "What waits for a signature has changed meanwhile. Nothing was changed.",
                "Print what waits for a signature now, and sign that.",
            )

    def _signers(self) -> Signers:
        approval = self.state.begun.approval if self.state.begun else {}
        allowed, revoked = approval.get("signers"), approval.get("revoked")
        if not allowed:
            raise Refused(
                "No signers are configured, so no signature counts. Nothing was changed.",
                "Set `signers` under [approval]; it holds from the next session on.",
            )
        return Signers(Path(str(allowed)), Path(str(revoked)) if revoked else None)

    def _rejected(self, command: c.Command, actor: Actor, error: RestoreError) -> None:
        """Keep a refused yes for the post-mortem: each refusal once, and of one login only so many."""
        if not isinstance(command, (c.Approve, c.Override)) and actor.how is not How.PEER:
            return
        rejected = Rejected(type(command).__name__, actor, error.message, error.hint)
        before = [known for _, known in self.state.rejected if known.actor.login == actor.login]
        told = any((known.command, known.message) == (rejected.command, rejected.message) for known in before)
        if actor.how is not How.PEER or (not told and len(before) < MOST_REJECTED):
            self.record(rejected, actor.name)

    def _abandon(self, reason: str, actor: Actor) -> None:
        self.record(SessionEnded(Ending.ABANDONED, reason, self._clear_away()), actor.name)

    def _clear_away(self) -> tuple[str, ...]:
        """Remove what is only this session's, and say what is left. Of a drill that is everything it made."""
        try:
            for path in self._recipe.leave(self.state):
                _write(f"removed {path}")
        except Exception as error:  # noqa: BLE001 - a defect in clearing up must not keep a session from its end
            self._complain(_told(error, "clearing up").message)  # what is left is listed in the record
        else:
            if is_drill(self.state):
                return ()
        return left_behind(self.state)

    async def _recheck(self, command: c.Recheck, actor: Actor) -> dict[str, object]:
        check_command(self.state, command, actor, self._now())
        async with self._working:
            try:
                check = await asyncio.to_thread(self._recipe.check, command.name, self.state)
            except Exception as error:
                raise _told(error, f"asking the check {command.name!r}") from error
            with self._lock:
                check_command(self.state, command, actor, self._now())  # a step, or the end, may have come between
                self.record(CheckDone(check), actor.name)
        await asyncio.sleep(0)
        return {"ok": True, "verdict": str(check.verdict)}

    async def _enter(self, command: c.Checklist, actor: Actor) -> dict[str, object]:
        check_command(self.state, command, actor, self._now())
        path, line = Path(checklist_path(self.state)), checklist_line(self.state)
        edit = await asyncio.to_thread(checklist.write, path, line, command.old_sha256, command.new_sha256)
        self.record(ChecklistEdited(str(path), edit.line, edit.old_sha256, edit.new_sha256, actor), actor.name)
        await asyncio.sleep(0)
        return {"ok": True}

    def _take_free_keyboard(self, actor: Actor) -> None:
        """A console of the holder's login takes the keyboard when the console that held it is gone."""
        holder = self.state.keyboard
        if holder is None or holder.login != actor.login or holder.console == actor.console:
            return
        if holder.console not in self._server.consoles():
            reason = "the console that held it is gone" if holder.console else "the first console"
            self.record(KeyboardTaken(actor, reason), actor.name)

    def _event(self, command: c.Command, actor: Actor, signed: Signed | None = None) -> Event:
        match command:
            case c.Give():
                named = self._named(actor, command.name)
                text = command.text or (self._gate_text(command))
                alone = command.gate is GateKind.ACCEPT and is_own(self.state, named.name)
                glass = command.break_glass.strip() if alone else ""
                return GateGiven(command.step, command.gate, command.role, named, text, glass, signed)
            case c.Approve():
                return Approved(
                    digest=command.digest,
                    actor=self._named(actor, command.name),
                    until=self._until(signed),
                    break_glass=command.break_glass.strip(),
                    signed=signed,
                )
            case c.Override():
                check = self.state.checks[command.check].check
                named = self._named(actor, command.name)
                glass = command.reason.strip() if is_own(self.state, named.name) else ""
                return CheckOverridden(
                    name=command.check,
                    verdict=str(check.verdict),
                    actor=named,
                    reason=command.reason,
                    break_glass=glass,
                    signed=signed,
                    evidence=check.evidence,
                    seen=command.seen,
                )
            case c.Retry(step=step):
                return StepRetried(step, actor)
            case c.Skip(step=step, reason=reason):
                return StepSkipped(step, actor, reason)
            case c.Stop(step=step):
                return StopAsked(step, actor)
            case c.Choose(backup=backup):
                return BackupChosen(backup)
            case c.Note(text=text):
                return NoteAdded(actor, text.strip())
            case c.Answer(check=tried, passed=passed, name=name, note=note):
                return CheckAnswered(tried, passed, note.strip(), self._named(actor, name))
            case c.FollowUp():
                key = command.key or new_key(self.state)
                told = (command.task.strip(), command.owner.strip(), command.due.strip(), command.ticket.strip())
                return FollowUpSet(key, *told, actor)
            case c.SendAgain():
                return SendingAsked(actor)
            case c.FileTickets(keys=keys):
                return TicketsAsked(to_be_filed(self.state, keys), actor)
            case c.TakeKeyboard(name=name, reason=reason):
                return KeyboardTaken(self._named(actor, name), reason)
            case c.Undo(reason=reason):
                return UndoAsked(actor, reason)
            case c.Recheck() | c.Abandon() | c.Checklist():
                raise AssertionError("these are answered before")

    def _named(self, actor: Actor, typed: str) -> Actor:
        """The actor under the name that counts; an empty one is the console's own."""
        return speaker(self.state, actor, typed.strip() or actor.name)

    def _until(self, signed: Signed | None) -> str:
        """The end of the restore window: the configured one from now, or sooner where a signature says so."""
        window = self.state.begun.approval.get("window_seconds") if self.state.begun else None
        seconds = float(window) if isinstance(window, (int, float)) else DEFAULT_WINDOW
        end = self._now() + timedelta(seconds=seconds)
        return stamp(min(end, read_until(signed.until)) if signed is not None else end)

    def _gate_text(self, give: c.Give) -> str:
        known = self.state.step(give.step)
        gate = known.missing() if known and known.status is not Status.RUNNING else None
        return gate.text if gate else ""


def _write(text: str) -> None:
    """Into runner.log, which may be on a full disk."""
    with suppress(OSError):
        sys.stderr.write(text + "\n")


def _told(error: Exception, doing: str) -> RestoreError:
    """What went wrong, for the journal: a refusal as it is, a defect of ours as one."""
    if isinstance(error, RestoreError):
        return error
    _write(way_there(error))
    return RestoreError(
        f"Reinstate failed while {doing}: {defect(error)}.",
        "Undo and abandon still work. Please report this with the session's runner.log.",
    )


def read_begin(folder: Path) -> SessionBegun | None:
    """What the console asked to begin; None when the session has begun already."""
    path = folder / store.BEGIN
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=SessionBegun)
    except (msgspec.MsgspecError, OSError) as error:
        raise RestoreError(
            f"{path} can't be read: {error}. Nothing was begun.", "Begin a new session: reinstate restore."
        ) from error
