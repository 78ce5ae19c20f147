"""Opens connections to a server, and gives client programs a login without showing it to anybody.

What to ask a server is others' work. No message from here holds a password.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import RestoreError
from engines.mysql.option_file import read_options, write_options
from engines.text import drawable

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

CONNECT_TIMEOUT = 10  # seconds
_LOST = (2006, 2013, 2003, 2002, 1053, 1927, 3169, 4031)  # gone away, lost, can't connect, shutdown, killed, idle
# Seconds without a word until the other end is asked, between two questions, and how many stay without an answer;
# milliseconds that what was sent may go without one. Source: tcp(7).
_SILENCE = {
    socket.TCP_KEEPIDLE: 30,
    socket.TCP_KEEPINTVL: 10,
    socket.TCP_KEEPCNT: 6,
    socket.TCP_USER_TIMEOUT: 90_000,
}


class Tls(StrEnum):
    """How a connection is encrypted. Source: MySQL manual, "Command Options for Encrypted Connections"."""

    DISABLED = "disabled"
    PREFERRED = "preferred"  # encrypted where the server can; the server's name is not proven
    REQUIRED = "required"
    VERIFY_CA = "verify-ca"
    VERIFY_IDENTITY = "verify-identity"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server listens."""

    host: str = "localhost"
    port: int = 3306
    socket: Path | None = None  # goes before host and port

    def __str__(self) -> str:
        return str(self.socket) if self.socket else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: str = field(repr=False)
    tls: Tls = Tls.PREFERRED
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


def read_login(path: Path) -> Login:
    """The login in an option file's [client] group: user, password, ssl-mode, ssl-ca, ssl-cert, ssl-key.

    Raises RestoreError. Where the server is, the configuration says, and not this file.
    """
    options = read_options(path)
    user = options.get("user")
    if not user:
        raise RestoreError(f"{drawable(str(path))} names no user in [client].", "Write user=… and password=… there.")
    mode = options.get("ssl-mode", "PREFERRED").lower().replace("_", "-")
    if mode not in list(Tls):
        raise RestoreError(f"{drawable(str(path))}: ssl-mode is unknown.", f"Known: {', '.join(Tls)}.")
    ca, cert, key = (Path(options[name]) if options.get(name) else None for name in ("ssl-ca", "ssl-cert", "ssl-key"))
    return Login(user, options.get("password", ""), Tls(mode), ca, cert, key)


def write_option_file(path: Path, place: Place, login: Login, *, mariadb: bool) -> None:
    """What a client program gets by --defaults-file: mode 0600, and no other option file is read with it."""
    options: dict[str, str | None] = {"user": login.user, "password": login.password}
    if place.socket:
        options["socket"] = str(place.socket)
    else:
        options |= {"host": place.host, "port": str(place.port), "protocol": "TCP"}
    for name, file in (("ssl-ca", login.ca), ("ssl-cert", login.cert), ("ssl-key", login.key)):
        if file:
            options[name] = str(file)
    write_options(path, options | _tls_options(login.tls, mariadb=mariadb))


def _tls_options(tls: Tls, *, mariadb: bool) -> dict[str, str | None]:
    """MariaDB's clients have no ssl-mode; from 11.4 on they verify unless told not to."""
    if not mariadb:
        return {"ssl-mode": tls.upper().replace("-", "_")}
    match tls:
        case Tls.DISABLED:
            return {"skip-ssl": None}
        case Tls.VERIFY_CA | Tls.VERIFY_IDENTITY:
            return {"ssl": None, "ssl-verify-server-cert": None}
        case Tls.REQUIRED:
            return {"ssl": None, "loose-skip-ssl-verify-server-cert": None}
        case Tls.PREFERRED:
            return {"loose-skip-ssl-verify-server-cert": None}


def connect(
    place: Place,
    login: Login,
    *,
    database: str | None = None,
    timeout: float | None = None,
    settings: str | None = None,
    local_files: bool = False,
) -> Connection[Cursor]:
    """An open connection in utf8mb4 with autocommit on. `timeout`: seconds that an answer may take.

    `settings` is SQL that it runs first, also after it is made anew. Raises RestoreError, which says what the
    server said. The server can't fetch files through it; `local_files` lets it ask for one, and only
    engines.mysql.load.wire answers.
    """
    import pymysql
    from pymysql.constants import CLIENT

    def opened(tls: ssl.SSLContext | None) -> Connection[Cursor]:
        return pymysql.connect(
            host=place.host,
            port=place.port,
            unix_socket=str(place.socket) if place.socket else None,
            user=login.user,
            password=login.password,
            database=database,
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=timeout,
            write_timeout=timeout,
            init_command=settings,
            local_infile=False,
            client_flag=CLIENT.LOCAL_FILES if local_files else 0,
            ssl=tls,
            ssl_disabled=tls is None,  # else PyMySQL would use TLS where it can
            program_name="reinstate",
        )

    context = _context(login) if place.socket is None else None
    try:
        try:
            return _notices_silence(opened(context))
        except pymysql.err.OperationalError as error:
            # "SSL connection error: SSL is required but the server doesn't support it"
            if login.tls is not Tls.PREFERRED or context is None or "SSL" not in str(error.args[-1]).upper():
                raise
            return _notices_silence(opened(None))
    except (pymysql.err.MySQLError, OSError, RuntimeError) as error:
        raise RestoreError(
            f"No connection to {place} as {drawable(login.user)}: {said(error)}. Nothing was changed.",
            _hint(error),
        ) from None  # the original's traceback could show its arguments


