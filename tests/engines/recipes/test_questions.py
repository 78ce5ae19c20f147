"""The incident report's questions, answered by a database that only pretends to be one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from engines.checks import Check, Verdict
from engines.expectations import Expectation, Question
from engines.incident import About, Incident
from engines.recipes.expected import Database, answers

LEAST = datetime(2026, 11, 22, 18, 55, tzinfo=UTC)


@dataclass(frozen=True)
class Found:
    rows: Sequence[Sequence[object]]
    cut: bool = False


def asked(incident: Incident, found: Found | str) -> Check:
    """The last of the answers: that of the one question beside the counts."""
    database = Database("staged copy", lambda _: found, lambda name: f'"{name}"')
    return list(answers(database, (), incident))[-1]


def newest(value: object, least: datetime | int = LEAST) -> Check:
    table = Expectation("users", newest_column="created_at", newest_min=least)
    return asked(Incident(About("INC-7"), tables=(table,)), Found([[value]]))


@pytest.mark.parametrize(
    ("value", "verdict", "told"),
    [
        ("2026-11-22 19:00:07", Verdict.OK, "2026-11-22 19:00:07 UTC, at least 2026-11-22 18:55:00 UTC is expected"),
        ("2026-11-22T20:00:07+01:00", Verdict.OK, "2026-11-22 19:00:07 UTC, at least 2026-11-22 18:55:00 UTC is"),
        (LEAST.timestamp() - 1, Verdict.FAIL, "2026-11-22 18:54:59 UTC, at least 2026-11-22 18:55:00 UTC is expected"),
        (None, Verdict.FAIL, "none, at least 2026-11-22 18:55:00 UTC is expected"),
        ("ana@shop.example", Verdict.UNKNOWN, "what is in the column can't be compared"),
    ],
)
def test_of_the_newest_row_the_time_is_told(value: object, verdict: Verdict, told: str) -> None:
    check = newest(value)
    assert check.verdict is verdict
    assert check.evidence.startswith(told)


@pytest.mark.parametrize(
    ("value", "least", "verdict"),
    [
        ("ana@shop.example", LEAST, Verdict.UNKNOWN),
        ("ana@shop.example", 10, Verdict.UNKNOWN),
        (4711, 10, Verdict.OK),
        (4711, 5000, Verdict.FAIL),
    ],
)
def test_what_is_no_time_is_not_told(value: object, least: datetime | int, verdict: Verdict) -> None:
    check = newest(value, least)
    assert check.verdict is verdict
    assert str(value) not in check.evidence + check.hint


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Found([[1]]), "found (1 row)"),
        (Found([[1], [2]]), "found (2 rows)"),
        (Found([[1]], cut=True), "found (1+ rows)"),
        (Found([]), "not found"),
    ],
)
def test_how_many_rows_a_query_found(found: Found, told: str) -> None:
    incident = Incident(About("INC-7"), must_contain=(Question("SELECT 1", "the good row"),))
    assert asked(incident, found).evidence == told
