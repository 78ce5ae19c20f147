"""`reinstate --help` and `--version`, the slower of the two, against a bare argparse program that prints its help.

Both are fresh processes of the same Python. That neither of ours imports Textual, boto3 or the runner is a test:
`tests/test_imports.py`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from tests.bench.measure import Ratio, in_turn
from tests.bench.pseudo_terminal import ROOT

AIM = 3.0
ROUNDS = 15
_BARE = "import argparse; argparse.ArgumentParser(prog='bare').parse_args(['--help'])"


def run(rounds: int = ROUNDS) -> Ratio:
    contenders = {
        "reinstate --help": _starts("-m", "tui.cli", "--help"),
        "reinstate --version": _starts("-m", "tui.cli", "--version"),
        "argparse --help": _starts("-c", _BARE),
        "python -c pass": _starts("-c", "pass"),
    }
    medians = in_turn(contenders, rounds)
    slower = max(medians["reinstate --help"], medians["reinstate --version"])
    value = slower / medians["argparse --help"]
    return Ratio("startup", value, AIM, medians, rounds, "fresh processes, compiled modules in the page cache")


def _starts(*arguments: str) -> Callable[[], None]:
    def start() -> None:
        subprocess.run([sys.executable, *arguments], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)

    return start
