"""Is the data right? Counts, queries and schema against the incident report, whatever the engine.

How a database is counted and asked is the caller's: a mapping of counts, and a function that answers one query.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from engines import checks
from engines.checks import Check, Panel
from engines.incident import Expectation, Incident, Question
from engines.recipes import report
from engines.recipes.grid import MISMATCH, MISSING, UNCOUNTED, grid
from engines.recipes.readiness import incident_of
from engines.session.events import GridMade, GridRow
from engines.session.state import SessionState
from engines.session.work import Work
from engines.text import drawable

STAGED = "staged copy"
LIVE = "live database"
_MIGRATION = re.compile(r"[A-Za-z0-9_.-]+")


class Answer(Protocol):
    """What a query gave: its first rows, and whether there were more."""

    @property
    def rows(self) -> Sequence[Sequence[object]]: ...

    @property
    def cut(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Database:
    """The one to be looked at: how it is asked, and what the screens call it."""

    where: str
    ask: Callable[[str], Answer | str]  # one read-only query; text says why there is no answer
    quoted: Callable[[str], str]  # a name as its SQL takes it
    cased: bool = False  # do names that differ in case only name different tables?


def compare(
    work: Work, critical: Sequence[str], restored: Mapping[str, int | None], database: Database
) -> Mapping[str, object]:
    """Make the grid and ask every question; the step's facts."""
    incident = incident_of(work.state)
    rows = grid(
        incident.tables if incident else (),
        critical,
        before_of(work.state),
        restored,
        incident.source.file if incident else "",
        cased=database.cased,
    )
    work.emit(GridMade(database.where, rows))
    for check in answers(database, rows, incident):
        work.check(check)
    # What only a running application can show is no reason against going live, but it is one against signing off.
    for check in (
        report.before(work.state)
        if database.where == STAGED
        else report.not_asked(incident, report.target_of(work.state).application)
    ):
        work.check(check)
    wrong = [row.table for row in rows if row.verdict in (MISMATCH, MISSING, UNCOUNTED)]
    return {"message": f"differs: {', '.join(wrong)}" if wrong else f"{len(rows)} tables, no difference"}


def before_of(state: SessionState) -> Mapping[str, int | None]:
    """The counts before the restore: the safety snapshot's where there is one, else those of the first look.

    Where rows were written between the snapshot and going live, the latter has taken it anew.
    """
    for action in ("replace", "snapshot", "look"):
        counts = state.facts(action).get("before")
        if isinstance(counts, dict) and counts:
            return {str(table): rows if isinstance(rows, int) else None for table, rows in counts.items()}
    return {}


def answers(database: Database, rows: tuple[GridRow, ...], incident: Incident | None) -> Iterator[Check]:
    """A check for the counts, and one for each query of the report."""
    yield _counts(rows, database.where)
    if incident is None:
        return
    for expectation in incident.tables:
        if expectation.newest_column is not None:
            yield _newest(database, expectation)
    for question in incident.must_contain:
        yield _question(database, question, wanted=True)
    for question in incident.must_not_contain:
        yield _question(database, question, wanted=False)
    if incident.schema.migrations_last is not None or incident.schema.migrations_count is not None:
        yield _schema(database, incident)
    if incident.schema.forbidden_pending:
        yield _pending(database, incident.schema.forbidden_pending)


def _counts(rows: tuple[GridRow, ...], where: str) -> Check:
    name = f"{where}: counts"
    wrong = [f"{row.table} {row.verdict} ({row.restored} for {row.expected})" for row in rows if _is_wrong(row)]
    if wrong:
        hint = "Look at the grid (4). Choose another backup, or the incident commander overrides with a reason."
        return checks.fail(name, "; ".join(wrong), hint, Panel.VALIDATION)
    uncounted = [row.table for row in rows if row.verdict == UNCOUNTED]
    if uncounted:
        hint = "Count them by hand; then the incident commander overrides with what was found."
        return checks.unknown(name, f"could not be counted: {', '.join(uncounted)}", hint, Panel.VALIDATION)
    compared = sum(row.verdict == "MATCH" for row in rows)
    if not compared:
        hint = "Give the incident report (--incident) with the counts that are expected."
        return checks.warn(name, "nothing to compare with", hint, Panel.VALIDATION)
    return checks.ok(name, f"{compared} as expected", Panel.VALIDATION)


def _is_wrong(row: GridRow) -> bool:
    return row.verdict in (MISMATCH, MISSING)


def _newest(database: Database, expectation: Expectation) -> Check:
    name = f"{database.where}: newest row of {drawable(expectation.name)}"
    column, least = database.quoted(str(expectation.newest_column)), expectation.newest_min
    found = database.ask(f"SELECT max({column}) FROM {database.quoted(expectation.name)}")  # noqa: S608 - quoted as identifiers
    if isinstance(found, str):
        return checks.unknown(name, found, "Correct newest_column in the incident report.", Panel.VALIDATION)
    newest = found.rows[0][0] if found.rows else None
    moment = _moment(newest) if isinstance(least, datetime) else None
    reached = _reached(newest if moment is None else moment, least)
    wanted = f"at least {_told(least)} is expected"
    if reached is None:
        told = f"what is in the column can't be compared: {wanted}"
        return checks.unknown(name, told, "Correct newest_column or newest_min in the report.", Panel.VALIDATION)
    # A time says how old the data is. Any other value is the row's own and stays out of the record.
    found_there = (
        _told(moment) if moment else "recent enough" if reached else "too old" if newest is not None else "none"
    )
    if reached:
        return checks.ok(name, f"{found_there}, {wanted}", Panel.VALIDATION)
    return checks.fail(
        name, f"{found_there}, {wanted}", "The backup is older than the report expects.", Panel.VALIDATION
    )


