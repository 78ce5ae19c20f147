"""Sessions of the toy recipe for tests, with the runner's module findable by a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.engines.session.toy_session import ROOT, ToySession, no_runner_left, toy_session


@pytest.fixture(autouse=True)
def toy_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[ToySession]:
    """A session that has not begun. Its consoles and its runner end with the test."""
    made = toy_session(tmp_path)
    with no_runner_left(made):
        yield made
        await made.close()
