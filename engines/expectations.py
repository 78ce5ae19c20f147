"""What an incident report expects of the restored database and of the application around it.

Each class is one kind of table of `incident.toml`. Whether the expectations are met is the recipes' question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from engines.tables import Fault
from engines.values import WrongValue, one_line, pattern, positive, program, url

_COMMAND: Mapping[str, object] = {"read": program, "write": list, "example": '["program", "argument"]'}
_LARGEST = 2**63 - 1  # what SQLite and TOML count with
_CHECKSUM = re.compile(r"[A-Za-z0-9_-]+:[0-9A-Fa-f]+")
_READING = re.compile(r"\s*(SELECT|WITH|VALUES)\b", re.IGNORECASE)


def _count(number: object) -> None:
    if not isinstance(number, int) or not 0 <= number <= _LARGEST:
        raise WrongValue(f"is {str(number)[:40]}.", "Write a count: 0 or more.")


def _percentage(number: object) -> None:
    if not isinstance(number, float) or not 0 <= number <= 100:
        raise WrongValue(f"is {number}.", "Write a percentage between 0 and 100.")


def _at_least_nothing(number: object) -> None:
    if not isinstance(number, float) or number < 0:
        raise WrongValue(f"is {number}.", "Write a percentage: 0 or more.")


def _query(sql: object) -> None:
    if not _READING.match(str(sql)):
        raise WrongValue("is not a query that reads.", "Write one SELECT.")


def _checksum(written: object) -> None:
    if not _CHECKSUM.fullmatch(str(written)):
        raise WrongValue("is no checksum.", 'Write its kind first, as in "sha256:9f2c…".')


@dataclass(frozen=True, slots=True)
class Expectation:
    """How many rows a table is expected to have, and how new the newest is: one `[[table]]`."""

    name: str = field(metadata={"check": one_line})
    """The table's name."""

    rows: int | None = field(default=None, metadata={"check": _count})
    """How many rows it should have."""

    min_rows: int | None = field(default=None, metadata={"check": _count})
    """The fewest rows that are acceptable."""

    max_rows: int | None = field(default=None, metadata={"check": _count})
    """The most rows that are acceptable."""

    tolerance_rows: int | None = field(default=None, metadata={"check": _count})
    """How many rows more or fewer than `rows` are acceptable."""

    tolerance_pct: float | None = field(default=None, metadata={"check": _percentage})
    """How many percent more or fewer than `rows` are acceptable. With tolerance_rows, the wider one counts."""

    counted_at: datetime | None = None
    """When the rows were counted."""

    source: str = ""
    """Where the number comes from, as in: dashboard at 19:30."""

    newest_column: str | None = field(default=None, metadata={"check": one_line})
    """The column that says how new a row is."""

    newest_min: datetime | int | None = None
    """What the newest row must have reached in that column: a time, or a number."""

    must_exist: bool = True
    """Whether it is a failure if the table is not there."""

    checksum: str | None = field(default=None, metadata={"check": _checksum})
    """The checksum of the table's rows, with its kind, as in sha256:9f2c… Not asked by this version: it holds the
    sign-off until the commander overrides."""

    def wrong(self) -> Iterator[Fault]:
        if self.rows is None:
            for key in ("tolerance_rows", "tolerance_pct"):
                if getattr(self, key) is not None:
                    yield key, "has no rows to be a tolerance of.", "Write rows too."
        elif self.min_rows is not None or self.max_rows is not None:
            hint = "Write either rows with a tolerance, or min_rows and max_rows."
            yield "rows", "stands beside min_rows or max_rows.", hint
        if self.min_rows is not None and self.max_rows is not None and self.min_rows > self.max_rows:
            yield "min_rows", f"is {self.min_rows}, more than max_rows, {self.max_rows}.", "Exchange the two."
        if (self.newest_column is None) != (self.newest_min is None):
            yield "newest_min", "and newest_column need each other.", "Write both."

    @property
    def bounds(self) -> tuple[int | None, int | None]:
        """The fewest and the most rows that are acceptable; None where there is no bound."""
        if self.rows is None:
            return self.min_rows, self.max_rows
        slack = max(self.tolerance_rows or 0, int(self.rows * (self.tolerance_pct or 0.0) / 100))
        return max(0, self.rows - slack), self.rows + slack


