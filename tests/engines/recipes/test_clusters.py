"""Whole sessions on a Galera cluster, and on a primary with a replica: what reaches other nodes is looked at there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from engines.checks import Verdict
from engines.mysql.flavour import Flavour
from engines.mysql.nodes.ready import OTHERS, named
from engines.recipes.mysql.nodes import unused_on
from engines.recipes.mysql.same import KNOWN, same_on
from engines.recipes.mysql.until import Kind, Until
from engines.session import commands as c
from engines.session import store
from engines.session.client import Client
from engines.session.events import Ending
from engines.session.moves import Ask, AskKind, Wait, next_move, overriding
from engines.session.state import SessionState
from engines.session.verify import verify
from engines.text import utc_now
from tests.engines.recipes.mysql_ground import CODE
from tests.engines.recipes.mysql_world import (
    GOOD,
    LATER,
    MysqlWorld,
    accept_all,
    build,
    content_of,
    new_session,
    overridden,
    programs_of,
)
from tests.engines.recipes.world import answering, say_yes, start_runner
from tests.servers.clusters import galera, primary_with_replica
from tests.servers.databases import FLAVOURS, Build, Server
from tests.servers.waiting import until

pytestmark = pytest.mark.xdist_group("clusters")
COMPARE = "4.2"
Meet = Callable[[Client], Awaitable[bool]]


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Server, ...]]:
    with galera() as servers, programs_of(servers[0]):
        yield servers


def run(folder: Path, meet: Meet) -> SessionState:
    asyncio.run(answering(folder, start_runner(folder), meet))
    state = store.open_session(folder).state
    assert state.ended is not None, (folder / "runner.log").read_text()[-3000:]
    assert not verify(folder).wrong
    return state


def world_on(folder: Path, nodes: tuple[Server, ...], more: str, script: str = "") -> MysqlWorld:
    """A world on the first of them; the others have it too when this returns."""
    world = build(folder / "world", nodes[0], more=more, script=script)
    for node in nodes[1:]:
        until(partial(_has_all, node, world.schema), "the node has all of it", 60.0)
    return world


def _has_all(node: Server, schema: str) -> bool:
    last = "SELECT 1 FROM information_schema.tables WHERE table_schema = '{}' AND table_name = 'made_later'"
    return bool(node.sql(last.format(schema)))


def up_to_the_bad_transaction(world: MysqlWorld) -> Path:
    incident = world.folder / "incident.toml"
    incident.write_text(incident.read_text().replace(f"rows = {GOOD}", f"rows = {GOOD + LATER}"))
    return new_session(world, Until(Kind.POSITION, world.bad))


def shown(state: SessionState, action: str) -> str:
    return "\n".join(line for known in state.steps if known.step.action == action for line in known.step.shows)


def message_of(state: SessionState, ask: Ask) -> str:
    known = state.step(ask.step)
    return known.message if known is not None else ""


def ask_of(client: Client) -> Ask | None:
    move = next_move(client.state, utc_now())
    return move.ask if isinstance(move, Wait) else None


def test_a_restore_reaches_every_member_of_a_galera_cluster(nodes: tuple[Server, ...], tmp_path: Path) -> None:
    _, second, third = nodes
    world = world_on(tmp_path, nodes, 'method = "staged"', CODE)
    folder = up_to_the_bad_transaction(world)
    user = second.connection(world.schema)  # an application's, through another member
    told: list[str] = []

    async def meet(client: Client) -> bool:
        move = next_move(client.state, utc_now())
        if isinstance(move, Wait) and move.ask.kind is AskKind.DECIDE and user.open:
            told.append(message_of(client.state, move.ask))
            user.close()
        return await say_yes(client)

    state = run(folder, meet)
    assert state.ended is not None
    assert state.ended.how is Ending.SIGNED_OFF
    assert len(told) == 1
    assert f"On {second.place}: {world.schema} is still in use" in told[0]
    for node in nodes:
        assert of_all_nodes(content_of(node, world.schema)) == of_all_nodes(world.good)
    for node in (second, third):
        assert f"{node.place} (member of the Galera cluster): takes each statement" in shown(state, "load-staged")
        for name in (named(node.place), same_on(node.place), unused_on(node.place)):
            assert state.checks[name].check.verdict is Verdict.OK, state.checks[name].check
    assert "counts and checksums are the same" in state.checks[same_on(third.place)].check.evidence
    assert state.checks[KNOWN].check.verdict is Verdict.OK
    assert not overridden(folder)


def test_a_member_that_died_is_unknown_and_an_undo_reaches_the_others(
    nodes: tuple[Server, ...], tmp_path: Path
) -> None:
    first, second, third = nodes
    world = world_on(tmp_path, nodes, 'method = "in-place"')
    before = world.content()
    folder = new_session(world)

    async def meet(client: Client) -> bool:
        ask = ask_of(client)
        if ask is not None and ask.step == COMPARE and ask.kind is AskKind.CONFIRM and third.process is not None:
            third.kill()
        if ask is not None and ask.kind is AskKind.CHECKS and client.state.undo_asked is None:
            await client.do(c.Undo("a node is lost"))
            return True
        return await accept_all(client)

    state = run(folder, meet)
    assert state.ended is not None
    assert state.ended.how is Ending.UNDONE
    assert state.did("compare-nodes")
    assert state.checks[same_on(third.place)].check.verdict is Verdict.UNKNOWN
    assert "No connection" in state.checks[same_on(third.place)].check.evidence
    assert state.checks[same_on(second.place)].check.verdict is Verdict.OK
    for node in (first, second):
        assert of_all_nodes(content_of(node, world.schema)) == of_all_nodes(before)


def of_all_nodes(content: bytes) -> bytes:
    """Without what is a node's own: the next number of each table that counts, and where events run."""
    return re.sub(rb" AUTO_INCREMENT=\d+", b"", content).replace(b" DISABLE ON SLAVE ", b" ENABLE ")


