"""How words look. Colour never says anything that the word beside it does not."""

from __future__ import annotations

from rich.style import Style
from textual.theme import Theme

NAME = "reinstate"

THEME = Theme(
    name=NAME,
    primary="#7aa2c8",
    secondary="#9ab0c0",
    accent="#d0a85c",
    warning="#d0a85c",
    error="#d9707a",
    success="#86b383",
    foreground="#d6d9dc",
    background="#14171a",
    surface="#14171a",
    panel="#1f2429",
    dark=True,
    variables={"input-cursor-text-style": "reverse", "block-cursor-text-style": "reverse"},
)

PLAIN = Style()
BOLD = Style(bold=True)
DIM = Style(dim=True)
REVERSE = Style(reverse=True, bold=True)
GOOD = Style(color="green")
BAD = Style(color="red", bold=True)
WARY = Style(color="yellow")

_GOOD = {"OK", "VERIFIED", "MATCH", "done", "alive", "approved", "signed off"}
_BAD = {"FAIL", "MISMATCH", "MISSING", "MISSING FILE", "UNREADABLE", "failed", "GONE", "PRODUCTION"}
_WARY = {"WARN", "UNKNOWN", "WEAK", "NOT LISTED", "unknown", "NO EXPECTATION", "not approved", "undone", "abandoned"}


def style_of(word: str) -> Style:
    """The style of a verdict, a status, a mark."""
    if word in _GOOD:
        return GOOD
    if word in _BAD:
        return BAD
    if word in _WARY:
        return WARY
    return PLAIN


CSS = """
Screen { background: $background; color: $foreground; layout: vertical; }
Input { height: 1; border: none; padding: 0 1; background: $panel; }
Input:focus { border: none; background: $panel; }
"""
