"""The questions of an incident report: what is found, what is not, and what can't be told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engines.checks import Check, Verdict
from engines.expectations import Expectation, Question, Schema
from engines.incident import About, Incident
from engines.recipes.expected import LIVE, answers
from engines.recipes.grid import grid
from engines.recipes.sqlite.validating import database

BAD = "CORRUPTED-BY-INCIDENT"


@pytest.fixture
def path(tmp_path: Path) -> str:
    """150 good orders, and a bad one behind them; two migrations."""
    path = tmp_path / "db.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT)")
        db.executemany("INSERT INTO orders (status) VALUES (?)", [("ok",)] * 150 + [(BAD,)])
        db.execute("CREATE TABLE migrations (id INTEGER PRIMARY KEY, migration TEXT)")
        db.executemany(
            "INSERT INTO migrations (migration) VALUES (?)", [("2026_01_01_orders",), ("2026_02_02_refunds",)]
        )
        db.commit()
    return str(path)


def asked(path: str, incident: Incident) -> Check:
    """The answer to the one question of this report."""
    (_counts, check) = answers(database(path, LIVE), (), incident)
    return check


@pytest.mark.parametrize("key", ["must_contain", "must_not_contain"])
def test_a_value_that_may_be_behind_the_rows_that_were_read_is_unknown(key: str, path: str) -> None:
    question = Question("SELECT status FROM orders ORDER BY id", expected=BAD)
    check = asked(path, Incident(About("INC-1"), **{key: (question,)}))  # type: ignore[arg-type]  # one of two keys
    assert check.verdict is Verdict.UNKNOWN
    assert check.evidence == "not found in the first 100 rows, and there are more"
    assert "WHERE" in check.hint


def test_a_value_among_the_rows_that_were_read_is_found_however_many_more_there_are(path: str) -> None:
    question = Question("SELECT status FROM orders ORDER BY id DESC", expected=BAD)
    assert asked(path, Incident(About("INC-1"), must_contain=(question,))).verdict is Verdict.OK
    assert asked(path, Incident(About("INC-1"), must_not_contain=(question,))).verdict is Verdict.FAIL
    any_row = Question("SELECT id FROM orders")
    assert asked(path, Incident(About("INC-1"), must_contain=(any_row,))).verdict is Verdict.OK


def test_a_migration_that_must_not_be_pending_has_run_or_the_check_fails(path: str) -> None:
    def pending(*names: str) -> Check:
        return asked(path, Incident(About("INC-1"), schema=Schema(forbidden_pending=names)))

    assert pending("2026_01_01_orders", "2026_02_02_refunds").verdict is Verdict.OK
    missing = pending("2026_01_01_orders", "2026_03_03_drop")
    assert missing.verdict is Verdict.FAIL
    assert missing.evidence == "have not run: 2026_03_03_drop"
    assert pending("x' OR '1'='1").verdict is Verdict.UNKNOWN


def test_counts_that_could_not_be_had_hold_everything_up_like_a_failure(path: str) -> None:
    rows = grid((Expectation("search", rows=5),), (), {}, {"search": None}, "report")
    (counts,) = answers(database(path, LIVE), rows, None)
    assert counts.verdict is Verdict.UNKNOWN
    assert counts.evidence == "could not be counted: search"
