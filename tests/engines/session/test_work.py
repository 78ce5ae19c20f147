"""What a step says of itself while it is under way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engines.session import work as working
from engines.session.state import SessionState
from engines.session.work import SILENT, Progress, Work
from tests.engines.session.examples import step


@dataclass
class Clock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Told:
    """A step under way, at times that the test chooses."""

    clock: Clock
    work: Work
    folder: Path
    progress: list[Progress] = field(default_factory=list)

    def at(self, seconds: float, done: int, total: int = 100) -> None:
        self.clock.now = 1000.0 + seconds
        self.work.progress(done, total, waiting="look at the server")

    @property
    def log(self) -> list[str]:
        (path,) = (self.folder / "logs").iterdir()
        return [line.partition(" ")[2] for line in path.read_text().splitlines()]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    clock, seen = Clock(), list[Progress]()
    monkeypatch.setattr(working, "time", clock)
    (tmp_path / "logs").mkdir()
    work = Work(
        step=step(),
        folder=tmp_path,
        look=SessionState,
        record=lambda _event: None,
        telemetry=seen.append,
        at=lambda _point: None,
    )
    return Told(clock, work, tmp_path, seen)


def test_a_step_to_which_nothing_comes_says_so_and_how_long(told: Told) -> None:
    told.at(1, 10)
    told.at(SILENT, 10)
    assert (told.log, told.progress[-1].still) == ([], 0.0), "it is not long yet"
    told.at(1 + SILENT, 10)
    assert told.log == ["nothing has come for 0:30: look at the server"]
    assert told.progress[-1].still == SILENT
    told.at(1 + 1.9 * SILENT, 10)
    assert len(told.log) == 1, "said again only after twice as long"
    told.at(1 + 2 * SILENT, 10)
    assert told.log[1] == "nothing has come for 1:00: look at the server"


def test_what_comes_ends_the_silence(told: Told) -> None:
    told.at(1, 10)
    told.at(1 + SILENT, 10)
    told.at(2 + SILENT, 11)
    assert told.progress[-1].still == 0.0
    told.at(1 + 2 * SILENT, 11)
    assert len(told.log) == 1
    told.at(2 + 2 * SILENT, 11)
    assert len(told.log) == 2


def test_what_has_no_amount_is_not_called_silent(told: Told) -> None:
    """While a server builds indexes it says nothing of how far it is."""
    told.at(1, 0, 0)
    told.at(1 + 10 * SILENT, 0, 0)
    assert (told.log, told.progress[-1].still) == ([], 0.0)
