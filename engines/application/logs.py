"""Searches an application's logs for errors in a stretch of time, from their ends, however big they are.

An entry goes on over the lines that follow its first one: a stack trace belongs to its error. What keeps the answer
from being whole (a file missing, rotated away, dated in another zone) is a problem, and never "no errors".
"""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

from engines import checks
from engines.application.log_files import (
    Entry,
    Form,
    entries,
    open_log,
    where_to_begin,
    with_rotated,
    written_at,
)
from engines.application.log_times import Span
from engines.checks import Check, Panel
from engines.targets import Application
from engines.text import clock, count, drawable, size

# `[2026-11-22 20:04:11] production.ERROR: message {"exception":…}`: Monolog's LineFormatter, which Laravel uses.
LARAVEL = (
    r"\[(?P<at>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)\] "
    r"[^\s.]+\.(?P<level>[A-Z]+): "
)
SEVERE = frozenset({"ERROR", "CRITICAL", "ALERT", "EMERGENCY", "FATAL", "SEVERE", "PANIC"})
MOST = 1 << 28  # bytes searched of one file: a window that wrote more than 268 MB is an incident of its own

_APART = timedelta(minutes=2)  # a file's last entry and its last write are no further apart than this
# The class of an exception, as Monolog writes it. Of an error's own words nothing gets into journal and record: they
# may quote a statement, or a row's values.
_CLASS = re.compile(r"\[object\] \((?P<name>[A-Za-z_][\w\\]{0,120})(?=[(\s])")


@dataclass(frozen=True, slots=True)
class LogLine:
    """An entry that is an error."""

    file: str
    line_number: int | None  # from 1; None where the file was not read from its start
    offset: int  # bytes
    at: datetime  # UTC
    level: str
    text: str  # with its stack trace; from outside, so not yet drawable


@dataclass(frozen=True, slots=True)
class LogScan:
    """What the logs say about the time from `since` to `until`."""

    since: datetime
    until: datetime
    files: tuple[str, ...]  # those that were searched
    bytes_read: int
    lines_read: int
    entries: int  # in that time
    levels: Mapping[str, int]  # of these entries
    errors: int  # all that were found; `found` holds the newest of them
    ignored: int  # errors that are expected
    found: tuple[LogLine, ...]  # newest first
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Question:
    since: datetime
    until: datetime
    form: Form
    errors: tuple[re.Pattern[str], ...]
    ignore: tuple[re.Pattern[str], ...]
    deny: tuple[re.Pattern[str], ...]
    limit: int
    most: int  # bytes of one file

    def is_error(self, entry: Entry) -> bool:
        if any(pattern.search(entry.text) for pattern in self.deny):
            return True
        if not self.errors:
            return entry.level.upper() in SEVERE
        return any(pattern.search(entry.text) for pattern in self.errors)

    def is_expected(self, entry: Entry) -> bool:
        # In the first line only: a stack trace names half of the application.
        return any(pattern.search(entry.text.partition("\n")[0]) for pattern in self.ignore)


@dataclass(slots=True)
class _Answer:
    """What one file says, while it is read."""

    path: Path
    bytes_read: int = 0
    lines: int = 0
    levels: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    ignored: int = 0
    found: list[LogLine] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    searched: bool = False


def recent(
    application: Application, now: datetime, not_before: datetime | None = None, deny: Sequence[str] = ()
) -> LogScan:
    """The application's configured logs over its configured window up to `now`, but not from before `not_before`."""
    since = now - application.log_window
    return scan(
        application.logs,
        max(since, not_before) if not_before is not None else since,
        now,
        application.log_errors,
        application.log_ignore,
        pattern=application.log_pattern,
        zone=application.log_zone,
        deny=deny,
    )


def scan(
    paths: Sequence[Path],
    since: datetime,
    until: datetime,
    errors: Sequence[str] = (),
    ignore: Sequence[str] = (),
    limit: int = 50,
    *,
    pattern: str | None = None,
    zone: str = "UTC",
    most: int = MOST,
    deny: Sequence[str] = (),
) -> LogScan:
    """Search `paths`, and what they were rotated to since then.

    An entry is an error when one of the expressions `errors` finds something in it (without expressions: when its
    level is severe) or one of `deny` does, unless one of `ignore` finds something in its first line. `pattern` matches
    the beginning of an entry, with groups `at` and `level`. Times without a zone are those of `zone`. Never raises for
    a file.
    """
    question = _Question(
        since,
        until,
        Form(re.compile(pattern or LARAVEL), ZoneInfo(zone), until),
        tuple(map(re.compile, errors)),
        tuple(map(re.compile, ignore)),
        tuple(map(re.compile, deny)),
        limit,
        most,
    )
    plain, packed = with_rotated(paths, since)
    answers = [_search(path, question) for path in plain]
    problems = [] if paths else ["no log file is configured"]
    problems += [f"{path} was written in that time and is compressed: it was not searched" for path in packed]
    problems += [problem for one in answers for problem in one.problems]
    levels = sum((one.levels for one in answers), Counter[str]())
    # Turned round after sorting: of two in the same second the later one in the file is the newer.
    found = sorted((line for one in answers for line in one.found), key=lambda line: line.at)[::-1]
    return LogScan(
        since,
        until,
        files=tuple(str(one.path) for one in answers if one.searched),
        bytes_read=sum(one.bytes_read for one in answers),
        lines_read=sum(one.lines for one in answers),
        entries=levels.total(),
        levels=dict(levels),
        errors=sum(one.errors for one in answers),
        ignored=sum(one.ignored for one in answers),
        found=tuple(found[:limit]),
        problems=tuple(problems),
    )


