"""Suggested commands, written so that they work when they are pasted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

# Those that a message may name and that read the configuration. A test compares them with the command line.
COMMANDS = (
    "abandon",
    "approve",
    "attach",
    "backups",
    "check",
    "drill",
    "drills",
    "export",
    "notify",
    "report",
    "plan",
    "prune",
    "restore",
    "resume",
    "sessions",
    "show",
    "sign-off",
    "tickets",
    "transactions",
    "undo",
    "verify",
)
_NAMED = re.compile(rf"\breinstate (?={'|'.join(COMMANDS)}\b)")


def pasted(text: str, config: Path | None) -> str:
    """`text` with the configuration in each command that it names, where one was given on the command line.

    Whoever writes a message, in an engine too, does not know how Reinstate was called; it is put in where it is shown.
    """
    if config is None:
        return text
    called = f"reinstate --config {shlex.quote(str(config.absolute()))} "
    return _NAMED.sub(lambda _: called, text)
