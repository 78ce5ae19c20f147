"""What a statement of a dump would do beyond its own schema, or what is no statement at all.

The statements that mysqldump and mariadb-dump write are known; everything else is an effect that has to be allowed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from engines.mysql.dumps.statements import Statement
from engines.text import drawable

_NAME = rb"(?:`(?:[^`]|``)+`|[A-Za-z_$][\w$]*)"


class EffectKind(StrEnum):
    CLIENT = "client command"  # only a client program would execute it
    SERVER = "server-wide"
    ACCOUNTS = "accounts"
    REPLICATION = "replication"
    FILES = "files"
    OTHER_SCHEMA = "another schema"
    UNKNOWN = "not written by a dump program"


@dataclass(frozen=True, slots=True)
class Effect:
    kind: EffectKind
    what: str  # its first words, never its values
    start: int  # byte in the unpacked dump
    line: int


_CLIENT = re.compile(
    rb"^(?:\\[!.#CGPRTWcdeghnpqrstux]|(?:source|system|tee|notee|pager|nopager|edit|connect|prompt|rehash|status|warnings"
    rb"|nowarning|charset|resetconnection|query_attributes|ssl_session_data_print|go|ego|quit|exit|sandbox)\b)",
    re.IGNORECASE,
)
_EFFECTS: tuple[tuple[EffectKind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (
            EffectKind.REPLICATION,
            r"^(?:CHANGE (?:MASTER|REPLICATION)|(?:START|STOP|RESET) (?:REPLICA|SLAVE|GROUP_REPLICATION|ALL)"
            r"|RESET (?:MASTER|BINARY)|PURGE (?:BINARY|MASTER)|BINLOG)\b",
        ),
        (
            EffectKind.ACCOUNTS,
            r"^(?:(?:CREATE|DROP|ALTER|RENAME) (?:OR REPLACE )?(?:USER|ROLE)|GRANT|REVOKE"
            r"|SET (?:PASSWORD|ROLE|DEFAULT ROLE))\b",
        ),
        (EffectKind.FILES, r"^(?:LOAD (?:DATA|XML|TABLE)|IMPORT TABLE|SELECT\b.*\bINTO (?:OUTFILE|DUMPFILE))\b"),
        (
            EffectKind.SERVER,
            r"^(?:SHUTDOWN|RESTART|KILL|FLUSH|RESET|INSTALL|UNINSTALL|CLONE|ALTER INSTANCE|(?:CREATE|DROP|ALTER) "
            r"(?:SERVER|TABLESPACE|LOGFILE|UNDO|RESOURCE)|SET (?:GLOBAL|PERSIST|PERSIST_ONLY))\b",
        ),
    )
)
_GLOBAL = re.compile(rb"(?:@@)?(?:GLOBAL|PERSIST(?:_ONLY)?)[.\s]\s*`?(\w+)", re.IGNORECASE)
_KNOWN = re.compile(
    r"^(?:SET|USE|LOCK TABLES|UNLOCK TABLES|COMMIT|START TRANSACTION|BEGIN|DO SETVAL|SELECT SETVAL"
    r"|ALTER (?:TABLE|DATABASE)"
    r"|DROP (?:TABLE|TEMPORARY TABLE|VIEW|PROCEDURE|FUNCTION|TRIGGER|EVENT|SEQUENCE|DATABASE|PACKAGE)"
    r"|CREATE\b.*?\b(?:TABLE|VIEW|PROCEDURE|FUNCTION|TRIGGER|EVENT|SEQUENCE|DATABASE|SCHEMA|PACKAGE)"
    r"|(?:INSERT|REPLACE)\b|ANALYZE TABLE)",
)
_QUALIFIED = re.compile(
    rb"^(?:INSERT|REPLACE|DELETE|UPDATE|ALTER TABLE|DROP TABLE|CREATE TABLE|TRUNCATE|LOCK TABLES)\b[^`(]{0,60}("
    + _NAME
    + rb")\s*\.\s*"
    + _NAME,
    re.IGNORECASE,
)


# Strings, names, comments, and where a conditional comment begins. Nothing is tried again in parts: that takes forever.
_STRINGS = rb"'(?>[^'\\]|\\.|'')*+'|\"(?>[^\"\\]|\\.|\"\")*+\"|`(?>[^`]|``)*+`"
_WHOLE = re.compile(_STRINGS + rb"|(?:--(?=\s)|#)[^\n]*+\n", re.DOTALL)
_PARTS = re.compile(
    _STRINGS + rb"|(?:--(?=\s)|#)[^\n]*+|/\*(?P<maria>M)?!(?P<version>\d{5,6})?|/\*(?:(?!\*/).)*+\*/", re.DOTALL
)
_OPEN = re.compile(rb"['\"`#]|--(?:\s|\Z)|/\*")  # what would hide the next */ from whoever executes the comment
_ALL_EXECUTE = 50700  # from here on there are servers that skip it: older ones, and MariaDB up to 99999


def words_of(text: bytes) -> str:
    """The statement's first words in capitals, without comments or what makes it conditional; never its values."""
    plain = re.sub(rb"/\*M?!\d*|\*/", b" ", text[:600])
    plain = re.sub(rb"DEFINER\s*=\s*\S+|SQL SECURITY \w+|ALGORITHM\s*=\s*\w+|OR REPLACE|TEMPORARY", b" ", plain)
    words = re.findall(rb"[A-Za-z_]+|\S", plain)
    told: list[str] = []
    for word in words[:12]:
        if not re.fullmatch(rb"[A-Za-z_]+", word):
            break
        told.append(word.decode().upper())
    return " ".join(told)


