"""Splits a dump into statements, in one pass and in little memory.

Where a statement ends is decided as the client program decides it: at the delimiter, outside of strings, quoted
names and comments. Rows are most of a dump and their strings are many, so that the VALUES of an INSERT go another
way: they end with the first `);` before which the quotes pair up. Both ways are compared by a property test.

Source: MySQL reference manual, "Comments", "String Literals", "mysql Client Commands"; mysqldump's output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from engines.errors import RestoreError
from engines.text import count, drawable

CHUNK = 1 << 20  # bytes read at a time
LONGEST = 64 << 20  # bytes of a statement that is no INSERT

_NAME = rb"(?>`(?:[^`]|``)++`|[0-9A-Za-z_$]++)"  # never tried again in parts: that takes forever
_HEAD = re.compile(
    rb"(?:INSERT|REPLACE)(?:\s+(?:LOW_PRIORITY|DELAYED|HIGH_PRIORITY|IGNORE))*\s+INTO\s+(?P<table>" + _NAME + rb")\s*"
    rb"(?P<columns>\((?:" + _NAME + rb"\s*+,?+\s*+)++\))?\s*VALUES\s*(?=\()",
    re.IGNORECASE,
)
_BEGINS_INSERT = re.compile(rb"(?:INSERT|REPLACE)\s", re.IGNORECASE)
_DELIMITER = re.compile(rb"DELIMITER[ \t]+(\S+)[^\n]*(?:\n|\Z)", re.IGNORECASE)
_SANDBOX = re.compile(rb"/\*M?!999999\\- [^\n]*(?:\n|\Z)")
_LINE_COMMENT = re.compile(rb"(?:--(?=[\s\x00-\x1f]|\Z)|#)[^\n]*(?:\n|\Z)")
_BLANK = re.compile(rb"\s+")
# What changes how the next bytes are read. A string or name is skipped whole where its end is in the buffer.
_QUOTED = {
    b"'"[0]: re.compile(rb"'(?:[^'\\]|\\.|'')*'", re.DOTALL),
    b'"'[0]: re.compile(rb'"(?:[^"\\]|\\.|"")*"', re.DOTALL),
    b"`"[0]: re.compile(rb"`[^`]*`"),
}
_LONGEST_HEAD = 1 << 20
_BACKSLASH = b"\\"[0]


class Cut(RestoreError):
    """The dump ends in the middle of something, or is no dump."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(
            f"The dump {what}, at byte {count(at)}. Nothing was loaded.",
            "Choose another backup: this one was cut short or damaged.",
        )
        self.at = at


@dataclass(frozen=True, slots=True)
class Comment:
    """What is not for the server: the lines of header and footer, and comments between the statements."""

    start: int  # of its first byte in the unpacked dump
    line: int  # from 1
    text: bytes


@dataclass(frozen=True, slots=True)
class Statement:
    """Everything but INSERT, without its delimiter."""

    start: int
    end: int  # behind the delimiter
    line: int
    text: bytes


@dataclass(slots=True)
class Insert:
    """An INSERT or REPLACE with VALUES. The rows come in pieces, once, before the next statement is asked for."""

    start: int
    line: int
    head: bytes  # INSERT INTO `t` (`a`) VALUES, up to the first row
    table: str
    columns: tuple[str, ...] | None
    values: Iterator[bytes] = field(repr=False)  # from the first ( on, without the delimiter


Part = Comment | Statement | Insert


def read(stream: BinaryIO) -> Iterator[Part]:
    """Every part of the dump in its order. Raises Cut, at its end, where a statement has no end."""
    yield from _Splitter(stream).parts()


def plain_name(quoted: bytes) -> str:
    """An identifier without its quotes."""
    text = quoted.decode("utf-8", "surrogateescape")
    return text[1:-1].replace("``", "`") if text.startswith("`") else text


def pairs_up(text: bytes) -> bool:
    """Do the single quotes that no backslash escapes come in pairs? Text that begins outside of an escape."""
    escapes = text.count(b"\\")
    escaped = text.count(b"\\'") if escapes else 0
    if escaped != escapes and b"\\\\" in text:
        escaped = text.replace(b"\\\\", b"").count(b"\\'")  # of what is left, each escapes what follows it
    return (text.count(b"'") - escaped) % 2 == 0


