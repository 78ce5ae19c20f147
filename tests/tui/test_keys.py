"""The one table of keys, and what is made from it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
from textual.binding import Binding

from tests.tui.story import ANA, Story
from tui.dialogues import help_lines
from tui.keys import KEYS, Label, bindings, keys_of
from tui.narration import plan_lines
from tui.view import Line, Page, View
from tui.widgets.foot import key_line
from tui.widgets.frame import labels
from tui.widgets.steps import exact

NAMED = {"enter", "escape", "question_mark", "f1", "slash"}


@pytest.mark.parametrize("page", Page)
def test_no_key_means_two_things_on_one_page(page: Page) -> None:
    pressed = Counter(key for known in keys_of(page) for key in known.key.split(","))
    assert [key for key, times in pressed.items() if times > 1] == []


def test_every_key_reaches_the_app_through_any_terminal() -> None:
    for known in KEYS:
        for key in known.key.split(","):
            assert key in NAMED or (len(key) == 1 and key.isalnum()), key


@pytest.mark.parametrize("page", Page)
def test_every_key_is_bound_and_in_the_help(page: Page) -> None:
    bound = {binding.action for binding in bindings(page) if isinstance(binding, Binding)}
    assert bound == {f"press('{known.id}')" for known in keys_of(page)}
    told = "\n".join(help_lines(page, View(), ""))
    for known in keys_of(page):
        assert known.help in told or known.id.startswith("page-")


def test_the_help_says_why_a_key_is_blocked() -> None:
    view = View(state=Story().ready().state, me=Story().ready().state.keyboard or View().me)
    assert any("There is no session yet" in line for line in help_lines(Page.RESTORE, view, ""))


def test_the_first_two_keys_and_the_last_are_never_left_out() -> None:
    labels = [Label(letter, "something rather long") for letter in "?abcdq"]
    drawn = "".join(text for text, _ in key_line(labels, 80))
    assert len(drawn) == 80
    assert [letter for letter in "?abcdq" if f"{letter} something" in drawn] == ["?", "a", "q"]


def test_undo_is_offered_once_there_is_something_to_undo() -> None:
    def offered(told: Story) -> bool:
        view = View(state=told.state, now=told.now, me=ANA, line=Line.ALIVE)
        return "u" in {label.shown for label in labels(Page.RESTORE, view, "", "run it")}

    assert not offered(Story().ready())
    assert not offered(Story().ready().approved())
    assert offered(Story().ready().approved().ran("3.2"))


def test_a_step_that_is_not_configured_does_nothing_and_says_so_once() -> None:
    told = Story().ready()
    freeze = next(known.step for known in told.state.steps if known.id == "3.1")
    assert exact(freeze)[0] == "Nothing is done: it is not configured for this target, and is recorded as skipped."
    assert not any(line.startswith(("Exactly", "Undo")) for line in exact(freeze))
    assert told.state.plan is not None
    listed = "\n".join(plan_lines(told.state.plan, "0"))
    assert "\n          not configured" not in listed


def test_a_blocked_key_is_in_brackets_not_only_dim() -> None:
    drawn = "".join(text for text, _ in key_line([Label("?", "help"), Label("s", "stop", "nothing runs")], 40))
    assert "(s stop)" in drawn


def test_the_documentation_says_of_each_key_what_it_is_line_by_line() -> None:
    page = (Path(__file__).parents[2] / "docs/plain.md").read_text()
    table = page.partition("## What each key of the console is here")[2].partition("\n## ")[0]
    told = set(re.findall(r"^\| `([^`]+)`", table, re.MULTILINE))
    assert told == {key.shown for key in KEYS if not key.id.startswith("page-")} | {"1"}
