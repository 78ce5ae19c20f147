"""A runner that waits at one of its points until it is told to go on: time for a test to do harm.

Run by the fault tests: `python -m tests.engines.recipes.pausing FOLDER POINT PLACE`. The first time that it passes
POINT it makes the file PLACE and waits until that is gone again.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from engines.recipes.run import lock_for, recipe_for
from engines.session.main import main

_LONGEST = 60.0  # seconds: a test that failed must not leave a runner


def pausing(point: str, place: Path) -> int:
    waited = False

    def at(name: str) -> None:
        nonlocal waited
        if name != point or waited:
            return
        waited = True
        place.touch()
        until = time.monotonic() + _LONGEST
        while place.exists() and time.monotonic() < until:
            time.sleep(0.01)

    return main(Path(sys.argv[1]), recipe_for, lock_for, at)


if __name__ == "__main__":
    sys.exit(pausing(sys.argv[2], Path(sys.argv[3])))
