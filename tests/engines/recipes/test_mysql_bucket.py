"""Sessions on real servers whose safety snapshots go to a bucket: kept there, proven there, put back from there."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines.mysql.flavour import Flavour
from engines.mysql.snapshot import Snapshot
from engines.recipes import points
from engines.recipes.mysql import reach
from engines.recipes.mysql.loading import snapshot_of
from engines.session import commands as c
from engines.session import store
from engines.session.client import Client
from engines.session.events import Ending
from engines.session.moves import AskKind, Wait, left_behind, next_move
from engines.session.state import SessionState
from engines.session.verify import verify
from engines.targets import MysqlTarget
from engines.text import utc_now
from tests.engines.backups.objects import Bucket, fresh_name
from tests.engines.recipes.mysql_world import MysqlWorld, accept_all, build, new_session, programs_of
from tests.engines.recipes.world import answering, start_runner
from tests.servers.databases import Server
from tests.servers.s3 import REGION, S3Server


@dataclass(frozen=True, slots=True)
class Night:
    """A world whose snapshots go to a bucket of its own."""

    world: MysqlWorld
    bucket: Bucket
    target: MysqlTarget

    def objects(self) -> dict[str, bytes]:
        """Everything in the snapshots' folder, and below it."""
        client: Any = self.bucket.s3.client()
        found = client.list_objects_v2(Bucket=self.bucket.name, Prefix=self.bucket.prefix).get("Contents", ())
        keys = [str(one["Key"]) for one in found]
        content = {key: client.get_object(Bucket=self.bucket.name, Key=key)["Body"].read() for key in keys}
        client.close()
        return {key.removeprefix(self.bucket.prefix): content[key] for key in keys}


@pytest.fixture
def night(server: Server, s3: S3Server, tmp_path: Path) -> Iterator[Night]:
    """MySQL's bucket keeps versions, MariaDB's does not."""
    bucket = Bucket(s3, fresh_name(), versioned=server.flavour is Flavour.MYSQL, prefix="safety/box/")
    more = (
        f'method = "in-place"\nsnapshots = "s3://{bucket.name}/safety/box"\n'
        f's3_endpoint = "{s3.endpoint}"\ns3_region = "{REGION}"'
    )
    with programs_of(server):
        world = build(tmp_path / "world", server, more=more, whole=True)
        target = world.config().targets["box"]
        assert isinstance(target, MysqlTarget)
        yield Night(world, bucket, target)


def run(folder: Path, meet: Any) -> SessionState:  # noqa: ANN401 - as `answering` has it
    asyncio.run(answering(folder, start_runner(folder), meet))
    return store.open_session(folder).state


def undoing(night: Night, folder: Path, harm: Any) -> Any:  # noqa: ANN401 - two callbacks
    """Says yes until the dump is live, does `harm`, and takes it back. What fails then is told, and ended."""
    told: list[str] = []

    async def meet(client: Client) -> bool:
        move = next_move(client.state, utc_now())
        if not isinstance(move, Wait):
            return False
        if client.state.undo_asked is None and move.ask.step == "4.1":
            harm(client.state)
            await client.do(c.Undo("the wrong dump"))
            return True
        if move.ask.kind is AskKind.DECIDE:
            told.append(move.ask.text)
        return await accept_all(client)

    return meet, told


def test_a_snapshot_in_a_bucket_brings_back_exactly_what_was_there(night: Night) -> None:
    world, before = night.world, night.world.content()
    folder = new_session(world)

    def forget_the_copy(state: SessionState) -> None:
        shutil.rmtree(reach.staging_of(night.target, state) / "snapshots")

    meet, told = undoing(night, folder, forget_the_copy)
    state = run(folder, meet)
    assert state.ended is not None, (folder / "runner.log").read_text()[-3000:]
    assert state.ended.how is Ending.UNDONE
    assert told == []
    assert world.content() == before
    assert state.checks["old schema"].check.verdict == "OK"
    assert state.checks["Snapshot bucket"].check.verdict == "OK"
    assert left_behind(state) == ()
    assert not verify(folder).wrong
    objects = night.objects()
    kept, logs = snapshot_of(state, "snapshot"), msgspec.convert(state.facts("keep-logs")["kept_logs"], Snapshot)
    assert kept is not None
    assert logs.raw is not None
    assert hashlib.sha256(objects[f"{kept.name}.sql.zst"]).hexdigest() == kept.sha256
    assert f'sha256 = "{kept.sha256}"' in objects[f"{kept.name}.toml"].decode()
    assert bool(kept.version) is night.bucket.versioned
    for log in logs.raw.files:
        assert hashlib.sha256(objects[f"{logs.name}.raw/{log.name}"]).hexdigest() == log.sha256
    shots = (kept.name, kept.name.replace("before-restore", "before-undo"))
    wanted = {f"{shot}{ending}" for shot in shots for ending in (".sql.zst", ".toml")}
    wanted |= {f"{logs.name}.raw/{log.name}" for log in logs.raw.files}
    assert set(objects) == {*wanted, f"{logs.name}.toml"}
    listed = {one.name: one for one in points.restore_points(night.target).backups if one.kind == "safety snapshot"}
    assert sorted(listed) == sorted(one for one in objects if one.endswith(".sql.zst"))
    assert not Path(night.target.staging).exists() or not list(Path(night.target.staging).rglob("*.zst"))
