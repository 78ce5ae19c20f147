"""The security checklist's line about a restore or a drill: what it will be, and how it gets there.

A Markdown file that belongs to the application's people. A table or a list with dates in it is recognised, nothing
else is touched; a file that is anything else is refused and stays as it is.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from engines.errors import Refused
from engines.text import drawable

_LARGEST = 1 << 20  # bytes
_LONGEST = 2000  # characters of a line that are quoted
_DATE = r"\d{4}-\d{2}-\d{2}"
_ABOUT = re.compile(r"\b(restore[sd]?|recover(?:y|ies|ed)|drills?|incidents?)\b", re.IGNORECASE)
_ITEM = re.compile(rf"^(?P<mark>\s*[-*+] (?:\[[xX]\] )?)(?P<date>{_DATE})\b(?P<rest>.*)$")
_LAST = re.compile(
    r"^(?P<before>\s*[-*+] (?:\[[ xX]\] )?.*\b(?:last|latest|most recent)\b.*?)"
    rf"(?P<date>{_DATE}|never|none|—|-)(?P<after>\W*)$",
    re.IGNORECASE,
)
_RULE = re.compile(r"^\s*\|?(?:\s*:?-{1,}:?\s*\|)+(?:\s*:?-{1,}:?\s*)?$")
_WHEN = re.compile(r"^(date|when|day)\b", re.IGNORECASE)
_WHO = re.compile(r"\b(by|who|operator|owner|person)\b", re.IGNORECASE)
_RESULT = re.compile(r"\b(result|outcome|status)\b", re.IGNORECASE)
_RECORD = re.compile(r"\b(session|record|evidence|reference|link|notes?|comments?)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Line:
    """What is entered."""

    day: date
    what: str  # restore of shop (PRODUCTION), INC-2041
    who: str
    session: str  # tells it from every other: it is entered once

    def told(self) -> str:
        return f"{self.day.isoformat()}: {self.what}, by {self.who}, session {self.session}"


@dataclass(frozen=True, slots=True)
class Edit:
    """The file as it is and as it would be. Both are the same where nothing has to change."""

    path: Path
    old: bytes
    new: bytes
    line: str  # what stands there about it, or would, as it is written; empty where a date that is not older stands

    @property
    def old_sha256(self) -> str:
        return hashlib.sha256(self.old).hexdigest()

    @property
    def new_sha256(self) -> str:
        return hashlib.sha256(self.new).hexdigest()

    def diff(self) -> tuple[str, ...]:
        """The change in unified form, a line of context around it; empty where there is none."""
        old, new = (content.decode().splitlines() for content in (self.old, self.new))
        return tuple(difflib.unified_diff(old, new, self.path.name, self.path.name, n=1, lineterm=""))


def proposed(path: Path, line: Line) -> Edit:
    """What entering the line would change. Nothing is written. Raises Refused."""
    content, _ = _read(path)
    text = content.decode()
    if line.session in text:
        there = next(one for one in text.splitlines() if line.session in one)
        return Edit(path, content, content, _quoted(there))
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.split(end)
    if any("\n" in one or "\r" in one for one in lines):
        raise _odd(path, "its lines end in different ways")
    found = _in_table(lines, line) or _in_list(lines, line) or _in_last(lines, line)
    if found is None:
        raise _odd(path, "neither a table with a date column, nor a list with dates, nor a last date is in it")
    added = next((one for one in found if one not in lines), "")
    return Edit(path, content, end.join(found).encode(), _quoted(added))


def _quoted(line: str) -> str:
    """As it is written, unless somebody has written a book on one line."""
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def write(path: Path, line: Line, old_sha256: str, new_sha256: str) -> Edit:
    """Enter the line, if the file and the change are still those that were shown. Raises Refused.

    Written beside it and renamed over it, with the old one's owner and mode: who reads it sees the one or the other.
    """
    edit = proposed(path, line)
    if edit.old_sha256 != old_sha256 or edit.new_sha256 != new_sha256:
        raise Refused(
            f"{drawable(str(path))} has been changed since it was shown. It was not touched.",
            "Look at the change anew.",
        )
    if edit.old == edit.new:
        return edit
    try:
        _replace(edit)
    except OSError as error:
        raise Refused(
            f"{drawable(str(path))} can't be written: {error.strerror}. It is as it was.",
            "See to it that whoever runs Reinstate may write there, or enter the line by hand.",
        ) from error
    return edit


def _odd(path: Path, why: str) -> Refused:
    return Refused(
        f"{drawable(str(path))} is not a checklist that can be edited: {why}. It was not touched.",
        "Enter the line by hand, or give it a table with a Date column.",
    )


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    name = drawable(str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(
            f"The security checklist {name} can't be opened: {error.strerror}. Nothing was written.",
            "`security_checklist` in the configuration names it; `false` for none. Or enter the line by hand.",
        ) from error
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode) or facts.st_nlink > 1:
        os.close(descriptor)
        raise _odd(path, "it is no ordinary file, or has several names")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise _odd(path, "it is larger than 1 MB")
    try:
        content.decode()
    except UnicodeDecodeError:
        raise _odd(path, "it is not text in UTF-8") from None
    return content, facts


def _replace(edit: Edit) -> None:
    folder = os.open(edit.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    beside = f".{edit.path.name}.{secrets.token_hex(4)}"
    try:
        content, facts = _read(edit.path)
        if not facts.st_mode & stat.S_IWUSR or not os.access(edit.path, os.W_OK):
            raise Refused(
                f"{drawable(str(edit.path))} is read-only. It was not touched.",
                "Make it writable if it is meant to be, or enter the line by hand.",
            )
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        made = os.open(beside, flags, 0o600, dir_fd=folder)
        with os.fdopen(made, "wb") as file:
            file.write(edit.new)
            file.flush()
            os.fchown(file.fileno(), facts.st_uid, facts.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(facts.st_mode))
            os.fsync(file.fileno())
        content, _ = _read(edit.path)
        if content != edit.old:
            raise Refused(
                f"{drawable(str(edit.path))} was changed just now. It was not touched.", "Look at the change anew."
            )
        os.rename(beside, edit.path.name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=folder)
        os.close(folder)


# -- where the line goes -----------------------------------------------------------------------------------------


def _in_table(lines: Sequence[str], line: Line) -> list[str] | None:
    """A row more in the table with a date column; of several such tables, in the only one that is about restores."""
    tables = [at for at in range(1, len(lines)) if _RULE.match(lines[at]) and _date_column(lines[at - 1]) is not None]
    if len(tables) > 1:
        tables = [at for at in tables if _is_about(lines, at)]
    if len(tables) != 1:
        return None
    rule = tables[0]
    last = rule
    while last + 1 < len(lines) and "|" in lines[last + 1]:
        last += 1
    heads = _cells(lines[rule - 1])
    column = _date_column(lines[rule - 1]) or 0
    dates = [cells[column] for row in lines[rule + 1 : last + 1] if len(cells := _cells(row)) > column]
    at = rule + 1 if _newest_first(dates) else last + 1
    row = _row(heads, line)
    return None if row is None else [*lines[:at], row, *lines[at:]]


def _date_column(head: str) -> int | None:
    cells = _cells(head) if "|" in head else []
    return next((number for number, cell in enumerate(cells) if _WHEN.match(cell)), None)


def _is_about(lines: Sequence[str], rule: int) -> bool:
    """Do the table's head, its heading, or its rows speak of restores?"""
    heading = next((one for one in reversed(lines[: rule - 1]) if one.lstrip().startswith("#")), "")
    return bool(_ABOUT.search(lines[rule - 1]) or _ABOUT.search(heading))


