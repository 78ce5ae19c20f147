"""What a dump is: who wrote it, of what, from where its binary logs go on, and whether it is whole. One pass.

Source: mysqldump's and mariadb-dump's own output (header, coordinates, footer).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engines.errors import RestoreError
from engines.mysql.dumps.effects import Effect, EffectKind, effect_of, words_of
from engines.mysql.dumps.packing import opened
from engines.mysql.dumps.statements import Comment, Cut, Insert, Statement, plain_name, read
from engines.mysql.dumps.tables import Table, parse_table
from engines.mysql.flavour import Flavour, parse_version
from engines.text import count, drawable

SYSTEM_SCHEMAS = ("mysql", "sys", "information_schema", "performance_schema")
Progress = Callable[[int, int], None]
Stop = Callable[[], bool]

_SERVER = re.compile(rb"^-- Server version\s+(\S+)")
_TOOL = re.compile(rb"^-- (?:MySQL|MariaDB) dump (\S+)")
_DATABASE = re.compile(rb"^-- Host: .*?\s+Database: (.*)$")
_COORDINATES = re.compile(
    rb"CHANGE (?:MASTER|REPLICATION SOURCE) TO (?:MASTER|SOURCE)_LOG_FILE='([^']+)', (?:MASTER|SOURCE)_LOG_POS=(\d+)"
)
_PURGED = re.compile(rb"GTID_PURGED\s*=\s*(?:/\*!80000 '\+'\*/ )?'\+?([^']*)'", re.DOTALL)
_SLAVE_POS = re.compile(rb"gtid_slave_pos='([^']*)'")
_COMPLETED = b"-- Dump completed"
_COMPLETED_AT = re.compile(rb"-- Dump completed on (\d{4}-\d\d-\d\d\s+\d?\d:\d\d:\d\d)")
_NAMES = re.compile(rb"SET NAMES (\w+)")
_ZONE = re.compile(rb"TIME_ZONE='([^']+)'")
_DEFINER = re.compile(rb"DEFINER=(`(?:[^`]|``)*`@`(?:[^`]|``)*`)")
_COLLATION = re.compile(rb"(?:COLLATE[ =]+|collation_\w+\s*=\s*)(utf8\w*|\w+_(?:ci|cs|bin|nopad_\w+))")
_NAME = rb"`(?:[^`]|``)+`"
_MADE = re.compile(
    rb"^CREATE (?:.{0,400}?)\b(TABLE|VIEW|PROCEDURE|FUNCTION|TRIGGER|EVENT|SEQUENCE)\b(?: IF NOT EXISTS)? (?:"
    + _NAME
    + rb"\.)?("
    + _NAME
    + rb"|\w+)",  # a trigger's name stays as its author wrote it
    re.DOTALL,
)
_USE = re.compile(rb"\s*USE\s+(" + _NAME + rb"|[\w$]+)", re.IGNORECASE)
_DATABASE_MADE = re.compile(
    rb"\s*(?:CREATE|DROP)\s+(?:DATABASE|SCHEMA)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(" + _NAME + rb"|[\w$]+)", re.IGNORECASE
)
_STRING = re.compile(rb"'[^'\\]*+(?:\\.[^'\\]*+)*+'", re.DOTALL)
_LITERALS = b" \t\r\n(),.+-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NO_LITERAL = re.compile(rb"--|[A-Z_]\s*\(|\bSELECT\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class TableFacts:
    name: str
    database: str  # as USE said; empty: whichever it is loaded into
    start: int  # byte of its definition
    rows: int
    size: int  # bytes of its rows
    engine: str
    keyed: bool
    secondary: int  # keys beside the primary one
    foreign: int


@dataclass(frozen=True, slots=True)
class Coordinates:
    """From where the binary logs go on after the dump."""

    file: str = ""
    position: int = 0
    gtids: str = ""  # MySQL: what had been executed; MariaDB: the position of each domain
    active: bool = False  # would loading it change the server's own replication?

    @property
    def known(self) -> bool:
        return bool(self.file or self.gtids)


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpFacts:
    packing: str
    size: int  # bytes unpacked
    flavour: str  # of the server that it was taken from; empty: the header does not say
    server: str  # its version, as the header has it
    tool: str
    databases: tuple[str, ...]  # that it names by USE or CREATE DATABASE; empty: whichever it is loaded into
    header_database: str
    tables: tuple[TableFacts, ...]
    views: tuple[str, ...]
    routines: tuple[str, ...]
    triggers: tuple[str, ...]
    events: tuple[str, ...]
    sequences: tuple[str, ...]
    definers: tuple[str, ...]
    collations: tuple[str, ...]
    charset: str  # SET NAMES
    time_zone: str
    coordinates: Coordinates
    statements: int
    largest: int  # bytes of the longest statement
    largest_table: str
    complete: bool  # its last line is the one that mysqldump writes when it is done
    completed_at: str  # in the time zone of the machine that took it
    effects: tuple[Effect, ...] = ()  # what it would do beyond its own schema
    versioned: bool = False
    no_backslashes: bool = False

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)


@dataclass(slots=True)
class _Gathering:
    """What has been seen so far."""

    tables: list[TableFacts] = field(default_factory=list)
    made: dict[str, list[str]] = field(default_factory=dict)
    databases: list[str] = field(default_factory=list)
    definers: set[str] = field(default_factory=set)
    collations: set[str] = field(default_factory=set)
    effects: list[Effect] = field(default_factory=list)
    database: str = ""
    header: dict[str, str] = field(default_factory=dict)
    file: str = ""
    position: int = 0
    gtids: str = ""
    active: bool = False
    statements: int = 0
    largest: int = 0
    largest_table: str = ""
    complete: bool = False
    completed_at: str = ""
    versioned: bool = False
    no_backslashes: bool = False
    end: int = 0

    def longest(self, size: int, table: str) -> None:
        if size > self.largest:
            self.largest, self.largest_table = size, table


def read_facts(
    path: Path,
    *,
    entry: str = "",
    progress: Progress = lambda _done, _total: None,
    stop: Stop = lambda: False,
) -> DumpFacts:
    """Read the dump to its very end. Raises RestoreError where it is damaged, cut, or no dump."""
    seen = _Gathering()
    with opened(path, entry) as dump:
        for part in read(dump.stream):
            if stop():
                raise RestoreError("Reading the dump was stopped. Nothing was loaded.", "Read it again (r).")
            progress(dump.position(), dump.size)
            seen.complete = False
            match part:
                case Comment():
                    _comment(seen, part)
                case Statement():
                    _statement(seen, part)
                case Insert():
                    _insert(seen, part, lambda: progress(dump.position(), dump.size), stop)
        packing, size = dump.packing, dump.size
    progress(size, size)
    if not seen.statements:
        raise RestoreError("There is no statement in the file: it is no dump.", "Choose another backup.")
    return _facts(seen, packing)


def _facts(seen: _Gathering, packing: str) -> DumpFacts:
    made = {kind: tuple(names) for kind, names in seen.made.items()}
    version = parse_version(seen.header.get("server", ""), seen.header.get("tool line", ""))
    return DumpFacts(
        packing=packing,
        size=seen.end,
        flavour=str(version.flavour) if version else "",
        server=seen.header.get("server", ""),
        tool=seen.header.get("tool", ""),
        databases=tuple(dict.fromkeys(seen.databases)),
        header_database=seen.header.get("database", ""),
        tables=tuple(seen.tables),
        views=tuple(dict.fromkeys(made.get("VIEW", ()))),
        routines=made.get("PROCEDURE", ()) + made.get("FUNCTION", ()),
        triggers=made.get("TRIGGER", ()),
        events=made.get("EVENT", ()),
        sequences=made.get("SEQUENCE", ()),
        definers=tuple(sorted(seen.definers)),
        collations=tuple(sorted(seen.collations)),
        charset=seen.header.get("charset", ""),
        time_zone=seen.header.get("zone", ""),
        coordinates=Coordinates(seen.file, seen.position, seen.gtids, seen.active),
        statements=seen.statements,
        largest=seen.largest,
        largest_table=seen.largest_table,
        complete=seen.complete,
        completed_at=seen.completed_at,
        effects=tuple(seen.effects),
        versioned=seen.versioned,
        no_backslashes=seen.no_backslashes,
    )


def _comment(seen: _Gathering, part: Comment) -> None:
    text = part.text
    seen.end = max(seen.end, part.start + len(text))
    for name, pattern in (("server", _SERVER), ("tool", _TOOL), ("database", _DATABASE)):
        if name not in seen.header and (found := pattern.match(text)):
            seen.header[name] = drawable(found[1].decode(errors="replace")).strip()
            if name == "tool":
                seen.header["tool line"] = text.decode(errors="replace")
    _coordinates(seen, text, active=False)
    if text.startswith(_COMPLETED):
        seen.complete = True
        moment = _COMPLETED_AT.match(text)
        seen.completed_at = moment[1].decode() if moment else ""


def _coordinates(seen: _Gathering, text: bytes, *, active: bool) -> None:
    if found := _COORDINATES.search(text):
        seen.file, seen.position = drawable(found[1].decode(errors="replace")), int(found[2])
        seen.active |= active
    if found := _PURGED.search(text) or _SLAVE_POS.search(text):
        seen.gtids = re.sub(r"\s+", "", found[1].decode("ascii", "replace"))
        seen.active |= active and b"gtid_slave_pos" in text


def _statement(seen: _Gathering, part: Statement) -> None:
    seen.statements += 1
    seen.end = max(seen.end, part.end)
    seen.longest(part.end - part.start, "")
    text = part.text
    words = words_of(text)
    if words.startswith("SET"):
        _session(seen, text)
    _coordinates(seen, text, active=True)
    if words.startswith(("USE", "CREATE DATABASE", "CREATE SCHEMA", "DROP DATABASE")):
        _schema(seen, part, words)
    plain = _unwrapped(text)
    if found := _MADE.match(plain):
        kind = found[1].decode().upper()
        seen.made.setdefault(kind, []).append(plain_name(found[2]))
        if kind == "TABLE":
            _table(seen, part, parse_table(text), plain_name(found[2]))
    seen.definers.update(found.decode(errors="replace") for found in _DEFINER.findall(plain))
    seen.collations.update(found.decode() for found in _COLLATION.findall(text))
    if seen.database not in SYSTEM_SCHEMAS and (effect := effect_of(part)):
        seen.effects.append(effect)


def _schema(seen: _Gathering, part: Statement, words: str) -> None:
    """Whichever way its name is written, another schema must be seen; what can't be read is not allowed."""
    text = re.sub(rb"/\*M?!\d*|\*/", b" ", part.text[:600])
    if found := _USE.match(text):
        seen.database = plain_name(found[1])
        seen.databases.append(seen.database)
    elif found := _DATABASE_MADE.match(text):
        seen.databases.append(plain_name(found[1]))
    else:
        seen.effects.append(Effect(EffectKind.OTHER_SCHEMA, " ".join(words.split()[:2]), part.start, part.line))


