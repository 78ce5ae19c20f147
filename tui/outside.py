"""Everything the console reaches for outside itself, in one place. Tests put their own in; nothing here draws."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from engines.backups.catalogue import Backup, Catalogue
from engines.backups.verify import verify, verify_all
from engines.checklist import Edit, Line, proposed
from engines.config import Config
from engines.config import from_table as target_from_table
from engines.errors import RestoreError
from engines.incident import Incident, read_incident
from engines.incident import from_table as incident_from_table
from engines.recipes import points, sessions
from engines.recipes.drills.known import MOST, all_drilled
from engines.recipes.drills.outcome import Drilled
from engines.recipes.mysql.exploring import Opened, Staged, open_logs
from engines.recipes.mysql.until import Until
from engines.session.client import LogPiece, Said, connect
from engines.session.commands import Command
from engines.session.events import Actor
from engines.session.state import SessionState
from engines.session.store import Known, known_sessions, living_socket, open_session
from engines.session.wire import LOG_PIECE
from engines.targets import Target
from engines.text import utc_now


class Runner(Protocol):
    """The console's end of a runner's socket, as `engines.session.client.Client` is one."""

    @property
    def state(self) -> SessionState: ...

    @property
    def console(self) -> str: ...

    @property
    def me(self) -> Actor: ...

    async def do(self, command: Command) -> None: ...

    async def log(self, file: str, offset: int) -> LogPiece: ...

    def said(self) -> AsyncIterator[Said]: ...

    async def close(self) -> None: ...


Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Outside:
    """Blocking ones are called in threads. All raise RestoreError for what an operator can act on."""

    now: Callable[[], datetime]
    login: Callable[[], str]
    restore_points: Callable[[Target], Catalogue]
    verify_all: Callable[[tuple[Backup, ...], Callable[[Backup], None], Stop], object]
    verify: Callable[[Backup, Callable[[int, int], None], Stop], Backup]
    sessions: Callable[[Path], tuple[Known, ...]]
    drills: Callable[[Config], tuple[Drilled, ...]]
    open_session: Callable[[Path], Known]
    begin: Callable[[Config, str, Backup, Incident | None, str, Until | None], Path]
    resume: Callable[[Path], object]
    connect: Callable[[Path, str], Awaitable[Runner | None]]
    read_log: Callable[[Path, str, int], LogPiece]
    read_incident: Callable[[Path], Incident]
    target: Callable[[Mapping[str, object]], Target]
    incident: Callable[[Mapping[str, object]], Incident]
    checklist: Callable[[Path, Line], Edit]
    open_logs: Callable[[Staged, Until, Callable[[int, int], None], Stop], Opened]


def real() -> Outside:
    return Outside(
        now=utc_now,
        login=sessions.login,
        restore_points=points.restore_points,
        verify_all=verify_all,
        verify=verify,
        sessions=lambda state: tuple(known_sessions(state)),
        drills=lambda config: all_drilled(config, most=MOST),
        open_session=open_session,
        begin=sessions.begin,
        resume=sessions.resume,
        connect=connect_to,
        read_log=read_log,
        read_incident=lambda path: read_incident(path, privileged=os.geteuid() == 0),
        target=target_from_table,
        incident=incident_from_table,
        checklist=proposed,
        open_logs=lambda found, until, progress, stop: open_logs(found, until, progress=progress, stop=stop),
    )


async def connect_to(folder: Path, name: str) -> Runner | None:
    """The living runner of the session in `folder`; None when it has none."""
    socket = living_socket(folder)
    return await connect(socket, name) if socket is not None else None


def read_log(folder: Path, name: str, offset: int) -> LogPiece:
    """A piece of a step's log of a session without a runner; a negative offset counts from the end."""
    try:
        with (folder / "logs" / Path(name).name).open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            start = min(max(end + offset, 0) if offset < 0 else offset, end)
            file.seek(start)
            piece = file.read(LOG_PIECE)
    except OSError as error:
        raise RestoreError(
            f"The log {name} can't be read: {error.strerror}.", "Look into the session's folder."
        ) from error
    return LogPiece(piece.decode(errors="replace"), start, start + len(piece), end)
