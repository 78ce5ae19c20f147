"""The statements of a dump that make code: views, routines, triggers, events. Pure.

They are what a staged load leaves to another connection: they name definers, and they may be run by others than their
author. Names that lead out of the schema are found here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from engines.errors import Refused
from engines.mysql.dumps.statements import Statement, plain_name
from engines.text import count, drawable


class Kind(StrEnum):
    """In the order in which they are made: a view may call a function."""

    FUNCTION = "FUNCTION"
    PACKAGE = "PACKAGE"
    PACKAGE_BODY = "PACKAGE BODY"
    PROCEDURE = "PROCEDURE"
    VIEW = "VIEW"
    TRIGGER = "TRIGGER"
    EVENT = "EVENT"


_B = rb"(?:\s|/\*M?!\d*|\*/)"  # blank, or the edge of a conditional comment
_Q = rb"`(?:[^`]|``)*`|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\""  # double quotes: code made under ANSI_QUOTES
_N = rb"(?:`(?:[^`]|``)+`|\"(?:[^\"]|\"\")+\"|[\w$]+)"
_USER = rb"(?:CURRENT_USER(?:\(\))?|(?:" + _Q + rb"|[\w$%.]+)(?:\s*@\s*(?:" + _Q + rb"|[\w$%.]+))?)"
_NAMED = rb"(?P<qualifier>" + _N + rb"\s*\.\s*)?(?P<name>" + _N + rb")"
_KINDS = rb"(?P<kind>FUNCTION|PROCEDURE|PACKAGE(?:\s+BODY)?|VIEW|TRIGGER|EVENT)"
_MAKES = re.compile(
    rb"^" + _B + rb"*CREATE" + _B + rb"+(?:OR" + _B + rb"+REPLACE" + _B + rb"+)?"
    rb"(?:ALGORITHM\s*=\s*\w+" + _B + rb"+)?(?:DEFINER\s*=\s*" + _USER + _B + rb"+)?"
    rb"(?:SQL" + _B + rb"+SECURITY" + _B + rb"+\w+" + _B + rb"+)?(?:AGGREGATE" + _B + rb"+)?"
    + _KINDS + _B + rb"+(?:IF" + _B + rb"+NOT" + _B + rb"+EXISTS" + _B + rb"+)?" + _NAMED,
    re.IGNORECASE | re.DOTALL,
)  # fmt: skip
_DROPS = re.compile(
    rb"^" + _B + rb"*DROP" + _B + rb"+" + _KINDS + _B + rb"+(?:IF" + _B + rb"+EXISTS" + _B + rb"+)?" + _NAMED,
    re.IGNORECASE,
)
_ON = re.compile(_B + rb"+(?:BEFORE|AFTER)" + _B + rb"[\sA-Za-z/*!0-9,`]*?\bON" + _B + rb"+" + _NAMED, re.IGNORECASE)
# Looks like code, and must not go unseen if it is written in a way that _MAKES does not know.
_MAYBE = re.compile(
    rb"^" + _B + rb"*(?:CREATE|DROP)\b(?:[^`'\"(]|" + _Q + rb")*?\b(?:FUNCTION|PROCEDURE|PACKAGE|VIEW|TRIGGER|EVENT)\b",
    re.IGNORECASE,
)
_OTHER = re.compile(
    rb"^" + _B + rb"*(?:CREATE|DROP)" + _B + rb"+(?:(?:OR|REPLACE|TEMPORARY)" + _B + rb"+)*"
    rb"(?:TABLE|SEQUENCE|DATABASE|SCHEMA)\b",
    re.IGNORECASE,
)  # fmt: skip
_SETS = re.compile(rb"^" + _B + rb"*SET\b", re.IGNORECASE)
_CHARSET = re.compile(
    rb"^" + _B + rb"*ALTER" + _B + rb"+DATABASE" + _B + rb"+(?P<name>" + _N + rb")(?P<rest>[\s\w]+?)" + _B + rb"*$",
    re.IGNORECASE,
)
_STRING = re.compile(rb"'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'", re.DOTALL)
_TOKEN = re.compile(r"`(?:[^`]|``)*`|'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|[A-Za-z_]+|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Making:
    """A statement that makes or drops code, with its name as it is in the schema at hand."""

    kind: Kind
    name: str
    text: bytes  # without the schema before the name
    drops: bool = False


def is_code(text: bytes) -> bool:
    """Does the statement make, drop or prepare code: what a load without code leaves out?"""
    if _CHARSET.match(text):
        return True  # mysqldump writes it around code that was made under another default
    return _MAYBE.match(text) is not None and _OTHER.match(text) is None


def making(statement: Statement, source: str) -> Making | None:
    """What a statement makes or drops in its own schema; None: nothing. `source` is the dump's database.

    Raises Refused where it names another schema, or where its form is not a dump program's.
    """
    text = statement.text
    if not is_code(text) or _CHARSET.match(text):
        return None
    found = _MAKES.match(text) or _DROPS.match(text)
    if found is None:
        raise _strange(statement, "makes code in a form that no dump program writes")
    drops = found.re is _DROPS
    kind = Kind(b" ".join(found["kind"].upper().split()).decode())
    cuts = [_cut(statement, found, source)]
    if kind is Kind.TRIGGER and not drops:
        table = _ON.match(text, found.end())
        if table is None:
            raise _strange(statement, "makes a trigger in a form that no dump program writes")
        cuts.append(_cut(statement, table, source))
    for start, end in reversed(cuts):
        text = text[:start] + text[end:]
    return Making(kind, _plain(found["name"]), text, drops)


def _cut(statement: Statement, found: re.Match[bytes], source: str) -> tuple[int, int]:
    """From where to where the schema stands before a name."""
    qualifier = found["qualifier"]
    if qualifier is None:
        return found.start("name"), found.start("name")
    if _plain(qualifier.rstrip().rstrip(b".").rstrip()) != source:
        raise _strange(statement, "makes code in another schema")
    return found.span("qualifier")


def charset_of(text: bytes, source: str) -> str | None:
    """What ALTER DATABASE sets for the dump's own database: `CHARACTER SET latin1 COLLATE latin1_swedish_ci`."""
    found = _CHARSET.match(text)
    if found is None or _plain(found["name"]) != source:
        return None
    return " ".join(found["rest"].decode("ascii", "replace").split())


