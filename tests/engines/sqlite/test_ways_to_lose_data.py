"""The 22 known ways to lose data when a live SQLite file is replaced; one test each, or why it can't happen here.

 1 old -wal beside the new file              12 integrity_check as the only check
 2 old rollback journal beside the new file  13 owner and mode of the new file
 3 a process holds the old file, WAL         14 journal mode is kept in the header
 4 as 3, its -wal deleted                    15 rename without fsync: test_order
 5 an idle process, DELETE mode              16 temporary file on another file system
 6 cp of a WAL database                      17 symlink or hard link as the path
 7 POSIX locks dropped by close()            18 network and overlay file systems: test_inspect
 8 immutable=1                               19 fork, mmap, synchronous=OFF
 9 forgotten connections                     20 a dump fed to the sqlite3 shell
10 backup() that retries for ever            21 hostile database file
11 backup into a live file                   22 folder not writable for the application

11 can't happen: the backup interface only ever writes into our own new file; the live one is replaced by rename.
20 can't happen: nothing here runs the sqlite3 shell or executescript; a dump is refused as a backup.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engines.checks import Verdict
from engines.errors import Refused, RestoreError
from engines.sqlite import connect, files, holders, inspect, proof, snapshot, space, stage, swap
from tests.engines.sqlite.ground import (
    AM_ROOT,
    LATE_ROWS,
    NEW_ROWS,
    OLD_ROWS,
    Ground,
    another_process,
    database,
    eras,
    idle_connection,
    journal_mode,
    make_ground,
    put_back,
    replace,
)

TOMORROW = datetime(2030, 1, 1, tzinfo=UTC)
ENGINE = Path(swap.__file__).parent


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def take(ground: Ground, name: str = "before") -> snapshot.Snapshot:
    folder = str(ground.folder.parent / "snapshots")
    raw = snapshot.raw_copy(str(ground.live), f"{folder}/{name}.raw")
    return snapshot.take(str(ground.live), folder, name, TOMORROW, target="shop", session="s1", raw=raw)


def locked_by_another(path: Path) -> bool:
    """Whether a process other than this one finds the database locked."""
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
    ended = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    return "database is locked" in ended.stderr


def test_01_rows_that_are_only_in_the_old_log_do_not_come_back(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal with rows only in the log")
    plan = ground.dressed()
    replace(plan)
    assert files.present(files.sidecars(plan.live)) == ()
    assert eras(ground.live) == {"new": NEW_ROWS}
    assert eras(plan.kept) == {"old": OLD_ROWS, "late": LATE_ROWS}


def test_02_an_interrupted_transaction_is_rolled_back_into_the_old_file_not_the_new_one(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "hot journal")
    plan = ground.dressed()
    replace(plan)
    assert eras(ground.live) == {"new": NEW_ROWS}
    assert eras(plan.kept) == {"old": OLD_ROWS}


def test_02b_sidecars_of_a_missing_or_garbage_database_do_not_get_into_the_new_one(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "missing")
    sound = ground.folder / "sound"
    database(sound, "old", OLD_ROWS, "wal")
    with closing(sqlite3.connect(sound)) as db:
        db.execute("INSERT INTO payments (era) VALUES ('old')")
        db.commit()
        shutil.copy(f"{sound}-wal", f"{ground.live}-wal")
    plan = ground.dressed()
    replace(plan)
    assert eras(ground.live) == {"new": NEW_ROWS}
    put_back(plan)
    assert not ground.live.exists()
    assert Path(f"{ground.live}-wal").stat().st_size > 0


def test_03_a_process_with_the_old_database_open_in_wal_mode_stops_the_swap_and_is_named(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal")
    plan = ground.dressed()
    with idle_connection(ground.live) as worker, pytest.raises(Refused, match=f"pid {worker.pid}"):
        replace(plan)
    assert swap.where(plan) is swap.Position.OLD
    assert eras(ground.live) == ground.old


def test_04_a_process_whose_log_was_deleted_under_it_is_found(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal")
    with idle_connection(ground.live, "INSERT INTO payments (era) VALUES ('old')") as worker:
        database_away = ground.folder / "moved"
        ground.live.rename(database_away)
        Path(f"{ground.live}-wal").unlink()
        Path(f"{ground.live}-shm").unlink()
        database_away.unlink()
        shutil.copy(ground.backup, ground.live)
        paths = (str(ground.live), *files.sidecars(str(ground.live)))
        found = holders.holders(paths).found
        assert [holder.pid for holder in found] == [worker.pid]
        assert "(deleted)" in found[0].path


def test_05_an_idle_connection_in_delete_mode_holds_no_lock_and_is_found_all_the_same(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = ground.dressed()
    with idle_connection(ground.live) as worker:
        assert not locked_by_another(ground.live)
        with pytest.raises(Refused, match=f"pid {worker.pid}"):
            replace(plan)
    assert swap.where(plan) is swap.Position.OLD


@pytest.mark.parametrize("ending", ["-wal", "-journal"])
def test_06_a_backup_with_a_log_or_journal_beside_it_is_refused(ending: str, tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    Path(f"{ground.backup}{ending}").write_bytes(b"rows that are not in the backup")
    with pytest.raises(Refused, match="may lack rows"):
        ground.staged()


def test_06b_the_safety_snapshot_has_the_rows_that_are_only_in_the_log(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal with rows only in the log")
    kept = take(ground)
    assert kept.path is not None
    assert eras(kept.path) == {"old": OLD_ROWS, "late": LATE_ROWS}
    assert files.present(files.sidecars(kept.path)) == ()


def test_07_looking_and_copying_does_not_drop_the_locks_of_this_process(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    with closing(sqlite3.connect(ground.live, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        deeds: list[Callable[[], object]] = [
            lambda: inspect.look(str(ground.live)),
            lambda: inspect.replaceable(str(ground.live)),
            lambda: snapshot.raw_copy(str(ground.live), str(tmp_path / "snapshots" / "raw")),
            lambda: holders.holders([str(ground.live)]),
            lambda: swap.write_probe(str(ground.live), timeout=0),
            lambda: swap.prepare(inspect.look(str(ground.live)), ground.staged(), "t1"),
            lambda: space.space(inspect.look(str(ground.live)), 1, str(tmp_path)),
        ]
        for deed in deeds:
            deed()
            assert locked_by_another(ground.live)


def test_07b_the_lock_is_held_until_after_the_rename(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = ground.dressed()
    seen: dict[str, bool] = {}

    def at(point: str) -> None:
        if point.startswith("swap.") and Path(plan.kept).exists():
            seen[point] = locked_by_another(Path(plan.kept))

    swap.replace(plan, accept_unseen=not AM_ROOT, at=at)
    assert {"swap.link.after", "swap.rename.before", "swap.rename.after", "swap.rename-sync.after"} <= set(seen)
    assert all(seen.values())


def test_08_rows_that_are_only_in_the_log_are_seen(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal with rows only in the log")
    counts = {table.table: table.rows for table in proof.count_tables(str(ground.live))}
    assert counts["payments"] == OLD_ROWS + LATE_ROWS
    assert inspect.look(str(ground.live)).kind == "database"


def test_09_no_function_leaves_a_file_open(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal")
    live = str(ground.live)

    def open_files() -> list[str]:
        handles = Path("/proc/self/fd").iterdir()
        targets = [str(handle.readlink()) for handle in handles if handle.is_symlink()]
        return [target for target in targets if target.startswith(str(tmp_path))]

    plan = ground.plan()
    then = swap.fingerprint(live)
    deeds: list[Callable[[], object]] = [
        lambda: inspect.look(live),
        lambda: inspect.replaceable(live),
        lambda: proof.count_tables(live),
        lambda: proof.ask(live, "SELECT count(*) FROM payments"),
        lambda: proof.prove(plan.staged),
        lambda: take(ground),
        lambda: swap.changed_since(live, then),
        lambda: swap.write_probe(live),
        lambda: swap.dress(plan),
        lambda: swap.quiesce(live),
        lambda: replace(plan),
        lambda: put_back(plan),
        lambda: swap.clear(plan),
    ]
    for deed in deeds:
        deed()
        assert open_files() == []


def test_10_a_snapshot_of_a_locked_database_gives_up_in_time(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    started = time.monotonic()
    with idle_connection(ground.live, "BEGIN EXCLUSIVE"), pytest.raises(RestoreError) as refusal:
        snapshot.take(
            str(ground.live), str(tmp_path / "snaps"), "a", TOMORROW, target="shop", session="s", deadline=0.3
        )
    assert time.monotonic() - started < 10
    assert "lock" in refusal.value.message
    assert list((tmp_path / "snaps").iterdir()) == []


def test_11_and_20_only_our_own_new_file_is_ever_written_by_backup_and_no_shell_is_run() -> None:
    sources = {path.name: path.read_text() for path in ENGINE.glob("*.py")}
    assert [name for name, text in sources.items() if ".backup(" in text] == ["snapshot.py"]
    assert [name for name, text in sources.items() if "executescript(" in text or '"sqlite3"' in text] == []


def test_12_a_sound_but_wrong_database_is_told_by_more_than_integrity_check(tmp_path: Path) -> None:
    path = tmp_path / "backup.sqlite"
    database(path, "new", 3)
    sound = proof.prove(str(path))
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE payments SET user_id = 99 WHERE id = 1")
        db.execute("ALTER TABLE users ADD COLUMN email TEXT")
        db.commit()
    found = proof.prove(str(path))
    assert (sound.ok, sound.foreign_keys, sound.migrations_last) == (True, 0, "2026_01_01_create_users")
    assert (found.ok, found.integrity, found.foreign_keys) == (False, "ok", 1)
    assert "payments 1" in found.problems[0]
    assert found.schema_sha256 != sound.schema_sha256


def test_12b_an_empty_file_is_no_sound_database(tmp_path: Path) -> None:
    path = tmp_path / "backup.sqlite"
    path.touch()
    assert proof.prove(str(path)).problems == ("it has 0 bytes",)


def test_12c_a_changed_byte_that_only_the_index_shows_is_found(tmp_path: Path) -> None:
    path = tmp_path / "backup.sqlite"
    database(path, "new", 50)
    raw = path.read_bytes()
    where = raw.index(b"new 00025")  # once in the table, once in the index
    path.write_bytes(raw[: where + 8] + b"X" + raw[where + 9 :])
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    found = proof.prove(str(path))
    assert not found.ok
    assert "index" in found.integrity


def test_13_owner_mode_and_attributes_are_those_of_the_old_file(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    os.setxattr(ground.live, "user.label", b"kept")
    plan = ground.dressed()
    replace(plan)
    status = ground.live.stat()
    owner = (33, 34) if AM_ROOT else (os.getuid(), os.getgid())  # only root can give files away
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (*owner, 0o640)
    assert os.getxattr(ground.live, "user.label") == b"kept"


def test_13b_a_configured_mode_goes_before_the_old_one_and_comes_back_on_undo(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = swap.prepare(inspect.look(str(ground.live)), ground.staged(), "t1", mode=0o660)
    swap.dress(plan)
    replace(plan)
    assert ground.live.stat().st_mode & 0o7777 == 0o660
    put_back(plan)
    assert ground.live.stat().st_mode & 0o7777 == 0o640


@pytest.mark.parametrize("live_mode", ["delete", "wal"])
@pytest.mark.parametrize("backup_mode", ["delete", "wal"])
def test_14_the_new_file_has_the_journal_mode_of_the_old_one(live_mode: str, backup_mode: str, tmp_path: Path) -> None:
    ground = make_ground(tmp_path, live_mode)
    with closing(sqlite3.connect(ground.backup)) as db:
        db.execute(f"PRAGMA journal_mode={backup_mode}")
    plan = ground.dressed()
    replace(plan)
    assert journal_mode(ground.live) == live_mode
    put_back(plan)
    assert journal_mode(ground.live) == live_mode
    assert eras(ground.live) == ground.old


def test_16_a_staged_copy_on_another_file_system_is_refused(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    elsewhere = dataclasses.replace(ground.staged(), device=1)
    with pytest.raises(Refused, match="different file systems"):
        swap.prepare(inspect.look(str(ground.live)), elsewhere, "t1")


def test_17_the_file_a_symlink_leads_to_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    link = tmp_path / "link.sqlite"
    link.symlink_to(ground.live)
    staged = stage.stage(str(ground.backup), str(link), "t1")
    plan = swap.prepare(inspect.look(str(link)), staged, "t1")
    swap.dress(plan)
    replace(plan)
    assert link.is_symlink()
    assert not ground.live.is_symlink()
    assert eras(ground.live) == {"new": NEW_ROWS}


def test_17b_a_file_with_a_second_name_is_refused(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    os.link(ground.live, tmp_path / "second")
    checks = {check.name: check for check in inspect.replaceable(str(ground.live))}
    assert checks["Names of the file"].verdict is Verdict.FAIL
    with pytest.raises(Refused, match="2 hard links"):
        ground.plan()


def test_19_our_connections_map_no_memory_and_sync_in_full(tmp_path: Path) -> None:
    """We fork no process that has a connection: `elsewhere` starts a new program, and copies nothing of ours."""
    ground = make_ground(tmp_path)
    with connect.opened(str(ground.live), "rw") as db:
        assert db.execute("PRAGMA mmap_size").fetchone() in (None, (0,))
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert not [path.name for path in ENGINE.glob("*.py") if "os.fork" in path.read_text()]


def test_21_a_hostile_schema_runs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "hostile.sqlite"
    database(path, "new", 3)
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE VIEW spy AS SELECT load_extension('/tmp/evil') AS x")
        db.execute("CREATE TRIGGER tick AFTER INSERT ON users BEGIN SELECT load_extension('/tmp/evil'); END")
        db.execute("CREATE VIRTUAL TABLE words USING fts5(word)")
        db.commit()
    found = proof.prove(str(path))
    assert found.ok
    assert {table.table: table.why for table in found.tables}["words"] == "a virtual table"
    for query in ("SELECT * FROM spy", "SELECT load_extension('/tmp/evil')", "SELECT writefile('/tmp/x', 'x')"):
        with pytest.raises(RestoreError, match="refused"):
            proof.ask(str(path), query)


def test_22_a_folder_that_the_application_cannot_write_is_found_before_and_after(open_folder: Path) -> None:
    ground = make_ground(open_folder)
    ground.folder.chmod(0o755)
    if not AM_ROOT:  # only root can act as the application's user; without root the probe says that it can't tell
        assert swap.write_probe(str(ground.live), 33, 34).verdict is Verdict.UNKNOWN
        return
    assert swap.write_probe(str(ground.live), 33, 34).verdict is Verdict.FAIL
    before = {check.name: check.verdict for check in inspect.replaceable(str(ground.live), 33, 34)}
    assert before["Folder, for the application"] is Verdict.FAIL
    os.chown(ground.folder, 33, 34)
    assert swap.write_probe(str(ground.live), 33, 34).verdict is Verdict.OK
    after = {check.name: check.verdict for check in inspect.replaceable(str(ground.live), 33, 34)}
    assert after["Folder, for the application"] is Verdict.OK


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_22b_the_write_probe_changes_no_byte_and_leaves_nothing(mode: str, tmp_path: Path) -> None:
    ground = make_ground(tmp_path, mode)
    before = (ground.live.read_bytes(), ground.live.stat().st_mtime_ns)
    assert swap.write_probe(str(ground.live)).verdict is Verdict.OK
    assert (ground.live.read_bytes(), ground.live.stat().st_mtime_ns) == before
    assert sorted(path.name for path in ground.folder.iterdir()) == ["database.sqlite"]


def test_22c_the_write_probe_says_when_the_database_is_locked(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    with idle_connection(ground.live, "BEGIN EXCLUSIVE"):
        assert "locked" in swap.write_probe(str(ground.live), timeout=0).evidence


def test_the_programs_that_hold_files_open_end_with_the_test() -> None:
    with another_process("print('ready', flush=True); import sys; sys.stdin.read()") as process:
        pass
    assert process.returncode is not None
