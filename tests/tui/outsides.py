"""A world for the console in tests: a clock that stands still, a runner that only remembers what it was asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from engines.backups.catalogue import Backup, Catalogue
from engines.checklist import Edit, Line
from engines.config import from_table
from engines.errors import RestoreError
from engines.incident import Incident
from engines.incident import from_table as incident_from_table
from engines.recipes.drills.outcome import Drilled
from engines.recipes.mysql.exploring import Opened
from engines.recipes.mysql.until import Until, told
from engines.session.client import Gone, LogPiece, Said
from engines.session.commands import Command
from engines.session.events import Actor, Event
from engines.session.state import SessionState
from engines.session.store import Known
from tests.tui import story
from tui.outside import Outside, Runner, real


class FakeRunner:
    """Stands in for a connected client: folds nothing itself, shows the state of a story."""

    def __init__(self, told: story.Story) -> None:
        self.told = told
        self.asked: list[Command] = []
        self.refusal: RestoreError | None = None
        self.answers: Callable[[Command], object] | None = None
        self.logs: dict[str, str] = {}
        self.console = "c1"
        self.me = Actor("", "", console="c1")  # as the runner knows this console
        self.closed = False
        self._said: asyncio.Queue[Said] = asyncio.Queue()

    @property
    def state(self) -> SessionState:
        return self.told.state

    async def do(self, command: Command) -> None:
        self.asked.append(command)
        if self.refusal is not None:
            raise self.refusal
        if self.answers is not None:
            self.answers(command)
            self.say(self.told.entries[-1])

    async def log(self, file: str, offset: int) -> LogPiece:
        text = self.logs.get(file)
        if text is None:
            raise RestoreError("The log can't be read.", "It may not have begun yet.")
        start = max(len(text) + offset, 0) if offset < 0 else offset
        return LogPiece(text[start:], start, len(text), len(text))

    def say(self, said: Said) -> None:
        self._said.put_nowait(said)

    async def said(self) -> AsyncIterator[Said]:
        while True:
            item = await self._said.get()
            yield item
            if isinstance(item, Gone):
                return

    async def close(self) -> None:
        self.closed = True


@dataclass
class World:
    """What is out there. `outside` is the console's view of it."""

    told: story.Story = field(default_factory=story.Story)
    runner: FakeRunner | None = None
    catalogue: Catalogue | RestoreError = field(default_factory=story.catalogue)
    sessions: tuple[Known, ...] = ()
    drills: tuple[Drilled, ...] = ()
    begun: list[str] = field(default_factory=list)
    resumed: list[Path] = field(default_factory=list)
    refusal: RestoreError | None = None
    verified: Callable[[Backup], Backup] | None = None
    logs: Opened | RestoreError | None = None
    edit: Edit | None = None  # of the security checklist
    entered: list[Line] = field(default_factory=list)  # what was to be entered there
    incident: Incident | None = None
    slow: threading.Event | None = None  # until it is set, what is read from disk does not come

    @property
    def asked(self) -> list[Command]:
        """What the runner was asked for."""
        return self.runner.asked if self.runner is not None else []

    def happens(self, *events: Event) -> None:
        """Something happens in the session while the console watches."""
        self.told.tell(*events)
        if self.runner is not None:
            self.runner.say(self.told.entries[-1])

    def now(self) -> datetime:
        return self.told.now

    def _waits(self) -> None:
        if self.slow is not None:
            self.slow.wait()

    def known_sessions(self, _state: object) -> tuple[Known, ...]:
        self._waits()
        return self.sessions

    def restore_points(self, _target: object) -> Catalogue:
        self._waits()
        if isinstance(self.catalogue, RestoreError):
            raise self.catalogue
        return self.catalogue

    def verify_all(self, backups: tuple[Backup, ...], changed: Callable[[Backup], None], _stop: object) -> None:
        if self.verified is not None:
            for backup in backups:
                changed(self.verified(backup))

    def verify(self, backup: Backup, _progress: object, _stop: object) -> Backup:
        return self.verified(backup) if self.verified else backup

    def begin(
        self,
        _config: object,
        target: str,
        backup: Backup,
        _incident: object,
        _operator: str,
        until: Until | None,
    ) -> Path:
        if self.refusal is not None:
            raise self.refusal
        self.begun.append(f"{target} from {backup.name}" + (f" {told(until)}" if until is not None else ""))
        self.told.begun().planned()
        self.runner = FakeRunner(self.told)
        return story.FOLDER

    def resume(self, folder: Path) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.resumed.append(folder)
        self.runner = FakeRunner(self.told)

    async def connect(self, _folder: Path, _name: str) -> Runner | None:
        return self.runner

    def open_logs(self, _staged: object, _until: object, _progress: object, _stop: object) -> Opened:
        if isinstance(self.logs, RestoreError):
            raise self.logs
        assert self.logs is not None
        return self.logs

    def checklist(self, path: Path, line: Line) -> Edit:
        self.entered.append(line)
        return self.edit or real().checklist(path, line)

    def read_incident(self, path: Path) -> Incident:
        return self.incident or real().read_incident(path)

    def outside(self) -> Outside:
        return replace(
            real(),
            now=self.now,
            login=lambda: "ana",
            restore_points=self.restore_points,
            verify_all=self.verify_all,
            verify=self.verify,
            sessions=self.known_sessions,
            drills=lambda _config: self.drills,
            open_session=lambda folder: Known(folder, self.told.state, alive=False),
            begin=self.begin,
            resume=self.resume,
            connect=self.connect,
            target=from_table,
            incident=incident_from_table,
            open_logs=self.open_logs,
            checklist=self.checklist,
            read_incident=self.read_incident,
        )


def joined(told: story.Story) -> World:
    """A world with a living runner in the state that was told."""
    return World(told=told, runner=FakeRunner(told))
