"""A throwaway account that can reach the staged schema and nothing else, so that no statement of a dump can either.

It may make and fill tables. Code (views, routines, triggers, events) it may not make: with the binary log on a server
wants SUPER for that, and a definer other than oneself is the right to act as anybody. `code` makes it, and when.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from engines.errors import Refused, RestoreError
from engines.hooks import At, Say, nowhere, silent
from engines.mysql.connect import Login, code_of, quoted
from engines.mysql.errors import meaning
from engines.mysql.flavour import Flavour
from engines.mysql.stage.ask import execute, named, rows, told
from engines.mysql.stage.names import Names
from engines.mysql.stage.schema import Owner, owner

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

RIGHTS = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, LOCK TABLES, CREATE TEMPORARY TABLES"
# The right to leave the session out of the binary log, and the right to execute row events.
_NO_LOG = {Flavour.MYSQL: "SESSION_VARIABLES_ADMIN", Flavour.MARIADB: "BINLOG ADMIN"}
# MySQL checks an applier's rights table by table; BINLOG_ADMIN would not be checked. MariaDB checks no row event.
# What mysqlbinlog writes sets pseudo_thread_id, for which MySQL wants more than to be an applier.
_REPLAYS = {Flavour.MYSQL: "REPLICATION_APPLIER, SESSION_VARIABLES_ADMIN", Flavour.MARIADB: "BINLOG REPLAY"}
_STRICT = 1290  # with strict_password_validation MariaDB wants to see the password itself
_HINT = (
    "Look at what the login may do: CREATE USER, and the rights on the schema with GRANT OPTION; then try again (r)."
)


def make(
    connection: Connection[Cursor],
    names: Names,
    session: str,
    login: Login,
    flavour: Flavour,
    *,
    binary_log: bool = True,
    replays: bool = False,
    say: Say = silent,
    at: At = nowhere,
) -> Login:
    """Make the account anew, with a password that is nowhere but in the answer. `login` says how the line is encrypted.

    `binary_log` False: it may leave its session out of the binary log. `replays`: it may execute row events. Raises
    Refused where the names are not ours or the login may not give those rights; then there is no account.
    """
    if owner(connection, names, session) is not Owner.US:
        raise Refused(
            f"There is no staged schema of this session, so {names.account} was not made.", "Make the schema first."
        )
    password = secrets.token_urlsafe(24) + "-aA1"  # password rules of servers want one of each
    user = _user(names)
    drop(connection, names, session, at=at)
    with told("The account for the staged schema could not be made", _HINT):
        at("account: create before")
        _create(connection, user, password, flavour)
        at("account: create after")
    try:
        execute(connection, f"GRANT {RIGHTS} ON {_pattern(connection, names.stage)}.* TO {user}")
        at("account: grant after")
        for wanted, right in ((not binary_log, _NO_LOG[flavour]), (replays, _REPLAYS[flavour])):
            if wanted:
                _grant(connection, right, user)
                at("account: grant after")
    except BaseException:
        drop(connection, names, session)
        raise
    say(f"account {names.account} can reach {names.stage} and nothing else")
    return replace(login, user=names.account, password=password, cert=None, key=None)


def _create(connection: Connection[Cursor], user: str, password: str, flavour: Flavour) -> None:
    """MariaDB writes the statement into its logs as it comes, so that it gets the hash; MySQL does that by itself."""
    import pymysql

    if flavour is Flavour.MARIADB:
        once = hashlib.sha1(password.encode()).digest()  # noqa: S324 - mysql_native_password is made like that
        hashed = "*" + hashlib.sha1(once).hexdigest().upper()  # noqa: S324
        try:
            execute(connection, f"CREATE USER {user} IDENTIFIED BY PASSWORD '{hashed}'")
        except pymysql.err.MySQLError as error:
            if code_of(error) != _STRICT:
                raise
        else:
            return
    execute(connection, f"CREATE USER {user} IDENTIFIED BY {connection.escape(password)}")


def _grant(connection: Connection[Cursor], right: str, user: str) -> None:
    import pymysql

    try:
        execute(connection, f"GRANT {right} ON *.* TO {user}")
    except pymysql.err.MySQLError as error:
        raise Refused(
            f"The login may not give {right} to the account for the staged schema: {meaning(error)}. It was removed.",
            f"Grant {right} WITH GRANT OPTION to the login, restore with the binary log on, or restore in place.",
        ) from None


def drop(connection: Connection[Cursor], names: Names, session: str, *, say: Say = silent, at: At = nowhere) -> None:
    """End the account's sessions and remove it; may be repeated. What is not ours is left alone."""
    if owner(connection, names, session) is not Owner.US:
        return
    with told(f"The account {names.account} could not be removed", _HINT):
        secret = connection.escape(secrets.token_urlsafe(24) + "-aA1")
        execute(connection, f"ALTER USER IF EXISTS {_user(names)} IDENTIFIED BY {secret}")
        end_sessions(connection, names.account)
        at("account: drop before")
        execute(connection, f"DROP USER IF EXISTS {_user(names)}")
        at("account: drop after")
        end_sessions(connection, names.account)  # one that began in between keeps its rights until it ends
    say(f"account {names.account} is removed")


def end_sessions(connection: Connection[Cursor], user: str, *, tries: int = 1000) -> None:
    """Kill a user's sessions, and return when the server shows none any more. Raises RestoreError if one stays."""
    for _ in range(tries):
        found = [int(str(row["id"])) for row in named(connection, "SHOW PROCESSLIST") if row["user"] == user]
        if not found:
            return
        for number in found:
            _kill(connection, number)
        rows(connection, "DO SLEEP(0.01)")
    raise RestoreError(
        f"Sessions of {user} do not end: {', '.join(map(str, found))}.", "They roll back: wait, then try again (r)."
    )


def _kill(connection: Connection[Cursor], number: int) -> None:
    import pymysql

    try:
        execute(connection, f"KILL {number}")
    except pymysql.err.MySQLError as error:
        if code_of(error) != 1094:  # it has ended by itself
            raise


def _user(names: Names) -> str:
    return f"'{names.account}'@'%'"


def _pattern(connection: Connection[Cursor], schema: str) -> str:
    """A schema in GRANT is a pattern, but on MySQL with partial_revokes."""
    literal = rows(connection, "SHOW GLOBAL VARIABLES LIKE 'partial_revokes'")
    if literal and str(literal[0][1]).upper() in ("ON", "1"):
        return quoted(schema)
    return quoted(schema.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%"))
