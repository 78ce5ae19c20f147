"""From the command to a console that answers: its first screen is drawn, and a key that is pressed then is answered.

Ours on a configuration with one target, against a bare Textual app of one line, each in a pseudo-terminal of 80x24.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.bench import bare
from tests.bench.measure import Ratio, in_turn
from tests.bench.pseudo_terminal import PseudoTerminal, python

AIM = 2.0
ROUNDS = 15
_CONFIG = """
state = "{folder}/state"
[target.shop]
engine = "sqlite"
environment = "local"
database = "{folder}/live.sqlite"
backups = "{folder}/backups"
"""


def run(rounds: int = ROUNDS) -> Ratio:
    with tempfile.TemporaryDirectory(prefix="reinstate-bench-") as name:
        config = configuration(Path(name))

        def ours() -> None:
            with PseudoTerminal(python("-m", "tui.cli", "--config", str(config))) as terminal:
                terminal.sees("Enter shows the backups of shop")  # the line that says what comes next
                terminal.press("?", "This list of keys")

        def theirs() -> None:
            with PseudoTerminal(python("-m", "tests.bench.bare")) as terminal:
                terminal.sees(bare.READY)
                terminal.press("?", bare.ANSWERED)

        medians = in_turn({"reinstate": ours, "bare Textual app": theirs}, rounds)
    value = medians["reinstate"] / medians["bare Textual app"]
    return Ratio("console-ready", value, AIM, medians, rounds, "to the answer of the first key, at 80x24")


def configuration(folder: Path) -> Path:
    """A configuration with one target, `shop`, whose backups are in `backups` beside it."""
    (folder / "backups").mkdir()
    config = folder / "reinstate.toml"
    config.write_text(_CONFIG.format(folder=folder))
    return config
