"""Is the server ready for this dump? Questions that facts alone answer; each names its evidence. Pure.

What the dump alone answers is in `dumps.guards`; privileges, replication, space and sessions have their own modules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from engines.checks import Check, fail, ok, unknown, warn
from engines.mysql.dumps.facts import DumpFacts
from engines.mysql.intent import Intent
from engines.mysql.privileges import account_of
from engines.mysql.schema import SchemaFacts, ghosts
from engines.mysql.server import ServerFacts, identity
from engines.text import count, drawable, size

SERVER = "The server is the one that is meant"
PACKET = "max_allowed_packet"
MODE = "sql_mode"
KEYS = "Tables without a primary key"
NAMES = "lower_case_table_names"
COLLATIONS = "Collations and character sets"
DEFINERS = "Definers exist"
CLOCK = "The server's clock"
ZONE = "Time zone"
EVENTS = "Event scheduler"
GHOSTS = "Tables that the dump does not have"
TIES = "Foreign keys between schemas"

_MOST_PACKET = 1 << 30  # bytes: what both servers and clients take at most
_OFF = 2.0  # seconds that a clock may be off before it is worth a word
_WRONG = 60.0  # seconds: minutes in an incident report would mean others in the log
_TOLD = 5


def readiness(
    server: ServerFacts, schema: SchemaFacts, dump: DumpFacts, intent: Intent, *, planned: str | None = None
) -> Iterator[Check]:
    """Every check here, in the order to show them. `planned`: the server's identity as the plan has it."""
    yield right_server(server, planned)
    yield packet(server, dump, own_client=intent.own_client)
    yield sql_mode(server, dump)
    yield keys(server, dump)
    yield names(server, dump)
    yield collations(server, dump)
    yield definers(server, dump)
    yield clock(server)
    yield zone(server, dump)
    yield events(server, dump)
    yield ghost_tables(schema, dump)
    yield ties(schema, staged=intent.staged)


def right_server(server: ServerFacts, planned: str | None = None) -> Check:
    own = identity(server)
    if planned is not None and planned != own:
        hint = "Find out which server answers at that address, then plan again."
        return fail(SERVER, f"it is {own}; the plan was made for {planned}", hint)
    line = f"TLS {server.tls}" if server.tls else "this line is not encrypted"
    return ok(SERVER, f"{own}; {server.version}; {line}")


def packet(server: ServerFacts, dump: DumpFacts, *, own_client: bool = True) -> Check:
    """Does the server take the dump's longest statement? What is read by LOAD DATA is not bound by it, its rows are."""
    need, have = dump.largest, server.max_allowed_packet
    where = f" ({drawable(dump.largest_table)})" if dump.largest_table else ""
    told = f"the server takes {size(have)}, the longest statement has {size(need)}{where}"
    if need <= have:
        return ok(PACKET, told)
    wanted = (need + 1024 * 1024) // 1024 * 1024
    if wanted > _MOST_PACKET:
        return fail(PACKET, f"{told}: no server takes that", "Take the dump with --skip-extended-insert.")
    also = "" if own_client else f", and --max-allowed-packet={wanted} for the client"
    return fail(PACKET, told, f"SET GLOBAL max_allowed_packet = {wanted};{also} New connections have it.")


def sql_mode(server: ServerFacts, dump: DumpFacts) -> Check:
    """A dump sets the mode that it was written for in its header. Without a header the server's own holds."""
    modes = server.sql_mode.split(",") if server.sql_mode else []
    if dump.charset:
        return ok(MODE, "the dump sets its own")
    quotes = [one for one in modes if one in ("ANSI_QUOTES", "NO_BACKSLASH_ESCAPES")]
    hint = "Take dumps without --compact, or set the server's sql_mode for new connections for the time of the load."
    if quotes:
        return fail(MODE, f"the dump has no header that sets it, and the server's has {', '.join(quotes)}", hint)
    wrong = [one for one in modes if one in ("NO_ZERO_DATE", "NO_ZERO_IN_DATE")]
    if "NO_AUTO_VALUE_ON_ZERO" not in modes:
        wrong.append("no NO_AUTO_VALUE_ON_ZERO: an id of 0 would become another number")
    if wrong:
        return warn(MODE, f"the dump has no header that sets it; the server's has {', '.join(wrong)}", hint)
    return ok(MODE, "the dump has no header that sets it; the server's does no harm")


def keys(server: ServerFacts, dump: DumpFacts) -> Check:
    without = [one.name for one in dump.tables if not one.keyed]
    if not server.require_primary_key:
        return ok(KEYS, f"{len(without)} in the dump; the server takes them")
    if not without:
        return ok(KEYS, "none in the dump; the server would refuse them")
    hint = "SET GLOBAL sql_require_primary_key = OFF; for the time of the restore."
    return fail(KEYS, f"sql_require_primary_key is on, and the dump has {_several(without)} without one", hint)


def names(server: ServerFacts, dump: DumpFacts) -> Check:
    lower = server.lower_case_table_names
    written = [one.name for one in dump.tables] + list(dump.views)
    if lower == 0:
        return ok(NAMES, "0: names are kept as they are written")
    same = [name for name, number in Counter(name.lower() for name in written).items() if number > 1]
    if same:
        hint = "Restore to a server with lower_case_table_names = 0; it is chosen when a server is made."
        return fail(
            NAMES, f"{lower}: in the dump are several tables that this server takes for one: {_several(same)}", hint
        )
    capitals = [name for name in written if name != name.lower()]
    if capitals and lower == 1:
        hint = "The application has to find them in small letters; here it does, on the dump's own server it may not."
        return warn(NAMES, f"1: {_several(capitals)} become small letters", hint)
    return ok(
        NAMES,
        f"{lower}: no name of the dump is changed by it" if not capitals else f"{lower}: compared in small letters",
    )


