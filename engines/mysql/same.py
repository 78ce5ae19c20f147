"""Are two dumps of one schema the same? Statement by statement, both read as they come, and never a row shown.

Lines that tell when, where and by what a dump was taken are left out of it. The next AUTO_INCREMENT of a table is told
apart from its content: it is not in any row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO, cast

from engines.errors import RestoreError
from engines.hooks import Stop, never
from engines.mysql import dumping
from engines.mysql.connect import Login, Place
from engines.mysql.dumps.effects import words_of
from engines.mysql.dumps.packing import opened
from engines.mysql.dumps.statements import Comment, Insert, Part, Statement, plain_name, read
from engines.mysql.programs import Program, running
from engines.text import count, drawable

_COMPLETED = b"-- Dump completed"
_COUNTER = re.compile(rb"(\n\) ENGINE=\w+) AUTO_INCREMENT=(\d+)")
_NAMED = re.compile(
    rb"\b(TABLE|VIEW|PROCEDURE|FUNCTION|TRIGGER|EVENT|SEQUENCE)S?(?: IF (?:NOT )?EXISTS)?\s+(`(?:[^`]|``)+`|\w+)"
)


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where two dumps part."""

    first: str  # what the first one has there: "definition of table `users`"; empty: it ends
    second: str
    first_at: int  # byte, unpacked
    second_at: int

    def __str__(self) -> str:
        if self.first == self.second:
            return f"{self.first} differ, at byte {count(self.first_at)} and {count(self.second_at)}"
        there = [what or "its end" for what in (self.first, self.second)]
        return (
            f"the first has {there[0]} at byte {count(self.first_at)}, "
            f"the second has {there[1]} at byte {count(self.second_at)}"
        )


@dataclass(frozen=True, slots=True)
class Compared:
    statements: int  # that were found equal
    difference: Difference | None = None
    counters: tuple[str, ...] = ()  # tables whose next AUTO_INCREMENT differs: "users 7 and 9"

    @property
    def same(self) -> bool:
        return self.difference is None


def compare(first: BinaryIO, second: BinaryIO, *, stop: Stop = never) -> Compared:
    """Compare two dumps up to their first difference. Raises RestoreError where one is cut or damaged."""
    equal = 0
    counters: list[str] = []
    ends = (_End(), _End())
    for one, other in zip_longest(_parts(first, ends[0]), _parts(second, ends[1])):
        if stop():
            raise RestoreError("Comparing was stopped. Nothing was changed.", "Compare again when ready.")
        if (found := _difference(one, other, ends, counters)) is not None:
            return Compared(equal, found, tuple(counters))
        equal += 1
    for which, end in zip(("first", "second"), ends, strict=True):
        if not end.complete:
            raise RestoreError(
                f"The {which} dump ends without its last line, so that nothing is proven. Nothing was changed.",
                "Look at the server's error log, and compare again.",
            )
    return Compared(equal, None, tuple(counters))


def same(
    program: Program,
    place: Place,
    login: Login,
    schema: str,
    snapshot: Path,
    *,
    private: Path,
    stop: Stop = never,
) -> Compared:
    """The snapshot (first) against the schema as it is now (second): dumped and compared on the way, kept nowhere."""
    ground = dumping.look(place, login, schema)
    arguments = dumping.arguments(program, ground, coordinates=False)
    with (
        opened(snapshot) as kept,
        running(program, arguments, place, login, private=private, stop=stop) as dump,
    ):
        found = compare(kept.stream, cast(BinaryIO, dump), stop=stop)
        if found.same:
            dump.finish()
        return found


@dataclass(slots=True)
class _End:
    """How far a dump was read, and whether its last line has come."""

    at: int = 0
    complete: bool = False


def _parts(stream: BinaryIO, end: _End) -> Iterator[Statement | Insert]:
    for part in read(stream):
        end.at = part.start
        if isinstance(part, Comment):
            end.complete = part.text.startswith(_COMPLETED)
        else:
            end.complete = False
            yield part


def _difference(
    one: Statement | Insert | None, other: Statement | Insert | None, ends: tuple[_End, _End], counters: list[str]
) -> Difference | None:
    places = (one.start if one else ends[0].at, other.start if other else ends[1].at)
    parted = Difference(_what(one), _what(other), *places)
    match one, other:
        case Statement(), Statement():
            if one.text == other.text:
                return None
            (text, number), (text_other, number_other) = _plain(one.text), _plain(other.text)
            if text != text_other:
                return parted
            counters.append(f"{_name(one.text)} {number} and {number_other}")
            return None
        case Insert(), Insert():
            return None if one.head == other.head and _equal(one.values, other.values) else parted
        case _:
            return parted


def _plain(text: bytes) -> tuple[bytes, str]:
    """A definition without its table's next AUTO_INCREMENT, and that."""
    found = _COUNTER.search(text)
    if found is None or not text.startswith(b"CREATE TABLE"):
        return text, "none"
    return text[: found.end(1)] + text[found.end() :], found[2].decode()


def _equal(first: Iterator[bytes], second: Iterator[bytes]) -> bool:
    """Are the rows the same text, wherever their pieces are cut?"""
    left, right = memoryview(b""), memoryview(b"")
    while True:
        left = left or memoryview(next(first, b""))
        right = right or memoryview(next(second, b""))
        if not left or not right:
            return not left and not right
        size = min(len(left), len(right))
        if left[:size] != right[:size]:
            return False
        left, right = left[size:], right[size:]


def _what(part: Part | None) -> str:
    match part:
        case Insert():
            return f"the rows of {drawable(part.table)}"
        case Statement():
            found = _NAMED.search(re.sub(rb"/\*M?!\d*|\*/", b" ", part.text[:4096]))
            if found is None:
                return words_of(part.text)[:40] or "a statement"
            kind = found[1].decode().lower()
            first = words_of(part.text).split(" ", 1)[0]
            return f"{'the definition of' if first == 'CREATE' else first.lower()} {kind} {_name(part.text)}"
        case _:
            return ""


def _name(text: bytes) -> str:
    found = _NAMED.search(re.sub(rb"/\*M?!\d*|\*/", b" ", text[:4096]))
    return drawable(plain_name(found[2])) if found else "?"
