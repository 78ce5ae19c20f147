"""Drives the console as an operator does, and reads its screen as text."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from textual import _wait
from textual.pilot import Pilot

from tests.tui.outsides import World
from tests.tui.story import CONFIG, FOLDER
from tui.app import Console, Opening

USUAL = (80, 24)

# Textual looks every 20 ms whether a console has nothing to do any more, several times for each key: that was two
# thirds of these tests' time. What a test waits for is a condition; this only lets the next key be pressed.
_wait.SLEEP_GRANULARITY, _wait.SLEEP_IDLE = 0.004, 0.0004


def screen_text(console: Console) -> str:
    """The screen as lines of text, without blanks at their ends."""
    lines = console.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in lines) + "\n"


class Operator:
    """Hands on the keyboard, eyes on the screen."""

    def __init__(self, console: Console, pilot: Pilot[int], world: World) -> None:
        self.console = console
        self.world = world
        self._pilot = pilot

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def types(self, text: str) -> None:
        await self._pilot.press(*("space" if letter == " " else letter for letter in text))

    async def until(self, true: Callable[[], bool], what: str) -> None:
        """Let the console work until something is true."""
        for _ in range(400):
            if true():
                return
            await self._pilot.pause(0.01)
        raise AssertionError(f"never: {what}\n{self.screen}")

    async def sees(self, text: str) -> None:
        """Wait for words on the screen, however their lines are broken."""
        await self.until(lambda: text in _words(self.screen), f"sees {text!r}")

    async def at(self, width: int, height: int) -> str:
        """The screen once it has been redrawn for another terminal."""
        await self._pilot.resize_terminal(width, height)
        before, same = "", 0
        while same < 3:
            await self._pilot.pause()
            drawn = self.screen
            before, same = drawn, same + 1 if drawn == before else 0
        return before

    @property
    def screen(self) -> str:
        return screen_text(self.console)


def _words(screen: str) -> str:
    return re.sub(r"[\s│─━╭╮╰╯]+", " ", screen)


@asynccontextmanager
async def at_the_console(
    world: World,
    *,
    opening: Opening | None = None,
    size: tuple[int, int] = USUAL,
    read_first: float = 0,
) -> AsyncIterator[Operator]:
    """The console on the world's session if it has a runner, else on the configuration."""
    if opening is None:
        opening = Opening(config=CONFIG, folder=FOLDER if world.told.state.begun else None, name="ana")
    console = Console(opening, world.outside(), read_first=read_first)
    async with console.run_test(size=size, notifications=True) as pilot:
        operator = Operator(console, pilot, world)
        await pilot.pause()
        try:
            yield operator
        finally:
            if world.slow is not None:
                world.slow.set()
