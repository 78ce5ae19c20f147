"""The swap itself: what it refuses, what it says, and that it can be asked again at any time."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from engines.errors import Refused, RestoreError, UsageError
from engines.sqlite import files, inspect, stage, swap
from engines.sqlite.swap import Position
from tests.engines.sqlite.ground import (
    AM_ROOT,
    NEW_ROWS,
    eras,
    idle_connection,
    journal_mode,
    make_ground,
    pay,
    put_back,
    replace,
)


@pytest.mark.parametrize(
    "state",
    [
        "delete",
        "wal",
        "wal with rows only in the log",
        "hot journal",
        "persistent journal",
        "missing",
        "empty",
        "garbage with sidecars",
    ],
)
def test_every_state_of_the_live_database_is_replaced_and_put_back(state: str, tmp_path: Path) -> None:
    ground = make_ground(tmp_path, state)
    plan = ground.dressed()
    assert swap.where(plan) is Position.OLD
    assert replace(plan) is replace(plan) is Position.NEW
    assert eras(ground.live) == {"new": NEW_ROWS}
    assert put_back(plan) is put_back(plan) is Position.BACK
    assert inspect.look(str(ground.live)).kind == plan.before_kind
    assert eras(plan.undone) == {"new": NEW_ROWS}
    assert swap.clear(plan) == (plan.undone,)


def test_a_swap_can_be_stored_and_read_back(tmp_path: Path) -> None:
    plan = make_ground(tmp_path).plan()
    assert msgspec.json.decode(msgspec.json.encode(plan), type=swap.Swap) == plan


def test_putting_back_before_anything_was_replaced_only_restores_the_journal_mode(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal")
    plan = ground.dressed()
    swap.quiesce(plan.live)
    assert journal_mode(ground.live) == "delete"
    assert put_back(plan) is Position.OLD
    assert journal_mode(ground.live) == "wal"
    assert eras(ground.live) == ground.old


def test_after_sign_off_the_old_database_is_gone_and_undo_says_so(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = ground.dressed()
    replace(plan)
    assert swap.clear(plan) == (plan.kept,)
    assert swap.where(plan) is Position.SETTLED
    with pytest.raises(Refused, match="signed off"):
        put_back(plan)
    assert eras(ground.live) == {"new": NEW_ROWS}
    assert replace(plan) is Position.SETTLED


def test_an_undone_swap_is_not_done_again_with_a_file_that_was_in_use(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = ground.dressed()
    replace(plan)
    put_back(plan)
    with pytest.raises(Refused, match="was undone"):
        replace(plan)
    assert eras(ground.live) == ground.old


def test_what_was_written_after_the_swap_stays_in_the_file_put_aside(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal")
    plan = ground.dressed()
    replace(plan)
    with closing(sqlite3.connect(ground.live)) as db:
        pay(db, "after", 3)
    put_back(plan)
    assert eras(plan.undone) == {"new": NEW_ROWS, "after": 3}
    assert eras(ground.live) == ground.old


def test_a_new_database_that_was_destroyed_since_can_be_put_aside_too(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = ground.dressed()
    replace(plan)
    with ground.live.open("r+b") as file:
        file.write(b"overwritten" * 100)
    Path(f"{ground.live}-wal").write_bytes(b"left over")
    put_back(plan)
    assert eras(ground.live) == ground.old
    assert files.present(files.sidecars(str(ground.live))) == ()
    assert Path(f"{plan.undone}-wal").read_bytes() == b"left over"


def test_an_undo_waits_for_nobody_who_has_the_new_database_open(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = ground.dressed()
    replace(plan)
    with idle_connection(ground.live) as worker, pytest.raises(Refused, match=f"pid {worker.pid}"):
        put_back(plan)
    assert swap.where(plan) is Position.NEW
    assert eras(ground.live) == {"new": NEW_ROWS}


def test_a_locked_database_refuses_with_the_name_of_who_locks_it(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = ground.dressed()
    with idle_connection(ground.live, "BEGIN IMMEDIATE") as worker, pytest.raises(Refused, match=f"pid {worker.pid}"):
        swap.quiesce(plan.live, timeout=0.1)


def test_somebody_who_opens_the_database_at_the_last_moment_stops_the_swap(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = ground.dressed()
    seen: list[Position] = []
    program_holds = idle_connection(ground.live, "SELECT 1")

    def at(point: str) -> None:
        if point == "quiesce.lock.after":
            program_holds.__enter__()
        seen.append(swap.where(plan))

    try:
        with pytest.raises(Refused, match="opened the database"):
            swap.replace(plan, timeout=0.1, accept_unseen=not AM_ROOT, at=at)
    finally:
        program_holds.__exit__(None, None, None)
    assert set(seen) == {Position.OLD}
    assert eras(ground.live) == ground.old


def test_a_sidecar_that_appears_under_the_lock_stops_the_swap(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = ground.dressed()

    def at(point: str) -> None:
        if point == "swap.link.after":
            Path(f"{ground.live}-wal").write_bytes(b"stale")

    with pytest.raises(Refused, match="appeared beside the live database"):
        swap.replace(plan, accept_unseen=not AM_ROOT, at=at)
    Path(f"{ground.live}-wal").unlink()
    assert swap.where(plan) is Position.LINKED
    assert replace(plan) is Position.NEW


def test_an_undressed_copy_is_refused(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal")
    with pytest.raises(Refused, match="owner and mode"):
        replace(ground.plan())


def test_a_staged_copy_that_was_written_to_is_refused(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = ground.plan()
    with closing(sqlite3.connect(plan.staged)) as db:
        db.execute("UPDATE users SET name = 'eve'")
        db.commit()
    with pytest.raises(Refused, match="written to since"):
        swap.dress(plan)
    assert eras(ground.live) == ground.old


@pytest.mark.parametrize("at_byte", [20, 45, 62, 100, 5000])
def test_any_byte_but_those_of_the_journal_mode_gives_a_changed_copy_away(at_byte: int, tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = ground.plan()
    content = Path(plan.staged).read_bytes()
    with Path(plan.staged).open("r+b") as file:
        file.seek(at_byte)
        file.write(bytes([content[at_byte] ^ 1]))
    with pytest.raises(Refused, match="written to since"):
        swap.dress(plan)


def test_another_file_at_the_name_of_the_staged_copy_is_refused(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = ground.dressed()
    Path(plan.staged).rename(tmp_path / "ours")
    Path(plan.staged).write_bytes(ground.backup.read_bytes())
    with pytest.raises(Refused, match="another file"):
        replace(plan)
    Path(plan.staged).unlink()
    with pytest.raises(Refused, match="is gone"):
        replace(plan)


def test_dressing_twice_is_dressing_once(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal")
    plan = ground.dressed()
    swap.dress(plan)
    assert replace(plan) is Position.NEW


@pytest.mark.parametrize("deed", [replace, put_back])
def test_a_live_file_that_somebody_else_put_there_is_left_alone(deed: object, tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = ground.dressed()
    ground.live.rename(tmp_path / "moved away")
    assert swap.where(plan) is Position.FOREIGN
    assert callable(deed)
    with pytest.raises(Refused, match="Nothing is at"):
        deed(plan)
    ground.live.write_text("theirs")
    with pytest.raises(Refused, match="neither the old nor the new"):
        deed(plan)
    with pytest.raises(Refused, match="unfinished"):
        swap.clear(plan)
    assert ground.live.read_text() == "theirs"


def test_a_database_that_appears_where_none_was_is_not_overwritten(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "missing")
    plan = ground.dressed()

    def at(point: str) -> None:
        if point == "swap.link.before":
            ground.live.write_text("made this instant")

    with pytest.raises(RestoreError, match="File exists"):
        swap.replace(plan, accept_unseen=not AM_ROOT, at=at)
    assert ground.live.read_text() == "made this instant"


def test_where_nothing_was_the_folder_decides_about_the_owner(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "missing")
    plan = ground.plan()
    status = ground.folder.stat()
    assert (plan.uid, plan.gid, plan.mode, plan.journal_mode) == (status.st_uid, status.st_gid, 0o640, "delete")


def test_a_token_cannot_lead_to_another_folder(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    with pytest.raises(UsageError):
        stage.stage(str(ground.backup), str(ground.live), "../../x")


def test_an_acl_of_the_old_file_is_kept_and_one_lent_by_the_folder_is_not(tmp_path: Path) -> None:
    """An ACL as the kernel stores it: version 2, then tag, permissions and id of each entry, little-endian."""

    def acl(*entries: tuple[int, int, int]) -> bytes:
        packed = b"".join(
            tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + who.to_bytes(4, "little")
            for tag, rights, who in entries
        )
        return (2).to_bytes(4, "little") + packed

    nobody = 0xFFFFFFFF
    lent = acl((1, 7, nobody), (2, 7, 65534), (4, 5, nobody), (16, 7, nobody), (32, 0, nobody))
    own = acl((1, 6, nobody), (2, 4, 12345), (4, 4, nobody), (16, 4, nobody), (32, 0, nobody))
    ground = make_ground(tmp_path)
    os.setxattr(ground.live, "system.posix_acl_access", own)
    os.setxattr(ground.folder, "system.posix_acl_default", lent)
    plan = ground.dressed()
    replace(plan)
    assert os.getxattr(ground.live, "system.posix_acl_access") == own
    put_back(plan)
    assert os.getxattr(ground.live, "system.posix_acl_access") == own


def test_a_lent_acl_goes_where_the_old_file_had_none(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    nobody = (0xFFFFFFFF).to_bytes(4, "little")
    entries = [(1, 7), (4, 5), (32, 5)]
    lent = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + nobody for tag, rights in entries
    )
    os.setxattr(ground.folder, "system.posix_acl_default", lent)
    plan = ground.dressed()
    assert "system.posix_acl_access" not in os.listxattr(plan.staged)
    replace(plan)
    assert ground.live.stat().st_mode & 0o7777 == 0o640


def test_nothing_written_is_nothing_changed(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal")
    plan = ground.dressed()
    replace(plan)
    then = swap.fingerprint(plan.live)
    assert msgspec.json.decode(msgspec.json.encode(then), type=swap.Fingerprint) == then
    with closing(sqlite3.connect(plan.live)) as db:
        db.execute("SELECT count(*) FROM users").fetchall()
    assert swap.changed_since(plan.live, then) == swap.Change(False, (), ())


@pytest.mark.parametrize("mode", ["delete", "wal"])
@pytest.mark.parametrize(
    "write",
    ["INSERT INTO users VALUES (5, 'eve')", "UPDATE users SET name = 'eve'", "CREATE TABLE more (x)"],
)
@pytest.mark.parametrize("closed", [True, False])
def test_every_write_since_the_swap_shows(mode: str, write: str, closed: bool, tmp_path: Path) -> None:
    ground = make_ground(tmp_path, mode)
    plan = ground.dressed()
    replace(plan)
    then = swap.fingerprint(plan.live)
    with closing(sqlite3.connect(plan.live)) as db:
        db.execute(write)
        db.commit()
        if not closed:
            found = swap.changed_since(plan.live, then)
    if closed:
        found = swap.changed_since(plan.live, then)
    assert found.changed
    assert found.evidence


def test_another_file_counts_as_changed(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    then = swap.fingerprint(str(ground.live))
    ground.backup.rename(ground.live)
    assert swap.changed_since(str(ground.live), then).evidence == ("it is another file now",)


def test_a_link_at_the_kept_name_is_not_followed(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = ground.dressed()
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    Path(plan.kept).symlink_to(victim)
    with pytest.raises(RestoreError, match="File exists"):
        replace(plan)
    assert victim.read_text() == "untouched"
    assert eras(ground.live) == ground.old


def test_a_swap_whose_owner_cannot_be_given_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    plan = dataclasses.replace(ground.plan(), uid=2**32 - 2 if not AM_ROOT else 2**31)
    if AM_ROOT:
        swap.dress(plan)  # root may give a file to anybody
        return
    with pytest.raises(RestoreError, match="could not be given owner"):
        swap.dress(plan)
