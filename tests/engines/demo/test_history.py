"""The demo's past makes sense: copies hold what had happened, and exactly one of them is the right one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engines.backups.catalogue import Backup, Status, read
from engines.backups.freshness import freshness
from engines.backups.verify import verify
from engines.checks import Verdict
from engines.demo import papers
from engines.demo.app import text_of
from engines.demo.history import COPIES, PURGED, Past, write_past
from engines.incident import Incident, read_incident
from engines.recipes.expected import answers
from engines.recipes.grid import grid
from engines.recipes.sqlite.validating import database
from engines.sqlite.proof import count_tables, prove

NOW = datetime(2026, 11, 22, 20, 41, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Past]:
    folder = tmp_path_factory.mktemp("past")
    (folder / "copies").mkdir()
    return folder, write_past(folder / "live.sqlite", folder / "copies", NOW)


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        yield database


def copies(folder: Path) -> tuple[Backup, ...]:
    """Newest first, verified."""
    found = read(folder / "copies").backups
    return tuple(verify(one, lambda _done, _total: None, lambda: False) if one.expected else one for one in found)


def report(folder: Path, past: Past, name: str = "incident.toml") -> Incident:
    path = folder / name
    path.write_text(papers.incident(past) if name.endswith(".toml") else papers.report(past))
    return read_incident(path, privileged=False)


def meets(path: Path, incident: Incident) -> bool:
    """Does this database meet everything that the report expects?"""
    restored = {table.table: table.rows for table in count_tables(str(path))}
    rows = grid(incident.tables, (), {}, restored, "")
    return not any(check.verdict.blocks for check in answers(database(str(path), "staged copy"), rows, incident))


def test_one_copy_is_corrupted_one_is_not_listed_and_all_others_are_verified(made: tuple[Path, Past]) -> None:
    folder, past = made
    status = {one.name: one.status for one in copies(folder)}
    assert len(status) == COPIES + 1
    assert status.pop(past.corrupted) is Status.MISMATCH
    assert status.pop(past.unlisted) is Status.NOT_LISTED
    assert set(status.values()) == {Status.VERIFIED}


def test_the_copies_are_hourly_and_the_stale_one_is_more_than_a_day_old(made: tuple[Path, Past]) -> None:
    hourly, stale = copies(made[0])[:COPIES], copies(made[0])[COPIES]
    assert [NOW - one.taken_at for one in hourly] == [
        timedelta(minutes=41, seconds=7) + n * timedelta(hours=1) for n in range(COPIES)
    ]
    assert stale.name == made[1].stale
    assert NOW - stale.taken_at > timedelta(days=1)


def test_no_copy_holds_anything_later_than_its_name_says(made: tuple[Path, Past]) -> None:
    for one in copies(made[0]):
        with opened(one.path) as database:
            (newest,) = database.execute("SELECT max(created_at) FROM audit_logs").fetchone()
        assert text_of(one.taken_at - timedelta(minutes=15)) < newest <= text_of(one.taken_at)


def test_every_copy_is_sound_to_sqlite_even_the_corrupted_one(made: tuple[Path, Past]) -> None:
    assert [one.name for one in copies(made[0]) if not prove(str(one.path)).ok] == []


def test_rows_only_grow_until_the_clean_up_takes_nearly_all(made: tuple[Path, Past]) -> None:
    folder, past = made
    counted = []
    for one in reversed(copies(folder)):
        with opened(one.path) as database:
            counted.append(database.execute("SELECT count(*) FROM users").fetchone()[0])
    assert counted[:-1] == sorted(counted[:-1])
    assert counted[-1] == past.expected.users - past.expected.purged
    assert counted[-1] < past.expected.users / 20
    with opened(folder / "live.sqlite") as live:
        found = live.execute("SELECT created_at FROM audit_logs WHERE action = ?", (PURGED,)).fetchall()
    assert found == [(text_of(past.started),)]


def test_of_the_copies_that_can_be_trusted_only_the_good_one_meets_the_report(made: tuple[Path, Past]) -> None:
    folder, past = made
    incident = report(folder, past)
    trusted = [one for one in copies(folder) if one.restorable]
    assert [one.name for one in trusted if meets(one.path, incident)] == [past.good]
    assert trusted[0].name == past.damaged
    assert not meets(folder / "live.sqlite", incident)


def test_the_copies_are_fresh_enough_for_their_schedule(made: tuple[Path, Past]) -> None:
    settled = tuple(copies(made[0]))
    catalogue = read(made[0] / "copies")
    check = freshness(type(catalogue)(catalogue.folder, settled, ()), timedelta(hours=1), NOW)
    assert check.verdict is Verdict.OK, check.evidence


def test_both_reports_say_the_same(made: tuple[Path, Past]) -> None:
    in_toml = report(made[0], made[1])
    in_markdown = report(made[0], made[1], "incident-report.md")
    assert in_markdown.about == in_toml.about
    assert in_markdown.target == replace(in_toml.target, engine=None)  # which people do not write down
    assert in_markdown.objective == in_toml.objective
    assert in_markdown.tables == in_toml.tables


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 11, 22, 20, 0, 0, tzinfo=UTC),
        datetime(2026, 11, 22, 20, 59, 59, tzinfo=UTC),
        datetime(2027, 1, 1, 0, 3, 0, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, 0, tzinfo=UTC),
    ],
    ids=lambda now: f"{now:%m-%d %H:%M}",
)
def test_it_makes_sense_at_any_time_of_day(tmp_path: Path, now: datetime) -> None:
    (tmp_path / "copies").mkdir()
    past = write_past(tmp_path / "live.sqlite", tmp_path / "copies", now)
    incident = report(tmp_path, past)
    assert past.started < now
    assert [one.name for one in copies(tmp_path) if one.restorable and meets(one.path, incident)] == [past.good]
