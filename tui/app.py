"""The console: a window on a runner. It hands what is true to the pages, and sends what was pressed to the runner.

All I/O of the console happens here, in the link and in the workers started here; the pages only draw.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from rich.segment import Segments
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen

from engines.config import Config, Look
from engines.errors import RestoreError
from engines.incident import Incident
from engines.recipes.mysql.exploring import staged
from engines.recipes.mysql.until import Until, stops_before, until_of
from engines.session.commands import Choose, Command, Stop
from engines.session.events import Ending
from engines.session.plan import log_name
from engines.session.state import SessionState
from engines.text import drawable
from screens.backups import BackupsScreen
from screens.handover import HandoverScreen
from screens.modals.explorer import ExplorerModal
from screens.modals.form import Form, FormModal
from screens.modals.question import Question, QuestionModal
from screens.modals.reading import LogModal, ReadingModal
from screens.readiness import ReadinessScreen
from screens.restore import RestoreScreen
from screens.start import Choices, StartScreen
from screens.validation import ValidationScreen
from tui import dialogues, presses, stops
from tui.exploring import Exploring
from tui.hangup import watch
from tui.hints import hint
from tui.keys import Pressed
from tui.link import Link
from tui.logs import LogReader
from tui.output import tell
from tui.outside import Outside, real
from tui.pages import NextKey, page_for
from tui.pasting import pasted
from tui.shelves import Shelving
from tui.theme import ANSI, CSS, THEMES
from tui.view import SESSION_PAGES, Line, Page, Shelf, View
from tui.widgets.header import Header

BREAKPOINTS = [(0, "-narrow"), (72, "-usual"), (100, "-wide")]  # columns, and the class of a screen that has them
TICK = 0.25  # seconds: how often logs are read and progress is drawn
SWITCH = 0.001  # seconds that another thread may work while keys are waiting
READ_FIRST = 0.5  # seconds that a question must have been on the screen before Enter counts as its answer

PageScreen = StartScreen | BackupsScreen | ReadinessScreen | RestoreScreen | ValidationScreen | HandoverScreen


@dataclass(frozen=True, slots=True)
class Opening:
    """What the console is opened on."""

    config: Config | None = None
    config_path: Path | None = None  # as it was given, for the commands that are suggested
    target: str | None = None
    incident: Path | None = None
    folder: Path | None = None  # of a session to join
    until: Until | None = None  # how far beyond a dump, as the command line says
    name: str = ""  # the operator's
    theme: str = Look.DARK
    hints: bool = False  # first-time hints
    read_only: bool = False
    parting: bool = True  # say at the end where the session stands; a demo says it itself


class Console(App[int]):
    """The operator's window. Its pages are screens; what is pressed on them comes back as `Pressed`."""

    CSS = CSS
    TITLE = "Reinstate"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        # Both are hit in fear or by habit, so both ask first; no dialogue or box may take them.
        Binding("ctrl+c,ctrl+q", "interrupt", show=False, priority=True),
    ]
    SCREENS: ClassVar[dict[str, Callable[[], Screen[None]]]] = {
        Page.START: StartScreen,
        Page.BACKUPS: BackupsScreen,
        Page.READINESS: ReadinessScreen,
        Page.RESTORE: RestoreScreen,
        Page.VALIDATION: ValidationScreen,
        Page.HANDOVER: HandoverScreen,
    }

    def __init__(self, opening: Opening, outside: Outside | None = None, read_first: float = READ_FIRST) -> None:
        super().__init__()
        self.HORIZONTAL_BREAKPOINTS = BREAKPOINTS
        self.opening = opening
        self.outside = outside or real()
        self.link = Link(self.outside, opening.name, read_only=opening.read_only, changed=self.show)
        self.shelving = Shelving(self.outside, self.show)
        self.exploring = Exploring(self.outside, self.show)
        self.choices = Choices()
        self.page = Page.START
        self.view = View(now=self.outside.now())
        self.incident: Incident | None = None
        self.grid = ""
        self._status = ""
        self.next_key = NextKey(read_first)
        self._reader = LogReader()
        self._reading = False  # a piece of a log is on its way
        self._asking = False  # a command is on its way
        self._reminded = ("", 0)  # the session, and how many reminders of it are known
        self.parting: tuple[str, ...] = ()  # lines: what is said once the terminal is the shell's again
        self.ended: Callable[[], None] = lambda: None  # to be called when the console has ended
        self._hidden: set[Page] = set()  # pages whose hint is hidden
        if not self.current_theme.ansi:
            for theme in THEMES.values():
                self.register_theme(theme)
            self.look(opening.theme)

    def look(self, theme: str) -> None:
        """Take a theme's colours, those of verdicts and marks too."""
        self.ansi_theme_dark = ANSI[theme]
        self.theme = THEMES[theme].name

    # -- life ---------------------------------------------------------------------------------------------

    async def on_mount(self) -> None:
        if not self.is_headless:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGHUP):
                # Textual has no handlers: without these the terminal stays in its alternate screen.
                loop.add_signal_handler(number, self._ended_by, number)
            if sys.stdin.isatty():
                self.ended = watch(sys.stdin.fileno(), lambda: self._gone(loop))
        with self.batch_update():  # one whole picture, not an empty one first
            await self.push_screen(Page.START)
        self.set_interval(TICK, self._tick)
        self.work(self._open())

    def _gone(self, loop: asyncio.AbstractEventLoop) -> None:
        """The terminal is, says another thread."""
        with suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(self._ended_by, signal.SIGHUP)

    def _ended_by(self, number: int) -> None:
        self.exit(return_code=128 + number)

    async def on_unmount(self) -> None:
        self.shelving.stop()
        self.exploring.stop()
        await self.link.close()

    def _fatal_error(self) -> None:
        from rich.traceback import Traceback  # here: it brings the colouring of source text along, some 25 ms

        # Textual's own prints local variables, and what they hold may be secret.
        self.bell()
        traceback = Traceback(show_locals=False)
        self._exit_renderables.append(Segments(self.console.render(traceback, self.console.options)))
        self._close_messages_no_wait()

    def work(self, coroutine: Coroutine[object, object, None]) -> None:
        """Run something of the app's own. A refusal is shown; anything else is a defect and ends the console."""
        self.run_worker(self._guarded(coroutine))

    async def _guarded(self, coroutine: Coroutine[object, object, None]) -> None:
        try:
            await coroutine
        except RestoreError as error:
            self.say(f"{error.message} {error.hint}")

    def leave(self, code: int | None = None) -> None:
        """End the console. A session goes on without it."""
        state, folder = self.link.state, self.link.folder
        said: list[str] = []
        if state.ended is not None:
            said = [f"Session {state.id}: {state.ended.how}.", f"Record: {folder / 'session.toml'}"]
            code = code if code is not None else int(state.ended.how in (Ending.ABANDONED, Ending.FAILED))
        elif state.begun is not None:
            again = "resume" if self.link.line is Line.GONE else "attach"
            back = pasted(f"reinstate {again} {state.id}", self.opening.config_path)
            how = "waits: its runner is gone" if self.link.line is Line.GONE else "goes on without this console"
            said = [f"Session {state.id} {how}. Back to it:", f"  {back}"]
        self.parting = tuple(drawable(line) for line in said) if self.opening.parting else ()
        self.exit(return_code=code or 0)

    # -- opening and joining ------------------------------------------------------------------------------

    async def _open(self) -> None:
        opening = self.opening
        if opening.folder is not None:
            await self.join(opening.folder)
            return
        if opening.incident is not None:
            await self._read_incident(opening.incident)
        await self.read_choices()
        if opening.target is not None:
            self.open_target(opening.target)

    async def _read_incident(self, path: Path) -> None:
        try:
            self.incident = await asyncio.to_thread(self.outside.read_incident, path)
        except RestoreError as error:
            lines = [*error.message.split("\n"), "", error.hint]
            self.push_screen(ReadingModal("The incident report can't be used", lines))

    async def read_choices(self) -> None:
        config = self.opening.config
        incident = f"{self.incident.about.id} {self.incident.about.title}" if self.incident else ""
        targets = tuple(config.targets.values()) if config else ()
        self.choices = Choices(targets, None, incident)
        self.show()
        sessions = await asyncio.to_thread(self.outside.sessions, config.state) if config else ()
        self.choices = Choices(targets, sessions, incident)
        self.show()
        # Last: whoever comes in an incident does not wait for it.
        drills = await asyncio.to_thread(self.outside.drills, config) if config else ()
        self.choices = Choices(targets, sessions, incident, drills)
        self.show()

    def open_target(self, name: str) -> None:
        """Show a target's backups, and begin to verify them."""
        config = self.opening.config
        if config is None or name not in config.targets:
            self.say(f"There is no target {name} in the configuration.")
            return
        self.go(Page.BACKUPS)
        self.work(self.shelving.read(config.targets[name], self.incident, config, verifying=True))

    def _own_shelf(self) -> None:
        """Have the backups of the session's own target on page 1, where they are not there yet."""
        state = self.link.state
        begun = state.begun
        if begun is None or self.shelving.shelf.target == begun.target.get("name"):
            return
        target = self.outside.target(begun.target)
        incident = self.outside.incident(begun.incident) if begun.incident else None
        # Once a restore is approved its disks have better things to do than to verify other backups.
        verifying = not state.approved and state.ended is None
        self.work(self.shelving.read(target, incident, self.opening.config, verifying=verifying))

    async def join(self, folder: Path) -> None:
        """Show the session in `folder` and follow it until its line is cut."""
        self.grid, self._reader = "", LogReader()
        await self.link.join(folder)
        self.go(page_for(self.link.state, self.view.ask))
        await self.link.listen()

    async def begin(self, path: str, until: Until | None = None) -> None:
        """Begin a session with the backup of that path on the shelf, going as far beyond it as `until` says."""
        config, backup = self.opening.config, self.shelving.shelf.find(path)
        if config is None or backup is None:
            return
        self.shelving.stop()
        self.say("Starting the runner …")
        target = self.shelving.shelf.target
        folder = await asyncio.to_thread(
            self.outside.begin, config, target, backup, self.incident, self.opening.name, until
        )
        self.say("")
        await self.join(folder)

    async def resume(self) -> None:
        folder = self.link.folder
        self.say("Starting a runner; it looks at what is true …")
        await asyncio.to_thread(self.outside.resume, folder)
        self.say("")
        await self.join(folder)

    async def to_start(self) -> None:
        """Leave a session that is over, or a target's backups, for the list of what there is."""
        self.shelving.stop()
        await self.link.forget()
        self.go(Page.START)
        await self.read_choices()

    # -- what is shown ------------------------------------------------------------------------------------

    def show(self) -> None:
        """Draw what is true now."""
        if not self.drawing:
            return
        link = self.link
        self.view = View(
            state=link.state,
            now=self.outside.now(),
            me=link.me,
            line=link.line,
            folder=link.folder,
            progress=link.progress,
            log=self._reader.seen,
            trouble=link.trouble,
            status=pasted(self._status, self.opening.config_path),
            hint=hint(self.page, link.state) if self.opening.hints and self.page not in self._hidden else "",
            grid=self.grid,
        )
        explorer = self._explorer
        if explorer is not None and explorer is self.screen and staged(self.view.state) is None:
            self.close_explorer()  # another restore point was chosen: its logs are not staged yet
            return
        self._remind()
        if self.view.state.begun is not None and self.dialogue is None:
            there = self.next_key.follow(self.view, self.page)
            if self.next_key.calls:
                self.bell()
            if there is not None:
                self.go(there)
                return
        self._hand_over()

    def _remind(self) -> None:
        """Say, and sound, a reminder that has come; those from before this console was opened are in the record."""
        reminders = self.view.state.reminders
        session = self.view.state.id
        if (session, len(reminders)) != self._reminded:
            if self._reminded[0] == session and len(reminders) > self._reminded[1]:
                self._status = f"REMINDER: {reminders[-1][1].text}"
                self.view = replace(self.view, status=self._status)
                self.bell()
            self._reminded = (session, len(reminders))

    @property
    def drawing(self) -> bool:
        """Is there a screen? Workers and timers may come once more while the console is being closed."""
        return self.is_running and bool(self.screen_stack)

    def _hand_over(self) -> None:
        screen = self.page_screen
        screen.view = self.view
        if isinstance(screen, StartScreen):
            screen.choices = self.choices
        elif isinstance(screen, BackupsScreen):
            screen.shelf = chosen_on(self.shelving.shelf, self.view.state)
        if self.dialogue is not None:
            self._tell_dialogue()
        if isinstance(self.screen, LogModal):
            self.screen.show(self.view.log)
        if (explorer := self._explorer) is not None:
            explorer.show(self.exploring.seen, self._status)

    def on_header_wanted(self) -> None:
        self._tell_dialogue()

    def _tell_dialogue(self) -> None:
        """A dialogue covers the page; what is at stake stays in sight."""
        if self.page_screen.composed:
            for header in self.screen.query(Header):
                header.follow(self.page_screen.query_one(Header))

    @property
    def _explorer(self) -> ExplorerModal | None:
        return next((screen for screen in self.screen_stack if isinstance(screen, ExplorerModal)), None)

    def close_explorer(self) -> None:
        self.exploring.stop()
        if isinstance(self.screen, ExplorerModal):
            self.screen.dismiss()

    @property
    def page_screen(self) -> PageScreen:
        screen = self.get_screen(self.page)
        assert isinstance(screen, PageScreen)  # noqa: S101 - SCREENS holds nothing else
        return screen

    def go(self, page: Page, *, by_hand: bool = False) -> None:
        """Show a page. By hand it stays until the operator is back where the next key is."""
        if not self.drawing:
            return
        self.next_key.went(page, by_hand=by_hand)
        if page is Page.BACKUPS:
            self._own_shelf()
        if page is self.page:
            self.show()
            return
        self.page = page
        self._status = ""
        self.switch_screen(page)
        self.show()

    @property
    def dialogue(self) -> Screen[object] | None:
        """The dialogue over the page, if there is one."""
        return self.screen if self.screen is not self.page_screen else None

    def say(self, text: str) -> None:
        self._status = text
        self.show()

    def hide_hint(self) -> None:
        self._hidden.add(self.page)
        self.show()

    def _tick(self) -> None:
        if not self.drawing:
            return
        news = self.shelving.fetch() if self.page is Page.BACKUPS else False
        later = self.outside.now().replace(microsecond=0) > self.view.now.replace(microsecond=0)
        moved = self.link.progress is not self.view.progress
        reading = self.exploring.busy and self._explorer is not None
        if news or moved or reading or (later and self.view.state.begun is not None and self.view.state.ended is None):
            self.show()
        file = self._wanted_log()
        if file and not self._reading:
            self._reading = True
            self.work(self._read_log(file))

    def _wanted_log(self) -> str:
        screen = self.screen
        subject = screen.step if isinstance(screen, LogModal) else ""
        if isinstance(screen, RestoreScreen) and screen.composed:
            subject = screen.subject
        known = self.link.state.step(subject)
        return log_name(known.step) if known is not None and known.attempt else ""

    async def _read_log(self, file: str) -> None:
        try:
            if await self._reader.follow(file, self.link.log):
                self.show()
        finally:
            self._reading = False

    # -- keys ---------------------------------------------------------------------------------------------

    def on_pressed(self, event: Pressed) -> None:
        event.stop()
        if self.dialogue is None:
            self._status = ""
            try:
                presses.press(self, event.key, event.subject)
            except RestoreError as error:
                self._status = f"{error.message} {error.hint}"
            self.show()

    def on_explorer_modal_pressed(self, event: ExplorerModal.Pressed) -> None:
        event.stop()
        if self.screen is self._explorer:
            self._status = ""
            stops.pressed(self, event.key, event.place)
            self.show()

    def action_interrupt(self) -> None:
        if not any(isinstance(screen, QuestionModal) for screen in self.screen_stack):
            self.question(dialogues.interrupt(self.view))

    def question(self, question: Question, answered: Callable[[str], None] | None = None) -> None:
        """Ask; an answer that is a key's name presses that key."""

        def taken(value: str | None) -> None:
            if value:
                (answered or self._press_answer)(value)
            self.show()

        self.push_screen(QuestionModal(question), taken)

    def _press_answer(self, value: str) -> None:
        if value == "leave":
            self.leave()
        elif value == "interrupted":
            self.leave(130)
        elif value == "resume":
            self.work(self.resume())
        elif value.startswith(dialogues.STOP):
            self.ask(Stop(value.removeprefix(dialogues.STOP).strip()))
        else:
            presses.press(self, value, "")

    def form(self, form: Form) -> None:
        self.push_screen(FormModal(form), lambda _: self.show())

    def on_form_modal_submitted(self, event: FormModal.Submitted) -> None:
        event.stop()
        self.ask(event.command, event.modal)

    def ask(self, command: Command, modal: FormModal | None = None) -> None:
        """Send a command, one at a time. What became of it comes back as an event."""
        if not self._asking:
            self._asking = True
            self.work(self._ask(command, modal))

    async def _ask(self, command: Command, modal: FormModal | None) -> None:
        try:
            await self.link.do(command)
        except RestoreError as error:
            if modal is None:
                raise
            modal.refuse(error.message, pasted(error.hint, self.opening.config_path))
        else:
            if modal is not None:
                modal.dismiss()
            if isinstance(command, Choose):
                self.next_key.call_back()
                self.show()
        finally:
            self._asking = False


def chosen_on(shelf: Shelf, state: SessionState) -> Shelf:
    """The shelf with what the session has chosen from it, and what is known of the logs after that."""
    shelf = replace(shelf, chosen=str(state.backup.get("name", "")))
    if state.begun is None or not shelf.is_server:
        return shelf
    until, found = until_of(state), staged(state)
    reaches = found.reaches if found else None
    return replace(shelf, until=until, spans=found.spans if found else (), stop=stops_before(until) or reaches)


def run(opening: Opening) -> int:
    """Open the console and return its exit code. `environment.prepare` was called before this was imported."""
    # Threads that verify backups let go after 1 ms, not 5: a key has to be answered in between.
    sys.setswitchinterval(SWITCH)
    console = Console(opening)
    try:
        console.run(mouse=False)  # the terminal's own selection and copying stay as they are
    finally:
        console.ended()
    for line in console.parting:
        tell(line)  # Textual would break it at the terminal's edge; a command that is copied has to be one line
    return console.return_code or 0


__all__ = ["SESSION_PAGES", "Console", "Opening", "run"]
