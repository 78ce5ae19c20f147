"""A runner that kills itself with SIGKILL at its n-th point, or writes down the points that it passes.

Run by the torture tests: `python -m tests.engines.recipes.killing FOLDER N POINTS`. N = 0 only writes them down.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from engines.recipes.run import lock_for, recipe_for
from engines.session.main import main


def counting(fatal: int, points: Path) -> int:
    passed = 0

    def at(name: str) -> None:
        nonlocal passed
        passed += 1
        with points.open("a") as file:
            file.write(name + "\n")
        if passed == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    return main(Path(sys.argv[1]), recipe_for, lock_for, at)


if __name__ == "__main__":
    sys.exit(counting(int(sys.argv[2]), Path(sys.argv[3])))
