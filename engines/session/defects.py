"""Tells of a defect of ours without what its message says: that may be a statement, a row, or worse.

A driver's error quotes what it was sent, a KeyError its key. Where it happened is enough to find it.
"""

from __future__ import annotations

import os
import traceback

_OURS = f"{os.sep}engines{os.sep}"


def defect(error: BaseException) -> str:
    """`ValueError at engines/mysql/objects.py, line 88`: its class, and the innermost line of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if _OURS in frame.filename]
    where = ""
    if ours:
        name = "engines/" + ours[-1].filename.rpartition(_OURS)[2]
        where = f" at {name}, line {ours[-1].lineno}"
    system = f" ({os.strerror(error.errno)})" if isinstance(error, OSError) and error.errno else ""
    return f"{type(error).__name__}{system}{where}"


def way_there(error: BaseException) -> str:
    """The whole traceback for the runner's log: lines of code, and no value."""
    return "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__
