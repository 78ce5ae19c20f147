"""Whole sessions on real servers: the dump alone, up to a moment, in place and staged, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from engines.recipes.mysql.until import Kind, Until
from engines.session import commands as c
from engines.session import store
from engines.session.client import Client
from engines.session.events import Ending
from engines.session.moves import Wait, left_behind, next_move
from engines.session.state import SessionState
from engines.session.verify import verify
from engines.text import utc_now
from tests.engines.recipes.mysql_world import (
    GOOD,
    LATER,
    MysqlWorld,
    accept_all,
    build,
    new_session,
    overridden,
    programs_of,
)
from tests.engines.recipes.world import answering, start_runner
from tests.servers.databases import Server

METHODS = ("in-place", "staged")


@pytest.fixture
def world_on(server: Server, tmp_path: Path) -> Iterator[Callable[..., MysqlWorld]]:
    with programs_of(server):
        yield lambda **wanted: build(tmp_path / "world", server, **wanted)


def run(folder: Path, meet: Callable[[Client], Awaitable[bool]] = accept_all) -> SessionState:
    asyncio.run(answering(folder, start_runner(folder), meet))
    return store.open_session(folder).state


def how(state: SessionState, folder: Path) -> Ending:
    assert state.ended is not None, (folder / "runner.log").read_text()[-3000:]
    return state.ended.how


@pytest.mark.parametrize("method", METHODS)
def test_a_dump_is_restored_and_nothing_is_left_on_the_server(world_on: Callable[..., MysqlWorld], method: str) -> None:
    world = world_on(more=f'method = "{method}"')
    schemas, accounts = world.schemas(), world.accounts()
    folder = new_session(world)
    state = run(folder)
    assert how(state, folder) is Ending.SIGNED_OFF
    assert world.customers() == GOOD
    assert not world.server.sql("SHOW TABLES LIKE 'made_later'", database=world.schema)
    assert (world.schemas(), world.accounts()) == (schemas, accounts)
    assert not verify(folder).wrong
    assert not overridden(folder)


@pytest.mark.parametrize("method", METHODS)
def test_a_dump_and_its_logs_end_just_before_the_bad_transaction(
    world_on: Callable[..., MysqlWorld], method: str
) -> None:
    world = world_on(more=f'method = "{method}"')
    incident = world.folder / "incident.toml"
    incident.write_text(incident.read_text().replace(f"rows = {GOOD}", f"rows = {GOOD + LATER}"))
    folder = new_session(world, Until(Kind.POSITION, world.bad))
    state = run(folder)
    assert how(state, folder) is Ending.SIGNED_OFF
    assert world.customers() == GOOD + LATER
    assert world.server.sql("SELECT COUNT(*) FROM customers WHERE name LIKE 'late %'", database=world.schema) == [
        (LATER,)
    ]
    assert not overridden(folder)


@pytest.mark.parametrize("method", METHODS)
def test_an_undo_brings_back_exactly_what_was_there(world_on: Callable[..., MysqlWorld], method: str) -> None:
    world = world_on(more=f'method = "{method}"', whole=True)
    before, schemas = world.content(), world.schemas()

    async def meet(client: Client) -> bool:
        move = next_move(client.state, utc_now())
        if isinstance(move, Wait) and client.state.undo_asked is None and move.ask.step == "4.1":
            await client.do(c.Undo("the wrong dump"))
            return True
        return await accept_all(client)

    folder = new_session(world)
    state = run(folder, meet)
    assert how(state, folder) is Ending.UNDONE
    assert world.content() == before
    assert world.schemas() == schemas
    assert state.checks["old schema"].check.verdict == "OK"
    assert left_behind(state) == ()
