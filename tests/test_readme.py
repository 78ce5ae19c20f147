"""The README is the front door: its picture, keys, commands and exit codes are those of the program."""

from __future__ import annotations

import re
from pathlib import Path

from tui.cli import parser
from tui.keys import KEYS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def section(title: str) -> str:
    return README.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_picture_is_a_screen_that_the_tests_keep() -> None:
    frame = (ROOT / "tests/screens/frames/restore-running-80x24.txt").read_text().rstrip("\n")
    assert f"```\n{frame}\n```" in README


def test_the_table_has_each_key_of_the_console_and_no_other() -> None:
    told = {key.strip() for row in re.findall(r"^\| (.+?) \|", section("Keys"), re.MULTILINE) for key in row.split(",")}
    pages = {key.shown for key in KEYS if key.id.startswith("page-")}
    moving = {"arrows", "PgUp", "PgDn", "Tab"}
    assert told - {"key"} == {key.shown for key in KEYS} - pages | {"F1", "1 … 5"} | moving


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
