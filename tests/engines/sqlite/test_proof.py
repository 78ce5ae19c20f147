"""Proof of a staged copy, and questions that can only read."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from engines.errors import RestoreError, UsageError
from engines.sqlite import proof
from tests.engines.sqlite.ground import database

ROWS = 400


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "copy.sqlite"
    database(path, "new", ROWS)
    return path


def test_a_sound_copy_is_described_in_full(sound: Path) -> None:
    with closing(sqlite3.connect(sound)) as db:
        db.execute("PRAGMA user_version=7")
        db.execute("PRAGMA application_id=-5")
    found = proof.prove(str(sound))
    assert found.ok
    assert found.integrity == "ok"
    assert {table.table: table.rows for table in found.tables} == {"migrations": 1, "payments": ROWS, "users": 1}
    assert (found.migrations_last, found.migrations_count) == ("2026_01_01_create_users", 1)
    assert (found.user_version, found.application_id, found.encoding, found.page_size) == (7, -5, "UTF-8", 4096)
    assert found.sqlite_version == sqlite3.sqlite_version
    assert msgspec.json.decode(msgspec.json.encode(found), type=proof.Proof) == found


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_proving_changes_nothing_and_leaves_nothing(mode: str, sound: Path) -> None:
    with closing(sqlite3.connect(sound)) as db:
        db.execute(f"PRAGMA journal_mode={mode}")
    before = (sound.read_bytes(), sound.stat().st_mtime_ns)
    assert proof.prove(str(sound)).journal_mode == mode
    assert (sound.read_bytes(), sound.stat().st_mtime_ns) == before
    assert [path.name for path in sound.parent.iterdir()] == [sound.name]


@pytest.mark.parametrize("sixteenth", range(16))
def test_a_copy_cut_short_anywhere_is_not_sound(sixteenth: int, sound: Path) -> None:
    content = sound.read_bytes()
    sound.write_bytes(content[: len(content) * sixteenth // 16])
    found = proof.prove(str(sound))
    assert not found.ok
    assert found.problems
    assert [path.name for path in sound.parent.iterdir()] == [sound.name]


def test_a_copy_cut_at_a_page_is_not_sound_even_if_its_last_page_was_free(sound: Path) -> None:
    with closing(sqlite3.connect(sound)) as db:
        db.execute("CREATE TABLE later (x)")
        db.execute("DROP TABLE later")
        db.commit()
    sound.write_bytes(sound.read_bytes()[:-4096])
    assert "cut short" in proof.prove(str(sound)).problems[0]


def test_a_changed_byte_never_makes_the_proof_fail_with_anything_but_an_answer(sound: Path) -> None:
    """One flipped bit in each 4 KiB of the file, in its headers too. Content bytes carry no checksum in SQLite."""
    content = sound.read_bytes()
    unsound = 0
    for at in [*range(16, 100, 3), *range(100, len(content), 1021)]:
        sound.write_bytes(content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :])
        unsound += not proof.prove(str(sound)).ok
        for leftover in sound.parent.iterdir():
            assert leftover == sound, at
    assert unsound > 20


def test_a_stop_ends_a_long_check(sound: Path) -> None:
    with closing(sqlite3.connect(sound)) as db:
        db.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)"
            " INSERT INTO payments (era, note) SELECT 'new', i FROM n"
        )
        db.commit()
    with pytest.raises(RestoreError, match="on request; nothing was changed"):
        proof.prove(str(sound), stop=lambda: True)


def test_progress_reaches_the_end(sound: Path) -> None:
    seen: list[tuple[int, int]] = []
    proof.prove(str(sound), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (sound.stat().st_size, sound.stat().st_size)


def test_tables_are_counted_and_missing_ones_said(sound: Path) -> None:
    counts = proof.count_tables(str(sound), ("payments", "no [such] table", 'quo"te'))
    assert [(count.rows, count.why) for count in counts] == [
        (ROWS, ""),
        (None, "no such table"),
        (None, "no such table"),
    ]


def test_a_table_with_a_hostile_name_is_counted(sound: Path) -> None:
    name = 'x"; DROP TABLE users; --[bold]\x1b]0;x\x07'
    with closing(sqlite3.connect(sound)) as db:
        quoted = name.replace('"', '""')
        db.execute(f'CREATE TABLE "{quoted}" (x)')
        db.commit()
    counts = {table.table: table.rows for table in proof.prove(str(sound)).tables}
    assert counts[name] == 0
    assert counts["users"] == 1


def test_text_that_is_not_utf8_can_be_stored(sound: Path) -> None:
    with closing(sqlite3.connect(sound)) as db:
        db.execute("INSERT INTO users VALUES (2, CAST(x'ff41' AS TEXT))")
        db.commit()
    answer = proof.ask(str(sound), "SELECT name FROM users WHERE id = 2")
    assert msgspec.json.decode(msgspec.json.encode(answer), type=proof.Answer) == answer


def test_a_question_is_answered_with_values_that_can_be_stored(sound: Path) -> None:
    answer = proof.ask(str(sound), "SELECT count(*) AS n, x'00ff' AS b, 9e999 AS inf, NULL, 1.5 FROM payments")
    assert answer.columns[:3] == ("n", "b", "inf")
    assert answer.rows == ((ROWS, "x'00ff'", "inf", None, 1.5),)


def test_more_rows_than_asked_for_are_cut_and_said(sound: Path) -> None:
    answer = proof.ask(str(sound), "SELECT id FROM payments ORDER BY id", most=3)
    assert (len(answer.rows), answer.cut) == (3, True)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM payments",
        "INSERT INTO users VALUES (9, 'x')",
        "PRAGMA query_only=OFF",
        "PRAGMA journal_mode=WAL",
        "ATTACH '/tmp/other.sqlite' AS other",
        "VACUUM INTO '/tmp/other.sqlite'",
        "BEGIN EXCLUSIVE",
        "SELECT 1; DELETE FROM payments",
        "SELECT * FROM no_such_table",
        "SELECT randomblob(1000000000)",
        "CREATE TEMP TABLE x AS SELECT 1",
        "",
        "\x00",
        ".shell touch PWNED",
    ],
)
def test_what_does_not_only_read_is_refused(sql: str, sound: Path) -> None:
    before = sound.read_bytes()
    with pytest.raises(UsageError, match="refused"):
        proof.ask(str(sound), sql)
    assert sound.read_bytes() == before


def test_an_endless_query_is_ended(sound: Path) -> None:
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with pytest.raises(RestoreError, match=r"longer than 0\.2 seconds"):
        proof.ask(str(sound), endless, seconds=0.2)


def test_a_value_too_large_to_be_meant_is_refused(sound: Path) -> None:
    with pytest.raises(RestoreError, match="refused"):
        proof.ask(str(sound), "SELECT zeroblob(100000000)")


@pytest.mark.parametrize("content", [b"", b"text" * 100, None])
def test_what_is_no_database_cannot_be_asked(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RestoreError):
        proof.ask(str(path), "SELECT count(*) FROM users")
