"""Reads a step's log piece by piece, as it grows. The file stays the truth; only its end is kept in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from engines.errors import RestoreError
from engines.session.client import LogPiece
from tui.view import LogSeen

KEPT = 2000  # lines
BEHIND = 256 * 1024  # bytes from which reading jumps to the end: nobody reads that fast
TAIL = 48 * 1024  # bytes read at once from the end
PIECES = 4  # in one go, so that the keys stay quick while a log floods

Read = Callable[[str, int], Awaitable[LogPiece]]


class LogReader:
    """Follows one log at a time."""

    def __init__(self) -> None:
        self.seen = LogSeen()
        self._next: int | None = None  # None before the first piece
        self._rest = ""

    async def follow(self, file: str, read: Read) -> bool:
        """Read what `file` has more than before. True when there was something new."""
        if file != self.seen.file:
            self.seen, self._next, self._rest = LogSeen(file), None, ""
        before = self.seen
        for _ in range(PIECES):
            try:
                piece = await read(file, -TAIL if self._next is None else self._next)
                if self._next is not None and piece.size - self._next > BEHIND:
                    self._next, self._rest = None, ""
                    piece = await read(file, -TAIL)
            except RestoreError:
                break  # it has not begun yet, or the line is cut: what was read stays
            if file != self.seen.file:
                return False  # another log was asked for while this piece was on its way
            self._take(piece)
            if piece.next >= piece.size:
                break
        return self.seen is not before

    def _take(self, piece: LogPiece) -> None:
        text = piece.text
        jumped = self._next is None
        if jumped and piece.offset > 0:
            text = text.partition("\n")[2]
        self._next = piece.next
        if not text and piece.size == self.seen.size:
            return
        *lines, self._rest = (self._rest + text).split("\n")
        known = () if jumped else self.seen.lines
        everything = (*known, *lines)
        cut = (piece.offset > 0 if jumped else self.seen.cut) or len(everything) > KEPT
        self.seen = LogSeen(self.seen.file, everything[-KEPT:], piece.size, cut)
