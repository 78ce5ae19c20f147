"""`reinstate prune`: what is past its date goes, and only with --yes; everything else stays, and says why."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import tomli_w

from engines import shelf
from engines.recipes import old_sessions
from engines.session import expiry, store
from engines.session.events import Ending, Result, SessionEnded, StepEnded, StepStarted
from engines.session.plan import PlanKind
from engines.session.record import plan_text, render
from engines.text import parse_stamp, stamp, utc_now
from tests.engines.recipes.world import BACKUP, World, build
from tests.engines.session.examples import (
    NOON,
    begun,
    journal_of,
    plan_made,
    runner_started,
    session_folder,
    state_of,
    step,
)
from tests.tui.cli_ground import Said, is_one_clear_error, runner_has_left, tree, typed, with_papers
from tui import pruning

DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3
YEAR = timedelta(days=365)
OVER = SessionEnded(Ending.ABANDONED, "a rehearsal")


def reinstate(world: World, *words: str | Path) -> Said:
    return typed("--config", world.folder / "reinstate.toml", *words)


def keep_snapshot(folder: Path, session: str) -> None:
    """A safety snapshot that is past its date."""
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    (folder / "old.sqlite").write_bytes(b"rows")
    shelf.describe(
        shelf.Snapshot(
            name="old", folder=str(folder), path=str(folder / "old.sqlite"), sha256="", size=4,
            taken_at=stamp(NOON - 2 * YEAR), keep_until=stamp(NOON - YEAR),
            target="box", session=session, kind="before-restore", of="live", raw=None,
        )
    )  # fmt: skip


def session_of(world: World) -> Path:
    (folder,) = (world.folder / "state" / "sessions").iterdir()
    return folder


def test_prune_lists_what_is_due_and_removes_only_that_with_yes(tmp_path: Path) -> None:
    world = with_papers(build(tmp_path / "world", "delete"))
    answers = ("--answers", world.folder / "answers.toml")
    assert reinstate(world, "restore", "box", "--backup", BACKUP, *answers).code == DONE
    runner_has_left(session_of(world))
    assert "No safety snapshot is past its date" in reinstate(world, "prune").out
    folder = world.folder / "state" / "snapshots" / "box"
    (description,) = folder.glob("*.toml")
    table = msgspec.toml.decode(description.read_bytes())
    old = {**table, "keep_until": stamp(utc_now() - timedelta(days=1))}
    assert parse_stamp(table["keep_until"]) > utc_now()
    description.write_text(tomli_w.dumps(old))
    (stranger := folder / "mine.sqlite").write_text("mine")
    before = tree(world.folder)
    assert "due since" in reinstate(world, "prune").out
    assert tree(world.folder) == before
    said = reinstate(world, "prune", "--yes")
    assert said.code == DONE
    assert "removed" in said.out
    assert sorted(path.name for path in folder.iterdir()) == [stranger.name]


def ended_session(world: World) -> Path:
    """A session of the world's target that was abandoned long ago, with the record that its runner made."""
    events = (begun(target={"name": "box"}), runner_started(), OVER)
    folder = session_folder(world.folder / "state", *events)
    (folder / "session.toml").write_bytes(render(journal_of(*events)))
    (folder / "report.md").write_text("A rehearsal.\n")
    return folder


def test_a_session_goes_after_its_time_and_its_snapshot_and_its_record_can_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = build(tmp_path / "world", "delete")
    session, snapshots = ended_session(world), world.folder / "state" / "snapshots" / "box"
    config = world.folder / "reinstate.toml"
    is_one_clear_error(reinstate(world, "prune", "--sessions"), REFUSED)  # how long they are kept is not configured
    config.write_text(f'keep_sessions = "365d"\n{config.read_text()}')
    monkeypatch.setattr(pruning, "utc_now", lambda: NOON + YEAR)
    assert f"{session.name}: it is kept until 2027-11-22" in reinstate(world, "prune", "--sessions", "--yes").out
    monkeypatch.setattr(pruning, "utc_now", lambda: NOON + 2 * YEAR)

    keep_snapshot(snapshots, session.name)
    before = tree(world.folder)
    assert "its safety snapshot old is still there" in reinstate(world, "prune", "--sessions", "--yes").out
    assert tree(world.folder) == before
    assert reinstate(world, "prune", "--yes").code == DONE

    record = (session / "session.toml").read_bytes()
    (session / "session.toml").write_bytes(record.replace(b"rehearsal", b"disaster"))
    assert "its record does not hold" in reinstate(world, "prune", "--sessions", "--yes").out
    (session / "session.toml").write_bytes(record)

    before = tree(world.folder)
    said = reinstate(world, "prune", "--sessions", "box")
    assert f"to go  {session.name}: abandoned" in said.out
    assert "Nothing was removed" in said.out
    assert tree(world.folder) == before

    (kept := tmp_path / "kept" / session.name).mkdir(parents=True)
    (kept / "session.toml").write_text("another")
    keeping = ("prune", "--sessions", "--yes", "--records", tmp_path / "kept")
    said = reinstate(world, *keeping)
    assert said.code == FAILED
    assert "is another one than the session's. Nothing was removed." in said.err
    assert session.is_dir()
    (kept / "session.toml").unlink()
    said = reinstate(world, *keeping)
    assert said.code == DONE, said.all
    assert list(session.parent.iterdir()) == []
    assert (kept / "session.toml").read_bytes() == record
    assert sorted(path.name for path in kept.iterdir()) == ["report.md", "session.toml"]
    assert reinstate(world, "verify", kept).code == DONE


