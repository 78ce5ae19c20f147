"""Safety snapshots: raw bytes and a consistent copy, described, listed, and pruned only when due and ours."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from engines.errors import Refused, RestoreError, UsageError
from engines.sqlite import inspect, proof, snapshot
from engines.sqlite.shelf import refuse_taken
from tests.engines.sqlite.ground import LATE_ROWS, OLD_ROWS, Ground, eras, idle_connection, make_ground

NOW = datetime(2026, 11, 22, 20, 4, tzinfo=UTC)
MONTH = NOW + timedelta(days=30)


def shelf(ground: Ground) -> Path:
    return ground.folder.parent / "snapshots"


def keep(ground: Ground, name: str = "one", until: datetime = MONTH) -> snapshot.Snapshot:
    raw = snapshot.raw_copy(str(ground.live), str(shelf(ground) / f"{name}.raw"))
    return snapshot.take(
        str(ground.live), str(shelf(ground)), name, until, target="shop", session="2026-11-22-7f3a", raw=raw
    )


@pytest.mark.parametrize("state", ["delete", "wal", "wal with rows only in the log", "hot journal"])
def test_the_snapshot_holds_every_committed_row_in_one_private_file(state: str, tmp_path: Path) -> None:
    ground = make_ground(tmp_path, state)
    kept = keep(ground)
    assert kept.path is not None
    assert Path(kept.path).stat().st_mode & 0o777 == 0o600
    assert shelf(ground).stat().st_mode & 0o777 == 0o700
    assert kept.sha256 == hashlib.sha256(Path(kept.path).read_bytes()).hexdigest()
    assert kept.proof is not None
    assert kept.proof.ok
    assert eras(kept.path) == ground.old
    assert sorted(path.name for path in shelf(ground).iterdir()) == ["one.raw", "one.sqlite", "one.toml"]
    assert msgspec.json.decode(msgspec.json.encode(kept), type=snapshot.Snapshot) == kept


def test_the_raw_copy_has_every_file_byte_for_byte(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal with rows only in the log")
    before = {path.name: path.read_bytes() for path in ground.folder.iterdir()}
    seen: list[tuple[int, int]] = []
    raw = snapshot.raw_copy(
        str(ground.live), str(shelf(ground) / "raw"), progress=lambda done, total: seen.append((done, total))
    )
    copied = {path.name: path.read_bytes() for path in Path(raw.folder).iterdir()}
    assert copied == before
    assert {entry.name: entry.sha256 for entry in raw.files} == {
        name: hashlib.sha256(content).hexdigest() for name, content in before.items()
    }
    assert Path(raw.folder).stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in Path(raw.folder).iterdir()} == {0o600}
    assert seen[-1][0] == seen[-1][1] == sum(map(len, before.values()))


def test_a_raw_copy_can_be_made_again_after_a_crash(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    first = snapshot.raw_copy(str(ground.live), str(shelf(ground) / "raw"))
    assert snapshot.raw_copy(str(ground.live), str(shelf(ground) / "raw")) == first


def test_a_stopped_raw_copy_leaves_nothing(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    with pytest.raises(RestoreError, match="on request"):
        snapshot.raw_copy(str(ground.live), str(shelf(ground) / "raw"), stop=lambda: True)
    assert list(shelf(ground).iterdir()) == []


@pytest.mark.parametrize("state", ["missing", "empty", "garbage with sidecars"])
def test_what_cannot_be_opened_is_kept_raw_and_listed(state: str, tmp_path: Path) -> None:
    ground = make_ground(tmp_path, state)
    with pytest.raises(Refused, match="No consistent snapshot"):
        snapshot.take(str(ground.live), str(shelf(ground)), "one", MONTH, target="shop", session="s")
    before = {path.name: path.read_bytes() for path in ground.folder.iterdir()}
    raw = snapshot.raw_copy(str(ground.live), str(shelf(ground) / "one.raw"))
    snapshot.keep_raw(raw, str(ground.live), "one", MONTH, target="shop", session="s")
    assert {path.name: path.read_bytes() for path in Path(raw.folder).iterdir()} == before
    assert [(shot.name, shot.path) for shot in snapshot.listed(str(shelf(ground))).snapshots] == [("one", None)]
    assert len(snapshot.prune(str(shelf(ground)), MONTH)) == len(before) + 1
    assert list(shelf(ground).iterdir()) == []


def test_an_interrupted_transaction_is_only_rolled_back_once_its_raw_files_are_kept(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "hot journal")
    with pytest.raises(Refused, match="interrupted transaction"):
        snapshot.take(str(ground.live), str(shelf(ground)), "one", MONTH, target="shop", session="s")
    assert Path(f"{ground.live}-journal").stat().st_size > 0
    kept = keep(ground)
    assert kept.raw is not None
    assert {entry.name for entry in kept.raw.files} == {"database.sqlite", "database.sqlite-journal"}


def test_a_snapshot_is_taken_while_a_reader_and_its_log_are_there(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal with rows only in the log")
    with idle_connection(ground.live):
        kept = keep(ground)
    assert kept.path is not None
    assert eras(kept.path) == {"old": OLD_ROWS, "late": LATE_ROWS}


def test_a_write_between_copy_and_comparison_is_noticed(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)

    def write(point: str) -> None:
        if point == "snapshot.copy.after":
            with closing(sqlite3.connect(ground.live)) as db:
                db.execute("INSERT INTO users VALUES (77, 'late')")
                db.commit()

    with pytest.raises(RestoreError, match="same rows"):
        snapshot.take(str(ground.live), str(shelf(ground)), "one", MONTH, target="s", session="s", at=write)
    assert list(shelf(ground).iterdir()) == []


def test_a_stopped_snapshot_leaves_nothing(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    with pytest.raises(RestoreError, match="on request"):
        snapshot.take(str(ground.live), str(shelf(ground)), "one", MONTH, target="s", session="s", stop=lambda: True)
    assert list(shelf(ground).iterdir()) == []


def test_a_damaged_database_is_kept_as_damaged_as_it_is(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    content = ground.live.read_bytes()
    where = content.index(b"old 00025")
    ground.live.write_bytes(content[: where + 8] + b"X" + content[where + 9 :])
    kept = keep(ground)
    assert kept.proof is not None
    assert not kept.proof.ok
    assert kept.proof.integrity == proof.prove(str(ground.live)).integrity


def test_snapshots_are_listed_newest_first_with_what_they_are(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal")
    first, second = keep(ground, "one"), keep(ground, "two")
    listing = snapshot.listed(str(shelf(ground)))
    assert [shot.name for shot in listing.snapshots] == ["two", "one"]
    assert listing.damaged == ()
    shown = listing.snapshots[1]
    assert (shown.sha256, shown.size, shown.keep_until) == (first.sha256, first.size, "2026-12-22T20:04:00.000Z")
    assert (shown.target, shown.session, shown.kind) == ("shop", "2026-11-22-7f3a", "before-restore")
    assert (shown.of, shown.journal_mode, shown.raw) == (str(ground.live), "wal", first.raw)
    assert second.taken_at >= first.taken_at


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert snapshot.listed(str(tmp_path / "none")).snapshots == ()
    assert snapshot.prune(str(tmp_path / "none"), NOW) == ()


def test_only_what_is_due_and_ours_is_pruned(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    keep(ground, "due", NOW)
    keep(ground, "later")
    (shelf(ground) / "theirs.sqlite").write_text("not ours")
    (shelf(ground) / "theirs.toml").write_text("format = 'something else'\n")
    assert [shot.name for shot in snapshot.due(str(shelf(ground)), NOW)] == ["due"]
    removed = snapshot.prune(str(shelf(ground)), NOW)
    assert [Path(path).name for path in removed] == ["due.sqlite", "database.sqlite", "due.toml"]
    left = {path.name for path in shelf(ground).iterdir()}
    assert left == {"later.sqlite", "later.raw", "later.toml", "theirs.sqlite", "theirs.toml"}
    assert snapshot.prune(str(shelf(ground)), NOW) == ()


def test_pruning_that_was_interrupted_is_finished_the_next_time(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    keep(ground, "due", NOW)

    class Interrupted(Exception):
        pass

    def interrupt(_point: str) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        snapshot.prune(str(shelf(ground)), NOW, at=interrupt)
    assert not (shelf(ground) / "due.sqlite").exists()
    snapshot.prune(str(shelf(ground)), NOW)
    assert list(shelf(ground).iterdir()) == []


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ('format = "reinstate-snapshot-1"', 'format = "reinstate-snapshot-9"'),
        ('name = "due"', 'name = "other"'),
        ('file = "due.sqlite"', 'file = "../../etc/passwd"'),
        ('file = "due.sqlite"', 'file = "later.sqlite"'),
        ('raw_folder = "due.raw"', 'raw_folder = ".."'),
        ('raw_folder = "due.raw"', 'raw_folder = "../.."'),
        ('raw_folder = "due.raw"', 'raw_folder = "/etc"'),
        ('name = "database.sqlite"', 'name = "../due.toml"'),
        ("keep_until", "keep_untill"),
        ('keep_until = "2026', 'keep_until = "soon 2026'),
        ("size = ", "size = many"),
        ("", "\x00"),
    ],
)
def test_a_changed_description_is_reported_and_removes_nothing(was: str, becomes: str, tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    keep(ground, "due", NOW)
    path = shelf(ground) / "due.toml"
    path.write_text(path.read_text().replace(was, becomes, 1))
    listing = snapshot.listed(str(shelf(ground)))
    assert listing.snapshots == ()
    assert [problem.file for problem in listing.damaged] == [str(path)]
    assert snapshot.prune(str(shelf(ground)), NOW) == ()
    assert {entry.name for entry in shelf(ground).iterdir()} == {"due.sqlite", "due.raw", "due.toml"}


def test_a_file_of_another_size_or_a_link_in_its_place_is_not_removed(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    kept = keep(ground, "due", NOW)
    assert kept.path is not None
    Path(kept.path).write_text("somebody's notes")
    assert snapshot.prune(str(shelf(ground)), NOW) == ()
    Path(kept.path).unlink()
    Path(kept.path).symlink_to(ground.live)
    assert snapshot.prune(str(shelf(ground)), NOW) == ()
    assert ground.live.exists()


def test_a_snapshot_is_never_replaced(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    keep(ground, "one")
    with pytest.raises(Refused, match="exists already"):
        keep(ground, "one")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x.toml", "a\nb", "x" * 300])
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        refuse_taken(str(tmp_path), name)


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    shelf(ground).mkdir()
    shelf(ground).chmod(0o777)
    with pytest.raises(Refused, match="others can write"):
        keep(ground)


def test_text_from_outside_survives_in_the_description(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    hostile = 'x"]\n[[raw]]\nname = "/etc/passwd"\x7f\x1b[0m \\ é \u202e'
    kept = snapshot.take(str(ground.live), str(shelf(ground)), "one", MONTH, target=hostile, session="s")
    assert snapshot.listed(str(shelf(ground))).snapshots[0].target == hostile
    assert kept.raw is None


def test_a_path_that_is_no_text_can_be_described(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    live = ground.folder / os.fsdecode(b"caf\xe9.sqlite")
    ground.live.rename(live)
    raw = snapshot.raw_copy(str(live), str(shelf(ground) / "one.raw"))
    snapshot.take(str(live), str(shelf(ground)), "one", MONTH, target="shop", session="s", raw=raw)
    assert len(snapshot.listed(str(shelf(ground))).snapshots) == 1
    assert inspect.look(str(live)).kind == "database"
