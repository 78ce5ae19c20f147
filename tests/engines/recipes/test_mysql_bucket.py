"""Sessions on real servers whose safety snapshots go to a bucket: kept there, proven there, put back from there."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines.mysql.flavour import Flavour
from engines.mysql.snapshot import Snapshot
from engines.recipes import points, snapshots
from engines.recipes.mysql import reach
from engines.recipes.mysql.loading import snapshot_of
from engines.session import commands as c
from engines.session import store
from engines.session.client import Client
from engines.session.events import Ending
from engines.session.moves import Ask, AskKind, Wait, left_behind, next_move
from engines.session.state import SessionState
from engines.session.verify import verify
from engines.targets import MysqlTarget
from engines.text import utc_now
from tests.engines.backups.objects import Bucket, fresh_name
from tests.engines.recipes.mysql_world import MysqlWorld, accept_all, build, new_session, programs_of
from tests.engines.recipes.world import answering, start_runner
from tests.servers.databases import Server
from tests.servers.proxy import proxied
from tests.servers.s3 import REGION, Answer, S3Server, refusal
from tests.servers.s3 import answering as answering_s3
from tests.servers.waiting import until

PAUSING = "tests.engines.recipes.pausing"


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
    with night_on(server, bucket, tmp_path, s3.endpoint, whole=True) as night:
        yield night


@contextmanager
def night_on(server: Server, bucket: Bucket, tmp_path: Path, endpoint: str, *, whole: bool = False) -> Iterator[Night]:
    more = (
        f'method = "in-place"\nsnapshots = "s3://{bucket.name}/safety/box"\n'
        f's3_endpoint = "{endpoint}"\ns3_region = "{REGION}"'
    )
    with programs_of(server):
        world = build(tmp_path / "world", server, more=more, whole=whole)
        target = world.config().targets["box"]
        assert isinstance(target, MysqlTarget)
        yield Night(world, bucket, target)


def run(folder: Path, meet: Any) -> SessionState:  # noqa: ANN401 - as `answering` has it
    asyncio.run(answering(folder, start_runner(folder), meet))
    return store.open_session(folder).state


def ask_of(client: Client) -> Ask | None:
    move = next_move(client.state, utc_now())
    return move.ask if isinstance(move, Wait) else None


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


def copies(night: Night, state: SessionState) -> Path:
    """Where the session has its copies of what is in the bucket."""
    return reach.staging_of(night.target, state) / "snapshots"


def test_a_snapshot_in_a_bucket_brings_back_exactly_what_was_there(night: Night) -> None:
    world, before = night.world, night.world.content()
    folder = new_session(world)

    async def undo(client: Client) -> bool:
        ask = ask_of(client)
        if ask is not None and client.state.undo_asked is None and ask.step == "4.1":
            shutil.rmtree(copies(night, client.state))  # so that the bucket's has to be fetched
            await client.do(c.Undo("the wrong dump"))
            return True
        assert ask is None or ask.kind is not AskKind.DECIDE, ask.text
        return await accept_all(client)

    state = run(folder, undo)
    assert state.ended is not None, (folder / "runner.log").read_text()[-3000:]
    assert state.ended.how is Ending.UNDONE
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


@pytest.mark.parametrize("reads", [False, True], ids=["closed", "read only"])
def test_the_way_back_needs_no_bucket(mariadb_server: Server, s3: S3Server, tmp_path: Path, reads: bool) -> None:
    """What is live is kept in the state folder then, as a snapshot in a folder is."""
    bucket = Bucket(s3, fresh_name(), prefix="safety/box/")

    def answer(path: str) -> Answer:
        return refusal(404, "NoSuchKey") if reads and "uploads" not in path else refusal(403, "AccessDenied")

    with (
        proxied(port_of(s3.endpoint)) as proxy,
        answering_s3(answer) as closed,
        night_on(mariadb_server, bucket, tmp_path, f"http://127.0.0.1:{proxy.port}") as night,
    ):
        before, folder = night.world.content(), new_session(night.world)
        shows: list[str] = []

        async def undo(client: Client) -> bool:
            ask = ask_of(client)
            assert ask is None or ask.kind is not AskKind.DECIDE, ask.text
            if ask is not None and client.state.undo_asked is None and ask.step == "4.1":
                proxy.lead_to(port_of(closed))
                await client.do(c.Undo("the wrong dump"))
                return True
            if ask is not None and ask.step == "6.6":
                shows.extend(next(one.step.shows for one in client.state.steps if one.step.id == "6.6"))
            return await accept_all(client)

        state = run(folder, undo)
        assert state.ended is not None, (folder / "runner.log").read_text()[-3000:]
        assert state.ended.how is Ending.UNDONE
        assert night.world.content() == before
        spare = night.world.config().state / "snapshots" / "box"
        assert any(str(spare) in line for line in shows)
        kept, check = snapshot_of(state, "keep-present"), state.checks["Present state"].check
        assert kept is not None
        assert check.verdict == "WARN"
        assert f"{spare}/{kept.name}.sql.zst" in check.evidence
        assert "access is denied" in check.evidence
        assert hashlib.sha256((spare / f"{kept.name}.sql.zst").read_bytes()).hexdigest() == kept.sha256
        assert f"but in {spare}" in next(one.message for one in state.steps if one.step.id == "6.6")
        proxy.lead_to(port_of(s3.endpoint))
        rows = {one.name: one for one in points.restore_points(night.target).backups}
        assert str(rows[f"{kept.name}.sql.zst"].place) == kept.path
        later = utc_now() + timedelta(days=99)
        assert kept.name in [one.name for one in snapshots.due(night.target, later)]
        snapshots.prune(night.target, later)
        assert list(spare.iterdir()) == []
        assert night.objects() == {}


@pytest.mark.torture
def test_nothing_is_replaced_while_the_bucket_is_closed_nor_put_back_from_another_object(
    mariadb_server: Server, s3: S3Server, tmp_path: Path
) -> None:
    """Before that the runner is killed between an upload and its description: what was sent counts for nothing."""
    bucket = Bucket(s3, fresh_name(), prefix="safety/box/")
    with (
        proxied(port_of(s3.endpoint)) as proxy,
        answering_s3(lambda _path: refusal(403, "AccessDenied")) as closed,
        night_on(mariadb_server, bucket, tmp_path, f"http://127.0.0.1:{proxy.port}") as night,
    ):
        before, folder, place = night.world.content(), new_session(night.world), tmp_path / "waiting"
        process = start_runner(folder, "keep.describe.before", str(place), module=PAUSING)
        with meanwhile(process, place, process.kill):
            asyncio.run(answering(folder, process, accept_all))
        assert process.returncode == -signal.SIGKILL
        assert night.objects()
        assert not [name for name in night.objects() if name.endswith(".toml")]

        answers = Answers(night, before, tmp_path / "spare", lambda: proxy.lead_to(port_of(s3.endpoint)))
        process = start_runner(folder, "snapshot.describe.after", str(place), module=PAUSING)
        with meanwhile(process, place, lambda: proxy.lead_to(port_of(closed))):
            asyncio.run(answering(folder, process, answers))
        state = store.open_session(folder).state
        assert state.ended is not None, (folder / "runner.log").read_text()[-3000:]
        assert state.ended.how is Ending.UNDONE
        assert [step for step, _text in answers.told] == ["3.6", "3.7", "6.7"]
        assert "access is denied" in answers.told[1][1]
        assert "can't be put back" in answers.told[2][1]
        assert night.world.content() == before
        assert not verify(folder).wrong


@dataclass
class Answers:
    """The operator: mends what is told, undoes once the dump is live, and has a copy of the snapshot elsewhere."""

    night: Night
    before: bytes
    spare: Path
    back: Callable[[], None]  # the bucket
    told: list[tuple[str, str]] = field(default_factory=list)
    live: bytes = b""

    async def __call__(self, client: Client) -> bool:
        ask = ask_of(client)
        if ask is None:
            return False
        if ask.step == "4.1" and client.state.undo_asked is None:
            copies(self.night, client.state).rename(self.spare)
            (name,) = [path.name for path in self.spare.glob("*before-restore.sql.zst")]
            self.night.bucket.put({name: b"somebody else's"}, listed=False)
            self.live = self.night.world.content()
            await client.do(c.Undo("the wrong dump"))
            return True
        if ask.kind is AskKind.DECIDE:
            self.told.append((ask.step, ask.text))
            assert self.night.world.content() == (self.live or self.before)
            self.back()
            if self.live:
                for path in self.spare.glob("*before-restore.sql.zst"):
                    shutil.copy(path, copies(self.night, client.state))
        return await accept_all(client)


@contextmanager
def meanwhile(process: subprocess.Popen[bytes], place: Path, harm: Callable[[], None]) -> Iterator[None]:
    """`harm`, once the runner waits at its point."""

    def wait_and_harm() -> None:
        until(lambda: place.exists() or process.poll() is not None, "the runner comes to its point", 90)
        if place.exists():
            harm()
            place.unlink(missing_ok=True)

    thread = threading.Thread(target=wait_and_harm)
    thread.start()
    yield
    thread.join()
