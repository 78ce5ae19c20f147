"""Does a query only read? Its words are looked at, before any server sees it.

Functions are taken from a list of those that only compute: a stored function or a loaded one may do anything, also
within a transaction that may only read. Asking is `engines.mysql.ask`'s work.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engines.text import drawable

_TOKENS = re.compile(
    r"(?P<hidden>/\*\s*M?!)"  # a comment that the server executes
    r"|(?P<comment>/\*.*?\*/|#[^\n]*|--(?=\s|$)[^\n]*)"
    r"|(?P<string>'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\")"
    r"|(?P<quoted>`(?:[^`]|``)*`)"
    r"|(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?)"  # with its dot: the server reads 1.INTO as 1. and INTO
    r"|(?P<word>[A-Za-z_$\u0080-\uffff][\w$\u0080-\uffff]*)"
    r"|(?P<space>\s+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_BEGINS = ("SELECT", "WITH", "VALUES", "TABLE", "(")
# Words that write or lock, wherever they stand outside of strings and quoted names. All are reserved.
_NEVER = frozenset(("INTO", "OUTFILE", "DUMPFILE", "UPDATE", "DELETE", "LOCK", "PROCEDURE", "CALL", "LOAD"))
_NEVER_AFTER = {"SHARE": "FOR", "VALUE": "NEXT"}  # FOR SHARE locks rows, NEXT VALUE moves a sequence
_SQL = """
SELECT FROM WHERE AND OR XOR NOT IN ON AS ANY SOME ALL EXISTS UNION EXCEPT INTERSECT JOIN HAVING BY WHEN THEN ELSE
CASE BETWEEN LIKE REGEXP RLIKE IS DISTINCT VALUES ROW USING OVER PARTITION WITH RECURSIVE LATERAL LIMIT INTERVAL DIV
MOD BINARY DECIMAL NUMERIC VARCHAR NCHAR DATETIME FLOAT DOUBLE ARRAY ORDER WINDOW OFFSET INDEX KEY COLUMNS
"""
_COMPUTING = """
ABS ACOS ADDDATE ADDTIME ANY_VALUE ASCII ASIN ATAN ATAN2 AVG BIN BIN_TO_UUID BIT_AND BIT_COUNT BIT_LENGTH BIT_OR
BIT_XOR CAST CEIL CEILING CHAR CHARACTER_LENGTH CHAR_LENGTH COALESCE COLLATION CONCAT CONCAT_WS CONV CONVERT
CONVERT_TZ COS COT COUNT CRC32 CUME_DIST CURDATE CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURTIME DATABASE DATE
DATEDIFF DATE_ADD DATE_FORMAT DATE_SUB DAY DAYNAME DAYOFMONTH DAYOFWEEK DAYOFYEAR DEGREES DENSE_RANK ELT EXP
EXPORT_SET EXTRACT FIELD FIND_IN_SET FIRST_VALUE FLOOR FORMAT FROM_BASE64 FROM_DAYS FROM_UNIXTIME GREATEST GROUPING
GROUP_CONCAT HEX HOUR IF IFNULL INET6_ATON INET6_NTOA INET_ATON INET_NTOA INSERT INSTR ISNULL JSON_ARRAY
JSON_ARRAYAGG JSON_CONTAINS JSON_CONTAINS_PATH JSON_DEPTH JSON_EXTRACT JSON_KEYS JSON_LENGTH JSON_OBJECT
JSON_OBJECTAGG JSON_OVERLAPS JSON_QUOTE JSON_SEARCH JSON_TABLE JSON_TYPE JSON_UNQUOTE JSON_VALID JSON_VALUE LAG
LAST_DAY LAST_VALUE LCASE LEAD LEAST LEFT LENGTH LN LOCALTIME LOCALTIMESTAMP LOCATE LOG LOG10 LOG2 LOWER LPAD LTRIM
MAKEDATE MAKETIME MAX MD5 MICROSECOND MID MIN MINUTE MOD MONTH MONTHNAME NOW NTH_VALUE NTILE NULLIF OCT OCTET_LENGTH
ORD PERCENT_RANK PERIOD_ADD PERIOD_DIFF PI POSITION POW POWER QUARTER QUOTE RADIANS RANK REGEXP_INSTR REGEXP_LIKE
REGEXP_REPLACE REGEXP_SUBSTR REPEAT REPLACE REVERSE RIGHT ROUND ROW_NUMBER RPAD RTRIM SCHEMA SECOND SEC_TO_TIME SHA
SHA1 SHA2 SIGN SIN SOUNDEX SPACE SQRT STD STDDEV STDDEV_POP STDDEV_SAMP STRCMP STR_TO_DATE SUBDATE SUBSTR SUBSTRING
SUBSTRING_INDEX SUBTIME SUM TAN TIME TIMEDIFF TIMESTAMP TIMESTAMPADD TIMESTAMPDIFF TIME_FORMAT TIME_TO_SEC TO_BASE64
TO_DAYS TO_SECONDS TRIM TRUNCATE UCASE UNHEX UNIX_TIMESTAMP UPPER UTC_DATE UTC_TIME UTC_TIMESTAMP UUID_TO_BIN
VARIANCE VAR_POP VAR_SAMP VERSION WEEK WEEKDAY WEEKOFYEAR WEIGHT_STRING YEAR YEARWEEK
"""
_WORDS = frozenset(_SQL.split())  # may stand before a bracket
_FUNCTIONS = frozenset(_COMPUTING.split())


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    word: str  # in capitals
    apart: bool  # is there something between it and the one before it?


def refused(sql: str) -> str:
    """Why this text is not put to a server; empty: its words only read."""
    tokens: list[_Token] = []
    apart = False
    for found in _TOKENS.finditer(sql):
        kind = str(found.lastgroup)
        if kind == "hidden":
            return "it hides words in a comment that the server executes"
        if kind in ("comment", "space"):
            apart = True
            continue
        tokens.append(_Token(kind, found[0].upper() if kind == "word" else found[0], apart))
        apart = False
    first = tokens[0].word if tokens else "nothing"
    if first not in _BEGINS:
        return f"it begins with {drawable(first[:40])}"
    nothing = _Token("", "", apart=False)
    for at, token in enumerate(tokens):
        before = tokens[at - 1] if at else nothing
        if wrong := _wrong(token, before, tokens[at - 2] if at > 1 else nothing):
            return wrong
    return ""


def _wrong(token: _Token, before: _Token, earlier: _Token) -> str:
    if token.kind == "word" and before.word not in (".", "@"):
        if token.word in _NEVER:
            return f"{token.word} does more than read"
        if before.word == _NEVER_AFTER.get(token.word):
            return f"{before.word} {token.word} does more than read"
    if token.kind != "other":
        return ""
    match token.word:
        case ";":
            return "a semicolon ends a statement, and only one is asked; leave it out"
        case "'" | '"' | "`":
            return "a quote in it is not closed"
        case "=" if before.word == ":":
            return "it sets a variable"
        case "(":
            return _called(token, before, earlier)
        case _:
            return ""


def _called(bracket: _Token, before: _Token, earlier: _Token) -> str:
    """What is called by a bracket, if anything is."""
    if before.kind in ("quoted", "string") or (before.kind == "word" and earlier.word == "."):
        return "it calls a routine"
    if before.kind != "word" or before.word in _WORDS:
        return ""
    if before.word not in _FUNCTIONS:
        return f"{drawable(before.word[:64])} is not known as a function that only computes"
    if bracket.apart:  # it may then be a stored function of that name
        return f"between {before.word} and its bracket there is a gap"
    return ""
