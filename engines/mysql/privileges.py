"""Which privileges the steps of a restore need, and which of them the login lacks. Pure.

docs/privileges.md has the same as GRANT statements; a test creates accounts with exactly those and asks here. What a
privilege is needed for was tried on real servers; what is called differently by version says since when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engines.checks import Check, fail, ok, unknown, warn
from engines.mysql.dumps.facts import DumpFacts
from engines.mysql.flavour import Flavour, Version
from engines.mysql.grants import Grants
from engines.mysql.intent import Intent
from engines.mysql.server import ServerFacts
from engines.text import drawable

MAY = "The login may do what the steps need"
CREATORS = "The login may make functions and triggers"
_TOLD = 8

# All that loading a schema and replaying into it takes: ALL PRIVILEGES on it.
WHOLE_SCHEMA = (
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "CREATE",
    "DROP",
    "REFERENCES",
    "INDEX",
    "ALTER",
    "CREATE TEMPORARY TABLES",
    "LOCK TABLES",
    "EXECUTE",
    "CREATE VIEW",
    "SHOW VIEW",
    "CREATE ROUTINE",
    "ALTER ROUTINE",
    "EVENT",
    "TRIGGER",
)


@dataclass(frozen=True, slots=True)
class Need:
    """One privilege, or any of several, on something."""

    any_of: tuple[str, ...]  # the one to grant first
    why: str
    schema: str = "*"
    table: str = "*"
    option: bool = False  # WITH GRANT OPTION
    required: bool = True  # else its lack is only a warning
    instead: tuple[tuple[str, str, str], ...] = ()  # privilege, schema, table: does as well

    def met(self, grants: Grants) -> bool:
        here = (grants.has(one, self.schema, self.table, option=self.option) for one in self.any_of)
        return any(here) or any(grants.has(*other) for other in self.instead)


def needs(server: ServerFacts, intent: Intent, dump: DumpFacts | None = None) -> Iterator[Need]:
    """Everything that the steps of a restore need. Without `dump`, what only some dumps need is left out."""
    yield Need(("PROCESS",), "to see who uses the schema")
    yield from _replication(server, intent)
    for one in (intent.schema, *((intent.stage, intent.parked) if intent.staged else ())):
        for privilege in WHOLE_SCHEMA:
            yield Need((privilege,), f"to fill {drawable(one)}", one)
    yield Need(("SELECT",), "to see who holds locks", "performance_schema", required=False)
    yield from _code(server, dump)
    if not intent.binary_log and server.log_bin:
        yield Need(_no_log(server.version), "to leave the restore out of the binary log")
    if intent.replays:
        yield from (Need(one, "to replay binary logs") for one in _replaying(server.version))
    if intent.local_infile and not server.local_infile and intent.own_client:
        setting = ("SUPER",) if server.mariadb else ("SYSTEM_VARIABLES_ADMIN", "SUPER")
        yield Need(setting, "to turn local_infile on for the load")
    if intent.staged:
        yield from _account(server.version, intent)


def _replication(server: ServerFacts, intent: Intent) -> Iterator[Need]:
    version = server.version
    if server.mariadb and version.numbers >= (10, 5, 2):
        yield Need(("BINLOG MONITOR", "REPLICATION CLIENT", "SUPER"), "to ask how far the binary log is")
        yield Need(("SLAVE MONITOR", "SUPER"), "to see whether the server is a replica")
    else:
        yield Need(("REPLICATION CLIENT", "SUPER"), "to ask for binary log and replication")
    if server.log_bin:
        yield Need(("REPLICATION SLAVE",), "to see replicas and to fetch binary logs", required=intent.keeps_logs)
        yield Need(("RELOAD",), "to flush the binary log and to note its position", required=intent.keeps_logs)


def _code(server: ServerFacts, dump: DumpFacts | None) -> Iterator[Need]:
    """Routines, triggers, views and events that others have made."""
    mariadb = server.mariadb
    why = "to dump routines that others have made"
    if mariadb:
        newer = server.version.at_least(Flavour.MARIADB, 11, 3)
        instead = (("SHOW CREATE ROUTINE", "*", "*"),) if newer else ()
        yield Need(("SELECT",), why, "mysql", "proc", instead=instead)
    elif server.version.at_least(Flavour.MYSQL, 8, 0, 20):
        yield Need(("SHOW_ROUTINE", "SELECT"), why)
    else:
        yield Need(("SELECT",), why, "mysql", "proc")
    if dump is None:
        return
    if dump.definers:
        yield Need(("SELECT",), "to see whether definers exist", "mysql", "user")
    foreign = [one for one in map(account_of, dump.definers) if one != server.account]
    if foreign:
        yield Need(_definer(server.version), f"to make code of {drawable(foreign[0])}")
    if any(one in (server.system_users or ()) for one in foreign):
        yield Need(("SYSTEM_USER",), "to make code of accounts that have SYSTEM_USER")
    missing = server.accounts is not None and any(one not in server.accounts for one in foreign)
    if missing and server.version.at_least(Flavour.MYSQL, 8, 2):
        yield Need(("ALLOW_NONEXISTENT_DEFINER", "SUPER"), "to make code of accounts that do not exist")


def _definer(version: Version) -> tuple[str, ...]:
    if version.flavour is Flavour.MARIADB:
        return ("SET USER", "SUPER") if version.numbers >= (10, 5, 2) else ("SUPER",)
    return ("SET_ANY_DEFINER", "SUPER") if version.numbers >= (8, 2) else ("SET_USER_ID", "SUPER")


def _no_log(version: Version) -> tuple[str, ...]:
    if version.flavour is Flavour.MARIADB:
        return ("BINLOG ADMIN", "SUPER") if version.numbers >= (10, 5, 2) else ("SUPER",)
    return ("SESSION_VARIABLES_ADMIN", "SYSTEM_VARIABLES_ADMIN", "SUPER")


def _replaying(version: Version) -> tuple[tuple[str, ...], ...]:
    """MySQL asks for one to execute row events, and for the other to set pseudo_thread_id as the log has it."""
    if version.flavour is Flavour.MARIADB:
        return (("BINLOG REPLAY", "SUPER"),) if version.numbers >= (10, 5, 2) else (("SUPER",),)
    return (
        ("REPLICATION_APPLIER", "BINLOG_ADMIN", "SUPER"),
        ("SESSION_VARIABLES_ADMIN", "SYSTEM_VARIABLES_ADMIN", "SUPER"),
    )


def _account(version: Version, intent: Intent) -> Iterator[Need]:
    """The account that can reach the staged schema and nothing else is made, given its rights, and ended."""
    mariadb = version.flavour is Flavour.MARIADB
    yield Need(("CREATE USER",), "to make the account of the staged schema")
    yield Need(
        ("CONNECTION ADMIN", "SUPER") if mariadb and version.numbers >= (10, 5, 2) else ("CONNECTION_ADMIN", "SUPER"),
        "to end the sessions of that account",
    )
    for privilege in ("SELECT", "INSERT", "CREATE", "DROP", "ALTER"):
        yield Need((privilege,), "to give that account its rights", intent.stage, option=True)
    if not intent.binary_log:
        yield Need(_no_log(version)[:1], "to let that account leave the binary log out", option=True)
    if intent.replays:
        for one in _replaying(version):
            yield Need(one[:1], "to let that account replay", option=True)


def account_of(definer: str) -> str:
    """`root@localhost` of a definer as a dump has it, quoted."""
    user, _, host = definer.strip().partition("`@`")
    return f"{user.removeprefix('`')}@{host.removesuffix('`')}".replace("``", "`")


def missing(wanted: Iterable[Need], grants: Grants) -> tuple[Need, ...]:
    return tuple(need for need in wanted if not need.met(grants))


def privileges(server: ServerFacts, grants: Grants | None, intent: Intent, dump: DumpFacts | None = None) -> Check:
    """One check for all of them; its hint is the GRANT statement to paste."""
    if grants is None:
        return unknown(MAY, "the server does not show the login's grants", "Look at SHOW GRANTS, as that login.")
    method = "staged" if intent.staged else "in place"
    wanted = tuple(needs(server, intent, dump))
    lacks = missing(wanted, grants)
    if not lacks:
        return ok(MAY, f"{drawable(server.account)} has all {len(wanted)} privileges that a restore {method} takes")
    statements = " ".join(grant_statements(lacks, server))
    reasons = list(dict.fromkeys(_told(need) for need in lacks))
    told = ", ".join(reasons[:_TOLD]) + (f" and {len(reasons) - _TOLD} more" if len(reasons) > _TOLD else "")
    evidence = f"{drawable(server.account)} lacks, for a restore {method}: {told}"
    if server.managed:
        statements += " (on RDS some can't be granted: docs/privileges.md)"
    if any(need.required for need in lacks):
        return fail(MAY, evidence, statements)
    return warn(MAY, evidence, statements)


def _told(need: Need) -> str:
    where = (
        "" if need.schema == "*" else f" on {drawable(need.schema)}" + ("" if need.table == "*" else f".{need.table}")
    )
    return f"{need.any_of[0]}{where} {need.why}"


def grant_statements(lacks: Iterable[Need], server: ServerFacts) -> tuple[str, ...]:
    """`GRANT … ON … TO …;` for the account that the login is matched to, one for each object."""
    user, _, host = server.account.rpartition("@")
    account = f"{_literal(user)}@{_literal(host)}"
    objects: dict[tuple[str, str, bool], list[str]] = {}
    for need in lacks:
        listed = objects.setdefault((need.schema, need.table, need.option), [])
        if need.any_of[0] not in listed:
            listed.append(need.any_of[0])
    made = []
    for (schema, table, option), listed in objects.items():
        where = "*.*" if schema == "*" else f"{_pattern(schema, table, server)}.{'*' if table == '*' else table}"
        what = "ALL PRIVILEGES" if set(listed) >= set(WHOLE_SCHEMA) else ", ".join(listed)
        made.append(f"GRANT {what} ON {where} TO {account}{' WITH GRANT OPTION' if option else ''};")
    return tuple(made)


def _pattern(schema: str, table: str, server: ServerFacts) -> str:
    """In a grant on a whole schema its name is a pattern; in one on a table it is not."""
    if table == "*" and not server.partial_revokes:
        schema = schema.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
    return f"`{schema.replace('`', '``')}`"


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def creators(server: ServerFacts, grants: Grants | None, dump: DumpFacts) -> Check:
    """With the binary log on, servers want SUPER for stored functions and triggers, or a setting that trusts."""
    code = len(dump.routines) + len(dump.triggers)
    if not code:
        return ok(CREATORS, "the dump has none")
    if not server.log_bin or server.trust_function_creators:
        why = "log_bin_trust_function_creators is on" if server.log_bin else "the server writes no binary log"
        return ok(CREATORS, why)
    hint = "SET GLOBAL log_bin_trust_function_creators = 1; for the time of the restore"
    if server.managed:
        hint = "Set log_bin_trust_function_creators = 1 in the instance's parameter group."
    if grants is None or not grants.has("SUPER"):
        return fail(CREATORS, "log_bin_trust_function_creators is off, and the login does not have SUPER", hint)
    if not dump.routines:
        return ok(CREATORS, "the login has SUPER")
    told = "the login has SUPER; a function that does not say what it does with data would still be refused (1418)"
    return warn(CREATORS, told, hint)
