"""The terminal that the other tests trust: it types, sees, waits, and leaves nothing."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import psutil
import pytest

from tests.servers.tmux import Terminal
from tests.servers.waiting import gone, until


def test_a_program_sees_the_keys_and_its_screen_is_read(terminal: Terminal) -> None:
    terminal.start(["sh", "-c", "read -r line; printf 'you said <%s> \u2714\\n' \"$line\"; sleep 60"])
    terminal.type("restore; 'now'")
    terminal.send("Enter")
    assert "you said <restore; 'now'> ✔" in terminal.wait_for("you said")


def test_the_whole_size_belongs_to_the_program(terminal: Terminal) -> None:
    terminal.start(["sh", "-c", "stty size; trap 'stty size' WINCH; while :; do read -r _; done"])
    terminal.wait_for("24 80")
    terminal.resize(60, 20)
    terminal.wait_for("20 60")


def test_what_was_not_seen_fails_with_the_last_screen(terminal: Terminal) -> None:
    terminal.start(["sh", "-c", "echo something else; sleep 60"])
    terminal.wait_for("something else")
    with pytest.raises(pytest.fail.Exception, match=r"'VERIFIED' was not seen; 0.2 s(.|\n)*\|something else +\|"):
        terminal.wait_for("VERIFIED", timeout=0.2)


def test_a_program_that_has_ended_is_not_waited_for(terminal: Terminal) -> None:
    terminal.start(["sh", "-c", "echo going; exit 3"])
    with pytest.raises(pytest.fail.Exception, match="ended with 3"):
        terminal.wait_for("VERIFIED", timeout=60)
    assert terminal.exit_status() == 3
    assert "going" in terminal.history()


def test_a_program_ended_by_a_signal_says_which(terminal: Terminal) -> None:
    terminal.start([sys.executable, "-c", "print('ready'); input()"])
    terminal.wait_for("ready")
    psutil.Process(terminal.pid).send_signal(signal.SIGKILL)
    assert terminal.exit_status() == -signal.SIGKILL


def test_a_lost_connection_hangs_the_program_up(terminal: Terminal, tmp_path: Path) -> None:
    told = tmp_path / "told"
    terminal.start(["sh", "-c", f"trap 'echo hung up >{told}; exit' HUP; echo ready; while :; do read -r _; done"])
    terminal.wait_for("ready")
    program = psutil.Process(terminal.pid)
    terminal.hang_up()
    until(lambda: gone(program), "the program has ended")
    assert told.read_text() == "hung up\n"


def test_nothing_is_left_behind() -> None:
    with Terminal() as terminal:
        terminal.start(["sh", "-c", "trap '' HUP TERM; echo ready; while :; do sleep 1; done"])
        terminal.wait_for("ready")
        program, folder = psutil.Process(terminal.pid), Path(terminal._environment["TMUX_TMPDIR"])
    assert gone(program)
    assert not folder.exists()
