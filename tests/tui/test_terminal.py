"""The console in a real terminal: how it ends, what it never lets through, and that it can do without colour."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pexpect
import pytest

from tests.servers.tmux import Terminal
from tui.environment import prepare

ROOT = Path(__file__).parents[2]
OPEN = """
import sys
from tui.environment import prepare
prepare()
from tests.tui.outsides import World
from tests.tui.story import CONFIG, hostile_catalogue
from tui import app
app.real = World(catalogue=hostile_catalogue()).outside
print("before the console")
sys.exit(app.run(app.Opening(config=CONFIG, name="ana")))
"""


def opened(terminal: Terminal, **environment: str) -> None:
    terminal.start([sys.executable, "-c", OPEN], cwd=ROOT, environment={"PYTHONPATH": str(ROOT), **environment})
    terminal.wait_for("shop-staging")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(terminal: Terminal, number: signal.Signals) -> None:
    opened(terminal)
    os.kill(terminal.pid, number)
    assert terminal.exit_status() == -number  # the shell says 128 + number
    assert terminal.screen().startswith("before the console")


def test_ctrl_c_asks_and_then_leaves_as_interrupted(terminal: Terminal) -> None:
    opened(terminal)
    terminal.send("C-c")
    terminal.wait_for("Nothing has begun.")
    terminal.send("q")
    assert terminal.exit_status() == -signal.SIGINT  # the shell says 130


def test_names_from_outside_do_not_reach_the_terminal_as_sequences(terminal: Terminal) -> None:
    opened(terminal)
    terminal.send("Enter")
    screen = terminal.wait_for("[red]x[/red].sqlite")
    assert "\N{REPLACEMENT CHARACTER}" in screen
    assert "owned" not in screen
    assert "Backups" in screen


def test_without_colour_no_colour_is_sent_and_the_cursor_is_still_seen() -> None:
    assert sgr_codes(drawn(NO_COLOR="1")) <= {"", "0", "1", "2", "3", "7", "22", "23", "27", "39", "49"}
    assert sgr_codes(drawn()) & {"38", "48"}


def drawn(**environment: str) -> str:
    """Everything that the console sends to a terminal until it is left."""
    environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environ |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **environment}
    child = pexpect.spawn(
        sys.executable, ["-c", OPEN], cwd=str(ROOT), env=environ, encoding="utf-8", dimensions=(24, 80), timeout=20
    )
    child.expect("> ")
    seen = child.before + child.after
    child.expect("shop-staging")
    seen += child.before
    child.send("q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    return str(seen + child.before)


def sgr_codes(sent: str) -> set[str]:
    """The first number of every SGR sequence (ECMA-48), and the others where it is none of a colour."""
    codes: set[str] = set()
    for sequence in re.findall(r"\x1b\[([0-9;:]*)m", sent):
        numbers = sequence.split(";")
        for number in numbers:
            codes.add(number)
            if number in ("38", "48"):
                break  # what follows belongs to the colour
    return codes


def test_the_environment_is_quiet_unless_the_operator_says_otherwise() -> None:
    environ = {"TEXTUAL_FPS": "60"}
    prepare(environ)
    assert environ["TEXTUAL_FPS"] == "60"
    assert environ["TEXTUAL_ANIMATIONS"] == "none"
    assert "TEXTUAL_THEME" not in environ
