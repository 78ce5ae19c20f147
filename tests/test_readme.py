"""The README is the front door: its picture, keys, commands and exit codes are those of the program."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests import pictures
from tui.cli import parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    return README.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_frame_and_the_table_of_keys_are_those_of_the_console() -> None:
    """`make pictures` renders both anew."""
    assert pictures.readme(README) == README
    assert pictures.keys() in section("Keys")


@pytest.mark.parametrize("name", pictures.PICTURES)
async def test_the_pictures_are_of_the_console_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make pictures` renders them anew."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        drawn = await pictures.picture(name)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert drawn == (pictures.FOLDER_OF_PICTURES / f"{name}.svg").read_text()
    assert f"docs/pictures/{name}.svg" in README
    assert "url(" not in re.sub(r"url\(#", "", drawn), "whoever looks at it fetches nothing"


def test_each_command_is_told_and_each_that_is_told_exists() -> None:
    text = section("Commands and exit codes")
    told = set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", text)) - {"reinstate"}
    groups = parser()._subparsers
    assert groups is not None
    known = {str(name) for action in groups._group_actions for name in (action.choices or ())}
    assert told == known


def test_every_link_leads_to_a_file() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).is_file(), target
