"""What the screens draw: the folded state of a session, and what is told beside it. Frozen; the app makes each one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from engines.backups.catalogue import Backup, Catalogue
from engines.checks import Check
from engines.incident import Incident
from engines.recipes.drills.outcome import Drilled
from engines.recipes.mysql.exploring import Row, Span
from engines.recipes.mysql.until import Until
from engines.session.events import Actor
from engines.session.moves import Ask, AskKind, MakePlan, Wait, next_move
from engines.session.state import SessionState
from engines.session.work import Progress

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Line(StrEnum):
    """The line to the runner."""

    NONE = "no session"
    ALIVE = "alive"
    GONE = "GONE"
    READ_ONLY = "read only"
    OVER = "over"


class Page(StrEnum):
    """The screens that an operator walks through."""

    START = "start"
    BACKUPS = "backups"
    READINESS = "readiness"
    RESTORE = "restore"
    VALIDATION = "validation"
    HANDOVER = "handover"


SESSION_PAGES = (Page.BACKUPS, Page.READINESS, Page.RESTORE, Page.VALIDATION, Page.HANDOVER)


@dataclass(frozen=True, slots=True)
class LogSeen:
    """The part of a step's log that has been read so far."""

    file: str = ""
    lines: tuple[str, ...] = ()
    size: int = 0  # bytes of the whole log
    cut: bool = False  # earlier lines are in the file only


@dataclass(frozen=True, slots=True)
class View:
    """One look at a session. `asked_at` is when the present question was first shown."""

    state: SessionState = field(default_factory=SessionState)
    now: datetime = _LONG_AGO
    me: Actor = field(default_factory=lambda: Actor("", ""))
    line: Line = Line.NONE
    folder: Path = field(default_factory=Path)
    progress: Progress | None = None
    log: LogSeen = field(default_factory=LogSeen)
    trouble: str = ""  # what the runner could not do beside the session's state
    status: str = ""  # the last refusal or notice
    hint: str = ""  # the first-time hint of this page, while it is wanted
    grid: str = ""  # which grid the operator looks at; empty: the newest

    @property
    def ask(self) -> Ask:
        """What the session waits for now."""
        move = next_move(self.state, self.now)
        match move:
            case Wait(ask=ask):
                return ask
            case MakePlan(kind=kind):
                return Ask(AskKind.WORKING, f"The plan to {kind} is being made.")
            case _:
                return Ask(AskKind.WORKING, "The runner is about to go on.")


@dataclass(frozen=True, slots=True)
class Shelf:
    """The backups of one target, as they are offered."""

    target: str = ""
    environment: str = ""
    engine: str = ""
    address: str = ""
    every: timedelta = timedelta(hours=1)
    catalogue: Catalogue | None = None  # None while it is being read
    trouble: str = ""  # why it can't be read
    chosen: str = ""  # name of the session's backup
    until: Until | None = None  # how far beyond it the session goes
    spans: tuple[Span, ...] = ()  # for which the session has proven logs
    stop: datetime | None = None  # where its replay ends, as far as that is known
    incident: Incident | None = None
    incident_id: str = ""
    incident_start: datetime | None = None
    freshness: Check | None = None
    proofs: Mapping[str, Drilled] = field(default_factory=dict)  # each backup's last drill, by its name

    @property
    def is_server(self) -> bool:
        """Is it a schema on a server, with binary logs after its dumps?"""
        return self.engine in ("mysql", "mariadb")

    def find(self, path: str) -> Backup | None:
        backups = self.catalogue.backups if self.catalogue else ()
        return next((backup for backup in backups if backup.where == path), None)


@dataclass(frozen=True, slots=True)
class Explored:
    """What the explorer of transactions shows."""

    rows: tuple[Row, ...] = ()  # in the logs' order
    heading: str = ""  # around what, or what was searched for
    here: str = ""  # place of the row that the cursor begins on
    told: str = ""  # where the replay ends, in words
    working: str = ""  # what is being read; empty while nothing is
    done: float | None = None  # 0 to 1 of that
    trouble: str = ""  # the last refusal, or what is wrong with the logs
    found: bool = False  # are these a search's results?
    first: bool = False  # nothing comes before the first row
    last: bool = False
