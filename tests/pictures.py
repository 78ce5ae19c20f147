"""Renders what the README shows of the program: its pictures, from the running console, and its table of keys.

`make pictures` writes them; tests/test_readme.py compares them.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path

from tests.screens import test_frames as frames
from tests.tui.driving import at_the_console
from tests.tui.story import CONFIG, FOLDER
from tui.app import Opening
from tui.keys import in_words

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
FOLDER_OF_PICTURES = ROOT / "docs" / "pictures"
PICTURES = ("backups-incident", "restore-running", "validation-wrong")
_FROM_ELSEWHERE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # whoever looks at a picture fetches nothing for it
_TABLE = re.compile(r"\| key \| does \|\n(?:\|.*\n)+")
_FRAME = re.compile(r"```\n PRODUCTION .*?\n```", re.DOTALL)


async def picture(name: str) -> str:
    """One of the screens that the tests keep, as SVG in the terminal's colours."""
    scene = frames.SCENES[name]
    world = scene.world()
    opening = Opening(config=CONFIG, folder=FOLDER if world.told.state.begun else None, name="ana")
    async with at_the_console(world, opening=opening) as operator:
        if scene.first:
            await operator.sees(scene.first)
        await operator.press(*scene.keys)
        await operator.sees(scene.sees)
        await operator.at(80, 24)
        drawn = operator.console.export_screenshot(title="reinstate")
    return _FROM_ELSEWHERE.sub("", drawn)


def keys() -> str:
    rows = "".join(f"| {shown} | {text} |\n" for shown, text in in_words())
    return f"| key | does |\n|---|---|\n{rows}"


def readme(text: str) -> str:
    """The README with its frame and its table of keys as they are now."""
    frame = (frames.FRAMES / "restore-running-80x24.txt").read_text()
    text = _FRAME.sub(lambda _: f"```\n{frame}```", text, count=1)
    return _TABLE.sub(lambda _: keys(), text, count=1)


def main() -> None:
    FOLDER_OF_PICTURES.mkdir(exist_ok=True)
    for name in PICTURES:
        (FOLDER_OF_PICTURES / f"{name}.svg").write_text(asyncio.run(picture(name)))
    README.write_text(readme(README.read_text()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        frames.LOGS = Path(folder)
        main()
