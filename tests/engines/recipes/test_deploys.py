"""Deploys are frozen for the time of a restore and proven thawed before anybody signs off."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engines.checks import Verdict
from engines.errors import Refused
from engines.people import Role
from engines.recipes import deploys
from engines.session import commands as c
from engines.session import store
from engines.session.client import Client
from engines.session.moves import AskKind, Wait, next_move, overriding
from engines.session.plan import GateKind
from engines.session.state import SessionState, Status
from engines.surroundings import GitHub
from engines.targets import Application, Framework
from engines.text import utc_now
from tests.engines.recipes.world import World, answering, build, new_session, say_yes, start_runner
from tests.servers.fake_github import REPOSITORY, TOKEN, Failure, FakeGitHub, fake_github

Meet = Callable[[Client], Awaitable[bool]]


@pytest.fixture
def server() -> Iterator[FakeGitHub]:
    with fake_github() as server:
        yield server


def world_with(folder: Path, server: FakeGitHub | None = None, **more: str) -> World:
    """The small world, deployed by a workflow on GitHub where a server is given."""
    world = build(folder, "delete")
    path = folder / "reinstate.toml"
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    lines = [f'{key} = "{value}"' for key, value in more.items()]
    if server is not None:
        lines += [
            "[target.box.application.github]",
            f'repository = "{REPOSITORY}"',
            f'api = "{server.address}"',
            f'token_file = "{token}"',
            'timeout = "2s"',
        ]
    path.write_text(path.read_text() + "\n".join(lines) + "\n")
    return world


def run(world: World, meet: Meet) -> tuple[Path, SessionState]:
    session = new_session(world)
    asyncio.run(answering(session, start_runner(session), meet))
    return session, store.open_session(session).state


def waits(client: Client, kind: AskKind, step: str = "") -> bool:
    move = next_move(client.state, utc_now())
    return isinstance(move, Wait) and move.ask.kind is kind and (not step or move.ask.step == step)


def step(state: SessionState, action: str) -> tuple[Status, str]:
    (known,) = [known for known in state.steps if known.step.action == action]
    return known.status, known.message


def test_a_workflow_is_frozen_and_thawed_and_the_token_is_nowhere(tmp_path: Path, server: FakeGitHub) -> None:
    world = world_with(tmp_path, server)
    seen: list[str] = []

    async def meet(client: Client) -> bool:
        if waits(client, AskKind.TYPED):
            seen.append(server.state)
        return await say_yes(client)

    session, state = run(world, meet)
    assert state.ended is not None, (session / "runner.log").read_text()
    assert seen == ["disabled_manually"], "frozen while the database is replaced"
    assert server.state == "active"
    assert step(state, "stop-deploys") == (Status.DONE, "deploy.yml is disabled_manually")
    assert step(state, "start-deploys") == (Status.DONE, "deploy.yml is active")
    for name in (deploys.READY, deploys.FROZEN, deploys.THAWED, deploys.UNDER_WAY):
        assert state.checks[name].check.verdict is Verdict.OK, name
    assert "actions/workflows/deploy.yml/disable" in (session / "plan.toml").read_text()
    written = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]


def test_a_freeze_that_fails_is_tried_again_on_request_and_passed_over_with_a_reason(
    tmp_path: Path, server: FakeGitHub
) -> None:
    world = world_with(tmp_path, server)
    said: list[str] = []

    async def meet(client: Client) -> bool:
        if waits(client, AskKind.CONFIRM, "3.1") and not said:
            server.fail(*[Failure(503, method="GET")] * 2)
        if waits(client, AskKind.DECIDE, "3.1"):
            known = client.state.step("3.1")
            assert known is not None
            said.append(known.message)
            await client.do(c.Retry("3.1") if len(said) == 1 else c.Skip("3.1", "told Rita by phone"))
            return True
        return await say_yes(client)

    _, state = run(world, meet)
    assert len(said) == 2
    assert "has a fault of its own" in said[0]
    assert [(one.what, one.reason) for one in state.deviations] == [
        ("step skipped: 3.1 Freeze deploys", "told Rita by phone")
    ]
    assert state.ended is not None, "an outage of GitHub's does not keep a restore from its end"
    assert state.checks[deploys.THAWED].check.verdict is Verdict.OK, "and what was tried is still asked about"


def test_sign_off_is_refused_while_deploys_are_frozen_and_an_override_is_recorded(
    tmp_path: Path, server: FakeGitHub
) -> None:
    world = world_with(tmp_path, server)
    blocked: list[tuple[str, ...]] = []

    async def meet(client: Client) -> bool:
        if waits(client, AskKind.CONFIRM, "4.8"):
            server.stubborn = True  # it takes the request, and the workflow stays disabled
        if waits(client, AskKind.DECIDE, "4.8"):
            await client.do(c.Skip("4.8", "GitHub does not do it"))
            return True
        move = next_move(client.state, utc_now())
        if isinstance(move, Wait) and move.ask.kind is AskKind.CHECKS:
            blocked.append(move.ask.checks)
            with pytest.raises(Refused):
                await client.do(c.Give("5.1", GateKind.SIGN_OFF, Role.OWNER, name="olu"))
            if len(blocked) == 1:
                await client.do(c.Recheck(deploys.THAWED))
            else:
                await client.do(overriding(client.state, deploys.THAWED, "ivo", "frozen until Monday, Rita knows"))
            return True
        return await say_yes(client)

    session, state = run(world, meet)
    assert blocked == [(deploys.THAWED,), (deploys.THAWED,)]
    assert server.state == "disabled_manually"
    record = tomllib.loads((session / "session.toml").read_text())
    assert record["session"]["left_behind"] == ["3.1 Freeze deploys: thaw deploys"]
    assert "frozen until Monday, Rita knows" in [one.reason for one in state.deviations]


def test_a_deploy_under_way_bars_going_live_until_it_has_ended(tmp_path: Path, server: FakeGitHub) -> None:
    world = world_with(tmp_path, server)
    server.runs.append({"id": 7, "status": "in_progress", "head_branch": "main", "html_url": "https://run/7"})
    barred: list[str] = []

    async def meet(client: Client) -> bool:
        if waits(client, AskKind.CHECKS):
            known = client.state.checks[deploys.UNDER_WAY]
            barred.append(known.check.evidence)
            assert not client.state.did("replace")
            server.runs.clear()
            await client.do(c.Recheck(deploys.UNDER_WAY))
            return True
        return await say_yes(client)

    _, state = run(world, meet)
    assert barred == ["run 7 of main is in_progress (https://run/7)"]
    assert state.ended is not None
    assert state.checks[deploys.READY].check.verdict is Verdict.WARN, "it was said before the approval"


def test_without_a_token_the_release_manager_is_told_and_whom_is_recorded(tmp_path: Path) -> None:
    world = world_with(tmp_path, release_manager="Rita, release desk")
    told = iter(["Rita, by phone", "Rita, in the channel"])
    refused: list[str] = []

    async def meet(client: Client) -> bool:
        move = next_move(client.state, utc_now())
        if isinstance(move, Wait) and move.ask.kind is AskKind.TOLD:
            assert "Tell Rita, release desk" in move.ask.text
            if not refused:
                with pytest.raises(Refused, match="goes into the record"):
                    await client.do(c.Give(move.ask.step, GateKind.TOLD, move.ask.role, text=" "))
                refused.append(move.ask.step)
            await client.do(c.Give(move.ask.step, GateKind.TOLD, move.ask.role, text=next(told)))
            return True
        if waits(client, AskKind.CONFIRM, "4.12"):
            await client.do(c.Skip("4.12", "the nightly job runs in an hour"))
            return True
        return await say_yes(client)

    session, state = run(world, meet)
    assert refused == ["3.1"]
    assert step(state, "stop-deploys") == (Status.DONE, "told: Rita, by phone")
    assert step(state, "start-deploys") == (Status.DONE, "told: Rita, in the channel")
    assert [(one.what, one.reason) for one in state.deviations] == [
        ("step skipped: 4.12 Take a new full backup", "the nightly job runs in an hour")
    ], "that no backup was taken is for the follow-up"
    assert "told: Rita, by phone" in (session / "session.toml").read_text()
    assert "told: Rita, by phone" in (session / "report.md").read_text()


def test_readiness_tells_a_mistake_from_an_outage(tmp_path: Path, server: FakeGitHub) -> None:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    conf = GitHub(REPOSITORY, token_file=token, api=server.address)

    def verdict(conf: GitHub, *failures: Failure) -> Verdict:
        server.failures.clear()
        server.fail(*failures)
        (check,) = deploys.ready(Application(tmp_path, Framework.NONE, github=conf))
        assert check.name == deploys.READY
        assert TOKEN not in check.evidence + check.hint
        return check.verdict

    assert verdict(conf) is Verdict.OK
    assert verdict(conf, Failure(404)) is Verdict.FAIL
    assert verdict(conf, Failure(401)) is Verdict.FAIL
    assert verdict(replace(conf, token_file=tmp_path / "gone")) is Verdict.FAIL
    assert verdict(conf, Failure(403, {"Retry-After": "9"})) is Verdict.UNKNOWN
    assert verdict(conf, Failure(500)) is Verdict.UNKNOWN
    assert verdict(replace(conf, api="http://127.0.0.1:1")) is Verdict.UNKNOWN
    server.state = "disabled_inactivity"
    assert verdict(conf) is Verdict.WARN
    assert verdict(replace(conf, token_file=None)) is Verdict.WARN