class _Splitter:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._buffer = b""
        self._at = 0  # where we are in the buffer
        self._offset = 0  # of the buffer's first byte in the dump
        self._line = 1
        self._ended = False
        self._delimiter = b";"

    def parts(self) -> Iterator[Part]:
        while self._skip_blank():
            start, line = self._offset + self._at, self._line
            if comment := self._match(_SANDBOX) or self._match(_LINE_COMMENT):
                yield Comment(start, line, comment.rstrip(b"\r\n"))
            elif comment := self._block_comment():
                yield Comment(start, line, comment)
            elif found := self._match(_DELIMITER):
                self._delimiter = found.split()[1]
            elif self._begins_insert() and (head := self._head()):
                yield from self._insert(head, start, line)
            else:
                text = self._statement()
                if text:
                    yield Statement(start, self._offset + self._at, line, text)

    # -- the buffer -----------------------------------------------------------------------------------------

    def _fill(self) -> bool:
        """One chunk more. False at the end of the dump."""
        if self._ended:
            return False
        piece = self._stream.read(CHUNK)
        if not piece:
            self._ended = True
            return False
        self._buffer = self._buffer[self._at :] + piece
        self._offset += self._at
        self._at = 0
        return True

    def _take(self, size: int) -> bytes:
        taken = self._buffer[self._at : self._at + size]
        self._at += size
        self._line += taken.count(b"\n")
        return taken

    def _skip_blank(self) -> bool:
        while True:
            found = _BLANK.match(self._buffer, self._at)
            if found:
                self._take(found.end() - self._at)
            if self._at < len(self._buffer):
                return True
            if not self._fill():
                return False

    def _match(self, pattern: re.Pattern[bytes]) -> bytes:
        """A line that the pattern matches, taken whole."""
        while not self._ended and b"\n" not in self._buffer[self._at : self._at + 4096]:
            if len(self._buffer) - self._at > 4096 or not self._fill():
                break
        found = pattern.match(self._buffer, self._at)
        if found is None:
            return b""
        while found.end() == len(self._buffer) and self._fill():
            found = pattern.match(self._buffer, self._at) or found
        return self._take(found.end() - self._at)

    def _block_comment(self) -> bytes:
        """A comment that the server does not execute, between two statements; empty where none stands.

        As a part of the statement behind it, it would hide what that is. --set-gtid-purged=COMMENTED writes one, with a
        delimiter in it.
        """
        while len(self._buffer) - self._at < 4 and self._fill():
            pass
        begin = self._buffer[self._at : self._at + 4]
        if not begin.startswith(b"/*") or begin.startswith((b"/*!", b"/*+")) or begin == b"/*M!":
            return b""
        while (end := self._buffer.find(b"*/", self._at + 2)) < 0:
            if not self._more():
                raise Cut("ends in the middle of a comment", self._offset + len(self._buffer))
        return self._take(end + 2 - self._at)

    # -- statements ---------------------------------------------------------------------------------------

    def _statement(self) -> bytes:
        """Up to the delimiter, by looking at each string, name and comment."""
        seen = self._at
        marks = re.compile(rb"['\"`#]|--|/\*|" + re.escape(self._delimiter))
        while True:
            found = marks.search(self._buffer, seen)
            if found is None or found.end() + 3 > len(self._buffer):
                # A mark may straddle the buffer's end; what is before it has been looked at.
                looked = (
                    found.start() if found else max(len(self._buffer) - len(self._delimiter) - 2, seen)
                ) - self._at
                if self._more():
                    seen = self._at + max(looked, 0)
                    continue
                if found is None:
                    raise Cut("ends in the middle of a statement", self._offset + len(self._buffer))
            mark = found.group()
            if mark == self._delimiter:
                text = self._take(found.start() - self._at)
                self._take(len(mark))
                return text.strip()
            end = self._past(mark, found.start())
            if end is None:
                looked = found.start() - self._at
                if not self._more():
                    raise Cut("ends in the middle of a string or comment", self._offset + len(self._buffer))
                seen = self._at + looked
            else:
                seen = end

    def _more(self) -> bool:
        if len(self._buffer) - self._at > LONGEST:
            raise Cut("has a statement without an end, or is no dump", self._offset + self._at)
        return self._fill()

    def _past(self, mark: bytes, at: int) -> int | None:
        """Where reading goes on behind what `mark` begins; None where its end is not in the buffer."""
        buffer = self._buffer
        if mark == b"/*":
            # The server executes /*! … */ and /*M! … */, so that they are read like the rest.
            if buffer[at + 2 : at + 3] == b"!" or buffer[at + 2 : at + 4] == b"M!":
                return at + 3
            end = buffer.find(b"*/", at + 2)
            return end + 2 if end >= 0 else None
        if mark in (b"#", b"--"):
            if mark == b"--" and buffer[at + 2 : at + 3].strip(b" \t\r\n\v\f\x00"):
                return at + 2  # 5--3 is no comment
            end = buffer.find(b"\n", at)
            return end + 1 if end >= 0 else (len(buffer) if self._ended else None)
        found = _QUOTED[mark[0]].match(buffer, at)
        if found is None or (found.end() == len(buffer) and not self._ended):
            return None  # a doubled quote may follow in the next chunk
        return found.end()

    # -- rows ---------------------------------------------------------------------------------------------

    def _begins_insert(self) -> bool:
        while len(self._buffer) - self._at < 16 and self._fill():
            pass
        return self._delimiter == b";" and _BEGINS_INSERT.match(self._buffer, self._at) is not None

    def _head(self) -> re.Match[bytes] | None:
        while True:
            found = _HEAD.match(self._buffer, self._at)
            if found or len(self._buffer) - self._at > _LONGEST_HEAD or not self._fill():
                return found

    def _insert(self, found: re.Match[bytes], start: int, line: int) -> Iterator[Insert]:
        columns = found["columns"]
        names = tuple(plain_name(name) for name in re.findall(_NAME, columns)) if columns else None
        table = plain_name(found["table"])
        values = self._values(table)
        yield Insert(start, line, self._take(found.end() - self._at), table, names, values)
        for _piece in values:  # whoever did not read the rows goes past them
            pass

    def _values(self, table: str) -> Iterator[bytes]:
        """Pieces of rows up to the delimiter. Each piece begins and ends outside of an escape."""
        open_quote = False
        looked = self._at  # the quotes up to here have been counted
        while True:
            found = self._buffer.find(b");", looked)
            if found >= 0:
                open_quote ^= not pairs_up(self._buffer[looked : found + 1])
                looked = found + 1
                if open_quote:
                    continue  # it is in a string
                yield self._take(looked - self._at)
                self._take(1)
                return
            stop = len(self._buffer) - 1  # the first half of a ); may be the last byte
            while stop > looked and self._buffer[stop - 1] == _BACKSLASH:
                stop -= 1
            if stop > looked:
                open_quote ^= not pairs_up(self._buffer[looked:stop])
                yield self._take(stop - self._at)
                looked = self._at
            ahead = looked - self._at
            if not self._fill():
                raise Cut(f"ends in the middle of the rows of {drawable(table)}", self._offset + len(self._buffer))
            looked = self._at + ahead
