"""The one table of keys, and what is made from it."""

from __future__ import annotations

from collections import Counter

import pytest
from textual.binding import Binding

from tests.tui.story import Story
from tui.dialogues import help_lines
from tui.keys import KEYS, Label, bindings, keys_of
from tui.view import Page, View
from tui.widgets.foot import key_line

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


def test_a_blocked_key_is_in_brackets_not_only_dim() -> None:
    drawn = "".join(text for text, _ in key_line([Label("?", "help"), Label("s", "stop", "nothing runs")], 40))
    assert "(s stop)" in drawn
