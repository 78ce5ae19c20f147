"""Reads and writes the option files in which a login lives: never in an argument list, never in an environment.

Source: MySQL reference manual, "Using Option Files"; MariaDB's format is the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from engines.errors import Refused
from engines.secret_file import own_text

_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "r": "\r", "\\": "\\", "s": " ", '"': '"', "'": "'"}


def read_options(path: Path, group: str = "client") -> Mapping[str, str]:
    """The options of one group, names with dashes. Raises RestoreError; no message ever holds a value.

    Refused: a file that others can read, since it holds a password; and !include, which could lead anywhere.
    """
    text = own_text(path, "The login file", "login", "an option file with [client], user and password")
    found: dict[str, str] = {}
    inside = ""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if stripped.startswith("!"):
            raise Refused(f"{path}, line {number}: !include is not followed.", "Write the login into this file.")
        if stripped.startswith("["):
            inside = stripped.strip("[]").strip()
        elif inside == group:
            name, _, value = stripped.partition("=")
            found[name.strip().lower().replace("_", "-").removeprefix("loose-")] = _value(value.strip())
    return found


def _value(text: str) -> str:
    """The value without its quotes or trailing comment, escapes resolved, as the client programs take it."""
    text = text[: _comment(text)].rstrip()
    if len(text) > 1 and text[0] in ("'", '"') and text[-1] == text[0]:
        text = text[1:-1]
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), text)


def _comment(text: str) -> int:
    """Where a comment begins: at the first # outside of quotes."""
    quote, escaped = "", False
    for at, letter in enumerate(text):
        if letter in ("'", '"') and not escaped and quote in ("", letter):
            quote = "" if quote else letter
        elif letter == "#" and not quote:
            return at
        escaped = letter == "\\" and not escaped
    return len(text)


def write_options(path: Path, options: Mapping[str, str | None], group: str = "client") -> None:
    """An option file that only we can read, made with that mode, never widened. An option that is None has no value."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(_lines(options, group))
        file.flush()
        os.fsync(file.fileno())


def _lines(options: Mapping[str, str | None], group: str) -> Iterator[str]:
    yield f"[{group}]\n"
    for name, value in options.items():
        yield f"{name}\n" if value is None else f'{name}="{_escaped(value)}"\n'


def _escaped(value: str) -> str:
    # A quote that is not escaped would end the quoting, and a # after it would begin a comment.
    for plain, escape in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"), ('"', '\\"'), ("'", "\\'")):
        value = value.replace(plain, escape)
    return value
