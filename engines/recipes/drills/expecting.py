"""What a drill expects of its backup: the incident report's counts, the live target's, or those of a drill before it.

A backup is older than what it is compared with, so counts are expected within a configured tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from engines.drilling import Expect
from engines.errors import RestoreError
from engines.expectations import Expectation
from engines.incident import About, Incident
from engines.mysql.counting import count_tables as count_on_server
from engines.recipes.expected import STAGED
from engines.recipes.mysql import reach
from engines.session.state import SessionState
from engines.sqlite.inspect import look
from engines.sqlite.proof import count_tables
from engines.targets import MysqlTarget, Target
from engines.text import clock, drawable


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected, and where that comes from, in words for the record."""

    incident: Incident | None
    source: str


def of_report(incident: Incident) -> Expected:
    """The report's tables, queries and schema. What it says of times, objectives and the application is no drill's."""
    kept = Incident(
        about=About(incident.about.id, incident.about.title),
        tables=tuple(replace(table, checksum=None) for table in incident.tables),
        must_contain=incident.must_contain,
        must_not_contain=incident.must_not_contain,
        schema=replace(incident.schema, app_key_probe=None),
        source=incident.source,
    )
    return Expected(kept, f"the incident report {incident.source.file or incident.about.id}")


def of_target(target: Target, wanted: Expect, last: SessionState | None, now: datetime) -> Expected:
    """From where it is configured; from the next place that has something, saying why, where that has nothing."""
    passed_over: list[str] = []
    if wanted is Expect.LIVE:
        try:
            return _of_counts(target, _live(target), f"the live target, {clock(now)}")
        except RestoreError as error:
            passed_over.append(f"not the live target: {error.message}")
    if wanted is not Expect.NOTHING:
        counts = _restored(last) if last is not None else {}
        if last is not None and counts:
            found = _of_counts(target, counts, f"drill {last.id}")
            return replace(found, source="; ".join((found.source, *passed_over)))
        passed_over.append("no drill has proved a backup before")
    return Expected(None, "; ".join(("nothing", *passed_over)))


def _live(target: Target) -> Mapping[str, int | None]:
    """The live database's counts, read only. Raises RestoreError."""
    if isinstance(target, MysqlTarget):
        place, login = reach.place_of(target), reach.login_of(target)
        return count_on_server(place, login, target.database, target.critical_tables, connections=1).rows
    live = look(str(target.database))
    if live.kind != "database":
        raise RestoreError(f"it is {live.kind} ({drawable(live.why)}).", "reinstate check says more.")
    return {table.table: table.rows for table in count_tables(live.path)}


def _restored(last: SessionState) -> Mapping[str, int | None]:
    """All tables where the copy was counted whole, else those that were compared."""
    proof = last.facts("prove").get("proof")
    tables = proof.get("tables") if isinstance(proof, Mapping) else None
    if isinstance(tables, (list, tuple)):
        return {
            str(one["table"]): one["rows"] if isinstance(one.get("rows"), int) else None
            for one in tables
            if isinstance(one, Mapping)
        }
    grid = last.grids.get(STAGED)
    return {row.table: row.restored for row in grid.rows} if grid is not None else {}


def _of_counts(target: Target, counts: Mapping[str, int | None], source: str) -> Expected:
    """The critical tables' counts; where none of them is there, every table's."""
    expectations = tuple(
        Expectation(name, rows=counts[name], tolerance_pct=target.drill.tolerance_pct, source=source)
        for name in _named(counts, target.critical_tables)
        if counts[name] is not None
    )
    if not expectations:
        raise RestoreError("it has no table that could be counted.", "reinstate check says more.")
    return Expected(Incident(about=About(f"drill of {target.name}"), tables=expectations), source)


def _named(counts: Mapping[str, int | None], critical: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in critical if name in counts) or tuple(counts)
