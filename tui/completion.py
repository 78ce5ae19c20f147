"""The script that lets a shell complete Reinstate's commands and options, made from the command line itself.

Only here is shtab imported: nothing else of Reinstate needs it, and a start has no time for it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

SHELLS = ("bash", "zsh", "fish")


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for one of SHELLS. Arguments that are paths are completed with files."""
    import shtab

    for action in _actions(parser):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # how shtab is told
    return shtab.complete(parser, shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)


def completion(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    sys.stdout.write(script(parser, arguments.shell) + "\n")
    return 0
