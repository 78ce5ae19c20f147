"""Brings the ends of an application's logs from its hosts, for the time in which they are searched."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from engines.application.hosts import file_name, tail
from engines.application.logs import LogScan
from engines.errors import RestoreError
from engines.targets import Application

_MOST = 8_000_000  # bytes of each log; one that wrote more in the window says so itself: its beginning is missing


@dataclass(frozen=True, slots=True)
class Fetched:
    """The application with its logs as they are here now, and what could not be had."""

    application: Application
    folder: Path | None
    problems: tuple[str, ...]

    def named(self, scan: LogScan) -> LogScan:
        """What was found, with the hosts' names in place of the folder here."""
        if self.folder is None:
            return scan
        here = f"{self.folder}/"
        return replace(
            scan,
            files=tuple(name.replace(here, "") for name in scan.files),
            found=tuple(replace(line, file=line.file.replace(here, "")) for line in scan.found),
            problems=(*self.problems, *(problem.replace(here, "") for problem in scan.problems)),
        )


@contextmanager
def fetched(application: Application) -> Iterator[Fetched]:
    """Nothing is fetched where the application is on this machine. The copies are removed at the block's end."""
    if not application.hosts:
        yield Fetched(application, None, ())
        return
    with tempfile.TemporaryDirectory(prefix="reinstate-logs-") as made:  # 0700
        folder, paths, problems = Path(made), list[Path](), list[str]()
        for host in application.hosts:
            for log in application.logs:
                try:
                    end = tail(host, log, application.user, _MOST)
                except RestoreError as error:
                    problems.append(error.message)
                    continue
                place = folder / file_name(host) / str(log).lstrip("/")
                paths.append(place)  # one that is not there is told like any that is missing
                if end is not None:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(end.content)
                    os.utime(place, (end.written.timestamp(), end.written.timestamp()))
        yield Fetched(replace(application, logs=tuple(paths)), folder, tuple(problems))