def _session(seen: _Gathering, text: bytes) -> None:
    if (found := _NAMES.search(text)) and "charset" not in seen.header:
        seen.header["charset"] = found[1].decode()
    if (found := _ZONE.search(text)) and "zone" not in seen.header:
        seen.header["zone"] = found[1].decode()
    seen.no_backslashes |= b"NO_BACKSLASH_ESCAPES" in text


def _table(seen: _Gathering, part: Statement, table: Table | None, name: str) -> None:
    if any(known.name == name and known.database == seen.database for known in seen.tables):
        return  # a view's stand-in, made anew
    seen.versioned |= table is not None and table.versioned
    seen.tables.append(
        TableFacts(
            name=name,
            database=seen.database,
            start=part.start,
            rows=0,
            size=0,
            engine=table.engine if table else "",
            keyed=table.keyed if table else False,
            secondary=sum(key.name != "PRIMARY" for key in table.keys) if table else 0,
            foreign=len(table.foreign) if table else 0,
        )
    )


def _insert(seen: _Gathering, part: Insert, tick: Callable[[], None], stop: Stop) -> None:
    seen.statements += 1
    rows, size, inside, before = 0, 0, False, b""
    for piece in part.values:
        if stop():
            raise RestoreError("Reading the dump was stopped. Nothing was loaded.", "Read it again (r).")
        tick()
        bare, inside = _bare(piece, inside=inside)
        rows += bare.count(b"(")
        before += bare
        if before.translate(None, _LITERALS) or _NO_LITERAL.search(before):
            at = part.start + len(part.head) + size
            raise RestoreError(
                f"Among the rows of {drawable(part.table)} is something that no dump program writes, in the "
                f"{count(len(piece))} bytes from byte {count(at)} on. Nothing was loaded.",
                "Find out who put it there, or choose another backup.",
            )
        before = before[-64:]  # a word may go on in the next piece
        size += len(piece)
    seen.end = max(seen.end, part.start + len(part.head) + size + 1)
    seen.longest(len(part.head) + size, part.table)
    for at in range(len(seen.tables) - 1, -1, -1):
        known = seen.tables[at]
        if known.name == part.table and known.database == seen.database:
            seen.tables[at] = TableFacts(
                known.name,
                known.database,
                known.start,
                known.rows + rows,
                known.size + size,
                known.engine,
                known.keyed,
                known.secondary,
                known.foreign,
            )
            return
    if seen.database in SYSTEM_SCHEMAS:
        return  # the server makes some of its own tables itself
    raise Cut(f"has rows of {drawable(part.table)}, which it does not define", part.start)


