"""Rows that would do harm after a rewind are put aside and can be put back; numbers are skipped."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engines.errors import Refused, RestoreError
from engines.sqlite.aftermath import back_sql, put_aside, skip_ids


@pytest.fixture(params=["delete", "wal"])
def live(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path = tmp_path / "live.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA journal_mode={request.param}")
        db.executescript(
            'CREATE TABLE "jo""bs" (id INTEGER PRIMARY KEY AUTOINCREMENT, payload TEXT);'
            "CREATE TABLE plain (id INTEGER PRIMARY KEY, name TEXT);"
            "INSERT INTO \"jo\"\"bs\" (payload) VALUES ('one'), ('two');"
            "INSERT INTO plain (name) VALUES ('x');"
        )
    return path


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


def test_jobs_are_put_aside_and_back_again(live: Path) -> None:
    before = rows(live, 'SELECT * FROM "jo""bs"')
    assert put_aside(str(live), 'jo"bs', "reinstate_7f3a_jobs") == 2
    assert rows(live, 'SELECT * FROM "jo""bs"') == []
    assert rows(live, "SELECT * FROM reinstate_7f3a_jobs") == before
    assert put_aside(str(live), 'jo"bs', "reinstate_7f3a_jobs") == 2, "done twice, it is done once"
    assert {path.name for path in live.parent.iterdir()} == {"live.sqlite"}
    with closing(sqlite3.connect(live)) as db:
        for statement in back_sql('jo"bs', "reinstate_7f3a_jobs"):
            db.execute(statement)
        db.commit()
    assert rows(live, 'SELECT * FROM "jo""bs"') == before


def test_a_table_that_is_not_there_changes_nothing(live: Path) -> None:
    content = live.read_bytes()
    with pytest.raises(RestoreError, match=r"no such table: gone. Nothing was changed"):
        put_aside(str(live), "gone", "kept")
    assert live.read_bytes() == content


def test_numbers_are_skipped_where_the_table_counts_them(live: Path) -> None:
    assert skip_ids(str(live), 1000) == {'jo"bs': 2}
    with closing(sqlite3.connect(live)) as db:
        assert db.execute('INSERT INTO "jo""bs" (payload) VALUES (\'x\')').lastrowid == 1003
        assert db.execute("INSERT INTO plain (name) VALUES ('y')").lastrowid == 2, "this one can't be told"


def test_a_database_that_counts_nothing_has_nothing_to_skip(tmp_path: Path) -> None:
    path = tmp_path / "plain.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE plain (id INTEGER PRIMARY KEY)")
    assert skip_ids(str(path), 1000) == {}


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ("CREATE TABLE child (id INTEGER PRIMARY KEY, up INTEGER REFERENCES Plain (id) ON DELETE CASCADE)", "child"),
        ("CREATE TRIGGER follows AFTER DELETE ON plain BEGIN SELECT 1; END", "follows"),
    ],
    ids=["refers", "trigger"],
)
def test_a_table_whose_rows_would_take_others_along_is_refused(live: Path, made: str, why: str) -> None:
    with closing(sqlite3.connect(live)) as db:
        db.execute(made)
    with pytest.raises(Refused, match=why):
        put_aside(str(live), "plain", "kept")
    assert rows(live, "SELECT name FROM plain") == [("x",)]
    assert not rows(live, "SELECT 1 FROM sqlite_schema WHERE name = 'kept'")
