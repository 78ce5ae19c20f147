"""Which schemas a logged statement reaches, as far as its text tells; and what it is about.

A text that is not understood is never taken for harmless: the caller is told that it is unclear.
Rows are not its business: row events name their table.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_NAME: Final = r"(?:`(?:[^`]|``)+`|[\w$\u0080-\uffff]+)"
_ACCOUNT: Final = (
    rf"(?:CURRENT_USER(?:\s*\(\s*\))?|(?:{_NAME}|'[^']*'|\"[^\"]*\")(?:\s*@\s*(?:{_NAME}|'[^']*'|\"[^\"]*\"))?)"
)
_COMMENTS: Final = re.compile(r"/\*(?!M?!).*?\*/|/\*M?!\d*|\*/|--\s[^\n]*\n|#[^\n]*\n", re.DOTALL)
_MODIFIERS: Final = (
    r"(?:(?:OR\s+REPLACE|TEMPORARY|ALGORITHM\s*=\s*\w+|SQL\s+SECURITY\s+\w+|UNIQUE|FULLTEXT|SPATIAL|VECTOR|AGGREGATE|"
    rf"ONLINE|OFFLINE|IGNORE|UNDO|DEFINER\s*=\s*{_ACCOUNT})\s+)*"
)
_DDL: Final = re.compile(
    rf"\s*(CREATE|ALTER|DROP|RENAME|TRUNCATE|ANALYZE|OPTIMIZE|REPAIR|CHECK)\s+(?:(?:LOCAL|NO_WRITE_TO_BINLOG)\s+)?"
    rf"({_MODIFIERS})(TABLES?|VIEW|PROCEDURE|FUNCTION|TRIGGER|EVENT|INDEX|SEQUENCE|PACKAGE(?:\s+BODY)?|DATABASE|SCHEMA|"
    r"USER|ROLE|SERVER|TABLESPACE|LOGFILE|RESOURCE|SPATIAL\s+REFERENCE|INSTANCE|LIBRARY)\b\s*"
    r"(?:(?:NOWAIT|WAIT\s+\d+)\s+)?(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(?:(?:NOWAIT|WAIT\s+\d+)\s+)?",
    re.IGNORECASE,
)
_TRUNCATE: Final = re.compile(r"\s*TRUNCATE\s+(?!TABLE\b)", re.IGNORECASE)
_QUALIFIED: Final = re.compile(rf"\s*({_NAME})(?:\s*\.\s*({_NAME}))?")
_BEFORE_DOT: Final = re.compile(rf"(?<![\w$.`@])({_NAME})\s*\.")
_QUOTED_BEFORE_DOT: Final = re.compile(r'"((?:[^"]|"")+)"\s*\.')  # sql_mode ANSI_QUOTES
_ON_TABLE: Final = re.compile(rf"\bON\s+({_NAME}(?:\s*\.\s*{_NAME})?)", re.IGNORECASE)
_NEXT: Final = re.compile(r"\s*,")
_TO: Final = re.compile(r"\s+TO\b|\s*,", re.IGNORECASE)
_FIRST: Final = re.compile(r"[\s(]*([A-Za-z]+)")
_SERVER_WORDS: Final = frozenset(
    ("GRANT", "REVOKE", "SET", "FLUSH", "INSTALL", "UNINSTALL", "SHUTDOWN", "RESET", "CHANGE", "START", "STOP", "KILL")
)
_SERVER_KINDS: Final = frozenset(
    ("USER", "ROLE", "SERVER", "TABLESPACE", "LOGFILE", "RESOURCE", "SPATIAL REFERENCE", "INSTANCE")
)
_CODE: Final = ("TRIGGER", "PROCEDURE", "FUNCTION", "VIEW", "EVENT", "PACKAGE", "LIBRARY")
_FUNCTIONS_OF_LIBRARIES: Final = re.compile(r"\bSONAME\s+['\"]", re.IGNORECASE)


class About(StrEnum):
    OBJECT = "object"  # a table, view, routine, trigger, event, sequence, index
    DATABASE = "database"  # a schema as a whole
    SERVER = "server"  # accounts, rights, plugins: of no schema
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a statement of data definition, or any other that is alone in its transaction, is about."""

    about: About
    schemas: frozenset[str] = frozenset()  # those of the objects that it makes, changes or drops
    mentioned: frozenset[str] = frozenset()  # others that it names before a dot: of those that are known
    qualified: bool = False  # does it write one of `schemas` out, instead of relying on the default?
    temporary: bool = False
    code: bool = False  # is it a trigger, routine, view or event that is made or changed?
    verb: str = ""


