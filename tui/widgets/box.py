"""A one-line box to type in. Its cursor does not blink: that alone costs 1.9 kB/s over the line (measured)."""

from __future__ import annotations

from textual.widgets import Input

from engines.text import drawable


class Box(Input):
    """What is pasted into it, or put there to be changed, is text from outside too: Textual would draw it as it is."""

    def validate_value(self, value: str) -> str:
        return drawable(value)


def box(value: str, name: str) -> Box:
    made = Box(value, id=name, compact=True, select_on_focus=False)
    made.cursor_blink = False
    return made
