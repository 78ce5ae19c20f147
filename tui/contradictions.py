"""Options that would do nothing, or speak against each other: refused, since whoever typed them meant something."""

from __future__ import annotations

import argparse

from engines.errors import UsageError

_OPEN_THE_CONSOLE = frozenset({None, "restore", "attach", "resume", "undo", "demo"})
_KNOW_THE_INCIDENT = frozenset({None, "restore", "plan", "check", "drill"})
_NOT_TOGETHER = (("print", "yes"), ("print", "signature"), ("signature", "yes"))


def refuse_contradictions(arguments: argparse.Namespace) -> None:
    """Raises UsageError for the first one."""

    def given(name: str) -> bool:
        return bool(getattr(arguments, name, None))

    command = arguments.command
    if given("theme") and command not in _OPEN_THE_CONSOLE:
        _refuse(f"--theme is the console's, and {command} does not open it.", "Leave --theme away.")
    if given("theme") and (given("plain") or given("answers")):
        _refuse("--theme is the console's; with --plain or --answers it does not open.", "Leave one of them away.")
    if given("incident") and command not in _KNOW_THE_INCIDENT:
        _refuse(
            f"--incident has no meaning for {command}: a session keeps the report that it began with.",
            "Leave --incident away.",
        )
    for one, other in _NOT_TOGETHER:
        if given(one) and given(other):
            _refuse(f"--{one} and --{other} can't both be meant.", "Leave one of them away.")
    if given("reason") and command == "approve" and not given("override"):
        _refuse("--reason is an override's, and an approval has none.", "--override CHECK --reason TEXT")


def _refuse(what: str, hint: str) -> None:
    raise UsageError(f"{what} Nothing was changed.", hint)
