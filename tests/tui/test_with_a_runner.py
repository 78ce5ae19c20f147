"""The console on a real runner process, over its real socket: the toy recipe restores a text file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engines.session.state import Status
from tests.engines.session.toy_session import ROOT, ToySession, no_runner_left, toy_session
from tests.tui.driving import Operator, at_the_console
from tests.tui.outsides import World
from tui.app import Opening
from tui.outside import Outside, real


class RealWorld(World):
    """Nothing is faked but who starts a runner: the toy's module."""

    def __init__(self, session: ToySession) -> None:
        super().__init__()
        self.session = session

    def outside(self) -> Outside:
        return replace(real(), resume=lambda _folder: self.session.resume())


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ToySession]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = toy_session(tmp_path)
    with no_runner_left(made):
        yield made


async def approve(operator: Operator) -> None:
    await operator.sees("The incident commander reads the plan and approves it.")
    await operator.press("enter")
    await operator.sees("Whoever approves it answers for it.")
    await operator.types("ines")
    await operator.press("enter")


async def test_a_restore_is_carried_from_its_plan_to_its_sign_off_by_keys(session: ToySession) -> None:
    session.begin()
    opening = Opening(folder=session.folder, name="ana")
    async with at_the_console(RealWorld(session), opening=opening) as operator:
        await approve(operator)
        await operator.sees("Next: 3.1 Stop.")
        await operator.press("enter")
        await operator.sees("Next: 3.3 Replace.")
        await operator.press("enter")
        await operator.sees("The target's name")
        await operator.types("tox")
        await operator.press("enter")
        await operator.sees("That is not the target's name. Nothing was changed. Type toy exactly.")
        assert session.target.read_text() == "live\n"
        await operator.press("backspace", "y", "enter")
        await operator.sees("The application owner signs off by name")
        assert session.target.read_text() == "backup\n"
        await operator.press("enter")
        await operator.types("omar")
        await operator.press("enter")
        await operator.sees("The session is over: signed off.")
        assert f"{session.folder.name}/session.toml" in "".join(operator.screen.split())
        await operator.press("3", "up", "up", "up")
        await operator.sees("begin stop")
    assert session.state.ended is not None


async def test_a_console_that_is_closed_leaves_the_step_running_and_another_one_shows_it(session: ToySession) -> None:
    (session.ground / "wait").touch()
    session.begin()
    opening = Opening(folder=session.folder, name="ana")
    async with at_the_console(RealWorld(session), opening=opening) as operator:
        await approve(operator)
        await operator.sees("Next: 3.1 Stop.")
        await operator.press("enter")
        await operator.sees("Next: 3.3 Replace.")
        await operator.press("enter")
        await operator.sees("The target's name")
        await operator.types("toy")
        await operator.press("enter")
        await operator.sees("3.3 Replace is under way.")
        await operator.press("q")
        assert operator.console.parting == (
            f"Session {session.folder.name} goes on without this console. Back to it:",
            f"  reinstate attach {session.folder.name}",
        )
    assert session.mark is not None
    async with at_the_console(RealWorld(session), opening=opening) as operator:
        await operator.sees("3.3 Replace is under way.")
        await operator.sees("50 %")
        await operator.press("s")
        await operator.sees("Stop 3.3 Replace?")
        await operator.press("y")
        await operator.sees("Stopped before anything was replaced.")
        (session.ground / "wait").unlink()
        await operator.press("r")
        await operator.sees("Next: 3.3 Replace.")
        await operator.press("enter")
        await operator.sees("The target's name")
        await operator.types("toy")
        await operator.press("enter")
        await operator.sees("The application owner signs off by name")


async def test_a_runner_that_dies_is_seen_at_once_and_resumed_by_keys(session: ToySession) -> None:
    (session.ground / "wait").touch()
    session.begin()
    opening = Opening(folder=session.folder, name="ana")
    async with at_the_console(RealWorld(session), opening=opening) as operator:
        await approve(operator)
        await operator.sees("Next: 3.1 Stop.")
        await operator.press("enter")
        await operator.sees("Next: 3.3 Replace.")
        await operator.press("enter")
        await operator.sees("The target's name")
        await operator.types("toy")
        await operator.press("enter")
        await operator.sees("3.3 Replace is under way.")
        session.kill()
        await operator.sees("The runner is gone.")
        await operator.press("R")
        await operator.sees("It was gone while 3.3 Replace was under way")
        await operator.press("enter")
        await operator.sees(
            "has an outcome that is not known. Enter: what can be done. The runner died during this step."
        )
    step = session.state.step("3.3")
    assert step is not None
    assert step.status is Status.UNKNOWN
