"""Snapshots of every kind of target lie on one shelf: listed, due and pruned alike."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engines import shelf
from engines.mysql.snapshot import Snapshot
from engines.recipes import snapshots
from engines.targets import Environment, MysqlTarget, SqliteTarget, Target
from engines.text import stamp

NOW = datetime(2026, 11, 22, 20, 4, tzinfo=UTC)


def target_of(kind: str, folder: Path) -> Target:
    kept = folder / "snapshots"
    if kind == "sqlite":
        return SqliteTarget("shop", kind, Environment.LOCAL, folder / "db", folder, snapshots=kept)
    login = folder / "login.cnf"
    return MysqlTarget("shop", kind, Environment.LOCAL, "shop", login, str(folder), snapshots=str(kept))


def keep(target: Target, ending: str, name: str, until: datetime) -> None:
    folder = str(target.snapshots)
    shelf.open_folder(folder)
    path = Path(folder, f"{name}{ending}")
    path.write_bytes(b"content")
    sha256 = hashlib.sha256(b"content").hexdigest()
    raw = Path(folder, f"{name}.raw")
    raw.mkdir()
    (raw / "binlog.000001").write_bytes(b"log")
    files = (shelf.RawFile("binlog.000001", 3, sha256),)
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
    removed = snapshots.prune(target, NOW)
    assert [Path(path).name for path in removed] == [f"due{ending}", "binlog.000001", "due.toml"]
    assert {path.name for path in Path(target.snapshots).iterdir()} == {f"later{ending}", "later.raw", "later.toml"}
