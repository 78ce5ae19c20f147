"""A whole recovery whose application is on two other machines: what is stopped there is proven back on each of them."""

from __future__ import annotations

import asyncio
import stat
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from engines.checks import Verdict
from engines.session import commands as c
from engines.session import store
from engines.session.client import Client
from engines.session.moves import AskKind, Wait, next_move, overriding
from engines.session.state import SessionState, Status
from engines.text import utc_now
from tests.engines.recipes.world import NEW_ROWS, World, answering, build, new_session, say_yes, start_runner
from tests.servers.sshd import SshServer, ssh_server

Meet = Callable[[Client], Awaitable[bool]]
# Both machines are this one: which of them a command came to is told by the port of its connection.
_DOWN = "down-$(echo $SSH_CONNECTION | cut -d' ' -f4)"
_OFF = _DOWN.replace("down", "off")


@pytest.fixture
def servers() -> Iterator[tuple[SshServer, SshServer]]:
    with ssh_server() as first, ssh_server() as second:
        yield first, second


def on_hosts(folder: Path, servers: tuple[SshServer, SshServer]) -> World:
    """The small world with its application on both."""
    world = build(folder, "delete")
    (world.folder / "app" / ".env").write_text("APP_KEY=canary-of-the-settings\n")
    path = folder / "reinstate.toml"
    head, _, _ = path.read_text().partition("maintenance_on")
    commands = {
        "maintenance_on": f"touch {_DOWN}",
        "maintenance_off": f"rm -f {_DOWN}",
        "maintenance_check": f"test -e {_DOWN}",
        "workers_stop": f"touch {_OFF}",
        "workers_start": f"rm -f {_OFF}",
        "workers_check": f"! test -e {_OFF}",
    }
    text = head + 'env_file = ".env"\n'
    text += "".join(f'{key} = ["sh", "-c", "{script}"]\n' for key, script in commands.items())
    for server in servers:
        text += (
            "[[target.box.application.host]]\n"
            f'address = "{server.login}@127.0.0.1"\nport = {server.port}\nidentity = "{server.folder}/user_key"\n'
            f'known_hosts = "{server.folder}/known_hosts"\nconnect_timeout = "5s"\n'
        )
    path.write_text(text)
    return world


def run(world: World, meet: Meet) -> tuple[Path, SessionState]:
    session = new_session(world)
    asyncio.run(answering(session, start_runner(session), meet))
    return session, store.open_session(session).state


def left(world: World) -> set[str]:
    return {path.name for path in (world.folder / "app").iterdir()} - {".env"}


def test_each_host_is_stopped_and_proven_and_one_that_is_lost_bars_the_sign_off_until_it_is_overridden(
    tmp_path: Path, servers: tuple[SshServer, SshServer]
) -> None:
    world = on_hosts(tmp_path, servers)
    lost = f"{servers[1].login}@127.0.0.1:{servers[1].port}"
    names = [f"{server.login}@127.0.0.1:{server.port}" for server in servers]
    seen: list[set[str]] = []
    kept: list[tuple[str, int]] = []
    failed: list[str] = []
    blocked: list[tuple[str, ...]] = []

    async def meet(client: Client) -> bool:
        move = next_move(client.state, utc_now())
        ask = move.ask if isinstance(move, Wait) else None
        if ask is not None and ask.kind is AskKind.TYPED:
            seen.append(left(world))
            (private,) = (tmp_path / "state" / "sessions").glob("*/private")
            kept.extend((path.read_text(), stat.S_IMODE(path.stat().st_mode)) for path in private.glob("env-*"))
        if ask is not None and ask.kind is AskKind.CONFIRM and ask.step == "4.6" and not failed:
            (servers[1].folder / "user_key.pub").write_text("")  # it lets nobody in any more
        if ask is not None and ask.kind is AskKind.DECIDE:
            known = client.state.step(ask.step)
            assert known is not None
            assert known.status is Status.FAILED
            failed.append(known.message)
            await client.do(c.Skip(ask.step, "web2 is down, its owner is called"))
            return True
        if ask is not None and ask.kind is AskKind.CHECKS:
            blocked.append(ask.checks)
            for name in ask.checks:
                known_check = client.state.checks[name].check
                assert known_check.verdict is Verdict.UNKNOWN
                assert lost in known_check.evidence
                await client.do(overriding(client.state, name, "ivo", "web2 is out of the balancer"))
            return True
        return await say_yes(client)

    session, state = run(world, meet)
    assert world.rows() == NEW_ROWS
    assert seen == [{f"{what}-{server.port}" for what in ("down", "off") for server in servers}]
    assert kept == [("APP_KEY=canary-of-the-settings\n", 0o600)] * 2
    for name in ("maintenance mode is on", "workers stopped"):
        assert state.checks[name].check.verdict is Verdict.OK
        assert all(host in state.checks[name].check.evidence for host in names), name
    assert all(state.checks[f"host {host}"].check.verdict is Verdict.OK for host in names)
    written = b"".join(path.read_bytes() for path in session.rglob("*") if path.is_file())
    assert b"canary-of-the-settings" not in written
    assert [message.split(" failed on ")[1].split(":")[0] for message in failed] == [lost.split(":")[0]] * 2
    assert all(lost in message and "Done on " in message for message in failed)
    assert [set(names) for names in blocked] == [{"maintenance mode is off", "workers running again"}]
    assert left(world) == {f"down-{servers[1].port}", f"off-{servers[1].port}"}
    record = tomllib.loads((session / "session.toml").read_text())
    assert record["session"]["state"] == "signed off"
    assert len(record["session"]["left_behind"]) == 2
    assert [one.reason for one in state.deviations].count("web2 is out of the balancer") == 2
