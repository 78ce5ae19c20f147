"""Takes a CREATE TABLE statement apart, as mysqldump and SHOW CREATE TABLE write it: one column or key a line.

Nothing is guessed: where a line is not understood, `certain` is False, and whoever loads leaves the table alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from engines.mysql.dumps.statements import plain_name

_NAME = rb"`(?:[^`]|``)+`"
_FIRST = re.compile(rb"CREATE TABLE (?:IF NOT EXISTS )?(" + _NAME + rb") \($")
_COLUMN = re.compile(rb"  (" + _NAME + rb") ([a-z0-9_]+)(.*?),?$", re.DOTALL)
_KEY = re.compile(
    rb"  (?:(?P<primary>PRIMARY KEY)|(?P<kind>UNIQUE |FULLTEXT |SPATIAL |VECTOR )?(?:KEY|INDEX) (?P<name>"
    + _NAME
    + rb"))"
    rb"\s*(?:USING \w+ )?\((?P<columns>.*)$",
    re.DOTALL,
)
_FOREIGN = re.compile(rb"  CONSTRAINT (" + _NAME + rb") FOREIGN KEY ", re.DOTALL)
_OTHER = re.compile(rb"  (?:CONSTRAINT (?:" + _NAME + rb") )?CHECK |  PERIOD FOR |  /\*!", re.DOTALL)
_GENERATED = re.compile(
    rb"(?:GENERATED ALWAYS )?AS \(.*\) *(?:VIRTUAL|STORED|PERSISTENT|/\*!)|GENERATED ALWAYS AS ", re.DOTALL
)


class KeyKind(StrEnum):
    PRIMARY = "primary"
    UNIQUE = "unique"
    PLAIN = "plain"
    FULLTEXT = "fulltext"
    SPATIAL = "spatial"


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str  # its first word: int, varchar, json
    generated: bool
    auto_increment: bool
    charset: str = ""  # where it says one of its own


@dataclass(frozen=True, slots=True)
class Key:
    kind: KeyKind
    name: str
    first: str  # its first column; empty for an expression
    line: bytes  # as it stands, without the comma


@dataclass(frozen=True, slots=True)
class Table:
    """A table's definition. `lines` are the items between the brackets, without their commas."""

    name: str
    columns: tuple[Column, ...]
    keys: tuple[Key, ...]
    foreign: tuple[bytes, ...]
    lines: tuple[bytes, ...]
    head: bytes  # CREATE TABLE `name` (
    tail: bytes  # ) ENGINE=… and everything after
    engine: str
    charset: str
    partitioned: bool
    versioned: bool  # MariaDB's WITH SYSTEM VERSIONING
    certain: bool  # was every line understood?

    @property
    def keyed(self) -> bool:
        """Has it a key by which rows can be told apart, so that their order does not matter?"""
        return any(key.kind in (KeyKind.PRIMARY, KeyKind.UNIQUE) for key in self.keys)

    @property
    def has_primary(self) -> bool:
        return any(key.kind is KeyKind.PRIMARY for key in self.keys)


def parse_table(text: bytes) -> Table | None:
    """The table that the statement makes; None where it is no CREATE TABLE in the form that is known."""
    lines = text.split(b"\n")
    first = _FIRST.match(lines[0].rstrip())
    last = next((n for n, line in enumerate(lines) if line.startswith(b")")), None)
    if first is None or last is None:
        return None
    columns: list[Column] = []
    keys: list[Key] = []
    foreign: list[bytes] = []
    items = tuple(line.rstrip().removesuffix(b",") for line in lines[1:last])
    certain = True
    for item in items:
        if found := _KEY.match(item):
            keys.append(_key(found, item))
        elif _FOREIGN.match(item):
            foreign.append(item)
        elif found := _COLUMN.match(item):
            columns.append(_column(found))
        elif not _OTHER.match(item):
            certain = False
    tail = b"\n".join(lines[last:])
    return Table(
        name=plain_name(first[1]),
        columns=tuple(columns),
        keys=tuple(keys),
        foreign=tuple(foreign),
        lines=items,
        head=lines[0],
        tail=tail,
        engine=_option(tail, rb"ENGINE"),
        charset=_option(tail, rb"CHARSET"),
        partitioned=b"PARTITION BY" in tail,
        versioned=b"WITH SYSTEM VERSIONING" in tail,
        certain=certain and bool(columns),
    )


def _key(found: re.Match[bytes], item: bytes) -> Key:
    if found["primary"]:
        kind = KeyKind.PRIMARY
    else:
        word = (found["kind"] or b"plain").strip().lower().decode()
        kind = KeyKind(word) if word in list(KeyKind) else KeyKind.SPATIAL
    first = re.match(_NAME, found["columns"])
    name = "PRIMARY" if found["primary"] else plain_name(found["name"])
    return Key(kind, name, plain_name(first[0]) if first else "", item)


def _column(found: re.Match[bytes]) -> Column:
    rest = found[3]
    charset = re.search(rb"CHARACTER SET (\w+)", rest)
    return Column(
        name=plain_name(found[1]),
        type=found[2].decode(),
        generated=_GENERATED.search(rest) is not None,
        auto_increment=b" AUTO_INCREMENT" in rest,
        charset=charset[1].decode() if charset else "",
    )


def _option(tail: bytes, name: bytes) -> str:
    found = re.search(rb"[ )]" + name + rb"=(\w+)", tail)
    return found[1].decode() if found else ""