def _notices_silence(connection: Connection[Cursor]) -> Connection[Cursor]:
    """A line that a firewall has forgotten is lost after a minute and a half, and not after the kernel's two hours.

    A statement may take as long as it will: the other end's kernel answers meanwhile. PyMySQL asks for SO_KEEPALIVE.
    """
    line: socket.socket = connection._sock  # type: ignore[attr-defined]  # the stubs leave it out
    if line.family != socket.AF_UNIX:
        for option, value in _SILENCE.items():
            line.setsockopt(socket.IPPROTO_TCP, option, value)
    return connection


@contextmanager
def connected(
    place: Place, login: Login, *, database: str | None = None, timeout: float | None = None
) -> Iterator[Connection[Cursor]]:
    """`connect`, closed at the end."""
    connection = connect(place, login, database=database, timeout=timeout)
    try:
        yield connection
    finally:
        close(connection)


def close(connection: Connection[Cursor]) -> None:
    """Say goodbye where the line still stands; close in any case, once or twice."""
    if connection.open:
        connection.close()


def connection_id(connection: Connection[Cursor]) -> int:
    """The server's number for this connection, by which it can be ended from another one."""
    return int(connection.thread_id())  # type: ignore[no-untyped-call]  # the stubs leave it out


def _context(login: Login) -> ssl.SSLContext | None:
    if login.tls is Tls.DISABLED:
        return None
    verified = login.tls in (Tls.VERIFY_CA, Tls.VERIFY_IDENTITY)
    try:
        # The default context reads the system's certificates each time, 25 ms a connection, and from Python 3.13 on it
        # refuses the certificates that MySQL makes by itself.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = login.tls is Tls.VERIFY_IDENTITY
        context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
        if login.ca:
            context.load_verify_locations(str(login.ca))
        elif verified:
            context.load_default_certs()
        if login.cert:
            context.load_cert_chain(str(login.cert), str(login.key) if login.key else None)
    except (OSError, ssl.SSLError) as error:
        raise RestoreError(
            f"The TLS files of the login can't be used: {error.strerror or error}.",
            "Look at ssl-ca, ssl-cert, ssl-key.",
        ) from error
    return context


def code_of(error: BaseException) -> int | None:
    """The server's or client's error number, where there is one."""
    number = error.args[0] if error.args else None
    return number if isinstance(number, int) else None


def lost(error: BaseException) -> bool:
    """Did the line or the server go away, so that the outcome of what was sent last is not known?"""
    import pymysql

    if isinstance(error, pymysql.err.InterfaceError):
        return True
    return isinstance(error, OSError) or (isinstance(error, pymysql.err.MySQLError) and code_of(error) in _LOST)


def said(error: BaseException) -> str:
    """What the server said, in one line that can be drawn: `1045 Access denied for user …`."""
    parts = [str(part) for part in error.args[:2]] or [type(error).__name__]
    return drawable(" ".join(parts))[:500]


def quoted(name: str) -> str:
    """An identifier as SQL takes it, whatever its characters."""
    return f"`{name.replace('`', '``')}`"


def _hint(error: BaseException) -> str:
    said_of_tls = str(error.args[-1]) if error.args else ""
    if "CERTIFICATE_VERIFY" in said_of_tls:
        return (
            "Look at ssl-ca, and at the names in the server's certificate: verify-identity wants the host among them."
        )
    if "SSL is required" in said_of_tls:
        return "Turn TLS on at the server, or write another ssl-mode into the login file."
    match code_of(error):
        case 1045 | 1044 | 1698 | 1251 | 2059:
            return "Look at user and password in the login file, and at what the account may do from this host."
        case 2003 | 2002:
            return "Is the server up, and are host, port and socket right in the configuration?"
        case 1049:
            return "The database does not exist on this server. Look at `database` in the configuration."
        case 1040:
            return "Too many connections: end some, or log in with an account that has CONNECTION_ADMIN."
        case _:
            return "Look at the server's error log, and at the network between here and there."