def plain_text(statement: str) -> str:
    """The statement without its comments; those that are executed stay."""
    return _COMMENTS.sub(" ", statement)


def before_dots(statement: str) -> frozenset[str]:
    """All names that stand before a dot: schemas, tables, aliases alike, those in strings too."""
    names = {plain(found) for found in _BEFORE_DOT.findall(statement)}
    return frozenset(names | {found.replace('""', '"') for found in _QUOTED_BEFORE_DOT.findall(statement)})


def read_statement(default: str, statement: str, known: Collection[str]) -> Reading:
    """What `statement` is about, run with `default` as the session's schema; `known` are names of schemas."""
    text = plain_text(statement)
    mentioned = before_dots(text) & frozenset(known)
    word = _FIRST.match(text)
    first = word[1].upper() if word else ""
    if first in _SERVER_WORDS:
        return Reading(About.SERVER, mentioned=mentioned, verb=first)
    truncate = _TRUNCATE.match(text)
    start = truncate or _DDL.match(text)
    if start is None:
        return Reading(About.UNCLEAR, frozenset((default,)), mentioned, verb=first)
    kind = "TABLE" if truncate else " ".join(start[3].upper().split())
    if kind in _SERVER_KINDS or (kind == "FUNCTION" and _FUNCTIONS_OF_LIBRARIES.search(text)):
        return Reading(About.SERVER, mentioned=mentioned, verb=first)
    if kind in ("DATABASE", "SCHEMA"):
        found = _QUALIFIED.match(text, start.end())
        named = plain(found[1]) if found and found[1].upper() not in _DATABASE_OPTIONS else default
        return Reading(About.DATABASE, frozenset((named,)), mentioned - {named}, qualified=True, verb=first)
    temporary = not truncate and "TEMPORARY" in start[2].upper()
    if kind == "INDEX":
        on = _ON_TABLE.search(text, start.end())
        names = [on[1]] if on else []
    else:
        names = _names(text, start.end(), first)
    if not names:
        return Reading(About.UNCLEAR, frozenset((default,)), mentioned, temporary=temporary, verb=first)
    parts = [_split(name) for name in names]
    schemas = frozenset(default if schema is None else schema for schema, _ in parts)
    qualified = any(schema is not None for schema, _ in parts)
    code = first in ("CREATE", "ALTER") and kind.startswith(_CODE)
    return Reading(About.OBJECT, schemas, mentioned - schemas, qualified, temporary, code, first)


_DATABASE_OPTIONS: Final = frozenset(("CHARACTER", "CHARSET", "DEFAULT", "COLLATE", "ENCRYPTION", "READ", "COMMENT"))


def _names(text: str, at: int, verb: str) -> list[str]:
    """The objects that are named from here on: of DROP and RENAME a list, else one."""
    found: list[str] = []
    while name := _QUALIFIED.match(text, at):
        found.append(name[0])
        more = (_TO if verb == "RENAME" else _NEXT).match(text, name.end())
        if verb not in ("DROP", "RENAME", "ANALYZE", "OPTIMIZE", "REPAIR", "CHECK") or more is None:
            break
        at = more.end()
    return found


def _split(name: str) -> tuple[str | None, str]:
    found = _QUALIFIED.match(name)
    if found is None:  # never: it was matched before
        return None, name
    return (plain(found[1]), plain(found[2])) if found[2] else (None, plain(found[1]))


def plain(name: str) -> str:
    """A name without its quotes."""
    return name[1:-1].replace("``", "`") if name.startswith("`") else name
