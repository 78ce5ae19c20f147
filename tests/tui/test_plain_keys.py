"""Keys of the plain mode, on a session that is told event by event."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from engines.session import commands as c
from engines.session import events as e
from engines.session.client import Client, Gone
from engines.session.moves import Ask
from engines.session.plan import log_name
from tests.tui.outsides import FakeRunner
from tests.tui.story import ANA, FOLDER, Story
from tui.plain import _Driver


class FakePlainClient(FakeRunner):
    """A connected client that has told everything; after a command its runner leaves."""

    quiet = True
    folder: Path = FOLDER

    async def do(self, command: c.Command) -> None:
        await super().do(command)
        self.say(Gone())


class Lines:
    """Answers one after the other, then nobody answers."""

    def __init__(self, *lines: str) -> None:
        self._left = list(lines)
        self.prompts: list[str] = []

    async def line(self, prompt: str, ask: Ask, field: str) -> str | None:
        self.prompts.append(prompt)
        return self._left.pop(0) if self._left else None

    def refused(self) -> None:
        """Nothing is refused here."""


async def typed(told: Story, *lines: str, log: str = "") -> tuple[FakePlainClient, Lines]:
    client, answers = FakePlainClient(told), Lines(*lines)
    client.me = ANA
    known = told.state.next_step
    if known is not None and log:
        client.logs[log_name(known.step)] = log
    await _Driver(cast(Client, client), answers, None).run()
    return client, answers


async def test_the_log_of_a_step_that_failed_is_shown_and_its_file_named(capsys: pytest.CaptureFixture[str]) -> None:
    told = Story().ready().approved().given("3.2").started("3.2")
    told.ended("3.2", e.Result.FAILED, "exit 1", "Look.")
    _, answers = await typed(told, "l", "q", log="one\n\x1b[2Jtwo\n")
    said = capsys.readouterr().out
    assert "l log" in answers.prompts[0]
    assert "  | one\n" in said
    assert "\x1b" not in said
    assert f"The log: {FOLDER / 'logs'}/" in said


async def test_the_keyboard_is_offered_and_taken_only_from_somebody_else() -> None:
    told = Story().stopped()
    _, answers = await typed(told, "q")
    assert "k take the keyboard" not in answers.prompts[0]
    told.tell(e.KeyboardTaken(e.Actor("eva", "eva", console="c9"), "ana sleeps"))
    client, answers = await typed(told, "k", "eva left")
    assert "k take the keyboard" in answers.prompts[0]
    assert client.asked == [c.TakeKeyboard("ana", "eva left")]
