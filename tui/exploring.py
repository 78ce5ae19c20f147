"""The transactions that the operator looks at: read in threads, handed over when it is time. No Textual here."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from engines.errors import RestoreError
from engines.hooks import Progress, Stop
from engines.recipes.mysql import exploring
from engines.recipes.mysql.exploring import Opened, Row, Staged
from engines.recipes.mysql.until import Until, told
from tui.outside import Outside
from tui.view import Explored

PAGE = 50  # transactions that are read at a time
_T = TypeVar("_T")


class Exploring:
    """Keeps what the explorer shows. One thing is read at a time; `changed` is called when there is more to draw."""

    def __init__(self, outside: Outside, changed: Callable[[], None]) -> None:
        self._outside = outside
        self._changed = changed
        self._stopped = threading.Event()
        self._opened: Opened | None = None
        self._before_search = Explored()
        self.seen = Explored()

    @property
    def busy(self) -> bool:
        return bool(self.seen.working)

    async def open(self, found: Staged, until: Until) -> None:
        """Read the logs, and show what lies around the stop."""
        self._opened = None
        self.seen = Explored(told=told(until))
        self._opened = await self._read(
            "The logs are read", lambda progress, stop: self._outside.open_logs(found, until, progress, stop)
        )
        if self._opened is not None:
            await self.around(None, "around the stop")

    async def around(self, centre: datetime | str | None, heading: str) -> None:
        opened = self._opened
        if opened is None or self.busy:
            return
        rows = await self._read(
            "Looking there",
            lambda progress, stop: exploring.around(opened, centre, PAGE, PAGE, progress=progress, stop=stop),
        )
        if rows is not None:
            here = exploring.centre_of(rows, centre)
            self._show(Explored(rows, heading, here, self.seen.told, trouble=opened.trouble))

    async def more(self, by: int) -> None:
        """The transactions before the first row, or behind the last one."""
        seen, opened = self.seen, self._opened
        if opened is None or self.busy or seen.found or not seen.rows or (seen.first if by < 0 else seen.last):
            return
        place, before, after = (seen.rows[0].place, PAGE, 0) if by < 0 else (seen.rows[-1].end, 0, PAGE)
        rows = await self._read(
            "Reading on" if by > 0 else "Reading back",
            lambda progress, stop: exploring.around(opened, place, before, after, progress=progress, stop=stop),
        )
        if rows is None:
            return
        if by < 0:
            self._show(replace(self.seen, rows=(*rows, *seen.rows), first=len(rows) < PAGE))
        else:
            self._show(replace(self.seen, rows=(*seen.rows, *rows), last=len(rows) < PAGE))

    async def search(self, words: Sequence[str], table: str) -> None:
        opened = self._opened
        if opened is None or self.busy:
            return
        sought = f"{' or '.join(words or exploring.DANGEROUS)}{f' on {table}' if table else ''}"
        found = await self._read(
            f"Searching for {sought}",
            lambda progress, stop: exploring.search(opened, words, table, progress=progress, stop=stop),
        )
        if found is None:
            return
        if not self.seen.found:
            self._before_search = self.seen
        rows, more = found
        trouble = "There are more: those nearest to the stop are listed." if more else ""
        here = exploring.centre_of(rows, None)
        self._show(Explored(rows, sought, here, self.seen.told, trouble=trouble, found=True))

    def back(self) -> bool:
        """Stop what is being read, or leave the results of a search. False: there was nothing of that."""
        if self.busy:
            self._stopped.set()
            return True
        if self.seen.found:
            self._show(self._before_search)
            return True
        return False

    def find(self, place: str) -> Row | None:
        return next((row for row in self.seen.rows if row.place == place), None)

    def stop(self) -> None:
        self._stopped.set()
        self._opened = None

    def _show(self, seen: Explored) -> None:
        self.seen = seen
        self._changed()

    async def _read(self, doing: str, work: Callable[[Progress, Stop], _T]) -> _T | None:
        """Do it in a thread and show how far it is; None when it was refused or stopped."""
        stopped = self._stopped = threading.Event()
        self._show(replace(self.seen, working=doing, done=None, trouble=""))
        trouble = ""

        def progress(done: int, total: int) -> None:
            if stopped is self._stopped:  # drawn by the app's next tick: threads touch no screen
                self.seen = replace(self.seen, done=done / total if total else None)

        found: _T | None = None
        try:
            found = await asyncio.to_thread(work, progress, stopped.is_set)
        except RestoreError as error:
            trouble = "Stopped." if stopped.is_set() else f"{error.message} {error.hint}".strip()
        if stopped is not self._stopped:
            return None  # the explorer was opened anew meanwhile
        self._show(replace(self.seen, working="", done=None, trouble=trouble))
        return found


__all__ = ["PAGE", "Exploring"]
