"""Turns what people write in a table into values: text, times, lengths of time, paths, choices.

Each function takes the raw value and raises WrongValue, which says what to write instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engines.text import drawable

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LONGEST = 3650 * 86_400.0  # seconds; more than ten years is a slip of the finger


class WrongValue(Exception):
    """One value that can't be taken, with what to write instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def text(value: object) -> str:
    """Text without control characters (line ends and tabs may stay). Raises WrongValue."""
    if not isinstance(value, str):
        raise WrongValue(f"must be text, not {kind(value)}.", "Put it in quotes.")
    control = _CONTROL.search(value)
    if control:
        raise WrongValue(f"holds the control character U+{ord(control[0]):04X}.", "Take it out.")
    return value


def path(value: object) -> Path:
    written = text(value)
    if not written:
        raise WrongValue("is empty.", "Write a path.")
    if "\n" in written or "\t" in written:
        raise WrongValue("holds a line end or a tab.", "Write the path on one line.")
    if written.startswith("~"):
        raise WrongValue("starts with ~, which is root's home under sudo.", "Write the path in full.")
    return Path(written)


def optional_path(value: object) -> Path | None:
    """A path; `false` for none."""
    return None if value is False else path(value)


def moment(value: object) -> datetime:
    """A point in time, in UTC. Takes a TOML or RFC 3339 time with a zone, or text that ends in ` UTC`."""
    hint = "Say which zone, in UTC for example: 2026-11-22T19:40:00Z"
    if isinstance(value, str):
        plain = text(value).strip()
        declared = plain.removesuffix("UTC").rstrip()
        try:
            value = datetime.fromisoformat(declared + "+00:00" if declared != plain else plain)
        except ValueError:
            raise WrongValue(f"{shown(plain)} is not a time.", hint) from None
    if not isinstance(value, datetime):
        raise WrongValue(f"must be a time with its zone, not {kind(value)}.", hint)
    if value.tzinfo is None:
        raise WrongValue("is a time without a zone.", hint)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise WrongValue("is outside the calendar.", hint) from None


def duration(value: object) -> timedelta:
    """A length of time from text: `90s`, `15m`, `2h`, `1h30m`, `30d`. Raises WrongValue."""
    hint = 'Write a number and a unit: "90s", "15m", "2h", "30d".'
    if not isinstance(value, str):
        raise WrongValue(f"must be a length of time, not {kind(value)}.", hint)
    if len(value) > 40 or not _DURATION.fullmatch(value):
        raise WrongValue(f"{shown(value)} is not a length of time.", hint)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(value))
    if seconds > _LONGEST:
        raise WrongValue(f"{shown(value)} is more than ten years.", hint)
    return timedelta(seconds=seconds)


def duration_text(length: timedelta) -> str:
    """What `duration` reads back: in the largest unit that divides it."""
    seconds = length.total_seconds()
    if seconds != int(seconds):
        return f"{seconds:.6f}".rstrip("0") + "s"
    for unit, worth in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds and seconds % worth == 0:
            return f"{int(seconds) // worth}{unit}"
    return f"{int(seconds)}s"


def choice(choices: type[Enum], value: object) -> Enum:
    """By value, or by the member's name in small letters: `commander` for `incident commander`."""
    for one in choices:
        if value in (one.value, one.name.lower()):
            return one
    known = ", ".join(f'"{c.value}"' for c in choices)
    given = shown(value) if isinstance(value, str) else kind(value)
    raise WrongValue(f"can't be {given}.", f"One of {known}.")


KINDS: Mapping[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    datetime: "a time",
    date: "a date without a time",
    time: "a time of day",
    list: "a list",
    tuple: "a list",
    dict: "a table",
}


def kind(value: object) -> str:
    """What a value is, in words: `text`, `a whole number`, `a list`."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return KINDS.get(type(value), type(value).__name__)


def shown(value: str) -> str:
    return repr(drawable(value if len(value) <= 60 else value[:59] + "…"))


def positive(length: object) -> None:
    """Refuses a length of time that is nothing."""
    if isinstance(length, timedelta) and length <= timedelta():
        raise WrongValue("must be longer than nothing.", 'Write "5m" for example.')


def day(written: object) -> None:
    """Refuses what is no day of the calendar, as 2026-12-25."""
    try:
        date.fromisoformat(str(written))
    except ValueError:
        raise WrongValue(f"{shown(str(written))} is no day.", 'Write "2026-12-25" for example.') from None


def one_line(written: object) -> None:
    """Refuses a name that is blank or breaks the line."""
    if not str(written).strip() or "\n" in str(written):
        raise WrongValue("must be a name on one line.")


def pattern(written: object, group: str = "") -> None:
    """Refuses what is no regular expression, or lacks the named group."""
    try:
        compiled = re.compile(str(written))
    except (re.error, RecursionError, OverflowError) as error:
        raise WrongValue(
            f"is no regular expression: {drawable(str(error))}.", "In single quotes TOML leaves \\ as it is."
        ) from None
    if group and group not in compiled.groupindex:
        raise WrongValue(f"has no group named {group}.", f"Write (?P<{group}>…) around it.")


def zone(name: object) -> None:
    """Refuses what is no time zone of this machine's."""
    try:
        ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise WrongValue(f"{shown(str(name))} is no time zone.", 'Write "UTC" or "Europe/Paris".') from None


def url(address: object) -> None:
    """Refuses what is no http address, and one with a password or a query in it: addresses get into the record."""
    try:
        parts = urlsplit(str(address))
        host, _port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or re.search(r"\s", str(address)):
        raise WrongValue("is no address.", "Write http:// or https://, a host and a path.")
    if "@" in parts.netloc:
        raise WrongValue("holds a user name or password, which would get into the record.", "Take it out.")
    if "?" in str(address):
        hint = "Take it out; where it is needed, ask that address in a script, and name that as the command."
        raise WrongValue("holds a query, which would get into the record: it may be a token.", hint)


def program(value: object) -> tuple[str, ...]:
    """An argument list; `false` or `[]` for none. Raises WrongValue."""
    hint = 'Write each argument by itself: ["php", "artisan", "down"]. A shell is not involved.'
    if value is False:
        return ()
    if not isinstance(value, list | tuple):
        raise WrongValue(f"must be a list of arguments, not {kind(value)}.", hint)
    arguments = tuple(text(argument) for argument in value)
    if arguments and not arguments[0].strip():
        raise WrongValue("starts with an empty argument, which is no program.", hint)
    return arguments
