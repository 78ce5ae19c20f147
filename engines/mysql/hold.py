"""Keeps a second bastion out: a lock on the server that lasts as long as the connection that holds it.

The lock is the server's own (GET_LOCK): it changes nothing, and is gone as soon as the connection is. It holds between
sessions of Reinstate; applications are kept out by `engines.mysql.sessions`. In a Galera cluster it holds on its node.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from engines.errors import Refused, RestoreError
from engines.mysql.connect import Login, Place, close, connect, connection_id
from engines.mysql.queries import NotSaid, rows_of, tables_of, value_of
from engines.text import drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_LONGEST = 64  # characters that MySQL takes for a lock's name
_WAIT = 31_536_000  # seconds that the server waits for an idle connection: the most that both servers take
_ENDING = 2  # seconds that the server may take to free the lock of a connection that has just ended
_TIMEOUT = 10.0  # seconds that the server has for an answer


def lock_name(schema: str) -> str:
    """`reinstate:shop`; a schema's name that is too long is cut, and told apart by a digest."""
    name = f"reinstate:{schema.lower()}"
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{name[: _LONGEST - 17]}~{digest}"


class Hold:
    """The lock that this process has."""

    def __init__(self, connection: Connection[Cursor], name: str) -> None:
        self.name = name
        self.connection_id = connection_id(connection)
        self._connection = connection
        self._lock = threading.Lock()
        self._lost = False

    def held(self) -> bool:
        """Is it still ours? Asks the server; once lost, it stays lost."""
        with self._lock:
            if self._lost:
                return False
            try:
                mine = value_of(self._connection, "SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", (self.name,))
            except (RestoreError, NotSaid):
                mine = 0
            self._lost = mine != 1
            return not self._lost


@contextmanager
def hold(place: Place, login: Login, schema: str) -> Iterator[Hold]:
    """The lock on a schema, until the block ends. Raises Refused where another one has it, and says who."""
    name = lock_name(schema)
    connection = connect(place, login, timeout=_TIMEOUT)
    try:
        rows_of(connection, f"SET SESSION wait_timeout = {_WAIT}")
        taken = value_of(connection, "SELECT GET_LOCK(%s, %s)", (name, _ENDING))
        if taken != 1:
            raise _taken(connection, name, schema)
        yield Hold(connection, name)
    finally:
        close(connection)


def _taken(connection: Connection[Cursor], name: str, schema: str) -> Refused:
    holder = value_of(connection, "SELECT IS_USED_LOCK(%s)", (name,))
    who = "another connection"
    with suppress(RestoreError, NotSaid):
        for session in tables_of(connection, "SHOW FULL PROCESSLIST"):
            if session["id"] == holder:
                who = f"{drawable(str(session['user']))} from {drawable(str(session['host']))}"
    return Refused(
        f"Another session of Reinstate is at work on {drawable(schema)}: connection {holder} ({who}) has its lock. "
        "Nothing was changed.",
        f"Find out whose it is. If that machine is gone, KILL {holder} on the server frees the lock.",
    )
