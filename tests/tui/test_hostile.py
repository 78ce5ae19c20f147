"""Rule 7: text from outside is drawn as text. Every page and dialogue, with everything on it meaning harm."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.events import Paste

from tests.tui import hostile
from tests.tui.driving import Operator, at_the_console
from tests.tui.outsides import World
from tests.tui.story import CONFIG
from tui.app import Console, Opening

FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff]")


def inert(console: Console) -> None:
    """Nothing of what is drawn is a sequence, a link or a direction, and no line is wider than the screen."""
    width = console.size.width
    for strip in console.screen._compositor.render_strips():
        line = "".join(segment.text for segment in strip)
        assert not FORBIDDEN.search(line), repr(line)
        assert cell_len(line) == width, repr(line)
        assert "owned" not in line
        for _, style, _ in strip:
            assert style is None or (style.link is None and "@click" not in style.meta), repr(line)


async def looked_through(operator: Operator, *keys: str) -> None:
    inert(operator.console)
    for key in keys:
        await operator.press(key)
        await operator.until(lambda: not operator.console.exploring.busy, "nothing is being read")
        inert(operator.console)
        if operator.console.dialogue is not None:
            await operator.press("end", "right")
            inert(operator.console)
            await operator.press("escape")


PLACES: dict[str, tuple[Callable[[], World], tuple[str, ...]]] = {
    "readiness": (hostile.hostile_blocked, ("2", "enter", "o", "v", "n", "question_mark", "1", "2", "tab", "c")),
    "restore": (hostile.hostile_running, ("3", "l", "c", "v", "s", "ctrl+c", "4", "5")),
    "failed": (hostile.hostile_failed, ("3", "enter", "u", "x", "k", "question_mark")),
    "validation": (hostile.hostile_compared, ("4", "tab", "o", "r", "5", "f", "t", "tab", "end")),
    "over": (hostile.hostile_over, ("5", "end", "1", "2", "3", "4")),
}


@pytest.mark.parametrize("size", [(80, 24), (60, 20)], ids=["80x24", "60x20"])
@pytest.mark.parametrize("place", PLACES)
async def test_on_every_page_and_in_every_dialogue_harmful_text_is_only_text(place: str, size: tuple[int, int]) -> None:
    world, keys = PLACES[place]
    async with at_the_console(world(), size=size) as operator:
        await operator.sees("[red]" if size[0] == 80 else "PRODUCTION")
        await looked_through(operator, *keys)


async def test_what_is_offered_at_the_start_and_on_the_shelf_is_only_text() -> None:
    opening = Opening(config=CONFIG, incident=Path("incident.toml"), name=hostile.NAME)
    async with at_the_console(hostile.hostile_start(), opening=opening) as operator:
        await operator.sees("Incident: [/x][red]")
        await operator.sees("UNREADABLE")
        await looked_through(operator, "down", "down", "tab", "enter")
        await operator.sees("[red]x[/red].sqlite")
        await looked_through(operator, "down", "enter", "down", "down", "enter", "v", "question_mark")


async def test_what_is_pasted_into_a_box_is_only_text() -> None:
    async with at_the_console(World()) as operator:
        await operator.press("enter")
        await operator.sees("2 of 7 VERIFIED")
        await operator.press("slash")
        operator.console.screen.post_message(Paste(hostile.HARM.partition("\n")[0]))
        await operator.sees("[/x][red]")
        inert(operator.console)
