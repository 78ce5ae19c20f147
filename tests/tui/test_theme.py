"""The two themes can be read, and production is not taken for staging: in colour, in sixteen colours, in none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.color import Color as Ink
from rich.color import ColorSystem
from textual.color import Color
from textual.strip import Strip

from engines.config import Look
from tests.tui.driving import at_the_console
from tests.tui.outsides import World, joined
from tests.tui.story import BLOCKING, CONFIG, FOLDER, GRID, UNSURE, Story
from tui.app import Console, Opening
from tui.cli import parser
from tui.theme import COLOURS

LEAST = {Look.DARK: 4.5, Look.HIGH_CONTRAST: 7.0}  # WCAG 2.2, 1.4.3 and 1.4.6


def contrasts(console: Console, drawn: Callable[[Color], Color] = lambda colour: colour) -> dict[str, float]:
    """What is written on the screen, with the contrast that it is drawn with at its weakest."""
    found: dict[str, float] = {}
    for strip in console.screen._compositor.render_strips():
        for text, style, _ in strip:
            if text.strip() and style is not None and style.color is not None and style.bgcolor is not None:
                ink, ground = (drawn(Color.from_rich_color(colour)) for colour in (style.color, style.bgcolor))
                if style.reverse:
                    ink, ground = ground, ink
                found[text] = min(ratio(ink, ground), found.get(text, 21.0))
    return found


def luminance(colour: Color) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized)
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def ratio(ink: Color, ground: Color) -> float:
    darker, lighter = sorted((luminance(ink), luminance(ground)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("look", Look)
async def test_everything_on_every_page_is_drawn_with_contrast_enough(look: Look) -> None:
    told = Story().compared(GRID).checked(BLOCKING, UNSURE)
    opening = Opening(config=CONFIG, folder=FOLDER, name="ana", theme=look)
    async with at_the_console(joined(told), opening=opening) as operator:
        for keys in ("1", "2", "3", "4", "5", "n", "ctrl+c", "?"):
            await operator.press("question_mark" if keys == "?" else keys)
            await operator.at(80, 24)
            drawn = contrasts(operator.console)
            assert len(drawn) > 4
            assert {text: ratio for text, ratio in drawn.items() if ratio < LEAST[look]} == {}
            if keys in ("ctrl+c", "n"):
                await operator.press("escape")
    async with at_the_console(World(), opening=Opening(config=CONFIG, name="ana", theme=look)) as operator:
        await operator.sees("shop-staging")
        assert {text: ratio for text, ratio in contrasts(operator.console).items() if ratio < LEAST[look]} == {}


@pytest.mark.parametrize("look", Look)
def test_sixteen_colours_keep_good_bad_and_wary_apart(look: Look) -> None:
    colours = COLOURS[look]
    rounded = [
        Ink.parse(colour).downgrade(ColorSystem.STANDARD).number for colour in (colours.good, colours.bad, colours.wary)
    ]
    assert rounded == [10, 9, 11]  # bright green, red, yellow


# What xterm draws for the sixteen colours; other terminals differ little but in blue, which is not used for words.
XTERM = (
    *("#000000", "#cd0000", "#00cd00", "#cdcd00", "#0000ee", "#cd00cd", "#00cdcd", "#e5e5e5"),
    *("#7f7f7f", "#ff0000", "#00ff00", "#ffff00", "#5c5cff", "#ff00ff", "#00ffff", "#ffffff"),
)


def in_sixteen(colour: Color) -> Color:
    number = colour.rich_color.downgrade(ColorSystem.STANDARD).number
    assert number is not None
    return Color.parse(XTERM[number])


@pytest.mark.parametrize("look", Look)
async def test_in_sixteen_colours_every_word_can_be_read_and_none_is_drawn_in_its_own_ground(look: Look) -> None:
    told = Story().compared(GRID).checked(BLOCKING, UNSURE)
    opening = Opening(config=CONFIG, folder=FOLDER, name="ana", theme=look)
    async with at_the_console(joined(told), opening=opening) as operator:
        for page in "12345":
            await operator.press(page)
            await operator.at(80, 24)
            weak = {text: ratio for text, ratio in contrasts(operator.console, in_sixteen).items() if ratio < 4.5}
            assert weak == {}


async def test_production_has_a_bright_bar_from_edge_to_edge_and_staging_has_none() -> None:
    def bar(console: Console) -> bool:
        first: Strip = console.screen._compositor.render_strips()[0]
        return all(style is not None and style.reverse for text, style, _ in list(first)[1:] if text)

    async with at_the_console(joined(Story().stopped())) as operator:
        await operator.sees("Next: 3.7")
        assert bar(operator.console)
        await operator.press("enter")
        await operator.sees("The target's name")
        assert bar(operator.console), "in a dialogue too"
    async with at_the_console(World()) as operator:
        await operator.press("down", "enter")
        await operator.sees("STAGING shop-staging")
        assert not bar(operator.console)


def test_the_flag_knows_the_themes_of_the_configuration() -> None:
    (flag,) = [action for action in parser()._actions if "--theme" in action.option_strings]
    assert list(flag.choices or ()) == list(Look)
