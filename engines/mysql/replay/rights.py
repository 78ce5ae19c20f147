"""May this account replay? Asked by doing what mysqlbinlog's text begins with, in a session that is thrown away.

What only single statements of the logs need (a definer, a trigger) is told from the plan and the account's grants.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from engines.checks import Check, fail, ok, warn
from engines.mysql.binlogs.events import IN_USE, START, opened
from engines.mysql.connect import Login, Place, connected
from engines.mysql.errors import meaning
from engines.mysql.flavour import Flavour
from engines.mysql.replay.plan import Gtids, ReplayPlan

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

_NAME = "replay rights"
_FLAGS = 17


def rights(place: Place, login: Login, plan: ReplayPlan) -> Check:
    """Raises RestoreError when there is no connection."""
    from pymysql.err import MySQLError

    missing: dict[str, str] = {}
    with connected(place, login) as connection:
        for statement, right in _probes(plan):
            try:
                with connection.cursor() as cursor:
                    cursor.execute(statement)
            except MySQLError as error:
                missing.setdefault(right, meaning(error))
        granted = _granted(connection)
        trusted = _trusted(connection)
    if missing:
        return fail(
            _NAME,
            "; ".join(f"{right}: {why}" for right, why in missing.items()),
            f"GRANT {', '.join(missing)} ON *.* TO the account, or leave it with a login that has SUPER.",
        )
    if needs := list(_needed_by_code(plan, granted, trusted=trusted)):
        return warn(
            _NAME,
            f"the logs make triggers, routines or views: {'; '.join(needs)}",
            "Grant it, or the replay ends at the first of them.",
        )
    return ok(_NAME, "the account may execute what mysqlbinlog writes")


def _probes(plan: ReplayPlan) -> Iterator[tuple[str, str]]:
    """Statements that change nothing but their session, and the right that each needs."""
    mysql = plan.flavour is Flavour.MYSQL
    if not plan.binary_log:
        yield "SET SESSION sql_log_bin = 0", "SESSION_VARIABLES_ADMIN" if mysql else "BINLOG ADMIN"
    applier = "REPLICATION_APPLIER" if mysql else "BINLOG REPLAY"
    with opened(Path(plan.parts[0].path), plan.parts[0].name) as log:
        head = bytearray(b"".join(log.pieces(START, log.format.end)))
    head[_FLAGS] &= ~IN_USE
    yield f"BINLOG '{b64encode(head).decode()}'", applier
    yield "SET @@SESSION.pseudo_thread_id = 1", "SESSION_VARIABLES_ADMIN" if mysql else applier
    if mysql:
        yield "SET @@SESSION.original_commit_timestamp = 1", applier
        yield "SET @@SESSION.sql_require_primary_key = 0", "SESSION_VARIABLES_ADMIN"
    elif plan.gtids is Gtids.KEPT:
        yield "SET @@SESSION.gtid_domain_id = 0, @@SESSION.server_id = 1, @@SESSION.gtid_seq_no = 1", applier
    if mysql and plan.gtids is Gtids.KEPT:
        yield "SET @@SESSION.gtid_next = 'AUTOMATIC'", applier


def _granted(connection: Connection[Cursor]) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW GRANTS")
        return "\n".join(str(row[0]) for row in cursor.fetchall()).upper()


def _trusted(connection: Connection[Cursor]) -> bool:
    """May accounts without SUPER make triggers and functions?"""
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.log_bin, @@GLOBAL.log_bin_trust_function_creators")
        row = cursor.fetchone() or (1, 0)
    return not int(row[0]) or bool(int(row[1]))


def _needed_by_code(plan: ReplayPlan, granted: str, *, trusted: bool) -> Iterator[str]:
    if not plan.code:
        return
    everything = "GRANT ALL PRIVILEGES ON *.*" in granted
    if not everything and not any(
        right in granted for right in ("SET_ANY_DEFINER", "SET_USER_ID", "SET USER", "SUPER")
    ):
        yield "a definer other than the account needs " + (
            "SET_ANY_DEFINER (SET_USER_ID before MySQL 8.2), and SYSTEM_USER where the definer has it"
            if plan.flavour is Flavour.MYSQL
            else "SET USER"
        )
    if not everything and not trusted and "SUPER" not in granted:
        yield "triggers and functions need SUPER, or log_bin_trust_function_creators = 1 for the time of the replay"