@dataclass(frozen=True, slots=True)
class Question:
    """A query whose answer proves that a row is back, or gone: one `[[must_contain]]` or `[[must_not_contain]]`."""

    query: str = field(metadata={"check": _query, "example": '"SELECT 1 FROM users WHERE id = 7"'})
    """One SELECT. It is run where nothing can be written, and kept in the record: no personal data in it."""

    name: str = ""
    """What it proves, in words."""

    expected: str | int | float | None = None
    """The first value that it must find, or must not find. Left out: any row at all."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema that the application expects: `[schema]`."""

    migrations_last: str | None = None
    """The name of the last migration that has run."""

    migrations_count: int | None = field(default=None, metadata={"check": _count})
    """How many migrations have run."""

    forbidden_pending: tuple[str, ...] = ()
    """Migrations that must not be pending after the restore."""

    app_key_probe: str | None = field(default=None, metadata={"check": _query})
    """A query for an encrypted value that the application must be able to decrypt with its key. Not asked by this
    version: it holds the sign-off until the commander overrides."""


@dataclass(frozen=True, slots=True)
class Smoke:
    """A check of the running application by a command or an address: one `[[smoke]]`."""

    name: str = field(metadata={"check": one_line})
    """What it proves."""

    command: tuple[str, ...] = field(default=(), metadata=_COMMAND)
    """The command, as a list of arguments. Exits 0 when all is well."""

    url: str | None = field(default=None, metadata={"check": url})
    """The address to ask. It answers 200 when all is well."""

    expect: str | None = None
    """Text that the output or the answer must contain."""

    timeout: timedelta = field(default=timedelta(seconds=30), metadata={"check": positive})
    """How long it may take."""

    def wrong(self) -> Iterator[Fault]:
        if bool(self.command) == (self.url is not None):
            yield "command", "or url must be given, and not both.", "Write one of them."


@dataclass(frozen=True, slots=True)
class LogExpectation:
    """What the application's log may hold after the restore: `[logs]`. Adds to the configuration."""

    paths: tuple[str, ...] = ()
    """More log files, relative to the application's folder."""

    window: timedelta | None = field(default=None, metadata={"check": positive})
    """How far back the logs are searched. Default: as configured."""

    deny: tuple[str, ...] = field(default=(), metadata={"check": pattern})
    """Regular expressions: what they find is an error."""

    allow: tuple[str, ...] = field(default=(), metadata={"check": pattern})
    """Regular expressions: what they find is expected."""

    max_matches: int = field(default=0, metadata={"check": _count})
    """How many errors are acceptable."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A measured value to compare with the time before the incident: one `[[metric]]`."""

    name: str = field(metadata={"check": one_line})
    """What is measured."""

    query: str | None = None
    """The Prometheus query. It has one value: sum or average what has several."""

    url: str | None = field(default=None, metadata={"check": url})
    """An address that answers with the number alone."""

    baseline: float | None = None
    """The value before the incident. Left out: Prometheus is asked for its value at started_at."""

    max: float | None = None
    """The highest value that is acceptable."""

    min: float | None = None
    """The lowest value that is acceptable."""

    max_rise_pct: float | None = field(default=None, metadata={"check": _at_least_nothing})
    """How many percent it may be above its value before the incident."""

    max_fall_pct: float | None = field(default=None, metadata={"check": _at_least_nothing})
    """How many percent it may be below its value before the incident."""

    window: timedelta | None = field(default=None, metadata={"check": positive})
    """The time over which the query is averaged, then as now. Left out: the value at the moment itself."""

    def wrong(self) -> Iterator[Fault]:
        if (self.query is None) == (self.url is None):
            yield "query", "or url must be given, and not both.", "Write one of them."
        if self.url is not None and self.window is not None:
            yield "window", "can't be asked of an address that answers with one number.", "Take it out."
        if self.min is not None and self.max is not None and self.min > self.max:
            yield "min", f"is {self.min:g}, more than max, {self.max:g}.", "Exchange the two."


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential that the incident exposed: one `[[exposure.credential]]`."""

    name: str = field(metadata={"check": one_line})
    """What it is called. Never the secret itself."""

    where: str = ""
    """Where it is used."""

    owner: str = ""
    """Who rotates it."""

    why: str = ""
    """How it was exposed."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """What the incident let out: `[exposure]`."""

    data: str = ""
    """Which data was exposed, in words."""

    notification_duty: str = ""
    """Who has to be told, and until when."""

    credentials: tuple[Credential, ...] = field(default=(), metadata={"key": "credential"})
    """The credentials to rotate."""


class Kind(StrEnum):
    SERVICE = "service"
    WORKER = "worker"
    CRON = "cron"
    WORKFLOW = "workflow"


@dataclass(frozen=True, slots=True)
class Stopped:
    """Something that was stopped during the incident and must be proven back: one `[[stopped]]`."""

    name: str = field(metadata={"check": one_line})
    """What was stopped."""

    kind: Kind = Kind.SERVICE
    """service, worker, cron or workflow."""

    proof: tuple[str, ...] = field(default=(), metadata=_COMMAND)
    """A command that exits 0 once it runs again. Left out: the commander says so by name, as an override."""
