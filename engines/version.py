"""Which Reinstate this is. A module of its own, so that saying so needs nothing else of it."""

from __future__ import annotations


def tool() -> str:
    """`reinstate 0.1.0`."""
    from importlib.metadata import PackageNotFoundError, version  # here: it is half of what --help would cost

    try:
        return f"reinstate {version('reinstate')}"
    except PackageNotFoundError:
        return "reinstate (not installed)"
