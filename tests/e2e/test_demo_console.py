"""The demo on a terminal, by keys alone, to its signed-off end; at the design size and at the smallest."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from engines.session import store
from engines.session.state import SessionState
from tests.e2e.keyboard import at_a_terminal
from tests.e2e.recovery import COMMANDER, OWNER, REINSTATE
from tests.servers.waiting import until
from tui import hints
from tui.view import Page


def hint(page: Page) -> str:
    """The beginning of a page's hint, while it is the page to be on."""
    return hints.hint(page, SessionState()).split(".")[0]


def in_sandbox(folder: Path) -> list[str]:
    """The processes that run in the sandbox or for it."""
    found = []
    for process in psutil.process_iter():
        try:
            told = process.cmdline()
            if any(str(folder) in word for word in told) or folder in Path(process.cwd()).parents:
                found.append(" ".join(told))
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("size", [(80, 24)], ids=["80x24"])  # the other size: the demo on a server
def test_the_demo_is_carried_to_its_end_by_keys_with_a_hint_on_each_page(
    open_folder: Path, size: tuple[int, int]
) -> None:
    sandbox = open_folder / "demo"
    with at_a_terminal((REINSTATE, "demo", "--folder", str(sandbox)), open_folder, size) as operator:
        operator.sees(hint(Page.BACKUPS), "7 of 9 VERIFIED", "VERIFIED: sha256", "Enter choose")
        operator.presses("Up")  # the corrupted copy is newer, and needs another key than Enter
        operator.sees("MISMATCH: ")
        operator.presses("Enter")
        operator.sees("CAN'T BE RESTORED")
        operator.presses("Escape")
        operator.sees_no_more("CAN'T BE RESTORED")
        operator.presses("Down")
        operator.sees("VERIFIED: sha256", "Enter choose")
        operator.presses("Enter")
        operator.sees("Prepare a restore from this backup?", "VERIFIED: sha256")
        operator.presses("Enter")
        operator.sees(hint(Page.READINESS))
        operator.approves(COMMANDER)
        operator.sees(hint(Page.RESTORE), "Next: 3.2 ")
        operator.confirms("3.2", "3.3", "3.4", "3.5", "3.6")
        operator.goes_live("3.7", "demo")
        operator.confirms("4.1", "4.2", "4.3", "4.4", "4.5", "4.6", "4.7", "4.9")
        operator.sees("Next: 4.10 ")
        operator.presses("4")
        operator.sees(hint(Page.VALIDATION), "MATCH")
        operator.presses("Escape")
        operator.confirms("4.10", "4.11", "4.12")
        operator.signs_off("application owner", OWNER)
        operator.sees(hint(Page.HANDOVER))
        operator.presses("h")
        operator.sees_no_more(hint(Page.HANDOVER))
        operator.signs_off("incident commander", COMMANDER)
        operator.sees("The session is over: signed off")
        operator.presses("Escape")
        operator.sees(hint(Page.START), "INC-2041", "signed off")
        operator.presses("q")
        assert operator.terminal.exit_status() == 0
        told = operator.terminal.history()
    (session,) = (sandbox / "state" / "sessions").iterdir()
    assert f"Record: {session / 'session.toml'}" in told.replace("\n", "")
    assert told.count("Record: ") == 1
    assert "attach" not in told, "the demo's runner ends with it"
    assert store.open_session(session).state.ended is not None
    until(lambda: in_sandbox(sandbox) == [], "nothing of the sandbox runs any more")


@pytest.mark.parametrize(
    ("engine", "size"),
    [("mariadb", (60, 20)), pytest.param("mysql", (80, 24), marks=pytest.mark.torture)],
    ids=["mariadb-60x20", "mysql-80x24"],
)
def test_the_demo_on_a_server_is_carried_to_its_end_by_keys_with_a_hint_on_each_page(
    open_folder: Path, engine: str, size: tuple[int, int]
) -> None:
    sandbox = open_folder / "demo"
    with at_a_terminal(
        (REINSTATE, "demo", "--engine", engine, "--folder", str(sandbox)), open_folder, size
    ) as operator:
        operator.sees(hint(Page.BACKUPS), "4 of 6 VERIFIED", "VERIFIED: sha256", timeout=120)
        operator.presses("Up")  # the corrupted dump is newer
        operator.sees("MISMATCH: ")
        operator.presses("Enter")
        # On the smallest screen the rest of the question has to be scrolled to.
        operator.sees("Up to when?", *(("CAN'T BE RESTORED",) if size == (80, 24) else ()))
        operator.presses("Escape")
        operator.sees_no_more("Up to when?")
        operator.presses("Down")
        operator.sees("VERIFIED: sha256", "asks up to when")
        operator.presses("Enter")
        operator.sees("Up to when? The answer prepares it.", "report's stop_before")
        operator.reads()
        operator.presses("r")
        operator.sees(hint(Page.READINESS))
        operator.approves(COMMANDER)
        operator.sees(hint(Page.RESTORE), "Next: 3.1 ")
        operator.confirms("3.1", "3.2", "3.3", "3.4", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11")
        operator.goes_live("3.12", "demo")
        operator.confirms("4.1", "4.3", "4.4", "4.5", "4.6", "4.7", "4.9")
        operator.sees("Next: 4.10 ")
        operator.presses("4")
        operator.sees(hint(Page.VALIDATION), "MATCH")
        operator.presses("Escape")
        operator.confirms("4.10", "4.11", "4.12")
        operator.signs_off("application owner", OWNER)
        operator.sees(hint(Page.HANDOVER))
        operator.signs_off("incident commander", COMMANDER)
        operator.sees("The session is over: signed off")
        operator.presses("h")
        operator.sees_no_more(hint(Page.HANDOVER))
        operator.presses("Escape")
        operator.sees(hint(Page.START), "INC-2041", "signed off")
        operator.presses("q")
        assert operator.terminal.exit_status() == 0
        told = operator.terminal.history()
    (session,) = (sandbox / "state" / "sessions").iterdir()
    assert f"Record: {session / 'session.toml'}" in told.replace("\n", "")
    assert told.count("Record: ") == 1
    assert "attach" not in told, "the demo's runner ends with it"
    until(lambda: in_sandbox(sandbox) == [], "nothing of the sandbox runs any more")
    assert [path for path in sandbox.rglob("*") if path.is_socket()] == []
