"""How a target's backups are rehearsed: where a drill restores to, what it expects, and who learns of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from engines.tables import Fault
from engines.values import WrongValue, positive, program


class Expect(StrEnum):
    """Where a drill's expectations come from when no incident report is given."""

    LIVE = "live"  # the live target, counted as the drill begins
    LAST = "last"  # the last drill that proved its backup
    NOTHING = "nothing"


def _percentage(number: object) -> None:
    if not isinstance(number, float) or not 0 <= number <= 100:
        raise WrongValue(f"is {number}.", "Write a percentage between 0 and 100.")


@dataclass(frozen=True, slots=True)
class Drill:
    """A restore into a scratch place, without anybody: `[target.NAME.drill]`."""

    scratch: Path = Path()
    """The folder in which each drill makes a folder of its own and removes it. Default: scratch/NAME in the state
    folder."""

    expect: Expect = Expect.LIVE
    """What the counts are compared with where no incident report is given: live, last (the last drill that proved its
    backup) or nothing. Where there is no such thing, the next one is taken."""

    tolerance_pct: float = field(default=10.0, metadata={"check": _percentage})
    """How many percent more or fewer rows are as expected, since a backup is older than what it is compared with."""

    heartbeat_file: Path | None = None
    """A file, mode 0600, with the address that is asked when a drill has proved its backup, so that silence alarms. The
    address is a secret: it is in no log and no record."""

    heartbeat_timeout: timedelta = field(default=timedelta(seconds=10), metadata={"check": positive})
    """How long that may take. A heartbeat that does not arrive is a warning of the drill."""

    metrics: Path | None = None
    """The file that is written for Prometheus after each drill, in the folder of the node exporter's textfile
    collector. Its name ends in .prom."""

    checklist: bool = False
    """Whether each drill that proved its backup enters its line in the application's security checklist."""

    login: Path | None = None
    """The drill server's option file, mode 0600: user and password in [client]. MySQL and MariaDB only, and needed
    there: a drill never uses the live server."""

    host: str = "127.0.0.1"
    """The drill server's name or address. MySQL and MariaDB only, as the next three."""

    port: int = 3306
    """The drill server's port."""

    socket: Path | None = None
    """The drill server's socket, where it runs on this machine. It goes before host and port."""

    space_command: tuple[str, ...] = field(
        default=(), metadata={"read": program, "write": list, "example": '["program", "argument"]'}
    )
    """Prints the free bytes of the drill server's data directory, where it can't be seen from here."""

    def wrong(self) -> Iterator[Fault]:
        if self.metrics is not None and self.metrics.suffix != ".prom":
            yield "metrics", "does not end in .prom, and the collector reads no other.", "Write NAME.prom."
        if not 1 <= self.port <= 65535:
            yield "port", f"is {self.port}.", "A port is between 1 and 65535."
