"""The incident report's machine-readable part: what is expected to be true after the restore.

It comes from `incident.toml`, or from the Markdown report that people wrote anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from engines import tables
from engines.config import Environment
from engines.errors import ConfigError, Problem
from engines.expectations import (
    Credential,
    Expectation,
    Exposure,
    Kind,
    LogExpectation,
    Metric,
    Question,
    Schema,
    Smoke,
    Stopped,
)
from engines.tables import Fault
from engines.trusted_file import read_text, toml_table
from engines.values import WrongValue, moment, positive

__all__ = [
    "About",
    "Credential",
    "Expectation",
    "Exposure",
    "Incident",
    "IncidentError",
    "IncidentTarget",
    "Kind",
    "LogExpectation",
    "Metric",
    "Objective",
    "Question",
    "Schema",
    "Smoke",
    "Source",
    "Stopped",
    "from_markdown",
    "from_table",
    "load",
    "read_incident",
    "to_table",
]


class IncidentError(ConfigError):
    """Everything that is wrong in an incident report, at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__(problems)
        heading = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        listed = "\n".join(f"  {p}" for p in problems)
        self.message = f"{heading} in the incident report. Nothing was started.\n{listed}"
        self.args = (self.message,)
        self.hint = "Mend what is named above; docs/incident.example.toml shows every key."


def _one_line(written: object) -> None:
    if not str(written).strip() or "\n" in str(written):
        raise WrongValue("must be on one line.", 'Write "INC-2041" for example.')


@dataclass(frozen=True, slots=True)
class About:
    """The incident itself: `[incident]`."""

    id: str = field(metadata={"check": _one_line})
    """The incident's number, as in INC-2041. The session and the record carry it."""

    title: str = ""
    """What happened, in one line."""

    severity: str = ""
    """How bad it is, in your own scale."""

    started_at: datetime | None = None
    """The first bad write. A backup that was taken after it may hold it."""

    detected_at: datetime | None = None
    """When it was noticed."""

    declared_at: datetime | None = None
    """When the incident was declared."""

    commander: str = ""
    """The incident commander's name."""

    operator: str = ""
    """The database operator's name."""

    app_owner: str = ""
    """The application owner's name."""

    channel: str = ""
    """Where the incident is talked about."""

    ticket: str = ""
    """The ticket's number or address."""

    security_incident: bool = False
    """Whether somebody broke in. Credentials are then rotated whatever else is known."""

    def wrong(self) -> Iterator[Fault]:
        if self.started_at and self.detected_at and self.detected_at < self.started_at:
            yield "detected_at", "is before started_at.", "Check both times and their zones."


@dataclass(frozen=True, slots=True)
class IncidentTarget:
    """What the report says is to be restored: `[target]`. Compared with the configured target, never used
    instead of it."""

    environment: Environment | None = None
    """production, staging or local."""

    engine: str | None = None
    """The database engine."""

    host: str | None = None
    """The machine that the database is on."""

    database: str | None = None
    """The database's name, or its file."""

    identity: str | None = None
    """What tells it from any other: a server's UUID, or device and inode of a file."""

    app_path: Path | None = None
    """The application's folder."""

    critical: bool = False
    """Whether people's money, health or safety depend on it."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What the restore should reach: `[objective]`."""

    rto: timedelta | None = field(default=None, metadata={"check": positive})
    """How long the restore may take."""

    rpo: timedelta | None = field(default=None, metadata={"check": positive})
    """How much data may be lost, as a length of time. A restore that loses more is a failed check."""

    restore_point: str = "latest"
    """The moment to come back to, with its zone, or latest: the newest good backup before started_at."""

    stop_before: str | None = None
    """Where the replay of binary logs stops: a time with its zone, a GTID, or file:position."""

    max_loss_accepted: timedelta | None = None
    """The data loss that was accepted beforehand. It goes before rpo."""

    accepted_by: str = ""
    """Who accepted it."""

    def wrong(self) -> Iterator[Fault]:
        if self.restore_point != "latest":
            try:
                moment(self.restore_point)
            except WrongValue as wrong:
                yield "restore_point", wrong.message, wrong.hint + ' Or "latest".'
        if self.max_loss_accepted is not None and not self.accepted_by.strip():
            yield "accepted_by", "is missing: somebody accepted the loss.", "Write their name."