def _moment(value: object) -> datetime | None:
    """A column's value as a moment, None where it is none. Times without a zone are UTC, as Laravel writes them."""
    try:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        moment = datetime.fromisoformat(str(value))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _reached(newest: object, least: object) -> bool | None:
    """Is a moment or a number at least what is expected? None where the two can't be compared."""
    if newest is None:
        return False
    if isinstance(newest, datetime) and isinstance(least, datetime):
        return newest >= least
    if isinstance(newest, int | float) and isinstance(least, int | float):
        return newest >= least
    return None


def _told(expected: object) -> str:
    return f"{expected.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if isinstance(expected, datetime) else str(expected)


def _question(database: Database, question: Question, *, wanted: bool) -> Check:
    told = question.name or question.query
    name = f"{database.where}: {'must' if wanted else 'must not'} contain {drawable(told)}"
    found = database.ask(question.query)
    if isinstance(found, str):
        return checks.unknown(name, found, "Correct the query in the incident report.", Panel.VALIDATION)
    hit = _hit(found, question)
    if found.cut and not hit:
        return checks.unknown(
            name,
            f"not found in the first {len(found.rows)} rows, and there are more",
            "Narrow the query in the incident report: … WHERE column = value.",
            Panel.VALIDATION,
        )
    # Row values stay out of journal and record: only whether something was found is told.
    many = found.cut or len(found.rows) != 1
    evidence = f"found ({len(found.rows)}{'+' if found.cut else ''} row{'s' if many else ''})" if hit else "not found"
    if hit is wanted:
        return checks.ok(name, evidence, Panel.VALIDATION)
    hint = "The wanted row is not in this backup." if wanted else "The bad write is in this backup: take an older one."
    return checks.fail(name, evidence, hint, Panel.VALIDATION)


def _hit(found: Answer, question: Question) -> bool:
    if question.expected is None:
        return bool(found.rows)
    return any(row and _same(row[0], question.expected) for row in found.rows)


def _same(value: object, expected: str | int | float) -> bool:
    return value == expected or str(value) == str(expected)


def _schema(database: Database, incident: Incident) -> Check:
    name = f"{database.where}: migrations"
    found = database.ask("SELECT count(*), (SELECT migration FROM migrations ORDER BY id DESC LIMIT 1) FROM migrations")
    if isinstance(found, str):
        return checks.fail(
            name, found, "This is not the application's database, or one from before it.", Panel.VALIDATION
        )
    number, last = found.rows[0]
    wanted = incident.schema
    told = f"{number}, the last is {drawable(str(last))}"
    right = wanted.migrations_last in (None, last) and wanted.migrations_count in (None, number)
    if right:
        return checks.ok(name, told, Panel.VALIDATION)
    expected = f"{wanted.migrations_count or 'any number'}, the last {wanted.migrations_last or 'any'}"
    hint = "Run the missing migrations after the restore, or deploy the code of the backup's time."
    return checks.fail(name, f"{told}; expected {expected}", hint, Panel.VALIDATION)


def _pending(database: Database, names: Sequence[str]) -> Check:
    """Have the migrations run that must not be pending? A migration that ran has its row."""
    name = f"{database.where}: migrations that must not be pending"
    odd = [one for one in names if not _MIGRATION.fullmatch(one)]
    if odd:
        hint = "Correct forbidden_pending in the incident report."
        return checks.unknown(name, f"{drawable(odd[0])!r} is no migration's name", hint, Panel.VALIDATION)
    pending: list[str] = []
    for one in names:
        found = database.ask(f"SELECT 1 FROM migrations WHERE migration = '{one}'")  # noqa: S608 - letters, digits, _ - .
        if isinstance(found, str):
            hint = "This is not the application's database, or one from before it."
            return checks.fail(name, found, hint, Panel.VALIDATION)
        pending += [] if found.rows else [one]
    if pending:
        hint = "Run them after the restore, or deploy the code of the backup's time."
        return checks.fail(name, f"have not run: {', '.join(pending)}", hint, Panel.VALIDATION)
    return checks.ok(name, f"{len(names)} have run", Panel.VALIDATION)


def check_again(
    name: str,
    database: Database,
    critical: Sequence[str],
    state: SessionState,
    restored: Mapping[str, int | None],
) -> Check | None:
    """One of `answers`, asked once more; None where it is none of them."""
    incident = incident_of(state)
    rows = grid(incident.tables if incident else (), critical, before_of(state), restored, "", cased=database.cased)
    return next((check for check in answers(database, rows, incident) if check.name == name), None)
