"""Reads log files as entries, from as near to their ends as a moment in time allows.

What an entry means is decided in `logs`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import BinaryIO

from engines.application.log_times import Span, read_time

BLOCK = 1 << 20  # bytes read at once, backwards
KEPT = 1 << 16  # bytes kept of a line, and about as many of an entry
_SLACK = timedelta(minutes=1)  # processes write side by side: a file is nearly, not exactly, in order of time
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")


@dataclass(frozen=True, slots=True)
class Form:
    """What the entries of a log look like."""

    start: re.Pattern[str]  # matches at the beginning of an entry; groups `at` and `level`, both optional
    zone: tzinfo  # of times that name none
    near: datetime  # completes times without a year


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its first line and those that go on with it."""

    line: int  # counted from 1 where reading began
    lines: int
    offset: int  # bytes from the file's start
    span: Span | None  # its own time, else that of the entry before; None before the first time
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Begin:
    """Where reading begins."""

    offset: int  # bytes
    whole: bool  # far enough back for the moment asked about


def open_log(path: Path) -> BinaryIO:
    """The file, for reading. Raises OSError; what is not a regular file would make a reader wait for ever."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError("it is not a regular file")
    return os.fdopen(fd, "rb")


def with_rotated(paths: Sequence[Path], since: datetime) -> tuple[list[Path], list[Path]]:
    """The logs with their rotated and daily siblings written since then; and the compressed ones among these."""
    plain: dict[Path, None] = {}
    packed: dict[Path, None] = {}
    for path in paths:
        siblings = list(_siblings(path, since))
        if path.exists() or path.is_symlink() or not siblings:
            plain[path] = None
        for sibling in siblings:
            (packed if sibling.suffix in _PACKED else plain)[sibling] = None
    return list(plain), list(packed)


def _siblings(path: Path, since: datetime) -> Iterator[Path]:
    # laravel.log.1, laravel.log-20261122.gz; laravel-2026-11-22.log of Laravel's daily channel
    name, stem, suffix = re.escape(path.name), re.escape(path.stem), re.escape(path.suffix)
    form = re.compile(rf"{name}[.-]\d.*|{stem}-\d{{4}}-?\d\d-?\d\d{suffix}(?:\..+)?")
    try:
        names = sorted(os.listdir(path.parent))  # noqa: PTH208 - names are matched before anything is looked up
    except OSError:
        return
    for sibling in names:
        if form.fullmatch(sibling):
            found = path.parent / sibling
            try:
                written = found.stat().st_mtime
            except OSError:
                continue
            if written >= since.timestamp():
                yield found


def where_to_begin(file: BinaryIO, end: int, since: datetime, form: Form, most: int) -> Begin:
    """The offset of an entry that is safely older than `since`, or the file's start.

    Goes back in blocks, at most `most` bytes, so that a log of gigabytes is not read for its last minutes. Two
    blocks in a row must begin too early: one alone may begin with an old line that a newer entry quotes.
    """
    floor, high = max(end - most, 0), end
    early = False
    while high > floor:
        low = max(high - BLOCK, floor)
        file.seek(low)
        first = _first_timed(file.read(high - low), low, form)
        if first is not None:
            was_early, early = early, first[1].latest < since - _SLACK
            if early and was_early:
                return Begin(first[0], True)
        high = low
    return Begin(floor, floor == 0)


def _first_timed(block: bytes, low: int, form: Form) -> tuple[int, Span] | None:
    """The first whole line of the block that has a time."""
    at = 0 if low == 0 else block.find(b"\n") + 1 or len(block)
    while at < len(block):
        stop = block.find(b"\n", at)
        stop = len(block) if stop < 0 else stop
        match = form.start.match(_text(block[at : min(stop, at + KEPT)]))
        span = _time(match, form) if match else None
        if span:
            return low + at, span
        at = stop + 1
    return None


def entries(file: BinaryIO, begin: int, end: int, form: Form) -> Iterator[Entry]:
    """The entries between two offsets. Lines before the first one's beginning come as one without a level."""
    open_since: tuple[int, int, Span | None, str] | None = None
    span: Span | None = None
    parts: list[str] = []
    room, lines = 0, 0
    for number, offset, text in _lines(file, begin, end):
        match = form.start.match(text)
        if match or open_since is None:
            if open_since:
                yield Entry(open_since[0], lines, *open_since[1:], "\n".join(parts))
            groups = match.groupdict() if match else {}
            span = (_time(match, form) if match else None) or span
            open_since = number, offset, span, groups.get("level") or ""
            parts, room, lines = [], KEPT, 0
        lines += 1
        if room > 0:
            parts.append(text)
            room -= len(text) + 1
    if open_since:
        yield Entry(open_since[0], lines, *open_since[1:], "\n".join(parts))


def _lines(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[int, int, str]]:
    """Number, offset and text of each line; of a very long one its beginning."""
    file.seek(begin)
    number, at, fresh = 0, begin, True
    while at < end:
        raw = file.readline(min(KEPT, end - at))
        if not raw:
            return  # cut shorter while being read
        # A log that was cut while its writer kept its place goes on after a hole of zeros.
        hole = len(raw) - len(raw.lstrip(b"\0"))
        if fresh or (hole and hole < len(raw)):
            number += 1
            yield number, at + hole, _text(raw[hole:])
        fresh = raw.endswith((b"\n", b"\0"))
        at += len(raw)


def _time(match: re.Match[str], form: Form) -> Span | None:
    text = match.groupdict().get("at")
    return read_time(text, form.zone, form.near) if text else None


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\r\n").decode(errors="backslashreplace")


def written_at(file: BinaryIO) -> datetime:
    return datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