@dataclass(frozen=True, slots=True)
class Source:
    """The file that the incident was read from."""

    file: str = ""
    """Its path as it was given."""

    sha256: str = ""
    """The SHA-256 of its bytes."""


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident report: what happened, and what is expected of the restored database."""

    about: About = field(metadata={"key": "incident"})
    """The incident itself: `[incident]`."""

    target: IncidentTarget = field(default_factory=IncidentTarget)
    """What is to be restored: `[target]`."""

    objective: Objective = field(default_factory=Objective)
    """What the restore should reach: `[objective]`."""

    tables: tuple[Expectation, ...] = field(default=(), metadata={"key": "table"})
    """The tables and their rows: one `[[table]]` for each."""

    must_contain: tuple[Question, ...] = ()
    """Queries that must find something: the good row is back."""

    must_not_contain: tuple[Question, ...] = ()
    """Queries that must not find anything: the bad write is gone."""

    schema: Schema = field(default_factory=Schema)
    """The schema that the application expects: `[schema]`."""

    smoke: tuple[Smoke, ...] = ()
    """Checks of the running application: one `[[smoke]]` for each."""

    logs: LogExpectation = field(default_factory=LogExpectation)
    """What the application's log may hold: `[logs]`."""

    metrics: tuple[Metric, ...] = field(default=(), metadata={"key": "metric"})
    """Measured values to compare: one `[[metric]]` for each."""

    exposure: Exposure = field(default_factory=Exposure)
    """What the incident let out: `[exposure]`."""

    stopped: tuple[Stopped, ...] = ()
    """What was stopped and must be proven back: one `[[stopped]]` for each."""

    source: Source = field(default_factory=Source, metadata={"internal": True})
    """The file that all this was read from."""

    def wrong(self) -> Iterator[Fault]:
        seen: dict[str, int] = {}
        for n, table in enumerate(self.tables, start=1):
            first = seen.setdefault(table.name.casefold(), n)
            if first != n:
                yield f"table[{n}].name", f"is there twice: table[{first}] has it too.", "Keep one of them."


def read_incident(path: Path, *, privileged: bool) -> Incident:
    """The incident in `path`: Markdown for .md and .markdown, else TOML. Raises IncidentError."""
    markdown = path.suffix.lower() in (".md", ".markdown")
    return (from_markdown if markdown else load)(path, privileged=privileged)


def load(path: Path, *, privileged: bool) -> Incident:
    """The incident in a TOML file. Raises IncidentError with everything that is wrong in it."""
    problems: list[Problem] = []
    written = read_text(path, problems, privileged=privileged)
    table = toml_table(written, problems) if written else None
    incident = tables.read(Incident, table, written.name, problems) if written and table is not None else None
    if written is None or incident is None:
        raise IncidentError(tuple(problems))
    return replace(incident, source=Source(written.name, written.sha256))


def from_markdown(path: Path, *, privileged: bool) -> Incident:
    """The incident in a Markdown report. Raises IncidentError; problems name the line."""
    problems: list[Problem] = []
    written = read_text(path, problems, privileged=privileged)
    if written is None:
        raise IncidentError(tuple(problems))
    from engines import incident_markdown  # here: most reports are TOML

    table, lines = incident_markdown.table_of(written, problems)
    found: list[Problem] = []
    incident = tables.read(Incident, table, written.name, found)
    problems.extend(replace(p, key=incident_markdown.place(p.key, lines)) for p in found)
    if incident is None or problems:
        raise IncidentError(tuple(problems))
    return replace(incident, source=Source(written.name, written.sha256))


def to_table(incident: Incident) -> dict[str, object]:
    """The incident as text, numbers, lists and tables: what a plan holds and `from_table` reads."""
    return tables.write(incident)


def from_table(table: Mapping[str, object], file: str = "plan") -> Incident:
    """The incident that `to_table` wrote. Raises IncidentError if the table was changed into nonsense."""
    problems: list[Problem] = []
    incident = tables.read(Incident, table, file, problems, internal=True)
    if incident is None:
        raise IncidentError(tuple(problems))
    return incident
