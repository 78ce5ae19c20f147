"""Wrapped text whose redrawing costs nothing while it stays the same."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static


def tell(line: Static, text: Text) -> None:
    """Show `text`, which its maker has made drawable; an empty one takes no room."""
    if line.content != text:
        line.update(text)
    line.display = bool(text.plain)
