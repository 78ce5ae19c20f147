"""Looking at a live database: what it is, whether it can be replaced, whether there is room. Nothing changes."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from engines.checks import Check, Verdict
from engines.sqlite import file_facts, inspect, space
from tests.engines.sqlite.ground import AM_ROOT, idle_connection, make_ground


def named(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@pytest.mark.parametrize(
    ("state", "kind", "mode"),
    [
        ("delete", "database", "delete"),
        ("wal", "database", "wal"),
        ("wal with rows only in the log", "database", "wal"),
        ("hot journal", "database", "delete"),
        ("missing", "missing", None),
        ("empty", "empty", None),
        ("garbage with sidecars", "unreadable", None),
    ],
)
def test_every_state_is_recognised(state: str, kind: str, mode: str | None, tmp_path: Path) -> None:
    ground = make_ground(tmp_path, state)
    before = {path.name: path.read_bytes() for path in ground.folder.iterdir()}
    live = inspect.look(str(ground.live))
    assert (live.kind, live.journal_mode) == (kind, mode)
    assert live.why
    assert msgspec.json.decode(msgspec.json.encode(live), type=inspect.Live) == live
    after = {path.name: path.read_bytes() for path in ground.folder.iterdir() if not path.name.endswith("-shm")}
    assert after == before


@pytest.mark.parametrize("state", ["delete", "wal", "hot journal", "missing", "empty", "garbage with sidecars"])
def test_looking_leaves_no_file_behind(state: str, tmp_path: Path) -> None:
    ground = make_ground(tmp_path, state)
    before = sorted(path.name for path in ground.folder.iterdir())
    inspect.look(str(ground.live))
    assert sorted(path.name for path in ground.folder.iterdir()) == before


def test_facts_that_are_only_in_the_log_are_the_facts(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal")
    with closing(sqlite3.connect(ground.live)) as db:
        db.execute("PRAGMA user_version=42")
        assert inspect.look(str(ground.live)).user_version == 42
        assert [Path(entry.path).name for entry in inspect.look(str(ground.live)).sidecars] == [
            "database.sqlite-wal",
            "database.sqlite-shm",
        ]


def test_a_locked_database_is_a_database(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    with idle_connection(ground.live, "BEGIN EXCLUSIVE"):
        live = inspect.look(str(ground.live))
    assert live.kind == "database"
    assert "locked" in live.why


def test_a_damaged_schema_is_unreadable_and_says_why(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    content = bytearray(ground.live.read_bytes())
    content[100:200] = b"\xff" * 100
    ground.live.write_bytes(content)
    live = inspect.look(str(ground.live))
    assert live.kind == "unreadable"
    assert "malformed" in live.why


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_unreadable_and_bars(make: object, tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert callable(make)
    make(path)
    assert "not a regular file" in inspect.look(str(path)).why
    assert named(inspect.replaceable(str(path)))["Live database"].verdict is Verdict.FAIL


def test_the_header_is_read_without_a_connection(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal")
    head = inspect.header(str(ground.backup))
    assert head is not None
    assert (head.page_size, head.wal, head.encoding) == (4096, False, "UTF-8")
    live = inspect.live_header(str(ground.live))
    assert live is not None
    assert live.wal
    assert file_facts.parse_header(b"SQLite format 3\x00") is None


def test_sound_ground_is_all_ok(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    checks = inspect.replaceable(str(ground.live))
    assert {check.name: check.verdict for check in checks if check.verdict is not Verdict.OK} == {}


def test_a_symlink_is_said(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(ground.live)
    evidence = named(inspect.replaceable(str(link)))["Live database"].evidence
    assert "is a symlink" in evidence
    assert str(ground.live) in evidence


@pytest.mark.parametrize("state", ["missing", "empty", "garbage with sidecars"])
def test_a_database_that_cannot_be_kept_consistently_is_a_warning(state: str, tmp_path: Path) -> None:
    ground = make_ground(tmp_path, state)
    assert named(inspect.replaceable(str(ground.live)))["Live database"].verdict is Verdict.WARN


def test_a_wal_database_with_an_old_library_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ground = make_ground(tmp_path, "wal")
    for version, verdict in (((3, 51, 2), Verdict.WARN), ((3, 51, 3), Verdict.OK)):
        monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
        assert named(inspect.replaceable(str(ground.live)))["SQLite library"].verdict is verdict


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        ("nfs4", Verdict.FAIL),
        ("cifs", Verdict.FAIL),
        ("smb3", Verdict.FAIL),
        ("fuse.sshfs", Verdict.FAIL),
        ("9p", Verdict.FAIL),
        ("overlay", Verdict.WARN),
        ("unknown", Verdict.WARN),
        ("ext4", Verdict.OK),
        ("xfs", Verdict.OK),
        ("btrfs", Verdict.OK),
        ("zfs", Verdict.OK),
    ],
)
def test_file_systems_on_which_locks_fail_are_told(
    kind: str, verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = make_ground(tmp_path)
    monkeypatch.setattr(inspect, "filesystem", lambda _path: kind)
    assert named(inspect.replaceable(str(ground.live)))["File system"].verdict is verdict


def test_the_file_system_is_the_innermost_mount(tmp_path: Path) -> None:
    assert file_facts.filesystem("/proc/self/status") == "proc"
    assert file_facts.filesystem(str(tmp_path)) not in ("proc", "unknown")


def test_a_folder_without_permission_is_a_failure(tmp_path: Path) -> None:
    place = Path("/proc/sys") if AM_ROOT else tmp_path / "closed"
    if not AM_ROOT:
        place.mkdir(mode=0o500)
    assert named(inspect.replaceable(str(place / "database.sqlite")))["Folder"].verdict is Verdict.FAIL


def test_room_is_asked_for_each_place_and_adds_up_on_one_file_system(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal with rows only in the log")
    live = inspect.look(str(ground.live))
    assert live.identity is not None
    sidecars = {Path(entry.path).name: entry.size for entry in live.sidecars}
    here = live.identity.size + sum(sidecars.values())
    staged, kept = space.space(live, 1_000_000, str(tmp_path / "not" / "there" / "yet"))
    assert staged.needed == kept.needed == 1_000_000 + sidecars["database.sqlite-wal"] + 2 * here
    assert (staged.verdict, kept.verdict) == (Verdict.OK, Verdict.OK)
    assert "add up" in kept.evidence


def test_places_on_two_file_systems_do_not_add_up(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    live = inspect.look(str(ground.live))
    staged, kept = space.space(live, 1_000_000, "/proc")
    assert live.identity is not None
    assert (staged.needed, kept.needed) == (1_000_000, 2 * live.identity.size)


def test_no_room_is_a_failure_that_says_how_much_is_missing(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    staged, _ = space.space(inspect.look(str(ground.live)), 10**17, str(tmp_path))
    assert staged.verdict is Verdict.FAIL
    assert "TB more room" in staged.hint


def test_a_missing_database_needs_no_room_for_a_snapshot(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "missing")
    staged, kept = space.space(inspect.look(str(ground.live)), 5, "/proc")
    assert (staged.needed, kept.needed) == (5, 0)
