"""What is set before the console's modules are imported, so that it starts quickly and draws quietly.

Textual reads its settings from the environment when it is imported: call `prepare` before that.
Measured at 80x24 over a pty: a blinking cursor costs 1.9 kB/s, animations several times that; an idle screen nothing.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

# The operator's own settings win. At 30 frames a second, what needs a second look at its layout stands 33 ms later; at
# 15, as it was, twice that. Frames are drawn when something changed, not all the time.
_QUIET = {"TEXTUAL_ANIMATIONS": "none", "TEXTUAL_FPS": "30", "TEXTUAL_SMOOTH_SCROLL": "0"}
_WITHOUT_COLOUR = "ansi-dark"  # chosen at the start it draws no colour at all; set later it is black on black


def prepare(environ: MutableMapping[str, str] = os.environ) -> None:
    """Quiet and frugal by default, and without any colour where NO_COLOR asks for that."""
    for name, value in _QUIET.items():
        environ.setdefault(name, value)
    if environ.get("NO_COLOR"):
        environ["TEXTUAL_THEME"] = _WITHOUT_COLOUR


@contextmanager
def importing() -> Iterator[None]:
    """Import without looking for garbage: modules make none, and looking takes a tenth of the start (measured)."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # nor is there any among them later
        gc.enable()
