"""A console whose terminal is gone ends, whoever did not tell it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.pseudo_terminal import PseudoTerminal, python
from tests.engines.recipes.world import build
from tui.hangup import EXIT

# The main thread waits for something that never comes, as it does for a terminal that takes nothing; or the console
# has ended, and what is cleared up behind it takes longer than the grace.
_STUCK = """
import os, threading
from tui.hangup import watch
ended = watch(0, lambda: os.write(int({told}), b"gone"), 0.2)
if {has_ended}:
    ended()
os.write(int({told}), b"here")
threading.Event().wait({longer})
"""


def test_a_console_without_its_terminal_ends_by_itself(tmp_path: Path) -> None:
    world = build(tmp_path)
    console = python("-m", "tui.cli", "--config", str(world.folder / "reinstate.toml"), "restore", "box")
    with PseudoTerminal(console, (80, 24)) as terminal:
        terminal.sees("Enter choose")
        terminal.hang_up()
        assert terminal.ends() in (EXIT, 120), "120: Python could not write what was left of its output"


@pytest.mark.parametrize(
    ("has_ended", "longer", "code"),
    [(False, None, EXIT), (True, 1.0, 0)],
    ids=["waits for the terminal itself", "clears up"],
)
def test_what_still_waits_for_its_terminal_is_ended_and_what_clears_up_is_not(
    has_ended: bool, longer: float | None, code: int
) -> None:
    told, tell = os.pipe()
    ours, theirs = os.openpty()
    script = _STUCK.format(told=tell, has_ended=has_ended, longer=longer)
    process = subprocess.Popen([sys.executable, "-c", script], stdin=theirs, pass_fds=(tell,))
    os.close(theirs)
    os.close(tell)
    assert os.read(told, 4) == b"here"
    os.close(ours)
    assert os.read(told, 4) == b"gone"
    assert process.wait(20) == code
    os.close(told)
