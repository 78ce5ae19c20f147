"""How a session reaches its server, and what it calls what it makes there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from engines.mysql.connect import Login, Place, connected, read_login
from engines.mysql.flavour import Flavour
from engines.mysql.load.workers import fitting
from engines.mysql.stage.names import Names, names
from engines.recipes.recalling import token
from engines.session.state import SessionState
from engines.session.work import Work
from engines.targets import BinaryLog, MysqlTarget

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor


def place_of(target: MysqlTarget) -> Place:
    return Place(target.host, target.port, target.socket)


def login_of(target: MysqlTarget) -> Login:
    """Raises RestoreError where the option file can't be read, or others can read it."""
    return read_login(target.login)


@contextmanager
def reached(target: MysqlTarget, database: str | None = None) -> Iterator[Connection[Cursor]]:
    with connected(place_of(target), login_of(target), database=database) as connection:
        yield connection


def flavour_of(target: MysqlTarget) -> Flavour:
    return Flavour(target.engine)


def names_of(target: MysqlTarget, state: SessionState) -> Names:
    """The schemas and the account beside the live schema, of this session alone."""
    return names(target.database, token(state))


def probe_of(target: MysqlTarget, state: SessionState) -> str:
    """The schema in which the server's speed is measured."""
    return f"{names_of(target, state).stage[:58]}_probe"


def staging_of(target: MysqlTarget, state: SessionState) -> Path:
    """The folder for what this session stages."""
    return target.staging / token(state)


def logs_all(target: MysqlTarget) -> bool:
    """Does the restore go into the server's binary log? Off is a visible choice: replicas would not get it."""
    return target.binary_log is not BinaryLog.OFF


def connections_of(target: MysqlTarget) -> int:
    return target.connections or fitting()


def private(work: Work) -> Path:
    """The session's private folder: for the logins of client programs, as long as those run."""
    return work.folder / "private"
