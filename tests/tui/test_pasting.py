"""What is suggested works when it is pasted."""

from __future__ import annotations

from pathlib import Path

from engines.errors import Refused
from tests.tui.driving import at_the_console
from tests.tui.outsides import World
from tests.tui.story import CONFIG
from tui.app import Opening
from tui.cli import parser
from tui.pasting import COMMANDS, pasted


def test_every_command_that_reads_the_configuration_is_known() -> None:
    groups = parser()._subparsers
    assert groups is not None
    known = {str(name) for action in groups._group_actions for name in (action.choices or ())}
    assert set(COMMANDS) == known - {"completion", "demo"}


def test_the_configuration_that_was_given_is_in_each_command() -> None:
    text = "Go on: reinstate attach 7f3a. Or `reinstate sessions`; reinstate demo, the reinstate command."
    written = pasted(text, Path("/etc/my shop.toml"))
    assert written == (
        "Go on: reinstate --config '/etc/my shop.toml' attach 7f3a. Or `reinstate --config '/etc/my shop.toml' "
        "sessions`; reinstate demo, the reinstate command."
    )
    assert pasted(text, None) == text
    assert f"--config {Path.cwd()}/here.toml attach" in pasted(text, Path("here.toml"))


async def test_a_refusal_in_the_console_names_it_too() -> None:
    refusal = Refused("Session 7f3a of shop is unfinished. Nothing was changed.", "reinstate attach 7f3a")
    opening = Opening(config=CONFIG, config_path=Path("/etc/shop.toml"), name="ana")
    async with at_the_console(World(refusal=refusal), opening=opening) as operator:
        await operator.press("enter")
        await operator.sees("Enter chooses this backup")
        await operator.press("enter", "enter")
        await operator.sees("Nothing was changed. reinstate --config /etc/shop.toml attach 7f3a")
