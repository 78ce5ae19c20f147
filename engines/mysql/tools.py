"""Are the client programs there that the steps will start, and are they the server's own kind?

Many machines have MariaDB's programs under MySQL's names. Running them is others' work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engines.checks import Check, fail, ok, warn
from engines.errors import RestoreError
from engines.mysql import programs
from engines.mysql.flavour import Flavour, Version
from engines.mysql.intent import Intent
from engines.process import Command, find_program
from engines.text import drawable


@dataclass(frozen=True, slots=True)
class Tool:
    """What was found under a program's name. `version` is None where it does not tell its own."""

    name: str
    path: str  # empty: it is not there
    flavour: Flavour | None
    version: Version | None
    why: str = ""  # it is not there, or can't run


def wanted(intent: Intent) -> tuple[str, ...]:
    """What the steps will start: the safety snapshot always takes mysqldump."""
    return (
        "mysqldump",
        *(("mysql",) if intent.replays or not intent.own_client else ()),
        *(("mysqlbinlog",) if intent.replays else ()),
    )


def look_for(flavour: Flavour, names: Sequence[str], path: str | None = None) -> tuple[Tool, ...]:
    """The best that is on `path` (default: PATH) for a server of this kind."""
    return tuple(_best(flavour, name, path) for name in names)


def _best(flavour: Flavour, name: str, path: str | None) -> Tool:
    tool = programs.Tool(name)
    found = [_look_at(tool, one, path) for one in programs.spellings(tool, flavour)]
    fitting = (one for one in found if one.flavour is flavour)
    there = (one for one in found if one.path)
    return next(fitting, None) or next(there, None) or found[0]


def _look_at(tool: programs.Tool, name: str, path: str | None) -> Tool:
    env = {"PATH": path} if path is not None else {}
    file = ""
    try:
        file = find_program(Command((name,), env=env))
        found = programs.look_at(tool, file)
    except RestoreError as error:
        return Tool(name, file, None, None, error.message)
    return Tool(name, file, found.flavour, found.version)


def tools(server: Version, found: Sequence[Tool]) -> Iterator[Check]:
    """One check for each program."""
    for tool in found:
        yield _fits(server, tool, f"Program {tool.name}")


def _fits(server: Version, tool: Tool, name: str) -> Check:
    kind = server.flavour.shown
    install = f"Install the client programs of {kind} {'.'.join(map(str, server.numbers[:2]))} on this machine."
    if not tool.path or tool.flavour is None:
        return fail(name, drawable(tool.why), install)
    told = f"{drawable(tool.path)}, {tool.version or tool.flavour.shown}"
    if tool.flavour is not server.flavour:
        return fail(name, f"{told}: the server is {server}", install)
    if tool.version is not None and "binlog" not in tool.name and tool.version.numbers[:2] < server.numbers[:2]:
        return warn(name, f"{told} is older than the server, {server}", install)
    return ok(name, told)
