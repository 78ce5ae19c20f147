"""docs/point-in-time.md shows the console as it is, and names only what there is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from engines.mysql.binlogs.transactions import DANGEROUS
from engines.recipes.mysql.until import Kind, typed
from engines.targets import Method, MysqlTarget

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/point-in-time.md").read_text()


def test_its_timeline_is_the_one_that_the_backups_page_draws() -> None:
    frame = (ROOT / "tests/screens/frames/server-session-80x24.txt").read_text().splitlines()
    for line in frame[2:6]:
        assert f"    {line}".rstrip() in TEXT


def test_each_way_to_say_how_far_is_one_that_is_understood() -> None:
    rows = re.findall(r"^\| (.*?) \| .* \|$", TEXT.partition("## Where the replay begins")[0], re.MULTILINE)
    named = [value for row in rows[1:] for value in re.findall(r"`([^`]+)`", row)]
    assert {typed(value).kind for value in named} == {Kind.DUMP, Kind.END, Kind.TIME, Kind.POSITION}


def test_settings_and_methods_are_called_as_in_the_configuration() -> None:
    known = {field.name for field in fields(MysqlTarget)}
    assert {"binlogs", "keep_days", "method", "binary_log"} <= known
    assert [f"`{method}`" in TEXT or f"| {method} |" in TEXT for method in (Method.AUTO, Method.STAGED)] == [True, True]
    assert ", ".join(DANGEROUS[:-1]) + f" and {DANGEROUS[-1]}" in TEXT
