"""An operator at a real terminal: reads the screen, presses keys, and goes on when it is read."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.tmux import Terminal
from tests.servers.waiting import until

# The console counts Enter as an answer only when the question has been on the screen for this long, and when it is not
# held down: tui.app.READ_FIRST, and time for a busy machine to draw.
READ_SECONDS = 0.7
PATIENCE = 40.0  # seconds for something to be seen, on a machine that has other work
_EDGES = re.compile(r"[\s│─━╭╮╰╯>·]+")


class Operator:
    """Hands on the keyboard of `terminal`, eyes on its screen."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal

    @property
    def screen(self) -> str:
        """The words on the screen, however its lines are broken."""
        return words(self.terminal.screen())

    def sees(self, *wanted: str, timeout: float = PATIENCE) -> str:
        """Waits until all of it is to be seen at once; the screen's words then."""
        return self._waits(lambda seen: all(text in seen for text in wanted), f"to see {wanted}", timeout)

    def sees_one_of(self, *wanted: str, timeout: float = PATIENCE) -> str:
        """Waits until any of it is to be seen; the screen's words then."""
        return self._waits(lambda seen: any(text in seen for text in wanted), f"to see one of {wanted}", timeout)

    def sees_no_more(self, text: str, timeout: float = PATIENCE) -> str:
        """Waits until it is gone from the screen."""
        return self._waits(lambda seen: text not in seen, f"for {text!r} to be gone", timeout)

    def _waits(self, fact: Callable[[str], bool], what: str, timeout: float) -> str:
        try:
            return words(self.terminal.wait_for(lambda screen: fact(words(screen)), timeout))
        except pytest.fail.Exception as failure:
            failure.add_note(f"The operator waited {what}.")
            raise

    def presses(self, *keys: str) -> None:
        self.terminal.send(*keys)

    def types(self, text: str) -> None:
        """Types a line, and Enter."""
        if text:
            self.terminal.type(text)
        self.terminal.send("Enter")

    def reads(self) -> None:
        """Takes the time that the console wants its questions to be read."""
        since = time.monotonic()
        until(lambda: time.monotonic() - since > READ_SECONDS, "it has been read")

    def chooses_backup(self, name: str) -> None:
        """On the page of backups, where `name` is selected."""
        self.sees(name, "VERIFIED: sha256", "Enter chooses this backup")
        self.presses("Enter")
        self.sees("Prepare a restore from this backup?", name)
        self.presses("Enter")

    def approves(self, commander: str) -> None:
        self.sees("Enter shows the plan")
        self.presses("Enter")
        self.sees("Whoever approves it answers for it", "Name of the incident commander")
        self.types(commander)

    def confirms(self, *steps: str) -> None:
        """Each step in its turn: its question is read, then Enter."""
        for step in steps:
            question = f"Next: {step} "
            self.sees(question)
            self.reads()
            self.presses("Enter")
            self.sees_no_more(question)

    def goes_live(self, step: str, target: str) -> None:
        self.sees(f"Next: {step} ", "Enter asks for the target's name")
        self.presses("Enter")
        self.sees("The target's name", "Enter runs it")
        self.types(target)

    def signs_off(self, role: str, name: str) -> None:
        self.sees(f"The {role} signs off by name")
        self.presses("Enter")
        self.sees(f"Name of the {role}", "Enter signs off")
        self.types(name)

    def answers(self, tried: str, passed: str, name: str, note: str = "") -> None:
        """What the application owner found when they tried it by hand."""
        self.sees("The application owner tries by hand and answers (f)", f"functional: {tried[:9]}")
        self.presses("f")
        self.sees(f"The application owner tried it: {tried}", "Did it pass?")
        self.terminal.type(passed)
        self.goes_to_next_box()
        self.terminal.type(name)
        self.goes_to_next_box()
        self.types(note)
        self.sees_no_more("The application owner tried it")

    def goes_to_next_box(self) -> None:
        """Tab, and eyes on the cursor: what is typed at once would still go into the box before."""
        row = self.terminal.cursor_row()
        self.presses("Tab")
        until(lambda: self.terminal.cursor_row() > row, "the cursor is in the next box")

    def asks_for_undo(self, why: str) -> None:
        self.presses("u")
        self.sees("Undo: put right what was changed?", "Why it is undone")
        self.types(why)


def words(screen: str) -> str:
    return _EDGES.sub(" ", screen)


@contextmanager
def at_a_terminal(
    command: Sequence[str], folder: Path, size: tuple[int, int] = (80, 24), *, environment: dict[str, str] | None = None
) -> Iterator[Operator]:
    """Another terminal with another console in it."""
    with Terminal(size) as terminal:
        terminal.start(command, cwd=folder, environment=environment)
        yield Operator(terminal)
