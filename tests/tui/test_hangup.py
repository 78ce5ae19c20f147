"""A console whose terminal is gone ends, whoever did not tell it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.bench.pseudo_terminal import PseudoTerminal, python
from tests.engines.recipes.world import build
from tui.hangup import EXIT

# The main thread waits for something that never comes, as it does for a terminal that takes nothing.
_STUCK = """
import os, threading
from tui.hangup import watch
watch(0, lambda: os.write(int({told}), b"gone"), 0.2)
os.write(int({told}), b"here")
threading.Event().wait()
"""


def test_a_console_without_its_terminal_ends_by_itself(tmp_path: Path) -> None:
    world = build(tmp_path)
    console = python("-m", "tui.cli", "--config", str(world.folder / "reinstate.toml"), "restore", "box")
    with PseudoTerminal(console, (80, 24)) as terminal:
        terminal.sees("Enter choose")
        terminal.hang_up()
        assert terminal.ends() in (EXIT, 120), "120: Python could not write what was left of its output"


def test_one_that_waits_for_the_terminal_itself_is_ended() -> None:
    told, tell = os.pipe()
    ours, theirs = os.openpty()
    process = subprocess.Popen([sys.executable, "-c", _STUCK.format(told=tell)], stdin=theirs, pass_fds=(tell,))
    os.close(theirs)
    os.close(tell)
    assert os.read(told, 4) == b"here"
    os.close(ours)
    assert os.read(told, 4) == b"gone"
    assert process.wait(20) == EXIT
    os.close(told)