def _cells(row: str) -> list[str]:
    inner = row.strip().removeprefix("|")
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", inner)]


def _row(heads: Sequence[str], line: Line) -> str | None:
    """The cells by what their heads ask for; the session's name is in one of them. None where there is no room."""
    cells = list(_filled(heads, line))
    if not any(line.session in cell for cell in cells):
        place = next((n for n, cell in enumerate(cells) if cell == line.what), None)
        place = place if place is not None else next((n for n, cell in enumerate(cells) if not cell), None)
        if place is None:
            return None
        cells[place] = f"{cells[place]}, session {line.session}".removeprefix(", ")
    return "| " + " | ".join(drawable(cell).replace("|", "\\|") for cell in cells) + " |"


def _filled(heads: Sequence[str], line: Line) -> Iterator[str]:
    left = {"day": line.day.isoformat(), "session": line.session, "result": "done", "who": line.who, "what": line.what}
    for head in heads:
        if _WHEN.match(head):
            yield left.pop("day", "")
        elif _RECORD.search(head):
            yield left.pop("session", "")
        elif _RESULT.search(head):
            yield left.pop("result", "")
        elif _WHO.search(head):
            yield left.pop("who", "")
        else:
            yield left.pop("what", "")


def _in_list(lines: Sequence[str], line: Line) -> list[str] | None:
    """An item more in the list whose items begin with a date and speak of restores."""
    dated = [(at, found) for at, one in enumerate(lines) if (found := _ITEM.match(one))]
    items = [(at, found) for at, found in dated if _ABOUT.search(found["rest"])]
    if not items:
        return None
    newest_first = _newest_first([found["date"] for _, found in items])
    at, found = items[0] if newest_first else items[-1]
    item = f"{found['mark']}{drawable(line.told())}"
    at = at if newest_first else at + 1
    return [*lines[:at], item, *lines[at:]]


def _in_last(lines: Sequence[str], line: Line) -> list[str] | None:
    """The date of the one line that says when the last restore or drill was."""
    items = [(at, found) for at, one in enumerate(lines) if (found := _LAST.match(one)) and _ABOUT.search(one)]
    if len(items) != 1:
        return None
    at, found = items[0]
    if found["date"] >= line.day.isoformat() and re.fullmatch(_DATE, found["date"]):
        return list(lines)  # one that is not older is there
    return [*lines[:at], f"{found['before']}{line.day.isoformat()}{found['after']}", *lines[at + 1 :]]


def _newest_first(dates: Sequence[str]) -> bool:
    real = [one for one in dates if re.match(_DATE, one)]
    return len(real) > 1 and real[0] > real[-1]