def sets_only(text: bytes) -> bool:
    """Is it a SET of plain values and variables? One with parentheses could call anything."""
    return _SETS.match(text) is not None and b"(" not in _STRING.sub(b"", text)


def with_status(text: str, status: str) -> tuple[str, str]:
    """An event's definition with another status (ENABLE, DISABLE …), and the one that it had.

    Source: the form that SHOW CREATE EVENT writes, `ON COMPLETION [NOT] PRESERVE <status> [COMMENT …] DO …`.
    Raises ValueError for any other form.
    """
    words: list[tuple[str, int, int]] = []
    for token in _TOKEN.finditer(text):
        if token[0].strip():
            words.append((token[0].upper(), token.start(), token.end()))
            if words[-1][0] == "DO" and "PRESERVE" in [word for word, _, _ in words]:
                break
    plain = [word for word, _, _ in words]
    try:
        first = plain.index("PRESERVE", plain.index("COMPLETION")) + 1
    except ValueError:
        raise ValueError("it has no ON COMPLETION") from None
    if plain[first] == "ENABLE":
        last = first
    elif plain[first] == "DISABLE":
        last = first + 2 if plain[first + 1] == "ON" else first
    else:
        raise ValueError("it has no status")
    start, end = words[first][1], words[last][2]
    return text[:start] + status + text[end:], " ".join(text[start:end].split())


def requalified(text: str, old: str, new: str) -> str:
    """A definition with `old`. before a name replaced by `new`.: strings, and names that only look alike, stay."""
    wanted, instead = (f"`{name.replace('`', '``')}`" for name in (old, new))
    tokens = _TOKEN.findall(text)
    for at, token in enumerate(tokens[:-1]):
        if token == wanted and tokens[at + 1] == "." and (at == 0 or tokens[at - 1] != "."):
            tokens[at] = instead
    return "".join(tokens)


def mentions(text: str) -> frozenset[str]:
    """Every quoted name in a definition."""
    return frozenset(
        token[1:-1].replace("``", "`") for token in _TOKEN.findall(text) if token.startswith("`") and len(token) > 2
    )


def _plain(name: bytes) -> str:
    if name.startswith(b'"'):
        return name[1:-1].replace(b'""', b'"').decode("utf-8", "surrogateescape")
    return plain_name(name)


def _strange(statement: Statement, what: str) -> Refused:
    return Refused(
        f"The dump {what}, at byte {count(statement.start)}, line {count(statement.line)}: "
        f"{drawable(statement.text[:40].decode(errors='replace'))}…",
        "Look at that statement; restore in place after the commander accepted it, or choose another dump.",
    )
