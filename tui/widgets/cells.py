"""Fits outside text into terminal cells: the one way from a string to a drawn line."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from engines.text import drawable
from tui.theme import BOLD, DIM, PLAIN

Piece = tuple[str, Style]
Line = tuple[Piece, ...]


def plain(text: str, style: Style = PLAIN) -> Line:
    return ((text, style),)


def width_of(text: str) -> int:
    return cell_len(drawable(text))


def fit(text: str, width: int, *, right: bool = False) -> str:
    """`text` in exactly `width` cells: cut with an ellipsis, or padded on one side."""
    if width <= 0:
        return ""
    clean = drawable(text)
    wide = cell_len(clean)
    if wide > width:
        return set_cell_size(clean, width - 1) + "…"
    return " " * (width - wide) + clean if right else clean + " " * (width - wide)


def fit_end(text: str, width: int) -> str:
    """`text` cut at its front, so that the telling end of a path stays; not padded."""
    clean = drawable(text)
    if cell_len(clean) <= width:
        return clean
    while clean and cell_len(clean) > width - 1:
        clean = clean[1:]
    return "…" + clean if width > 0 else ""


def wrapped(text: str, width: int) -> list[str]:
    """`text` on as many lines as it needs; what follows the first is indented a little further."""
    clean = drawable(text)
    if cell_len(clean) <= width or width < 8:
        return [clean]
    if cell_len(clean) != len(clean):
        return chop_cells(clean, width)
    indent = " " * min(len(clean) - len(clean.lstrip()) + 2, width // 2)
    return textwrap.wrap(clean, width, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False)


def unbroken(text: str, width: int) -> list[str]:
    """`text` on as many lines as it needs, cut wherever one is full."""
    return chop_cells(drawable(text), max(width, 1)) or [""]


def strip(line: Iterable[Piece], width: int, base: Style) -> Strip:
    """A line as Textual draws it, in exactly `width` cells."""
    segments = [Segment(drawable(text), base + style) for text, style in line]
    return Strip(segments).adjust_cell_length(max(width, 0), base)


def title(text: str, note: str, width: int, *, focused: bool) -> Line:
    """A panel's first line. The panel that has the arrow keys is drawn with a heavy rule, not with colour alone."""
    rule = "━" if focused else "─"
    right = f" {drawable(note)} {rule}" if note else ""
    room = width - cell_len(right) - 4  # what is counted tells more than the end of a name
    name = fit(text, min(width_of(text), max(room, 6))) if text else ""
    left = f"{rule} {name} " if name else rule
    space = width - cell_len(left) - cell_len(right)
    if space < 0:
        right, space = "", width - cell_len(left)
    style = BOLD if focused else DIM
    return ((left, style), (rule * max(space, 0), style), (right, style))