def collations(server: ServerFacts, dump: DumpFacts) -> Check:
    known = set(server.collations)
    strange = [one for one in dump.collations if not _knows(known, one)]
    sets = [one for one in (dump.charset,) if one and one not in server.charsets and one not in ("utf8", "binary")]
    if strange or sets:
        hint = (
            "Restore to a server as new as the dump's (MariaDB has MySQL's 0900 collations from 11.4.5 on), or have "
            "the collation replaced in a copy of the dump, listed with its checksum."
        )
        return fail(COLLATIONS, f"the server does not know {_several([*strange, *sets])}", hint)
    return ok(COLLATIONS, f"the server knows all {len(dump.collations)} of the dump")


def _knows(known: set[str], name: str) -> bool:
    # utf8 is another name of utf8mb3, and servers list it under that one.
    return name in known or name.replace("utf8_", "utf8mb3_", 1) in known


def definers(server: ServerFacts, dump: DumpFacts) -> Check:
    """Code whose definer does not exist is made, and fails when it is used (1449)."""
    wanted = sorted(set(map(account_of, dump.definers)))
    if not wanted:
        return ok(DEFINERS, "the dump names none")
    if server.accounts is None:
        hint = "GRANT SELECT ON mysql.user to the login, as docs/privileges.md has it."
        return unknown(DEFINERS, f"accounts are not shown: {server.unknown.get('accounts', '')}", hint)
    gone = [one for one in wanted if one not in server.accounts and not one.startswith("mariadb.sys@")]
    if gone:
        hint = "CREATE USER … ACCOUNT LOCK, with the rights that the code needs; or the commander accepts it."
        return fail(DEFINERS, f"{_several(gone)} do not exist here: views and routines of theirs fail when used", hint)
    return ok(DEFINERS, _several(wanted))


def clock(server: ServerFacts) -> Check:
    off, within = server.clock_offset, server.clock_within
    told = f"{abs(off):.1f} s {'ahead of' if off > 0 else 'behind'} this machine's (±{within:.3f} s)"
    if abs(off) < max(_OFF, within):
        return ok(CLOCK, told)
    hint = "Times in the binary log are the server's. Find out which clock is wrong before choosing a moment."
    return (fail if abs(off) >= _WRONG else warn)(CLOCK, told, hint)


def zone(server: ServerFacts, dump: DumpFacts) -> Check:
    here = f"the server's is {server.time_zone}" + (
        f" ({server.system_time_zone})" if server.time_zone == "SYSTEM" else ""
    )
    if not dump.time_zone:
        hint = "Compare a TIMESTAMP column with what it should be. Dumps without --skip-tz-utc don't have the question."
        return warn(ZONE, f"the dump does not say in which zone its TIMESTAMP values are; {here}", hint)
    named = dump.time_zone[0] not in "+-" and dump.time_zone.upper() not in ("SYSTEM", "UTC")
    if named and not server.named_zones:
        hint = "Fill the server's time zone tables: mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql mysql"
        return fail(ZONE, f"the dump is in {dump.time_zone}, and the server knows no zones by name", hint)
    return ok(ZONE, f"the dump is in {dump.time_zone}; {here}")


def events(server: ServerFacts, dump: DumpFacts) -> Check:
    if not dump.events:
        return ok(EVENTS, f"the dump has no events; event_scheduler is {server.event_scheduler}")
    told = f"the dump has {len(dump.events)} events; event_scheduler is {server.event_scheduler}"
    if server.event_scheduler == "ON":
        hint = "They may run as soon as they are made: SET GLOBAL event_scheduler = OFF; until the handover."
        return warn(EVENTS, told, hint)
    return ok(EVENTS, told)


def ghost_tables(schema: SchemaFacts, dump: DumpFacts, *, rebuilds: bool = True) -> Check:
    """Tables made after the dump. Whether they go is the plan's choice; that they exist is said before."""
    if not schema.exists:
        return ok(GHOSTS, "the schema does not exist yet")
    found = ghosts(schema, dump)
    if not found:
        return ok(GHOSTS, f"none of {len(schema.tables)} tables and {len(schema.views)} views")
    hint = "The plan lists them: they go with the rebuilt schema, and the safety snapshot has them."
    if not rebuilds:
        hint = "The plan lists them: they stay as they are now, beside tables of the dump's time."
    return warn(GHOSTS, _several(found, 12), hint)


def ties(schema: SchemaFacts, *, staged: bool) -> Check:
    if "ties" in schema.unknown:
        return unknown(TIES, schema.unknown["ties"], "GRANT PROCESS ON *.* to the login, as docs/privileges.md has it.")
    if schema.ties_in:
        told = f"others refer to tables of this one: {_several([str(tie) for tie in schema.ties_in])}"
        hint = "Drop those foreign keys for the time of the restore, and add them again after it."
        if staged:
            return fail(TIES, f"{told}; they would follow the replaced tables", hint)
        return fail(TIES, f"{told}; while they do, those tables can't be dropped", hint)
    if schema.ties_out and staged:
        told = f"it refers to {_several([str(tie) for tie in schema.ties_out])}"
        return warn(TIES, told, "The account that loads the staged schema can't reach those: restore in place.")
    return ok(TIES, "none" if not schema.ties_out else f"it refers to {_several([str(t) for t in schema.ties_out])}")


def _several(found: list[str] | tuple[str, ...], most: int = _TOLD) -> str:
    told = ", ".join(map(drawable, found[:most]))
    return told + (f" and {count(len(found) - most)} more" if len(found) > most else "")
