"""How one table of a dump is best loaded: which of its keys wait, and in which way its rows are sent. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from engines.mysql.connect import quoted
from engines.mysql.dumps.statements import Insert
from engines.mysql.dumps.tables import Key, KeyKind, Table

# What LOAD DATA reads from VALUES text just as INSERT does. Everything else goes by INSERT.
_NUMBERS = ("tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year")
_TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json")
_TIMES = ("date", "datetime", "timestamp", "time")
_PLAIN_TYPES = frozenset((*_NUMBERS, *_TEXTS, *_TIMES))
_LITERAL = re.compile(rb"\(\s*(?:'|NULL|-?[0-9])")


class Way(StrEnum):
    """How rows are sent."""

    BULK = "LOAD DATA"
    INSERT = "INSERT"


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as it is made first, and what is added to it once its rows are in."""

    name: str
    create: bytes
    keys: tuple[bytes, ...]  # one ALTER TABLE each
    foreign: bytes  # the ALTER TABLE that adds its foreign keys; empty: there are none
    foreign_names: tuple[str, ...]
    indexes: int  # how many `keys` build
    way: Way
    spread: bool  # may its rows go over several connections?
    counts: bool  # has it an AUTO_INCREMENT column?


def shape(table: Table, text: bytes, *, bulk: bool, defer: bool) -> Shape:
    """The way for a table. `bulk`: the server takes LOAD DATA LOCAL; `defer`: keys may be added afterwards."""
    way = Way.BULK if bulk and _bulk(table) else Way.INSERT
    counts = any(column.auto_increment for column in table.columns)
    later = _deferrable(table) if defer else ()
    foreign = table.foreign if defer and table.certain else ()
    if not later and not foreign:
        return Shape(table.name, text, (), b"", (), 0, way, table.keyed, counts)
    waiting = {*(key.line for key in later), *foreign}
    kept = [line for line in table.lines if line not in waiting]
    create = b"\n".join((table.head, b",\n".join(kept), table.tail))
    ordinary = tuple(key for key in later if key.kind is not KeyKind.FULLTEXT)
    # InnoDB builds one FULLTEXT index at a time.
    groups = ([ordinary] if ordinary else []) + [(key,) for key in later if key.kind is KeyKind.FULLTEXT]
    return Shape(
        name=table.name,
        create=create,
        keys=tuple(_adding(table.name, tuple(key.line for key in group)) for group in groups),
        foreign=_adding(table.name, foreign) if foreign else b"",
        foreign_names=tuple(_constraint(line) for line in foreign),
        indexes=len(later),
        way=way,
        spread=table.keyed,
        counts=counts,
    )


def of_unknown(name: str, text: bytes) -> Shape:
    """A table whose definition is not understood is made and filled as the dump has it."""
    return Shape(name, text, (), b"", (), 0, Way.INSERT, spread=False, counts=False)


def _bulk(table: Table) -> bool:
    return (
        table.certain
        and not table.versioned
        and all(column.type in _PLAIN_TYPES and not column.generated for column in table.columns)
        and not any(column.charset == "binary" for column in table.columns)
        and table.charset != "binary"
    )


def _deferrable(table: Table) -> tuple[Key, ...]:
    """Secondary keys that nothing needs while rows come in."""
    if not table.certain or table.partitioned or table.versioned or table.engine != "InnoDB" or not table.has_primary:
        return ()
    counted = {column.name for column in table.columns if column.auto_increment}
    later: list[Key] = []
    # From the last one backwards: what is added afterwards stands behind what is there, and the order must come out.
    for key in reversed([key for key in table.keys if key.kind is not KeyKind.PRIMARY]):
        kind = key.kind in (KeyKind.UNIQUE, KeyKind.PLAIN, KeyKind.FULLTEXT)
        # AUTO_INCREMENT wants a key from the start; an expression may have been made under settings of its own.
        if not kind or not key.first or key.first in counted:
            break
        later.insert(0, key)
    return tuple(later)


def _adding(table: str, lines: tuple[bytes, ...]) -> bytes:
    return b"ALTER TABLE " + quoted(table).encode() + b" " + b", ".join(b"ADD " + line.strip() for line in lines)


def _constraint(line: bytes) -> str:
    found = re.search(rb"CONSTRAINT `((?:[^`]|``)+)`", line)
    return found[1].decode("utf-8", "surrogateescape").replace("``", "`") if found else ""


def fits_bulk(insert: Insert, first: bytes) -> bool:
    """Do an INSERT's head and its first row have the form that LOAD DATA reads alike?"""
    plain = insert.head[:6].upper() == b"INSERT" and b"IGNORE" not in insert.head[:60].upper()
    return plain and _LITERAL.match(first) is not None


def load_statement(table: str, columns: tuple[str, ...] | None) -> str:
    """The LOAD DATA that reads the text between VALUES and the semicolon.

    A row is `(…)`, its values are separated by commas and its strings quoted: just so LOAD DATA can be told to read.
    """
    named = f" ({', '.join(map(quoted, columns))})" if columns else ""
    return (
        f"LOAD DATA LOCAL INFILE 'rows' INTO TABLE {quoted(table)} CHARACTER SET utf8mb4 "
        "FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\\'' ESCAPED BY '\\\\' "
        f"LINES STARTING BY '(' TERMINATED BY ')'{named}"
    )