def drill_that_proved(world: World, number: int) -> Path:
    name = f"2026-11-22T1{number}-00-00Z-drill-000{number}"
    events = (
        begun(session=name, drill=True, target={"name": "box"}),
        runner_started(),
        plan_made(PlanKind.PREPARE, step("2.1", action="compare-staged")),
        StepStarted("2.1", 1),
        StepEnded(step="2.1", result=Result.DONE),
        SessionEnded(Ending.PROVEN),
    )
    made = session_folder(world.folder / f"made-{number}", *events)
    (made / "session.toml").write_bytes(render(journal_of(*events)))
    (made / "plan.toml").write_bytes(plan_text(state_of(*events)))
    folder = world.folder / "state" / "drills" / "sessions" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    return made.rename(folder)


def test_drills_go_too_but_for_the_last_one_that_proved_a_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = build(tmp_path / "world", "delete")
    first, last = drill_that_proved(world, 0), drill_that_proved(world, 1)
    config = world.folder / "reinstate.toml"
    config.write_text(f'keep_sessions = "365d"\n{config.read_text()}')
    monkeypatch.setattr(pruning, "utc_now", lambda: NOON + 2 * YEAR)
    said = reinstate(world, "prune", "--sessions", "--yes")
    assert said.code == DONE, said.all
    assert f"{last.name}: it is the last drill that proved a backup" in said.out
    assert list(first.parent.iterdir()) == [last]


def test_a_bucket_that_does_not_answer_keeps_no_other_target_from_being_pruned(tmp_path: Path) -> None:
    world = build(tmp_path / "world", "delete")
    config = world.folder / "reinstate.toml"
    server = """[target.a]
engine = "mysql"
environment = "local"
database = "a"
login = "login.cnf"
backups = "backups"
snapshots = "s3://kept/a"
s3_endpoint = "http://127.0.0.1:1"
s3_region = "eu-west-3"
"""
    config.write_text(config.read_text().replace("[target.box]", f"{server}[target.box]"))
    folder = world.folder / "state" / "snapshots" / "box"
    keep_snapshot(folder, "s")
    said = reinstate(world, "prune", "--yes")
    assert said.code == FAILED
    assert "a: s3://kept/a/ can't be listed" in said.err
    assert list(folder.iterdir()) == []


# -- what is never removed ---------------------------------------------------------------------------------


def test_an_unfinished_session_stays_however_old_it_is(tmp_path: Path) -> None:
    known = store.open_session(session_folder(tmp_path, begun(), runner_started()))
    assert "unfinished" in expiry.why_kept(known, YEAR, NOON + 99 * YEAR)


def test_a_session_of_which_nothing_can_be_known_stays(tmp_path: Path) -> None:
    folder = session_folder(tmp_path, begun(), runner_started(), OVER)
    (folder / "journal.jsonl").write_bytes(b"")
    assert "empty" in expiry.why_kept(store.open_session(folder), YEAR, NOON + 99 * YEAR)
    (folder / "journal.jsonl").write_bytes(b"not a line\n" * 2)
    assert "can't be read" in expiry.why_kept(store.open_session(folder), YEAR, NOON + 99 * YEAR)


def test_a_session_stays_while_a_runner_is_on_it_and_until_its_time(tmp_path: Path) -> None:
    folder = session_folder(tmp_path, begun(), runner_started(), OVER)
    ended = NOON + timedelta(seconds=3)
    assert "kept until" in expiry.why_kept(store.open_session(folder), YEAR, ended + YEAR - timedelta(seconds=1))
    assert expiry.why_kept(store.open_session(folder), YEAR, ended + YEAR) == ""
    claim = store.claim_runner(folder)
    try:
        assert "runner" in expiry.why_kept(store.open_session(folder), YEAR, ended + YEAR)
    finally:
        os.close(claim)


def test_a_session_without_a_record_that_holds_stays(tmp_path: Path) -> None:
    folder = session_folder(tmp_path, begun(), runner_started(), OVER)
    assert "does not hold" in expiry.does_not_hold(folder)


def test_a_session_of_a_target_whose_snapshots_are_not_known_stays(tmp_path: Path) -> None:
    """A damaged description may be that of this session's snapshot."""
    world = build(tmp_path / "world", "delete")
    folder = world.folder / "state" / "snapshots" / "box"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "cut.toml").write_text("name = ")
    found = old_sessions.leaning(world.config().targets["box"])
    assert found.by_session == {}
    assert "cut.toml" in found.unknown


def test_what_a_killed_removal_left_is_in_no_list_and_swept_by_the_next(tmp_path: Path) -> None:
    folder = session_folder(tmp_path, begun(), runner_started(), OVER)
    folder.rename(folder.with_name(f".pruned-{folder.name}"))
    assert list(store.known_sessions(tmp_path)) == []
    expiry.sweep(tmp_path)
    assert list((tmp_path / "sessions").iterdir()) == []


def test_records_are_only_kept_of_sessions(tmp_path: Path) -> None:
    world = build(tmp_path / "world", "delete")
    is_one_clear_error(reinstate(world, "prune", "--records", tmp_path), USAGE)
