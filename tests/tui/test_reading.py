"""What the commands that only read print, from a session that is told."""

from __future__ import annotations

import argparse

import pytest

from engines.session import events as e
from engines.session.store import Known
from tests.tui.story import FOLDER, Story
from tui import reading


def test_a_repeated_steps_number_does_not_run_into_its_state(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Story().ready().tell(e.BackupChosen({"name": "another"})).planned().ran("2.1/r3")
    monkeypatch.setattr(reading, "readable", lambda _: Known(FOLDER, told.state, alive=True))
    reading.show(argparse.Namespace(json=False))
    shown = capsys.readouterr().out.splitlines()
    assert "  2.1     done     Look at the live database 0:02" in shown
    assert "  2.1/r3  done     Look at the live database 0:02" in shown
