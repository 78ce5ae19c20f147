"""The console's link to one session: its runner while that lives, its journal where it does not. No Textual here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from engines.errors import RestoreError
from engines.session.client import Gone, LogPiece, Trouble
from engines.session.commands import Command
from engines.session.events import Actor, Entry, How
from engines.session.state import SessionState
from engines.session.work import Progress
from tui.outside import Outside, Runner
from tui.view import Line

COMES_BACK = 100  # times a cut line is taken up again before the operator is left to do it


class Link:
    """What is known of the session that the console shows. `changed` is called when a new event has been folded."""

    def __init__(self, outside: Outside, name: str, *, read_only: bool, changed: Callable[[], None]) -> None:
        self._outside = outside
        self._name = name
        self._read_only = read_only
        self._changed = changed
        self._runner: Runner | None = None
        self._last = SessionState()  # what was true when the line was cut, or what the journal says
        self._login = outside.login()
        self.folder = Path()
        self.progress: Progress | None = None
        self.trouble = ""

    @property
    def state(self) -> SessionState:
        return self._runner.state if self._runner is not None else self._last

    @property
    def line(self) -> Line:
        if self.state.begun is None:
            return Line.NONE
        if self.state.ended is not None:
            return Line.OVER
        if self._runner is None:
            return Line.GONE
        return Line.READ_ONLY if self._read_only else Line.ALIVE

    @property
    def me(self) -> Actor:
        if self._runner is None:
            return Actor(self._name, self._login)
        known = self._runner.me  # as the runner knows us: by name, or by the login of our own
        return known if known.how is How.PEER else Actor(self._name, self._login, console=self._runner.console)

    async def join(self, folder: Path) -> None:
        """Connect to the runner of the session in `folder`, or read its journal. Raises RestoreError."""
        await self.close()
        self.folder, self.progress, self.trouble = folder, None, ""
        self._runner = await self._outside.connect(folder, self._name)
        if self._runner is None:
            await self._read_journal()
        self._changed()

    async def listen(self) -> None:
        """Take what the runner says until its line is cut. Comes back at once where there is no runner."""
        for _ in range(COMES_BACK):
            runner = self._runner
            if runner is None:
                return
            await self._listen(runner)
            if self._runner is not runner:
                return  # another session was joined meanwhile
            self._last, self._runner = runner.state, None
            await runner.close()
            if self._last.ended is None:
                await self._come_back()
            self._changed()

    async def _listen(self, runner: Runner) -> None:
        async for said in runner.said():
            match said:
                case Entry():
                    self._changed()
                case Progress():
                    self.progress = said
                case Trouble(text=text):
                    # Once the session has ended its runner leaves: how the line broke then is no trouble of anybody's.
                    if runner.state.ended is None:
                        self.trouble = text
                        self._changed()
                case Gone():
                    return

    async def _come_back(self) -> None:
        """A console that was too slow is let go by a runner that lives on; a dead one leaves its journal."""
        try:
            self._runner = await self._outside.connect(self.folder, self._name)
        except RestoreError:
            self._runner = None
        if self._runner is None:
            await self._read_journal()

    async def _read_journal(self) -> None:
        known = await asyncio.to_thread(self._outside.open_session, self.folder)
        if known.error:
            raise RestoreError(f"The session can't be read: {known.error}", "reinstate verify says more.")
        self._last = known.state

    async def do(self, command: Command) -> None:
        """Ask the runner. Raises RestoreError with its refusal, or because there is none."""
        if self._runner is None:
            raise RestoreError("There is no runner to ask. Nothing was changed.", "R resumes the session.")
        await self._runner.do(command)

    async def log(self, file: str, offset: int) -> LogPiece:
        if self._runner is not None:
            return await self._runner.log(file, offset)
        return await asyncio.to_thread(self._outside.read_log, self.folder, file, offset)

    async def close(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            self._last = runner.state
            await runner.close()

    async def forget(self) -> None:
        """Forget the session: the console goes back to where nothing is chosen."""
        await self.close()
        self._last, self.folder, self.progress, self.trouble = SessionState(), Path(), None, ""
