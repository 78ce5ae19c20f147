"""Snapshots of every kind of target lie on one shelf: listed, due and pruned alike."""

from __future__ import annotations

import errno
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engines import shelf
from engines.backups import kept
from engines.backups.catalogue import Status
from engines.backups.checksums import Digest
from engines.backups.staging import stage
from engines.errors import RestoreError
from engines.mysql.snapshot import Snapshot
from engines.recipes import points, snapshots
from engines.targets import Environment, MysqlTarget, SqliteTarget, Target
from engines.text import stamp
from tests.engines.backups.objects import Bucket, fresh_name
from tests.servers.s3 import REGION, S3Server

NOW = datetime(2026, 11, 22, 20, 4, tzinfo=UTC)


def target_of(kind: str, folder: Path) -> Target:
    if kind == "sqlite":
        at = folder / "snapshots"
        return SqliteTarget("shop", kind, Environment.LOCAL, folder / "db", folder, snapshots=at)
    return server_target(kind, folder)


def server_target(kind: str, folder: Path) -> MysqlTarget:
    login, at = folder / "login.cnf", str(folder / "snapshots")
    return MysqlTarget("shop", kind, Environment.LOCAL, "shop", login, str(folder), snapshots=at)


def keep(target: Target, ending: str, name: str, until: datetime) -> None:
    folder = str(target.snapshots)
    shelf.open_folder(folder)
    path = Path(folder, f"{name}{ending}")
    path.write_bytes(b"content")
    sha256 = hashlib.sha256(b"content").hexdigest()
    raw = Path(folder, f"{name}.raw")
    raw.mkdir()
    (raw / "binlog.000001").write_bytes(b"log")
    files = (shelf.RawFile("binlog.000001", 3, hashlib.sha256(b"log").hexdigest()),)
    shelf.describe(
        Snapshot(
            name=name,
            folder=folder,
            path=str(path),
            sha256=sha256,
            size=7,
            taken_at=stamp(NOW),
            keep_until=stamp(until),
            target="shop",
            session="s",
            kind="before-restore",
            of="db1:3306/shop",
            raw=shelf.RawCopy(str(raw), files),
        )
    )


@pytest.mark.parametrize(("kind", "ending"), [("sqlite", ".sqlite"), ("mysql", ".sql.zst"), ("mariadb", ".sql.zst")])
def test_what_is_due_is_pruned_with_what_lies_beside_it(kind: str, ending: str, tmp_path: Path) -> None:
    target = target_of(kind, tmp_path)
    keep(target, ending, "due", NOW)
    keep(target, ending, "later", NOW + timedelta(days=1))
    assert [one.name for one in snapshots.due(target, NOW)] == ["due"]
    removed = snapshots.prune(target, NOW).removed
    assert [Path(path).name for path in removed] == [f"due{ending}", "binlog.000001", "due.toml"]
    assert {path.name for path in Path(target.snapshots).iterdir()} == {f"later{ending}", "later.raw", "later.toml"}


@pytest.mark.parametrize("other_disk", [False, True])
def test_a_snapshot_is_moved_with_what_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_disk: bool
) -> None:
    target = target_of("mysql", tmp_path)
    keep(target, ".sql.zst", "one", NOW)
    folder = tmp_path / "state" / "shop"
    (one,) = shelf.listed(str(target.snapshots), Snapshot).snapshots
    rename = Path.rename

    def renamed(path: Path, to: Path) -> Path:
        if other_disk and path.parent != to.parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", renamed)
    there = shelf.moved(one, str(folder))
    assert shelf.listed(str(folder), Snapshot).snapshots == (there,)
    assert Path(str(there.path)).read_bytes() == b"content"
    assert sorted(path.name for path in folder.rglob("*")) == ["binlog.000001", "one.raw", "one.sql.zst", "one.toml"]
    assert [path.name for path in Path(target.snapshots).rglob("*")] == ["one.raw"]


def test_a_moved_snapshot_that_does_not_read_back_is_not_described(tmp_path: Path) -> None:
    target = target_of("mysql", tmp_path)
    keep(target, ".sql.zst", "one", NOW)
    (one,) = shelf.listed(str(target.snapshots), Snapshot).snapshots
    Path(str(one.path)).write_bytes(b"contenT")
    with pytest.raises(RestoreError, match="does not read back as it was written"):
        shelf.moved(one, str(tmp_path / "state"))
    assert shelf.listed(str(tmp_path / "state"), Snapshot).snapshots == ()


# -- in a bucket ------------------------------------------------------------------------------------------------


def test_snapshots_in_a_bucket_are_restore_points_as_long_as_they_are_what_was_kept(
    s3: S3Server, tmp_path: Path
) -> None:
    bucket = Bucket(s3, fresh_name(), prefix="safety/")
    bucket.put({"shop.sql": b"rows"})
    there = f"s3://{bucket.name}/safety"
    target = replace(
        server_target("mysql", tmp_path), snapshots=there, backups=there, s3_endpoint=s3.endpoint, s3_region=REGION
    )
    here = replace(target, snapshots=str(tmp_path / "snapshots"))
    for name in ("due", "later", "lost", "other"):
        keep(here, ".sql.zst", name, NOW if name == "due" else NOW + timedelta(days=1))
    for one in shelf.listed(here.snapshots, Snapshot).snapshots:
        kept.keep(one, bucket.folder)
    bucket.delete("lost.sql.zst")
    bucket.put({"other.sql.zst": b"another"}, listed=False)
    found = {one.name: one for one in points.restore_points(target).backups if one.kind == "safety snapshot"}
    assert {name: one.status for name, one in found.items()} == {
        "due.sql.zst": Status.UNCHECKED,
        "later.sql.zst": Status.UNCHECKED,
        "lost.sql.zst": Status.MISSING_FILE,
        "other.sql.zst": Status.MISMATCH,
    }
    chosen = points.to_table(found["later.sql.zst"])
    digest = Digest(str(chosen["algorithm"]), str(chosen["digest"]))
    staged = stage(points.place_of(chosen, target), tmp_path / "staging", digest)
    assert Path(staged.path).read_bytes() == b"content"
    assert [one.name for one in snapshots.due(target, NOW)] == ["due"]
    assert len(snapshots.prune(target, NOW).removed) == 3
    assert snapshots.due(target, NOW) == ()


def test_a_bucket_of_snapshots_that_does_not_answer_hides_no_backup(s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "shop.sql").write_bytes(b"rows")
    target = replace(
        server_target("mysql", tmp_path), snapshots=f"s3://{fresh_name()}/x", s3_endpoint=s3.endpoint, s3_region=REGION
    )
    found = points.restore_points(target)
    assert [one.name for one in found.backups] == ["shop.sql"]
    assert any("safety snapshots are not listed" in problem for problem in found.problems)
    target = replace(target, spare=tmp_path / "spare")
    keep(replace(target, snapshots=str(target.spare)), ".sql.zst", "due", NOW)
    pruned = snapshots.prune(target, NOW)  # what an undo kept here goes all the same
    assert len(pruned.removed) == 3
    assert "there is no such bucket" in pruned.problems[0].message