def _without_what_may_be_skipped(text: bytes) -> bytes | None:
    """The statement as a server reads it that skips conditional comments of a later version, or of MariaDB's.

    Such a server skips to the first */, whatever stands before that; one that executes it goes past a */ in a string.
    None where the two readings are not of one statement. Source: "Comments" in both servers' manuals.
    """
    kept: list[bytes] = []
    at = seen = 0
    while found := _PARTS.search(text, seen):
        seen = found.end()
        version = int(found["version"] or 0)
        if not found[0].startswith((b"/*!", b"/*M!")) or (not found["maria"] and version < _ALL_EXECUTE):
            continue
        end = text.find(b"*/", seen)
        if end < 0 or _OPEN.search(_WHOLE.sub(b"", text[seen:end])):
            return None
        kept.append(text[at : found.start()])
        at = seen = end + 2
    rest = b"".join((*kept, text[at:]))
    first = kept[0].strip() if kept else b"-"
    return None if not first and rest.strip() else rest


def effect_of(statement: Statement) -> Effect | None:
    """What has to be allowed before this statement may be executed; None for what a dump may do."""
    text, at = statement.text, (statement.start, statement.line)
    if found := _CLIENT.match(text):
        return Effect(EffectKind.CLIENT, drawable(found[0].decode(errors="replace")), *at)
    skipped = _without_what_may_be_skipped(text)
    if skipped is None:
        return Effect(EffectKind.UNKNOWN, "a conditional comment that hides something", *at)
    if skipped != text and skipped.strip() and (effect := effect_of(replace(statement, text=skipped.strip()))):
        return effect
    words = words_of(text)
    if words.startswith("SET") and (named := _GLOBAL.search(text)):
        return Effect(EffectKind.SERVER, f"SET GLOBAL {drawable(named[1].decode())}", *at)
    for kind, pattern in _EFFECTS:
        if found_words := pattern.match(words):
            return Effect(kind, found_words[0], *at)
    if qualified := _QUALIFIED.match(text):
        return Effect(
            EffectKind.OTHER_SCHEMA, f"{words.split()[0]} in {drawable(qualified[1].decode(errors='replace'))}", *at
        )
    if not _KNOWN.match(words):
        return Effect(EffectKind.UNKNOWN, " ".join(words.split()[:2]) or "no SQL", *at)
    return None