def count_rows(piece: bytes, *, inside: bool) -> tuple[int, bool]:
    """How many rows begin in a piece of VALUES, and whether it ends inside of a string."""
    bare, inside = _bare(piece, inside=inside)
    return bare.count(b"("), inside


def _bare(piece: bytes, *, inside: bool) -> tuple[bytes, bool]:
    """A piece of VALUES without its strings, and whether it ends inside of one.

    A quote is put behind it, so that an open string is closed: searching for an end that is not there would begin
    again at every quote in it.
    """
    bare = _STRING.sub(b"", (b"'" if inside else b"") + piece + b"'")
    return (bare[:-1], False) if bare.endswith(b"'") else (bare, True)


def _unwrapped(text: bytes) -> bytes:
    """The first words of a statement without what makes them conditional: /*!50003 CREATE*/ becomes CREATE."""
    if not text.startswith(b"/*"):
        return text[:4096]
    return re.sub(rb"/\*M?!\d*\s?|\*/", b"", text[:4096])


def told(facts: DumpFacts) -> Iterator[str]:
    """The dump in a few lines, for a log."""
    origin = Flavour(facts.flavour).shown if facts.flavour else "an unnamed server"
    yield f"taken from {origin} {facts.server}, database {facts.header_database or 'several'}; {facts.packing}"
    yield f"{count(len(facts.tables))} tables, {count(facts.rows)} rows, {count(facts.size)} bytes unpacked"
    others = ("views", "routines", "triggers", "events", "sequences")
    yield ", ".join(f"{count(len(getattr(facts, name)))} {name}" for name in others)
    where = facts.coordinates
    if where.file:
        yield f"its binary logs go on at {where.file}:{where.position}"
    if where.gtids:
        yield f"it holds {where.gtids}"
    if not where.known:
        yield "it does not say where its binary logs go on"
