"""A runner in which things go wrong at its points, each once: a process is killed, a defect of ours shows.

Run by the secrets tests: `python -m tests.engines.recipes.faulty FOLDER FAULTS`. FAULTS is a file, so that what a
defect says is in no argument: {"kill": {POINT: PID}, "raise": {POINT: TEXT}}.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import msgspec

from engines.recipes.run import lock_for, recipe_for
from engines.session.main import main


def faulty(folder: Path, faults: Path) -> int:
    left = msgspec.json.decode(faults.read_bytes(), type=dict[str, dict[str, str]])

    def at(point: str) -> None:
        victim = left["kill"].pop(point, "")
        if victim:
            os.kill(int(victim), signal.SIGKILL)
        text = left["raise"].pop(point, "")
        if text:
            raise ValueError(text)

    return main(folder, recipe_for, lock_for, at)


if __name__ == "__main__":
    sys.exit(faulty(Path(sys.argv[1]), Path(sys.argv[2])))
