"""Standard output for data, standard error for narration. Everything goes through here, made drawable by its maker."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec


def out(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def tell(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def json(value: object) -> None:
    out(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def table(rows: Sequence[tuple[str, ...]], heads: tuple[str, ...]) -> str:
    """Columns as wide as their widest cell, two blanks between."""
    everything = [heads, *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in everything
    )
