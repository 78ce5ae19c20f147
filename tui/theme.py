"""How words look. Colour never says anything that the word beside it does not."""

from __future__ import annotations

from dataclasses import dataclass

from rich.style import Style
from rich.terminal_theme import TerminalTheme
from textual.theme import Theme


@dataclass(frozen=True, slots=True)
class Colours:
    """A theme's colours as #rrggbb. A test computes what each pair of text and ground comes to (WCAG 2.2, 1.4.3).

    Good, bad and wary are strong enough that a terminal of sixteen colours rounds them to green, red and yellow.
    """

    text: str
    ground: str
    panel: str  # under header, foot and dialogues
    edge: str  # a dialogue's border
    good: str
    bad: str
    wary: str


COLOURS = {
    "dark": Colours(
        text="#d6d9dc",
        ground="#14171a",
        panel="#1f2429",
        edge="#7aa2c8",
        good="#77dd77",
        bad="#ff7a7a",
        wary="#e8c547",
    ),
    "high-contrast": Colours(
        text="#ffffff",
        ground="#000000",
        panel="#000000",
        edge="#ffffff",
        good="#5cff5c",
        bad="#ff8080",
        wary="#ffff5f",
    ),
}


def _theme(name: str, colours: Colours) -> Theme:
    return Theme(
        name=f"reinstate-{name}",
        primary=colours.edge,
        secondary=colours.edge,
        accent=colours.wary,
        warning=colours.wary,
        error=colours.bad,
        success=colours.good,
        foreground=colours.text,
        background=colours.ground,
        surface=colours.ground,
        panel=colours.panel,
        dark=True,
        variables={"input-cursor-text-style": "reverse", "block-cursor-text-style": "reverse"},
    )


def _ansi(colours: Colours) -> TerminalTheme:
    """What the names below are drawn as: green, red and yellow are a theme's own."""

    def numbers(colour: str) -> tuple[int, int, int]:
        red, green, blue = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
        return red, green, blue

    text, edge = numbers(colours.text), numbers(colours.edge)
    eight = [
        numbers(colours.ground),
        numbers(colours.bad),
        numbers(colours.good),
        numbers(colours.wary),
        edge,
        edge,
        edge,
        text,
    ]
    return TerminalTheme(numbers(colours.ground), text, eight, eight)


THEMES = {name: _theme(name, colours) for name, colours in COLOURS.items()}
ANSI = {name: _ansi(colours) for name, colours in COLOURS.items()}

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
