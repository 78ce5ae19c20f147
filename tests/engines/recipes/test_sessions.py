"""Who begins a session, and who may go on with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engines.recipes import sessions
from engines.session import commands as c
from engines.session import store
from engines.session.client import Client
from engines.session.moves import Wait, next_move
from engines.text import utc_now
from tests.engines.recipes.world import NEW_ROWS, answering, build, new_session, say_yes, start_runner


def test_behind_sudo_the_operator_keeps_their_name_and_gets_the_keyboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket tells the account that runs the console, not the login behind it: the keyboard goes by the former."""
    monkeypatch.setenv("SUDO_USER", "ana")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(sessions, "account", lambda: "root")
    assert sessions.login() == "ana"
    monkeypatch.undo()
    world = build(tmp_path)
    session = new_session(world)
    asyncio.run(answering(session, start_runner(session), say_yes))
    state = store.open_session(session).state
    assert state.ended is not None, "the first console has the keyboard without asking"
    assert world.rows() == NEW_ROWS
    assert state.begun is not None
    assert state.begun.operator.login == sessions.account()


def test_a_session_abandoned_after_going_live_promises_no_undo_that_is_over(tmp_path: Path) -> None:
    world = build(tmp_path, "delete")
    session = new_session(world)

    async def meet(client: Client) -> bool:
        move = next_move(client.state, utc_now())
        if isinstance(move, Wait) and move.ask.step == "4.1":
            await client.do(c.Abandon("enough for tonight"))
            return True
        return await say_yes(client)

    asyncio.run(answering(session, start_runner(session), meet))
    state = store.open_session(session).state
    assert state.ended is not None
    (replaced,) = [line for line in state.ended.left_behind if line.startswith("3.7")]
    assert "reinstate undo" not in replaced
    assert replaced.endswith("once the session is over, restore the safety snapshot")
