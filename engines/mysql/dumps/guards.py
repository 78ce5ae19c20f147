"""Is this the dump that is meant, is it whole, and may it be loaded? Pure: asks nobody."""

from __future__ import annotations

from collections.abc import Iterator

from engines.checks import Check, fail, ok, warn
from engines.mysql.dumps.effects import Effect
from engines.mysql.dumps.facts import SYSTEM_SCHEMAS, DumpFacts
from engines.mysql.flavour import Flavour, Version, parse_version
from engines.text import count, drawable

WHOLE = "The dump is whole"
MEANT = "The dump is of this database"
LAWFUL = "The dump keeps to its own schema"
FITS = "The server takes this dump"

# Settings of the whole server that dump programs write; the loader leaves them out and says so.
LEFT_OUT = ("SET GLOBAL GTID_PURGED", "SET GLOBAL INNODB_STATS_AUTO_RECALC")


def guards(facts: DumpFacts, database: str, server: Version) -> Iterator[Check]:
    """Every question that the dump alone answers, for a load into `database` on `server`."""
    yield _whole(facts)
    yield _meant(facts, database)
    yield _lawful(facts)
    yield _fits(facts, server)


def _whole(facts: DumpFacts) -> Check:
    if facts.complete:
        told = f"read to its last byte ({count(facts.size)}); it ends with its own footer"
        return ok(WHOLE, f"{told}, written {facts.completed_at}" if facts.completed_at else told)
    return fail(
        WHOLE,
        f"it ends at byte {count(facts.size)} without the footer that mysqldump writes when it is done",
        "Choose another dump. One made with --skip-comments can't be proven whole: the commander may override.",
    )


def _meant(facts: DumpFacts, database: str) -> Check:
    named = tuple(name for name in facts.databases if name not in SYSTEM_SCHEMAS)
    if not named:
        header = facts.header_database
        if header and header != database:
            hint = "Choose the right dump; a copy under another name is the commander's to accept."
            return fail(MEANT, f"its header says {drawable(header)}, the target is {drawable(database)}", hint)
        return ok(MEANT, f"its header says {drawable(header)}" if header else "it names no database")
    if database not in named:
        told = ", ".join(map(drawable, named[:5]))
        return fail(MEANT, f"it holds {told}; the target is {drawable(database)}", "Choose a dump of this database.")
    others = [drawable(name) for name in facts.databases if name != database]
    if others:
        return ok(MEANT, f"it holds {drawable(database)}; left out: {', '.join(others[:6])}")
    return ok(MEANT, f"it holds {drawable(database)}")


def forbidden(facts: DumpFacts) -> tuple[Effect, ...]:
    """What the dump would do beyond its own schema, and what the loader does not simply leave out."""
    return tuple(effect for effect in facts.effects if effect.what not in LEFT_OUT)


def _lawful(facts: DumpFacts) -> Check:
    wrong = forbidden(facts)
    if wrong:
        told = "; ".join(
            f"{one.what} ({one.kind}) at byte {count(one.start)}, line {count(one.line)}" for one in wrong[:3]
        )
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        hint = "Find out who put it there. Take it out of a copy of the dump, list its checksum, and restore that."
        return fail(LAWFUL, told + more, hint)
    left = sorted({effect.what for effect in facts.effects})
    if facts.coordinates.active:
        hint = "Take the dump with --source-data=2 (MariaDB: --master-data=2)."
        return fail(LAWFUL, "loading it would change the server's own replication", hint)
    return ok(LAWFUL, f"left out when it is loaded: {', '.join(left)}" if left else "nothing in it reaches further")


def _fits(facts: DumpFacts, server: Version) -> Check:
    if facts.no_backslashes:
        hint = 'Load it with client = "mysql".'
        return fail(FITS, "it was taken under NO_BACKSLASH_ESCAPES, which the own loader does not read", hint)
    if not facts.flavour:
        return warn(FITS, "its header does not say what it was taken from", "Look whether it is mysqldump's at all.")
    flavour = Flavour(facts.flavour)
    taken = parse_version(facts.server, flavour.value)
    told = f"taken from {flavour.shown} {facts.server}, loaded into {server}"
    if flavour is not server.flavour:
        strange = sorted(name for name in facts.collations if "0900" in name or "uca1400" in name)
        also = f"; collations {', '.join(strange[:3])}" if strange else ""
        hint = "Choose a dump of the same kind of server; the commander may override after a rehearsal."
        return fail(FITS, told + also, hint)
    if taken is not None and taken.numbers[:2] > server.numbers[:2]:
        return warn(FITS, f"{told}: the dump is from a newer one", "Rehearse it, or restore to a server as new.")
    return ok(FITS, told)
