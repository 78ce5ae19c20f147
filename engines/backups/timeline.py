"""Places backups, gaps, log coverage, the incident's start and the chosen stop on lines of characters.

Pure: what a mark looks like in colour is the widget's work; `lines` is the same picture as plain text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from engines.backups.catalogue import Backup, Status

# What one cell shows when several backups fall into it: the best of them, since one good one is enough.
_BEST_FIRST = (
    Status.VERIFIED,
    Status.CHECKING,
    Status.UNCHECKED,
    Status.WEAK,
    Status.NOT_LISTED,
    Status.UNREADABLE,
    Status.MISMATCH,
    Status.MISSING_FILE,
)
_LETTERS = {
    Status.VERIFIED: "V",
    Status.CHECKING: "o",
    Status.UNCHECKED: "o",
    Status.WEAK: "w",
    Status.NOT_LISTED: "?",
    Status.UNREADABLE: "x",
    Status.MISMATCH: "x",
    Status.MISSING_FILE: "_",
}


class MarkKind(StrEnum):
    BACKUP = "backup"
    GAP = "gap"
    INCIDENT = "incident"
    LOGS = "logs"  # a stretch for which the binary logs have everything
    STOP = "stop"  # where the replay ends


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing on the line, from `column` on, `cells` wide."""

    kind: MarkKind
    column: int  # from 0
    cells: int
    at: datetime  # of a gap or a stretch: its start
    backups: tuple[Backup, ...] = ()  # newest first; of a BACKUP only

    @property
    def status(self) -> Status | None:
        """The best status among the backups of this cell."""
        return min((backup.status for backup in self.backups), key=_BEST_FIRST.index, default=None)


def marks(
    backups: Iterable[Backup],
    start: datetime,
    end: datetime,
    width: int,
    incident: datetime | None = None,
    every: timedelta | None = None,
    coverage: Iterable[tuple[datetime, datetime]] = (),
    stop: datetime | None = None,
) -> tuple[Mark, ...]:
    """Marks from left to right on a line of `width` cells; what lies outside of `start` to `end` is left out.

    A gap is more than one and a half intervals of `every` between two backups whose file is there, and only
    drawn where whole cells lie between them. Raises ValueError for a line without length.
    """
    if width < 1 or end <= start:
        raise ValueError("a timeline needs at least one cell and an end after its start")

    def column(moment: datetime) -> int:
        return min(width - 1, int((moment - start) / (end - start) * width))

    shown = sorted(
        (backup for backup in backups if start <= backup.taken_at <= end),
        key=lambda backup: backup.taken_at,
        reverse=True,
    )
    cells: dict[int, list[Backup]] = {}
    for backup in shown:
        cells.setdefault(column(backup.taken_at), []).append(backup)
    result = [Mark(MarkKind.BACKUP, cell, 1, inside[0].taken_at, tuple(inside)) for cell, inside in cells.items()]
    if every is not None:
        for earlier, later in _gaps(shown, every):
            first, last = column(earlier) + 1, column(later) - 1
            if last >= first:
                result.append(Mark(MarkKind.GAP, first, last - first + 1, earlier))
    if incident is not None and start <= incident <= end:
        result.append(Mark(MarkKind.INCIDENT, column(incident), 1, incident))
    for since, until in coverage:
        if since <= end and until >= start:
            left, right = column(max(since, start)), column(min(until, end))
            result.append(Mark(MarkKind.LOGS, left, right - left + 1, since))
    if stop is not None and start <= stop <= end:
        result.append(Mark(MarkKind.STOP, column(stop), 1, stop))
    return tuple(sorted(result, key=lambda mark: (mark.column, mark.kind)))


def lines(placed: Iterable[Mark], width: int) -> tuple[str, str]:
    """The incident above, backups and gaps below, in characters that every terminal has."""
    above, below = [" "] * width, ["-"] * width
    for mark in placed:
        match mark.kind:
            case MarkKind.INCIDENT:
                above[mark.column] = "!"
            case MarkKind.GAP:
                for cell in range(mark.column, mark.column + mark.cells):
                    if below[cell] == "-":
                        below[cell] = " "
            case MarkKind.LOGS | MarkKind.STOP:
                pass  # on a line of their own: `logs_line`
            case MarkKind.BACKUP:
                below[mark.column] = _LETTERS[mark.status or Status.UNCHECKED]
    return "".join(above), "".join(below)


def logs_line(placed: Iterable[Mark], width: int) -> str:
    """Where the binary logs have everything, and the stop in them. Two stretches never run into one another.

    A gap narrower than a cell would not be seen: the cell where the later stretch begins shows it.
    """
    line = [" "] * width
    found = sorted(placed, key=lambda mark: (mark.kind is MarkKind.STOP, mark.at))
    for mark in found:
        if mark.kind is MarkKind.LOGS:
            touches = (mark.column > 0 and line[mark.column - 1] == "=") or line[mark.column] == "="
            line[mark.column : mark.column + mark.cells] = "=" * mark.cells
            if touches:
                line[mark.column] = "/"
        elif mark.kind is MarkKind.STOP:
            line[mark.column] = "S"
    return "".join(line)


def _gaps(shown: list[Backup], every: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """Start and end of each gap, the backups being newest first."""
    there = [backup.taken_at for backup in shown if backup.status is not Status.MISSING_FILE]
    for later, earlier in pairwise(there):
        if later - earlier > every * 1.5:
            yield earlier, later