def _alone(name: str) -> tuple[str, ...]:
    """Changes a row where it stays unheard of."""
    return "SET SESSION sql_log_bin = 0", f"UPDATE customers SET name = '{name}' WHERE id = 7"


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda build: build.name)
def test_a_replica_that_differs_or_stands_still_is_told_and_blocks_the_sign_off(flavour: Build, tmp_path: Path) -> None:
    with primary_with_replica(flavour) as (primary, replica), programs_of(primary):
        mysql = flavour.flavour is Flavour.MYSQL
        method = "staged" if mysql else "in-place"
        world = world_on(tmp_path, (primary, replica), f'method = "{method}"')
        folder = up_to_the_bad_transaction(world)
        name = same_on(replica.place)
        told: list[str] = []
        harmed: list[str] = []
        stopped: list[Verdict] = []
        lock = replica.connection()

        async def meet(client: Client) -> bool:
            ask, known = ask_of(client), client.state.checks.get(name)
            if ask is None:
                return False
            if ask.step == COMPARE and ask.kind is AskKind.CONFIRM and not harmed:
                harmed.append(ask.step)
                replica.sql(*_alone("x"), database=world.schema)
                lock.query("FLUSH TABLES WITH READ LOCK")
                primary.sql("CREATE DATABASE unheard")
            running = client.state.running
            if running is not None and running.id == COMPARE and not stopped and not client.state.stop_asked:
                await client.do(c.Stop(COMPARE))
                return True
            if ask.kind is AskKind.DECIDE and ask.step == COMPARE:
                assert known is not None
                stopped.append(known.check.verdict)
                lock.query("UNLOCK TABLES")
            if ask.kind is AskKind.CHECKS and ask.checks == (name,) and known is not None and not told:
                told.append(known.check.evidence)
                await client.do(overriding(client.state, name, "ivo", "it is made anew tomorrow"))
                return True
            return await say_yes(client)

        state = run(folder, meet)
        lock.close()
        assert state.ended is not None
        assert state.ended.how is Ending.SIGNED_OFF
        assert set(stopped) == {Verdict.UNKNOWN}
        assert told == ["differs: customers has other rows (by CHECKSUM TABLE)"]
        assert list(overridden(folder)) == [name]
        assert "customers has other rows" in (folder / "session.toml").read_text()
        assert state.checks[named(replica.place)].check.verdict is Verdict.OK
        assert state.checks[OTHERS].check.evidence == f"{replica.place} (told by the server)"
        load = shown(state, "load-staged" if mysql else "load")
        assert f"{replica.place} (replica): applies the whole restore after this server" in load
        replica.sql(*_alone("customer 7"), database=world.schema)
        assert content_of(replica, world.schema) == world.good