def _search(path: Path, question: _Question) -> _Answer:
    answer = _Answer(path)
    try:
        with open_log(path) as file:
            _read(file, question, answer)
    except OSError as error:
        answer.problems.append(f"{path} can't be read: {error.strerror or error}")
    return answer


def _read(file: BinaryIO, question: _Question, answer: _Answer) -> None:
    path, end = answer.path, file.seek(0, 2)
    begin = where_to_begin(file, end, question.since, question.form, question.most)
    newest: deque[LogLine] = deque(maxlen=question.limit)
    last: Span | None = None
    first: Span | None = None
    undated = False
    for entry in entries(file, begin.offset, end, question.form):
        answer.lines += entry.lines
        if entry.span is None:
            undated = undated or bool(entry.text.strip())
            continue
        first, last = first or entry.span, entry.span
        if not entry.span.touches(question.since, question.until):
            continue
        answer.levels[entry.level] += 1
        if not question.is_error(entry):
            continue
        if question.is_expected(entry):
            answer.ignored += 1
            continue
        answer.errors += 1
        number = entry.line if begin.offset == 0 else None
        newest.append(LogLine(str(path), number, entry.offset, entry.span.latest, entry.level, entry.text))
    answer.found, answer.searched, answer.bytes_read = list(newest), True, end - begin.offset
    if first is None and end:
        answer.problems.append(f"{path}: no line begins like an entry with a time; is `log_pattern` right?")
    elif undated and begin.whole and first and first.latest >= question.since:
        answer.problems.append(f"{path}: what stands before its first time was not searched")
    if os.fstat(file.fileno()).st_size < end:
        answer.problems.append(f"{path} was cut shorter while it was read")
    if not begin.whole and first and first.latest > question.since:
        answer.problems.append(
            f"{path}: only the last {size(question.most)} of {size(end)} were searched, from {clock(first.earliest)} on"
        )
    if last:
        answer.problems += _elsewhen(path, last, written_at(file), question.since)


def _elsewhen(path: Path, last: Span, written: datetime, since: datetime) -> list[str]:
    """A last entry that is not dated like the last write: then "no errors" would be about another hour."""
    early, late = last.latest + _APART < written and written >= since, last.earliest > written + _APART
    if not (early or late):
        return []
    return [
        f"{path}: the last entry is dated {clock(last.latest)}, but the file was last written {clock(written)}; "
        "is `log_zone` right?"
    ]


def check(scan: LogScan, accepted: int = 0) -> Check:
    """Are there more unexpected errors than are `accepted`?

    A log that can't be searched whole is UNKNOWN unless errors were found anyway. Level, time, file and class of the
    newest error are told, and nothing of its text: that is in the log pane.
    """
    name = "application log"
    asked = f"from {clock(scan.since)} to {clock(scan.until)}"
    problems = drawable("; ".join(scan.problems))
    if scan.errors > accepted:
        levels = ", ".join(f"{_level(level)} {number}" for level, number in scan.levels.items())
        newest = f"; newest: {_without_words(scan.found[0])}" if scan.found else ""
        most = f", at most {count(accepted)} accepted" if accepted else ""
        return checks.fail(
            name,
            f"{count(scan.errors)} unexpected{most} in {count(scan.entries)} entries ({levels}) {asked}{newest}"
            + (f"; {problems}" if problems else ""),
            "Read them in the log pane. What is expected goes into log_ignore, with the application owner's word.",
            Panel.VALIDATION,
        )
    if problems:
        hint = "Correct `logs`, `log_pattern` or `log_zone`, and run the check again; or read the log by hand."
        return checks.unknown(name, problems, hint, Panel.VALIDATION)
    ignored = f", {count(scan.ignored)} expected errors" if scan.ignored else ""
    errors = f"{count(scan.errors)} unexpected, {count(accepted)} accepted" if scan.errors else "no unexpected error"
    evidence = f"{errors} in {count(scan.entries)} entries{ignored} {asked}"
    return checks.ok(name, evidence, Panel.VALIDATION)


def _level(level: str) -> str:
    return drawable(level)[:20] or "no level"


def _without_words(line: LogLine) -> str:
    thrown = _CLASS.search(line.text)
    what = f", {drawable(thrown['name'].replace(chr(92) * 2, chr(92)))}" if thrown else ""
    return f"{_level(line.level)} at {clock(line.at)} in {drawable(line.file)}{what}"
