"""The backups of the target that the operator looks at: read, verified in the background, judged. No Textual here."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from engines.backups.catalogue import Backup, Catalogue, Status
from engines.backups.freshness import freshness
from engines.config import Config
from engines.errors import RestoreError
from engines.incident import Incident
from engines.recipes.drills.outcome import Drilled, latest
from engines.targets import Target
from tui.outside import Outside
from tui.view import Shelf


class _Run:
    """One run over one folder. Its threads only leave results; the event loop fetches them when it is time."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self.stopped = threading.Event()
        self._results: dict[str, Backup] = {}
        self._lock = threading.Lock()

    def everything(self, catalogue: Catalogue) -> None:
        self._outside.verify_all(catalogue.backups, self.found, self.stopped.is_set)

    def one(self, backup: Backup) -> Backup:
        def progress(done: int, total: int) -> None:
            self.found(replace(backup, status=Status.CHECKING, done=done / total if total else None))

        settled = self._outside.verify(backup, progress, self.stopped.is_set)
        self.found(settled)
        return settled

    def found(self, backup: Backup) -> None:
        with self._lock:
            self._results[backup.where] = backup

    def fetch(self) -> dict[str, Backup]:
        with self._lock:
            found, self._results = self._results, {}
        return found


class Shelving:
    """Keeps the shelf. `changed` is called when there is something new to draw."""

    def __init__(self, outside: Outside, changed: Callable[[], None]) -> None:
        self._outside = outside
        self._changed = changed
        self._run = _Run(outside)
        self.shelf = Shelf()

    async def read(self, target: Target, incident: Incident | None, config: Config | None, *, verifying: bool) -> None:
        """Read the target's restore points, then verify them until `stop`, where that is wanted.

        Drills are looked for in the state folder of `config`.
        """
        self.stop()
        run = self._run = _Run(self._outside)
        shelf = self.shelf = Shelf(
            target=target.name,
            environment=target.environment,
            engine=target.engine,
            address=target.address,
            every=target.every,
            incident=incident,
            incident_id=incident.about.id if incident else "",
            incident_start=incident.about.started_at if incident else None,
        )
        self._changed()
        try:
            catalogue = await asyncio.to_thread(self._outside.restore_points, target)
        except RestoreError as error:
            self.shelf = replace(shelf, trouble=f"{error.message} {error.hint}")
            self._changed()
            return
        if run is not self._run:
            return  # another target was opened meanwhile
        self.shelf = updated(replace(shelf, catalogue=catalogue), {}, self._outside.now())
        self._changed()
        proofs = await asyncio.to_thread(self._proofs, target, config)
        if run is not self._run:
            return
        self.shelf = replace(self.shelf, proofs=proofs)
        self._changed()
        if verifying:
            await asyncio.to_thread(run.everything, catalogue)

    def _proofs(self, target: Target, config: Config | None) -> Mapping[str, Drilled]:
        """None where the drills can't be listed: a backup's checksum does not depend on them."""
        try:
            drills = self._outside.drills(config) if config is not None else ()
        except RestoreError:
            return {}
        return latest(one for one in drills if one.target == target.name)

    async def verify(self, backup: Backup) -> Backup:
        """Verify one backup now, whatever was found before."""
        return await asyncio.to_thread(self._run.one, backup)

    def fetch(self) -> bool:
        """Take over what the threads found since the last time. True when there was something."""
        found = self._run.fetch()
        if found:
            self.shelf = updated(self.shelf, found, self._outside.now())
        return bool(found)

    def stop(self) -> None:
        """End the background work; it notices within a megabyte."""
        self._run.stopped.set()


def updated(shelf: Shelf, found: dict[str, Backup], now: datetime) -> Shelf:
    """The shelf with what was found, and whether its newest verified backup is recent enough."""
    if shelf.catalogue is None:
        return shelf
    backups = tuple(found.get(backup.where, backup) for backup in shelf.catalogue.backups)
    catalogue = replace(shelf.catalogue, backups=backups)
    return replace(shelf, catalogue=catalogue, freshness=freshness(catalogue, shelf.every, now))
