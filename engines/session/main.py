"""A runner process, from its claim on the session to its exit code."""

from __future__ import annotations

import asyncio
import platform
import sqlite3
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from engines.errors import Refused, RestoreError
from engines.session import store
from engines.session.events import SessionBegun
from engines.session.journal import read, replace_file
from engines.session.launch import survival, take_environment
from engines.session.recipe import Recipe
from engines.session.runner import At, Runner, read_begin
from engines.session.sockets import new_socket
from engines.session.store import BEGIN, REFUSED
from engines.version import tool


def versions() -> Mapping[str, str]:
    return {"tool": tool(), "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}


def begun_in(folder: Path) -> SessionBegun:
    """The session's first event, from its journal or, before that is written, from what the console asked for."""
    asked = read_begin(folder)
    if asked is not None:
        return asked
    entries = read(folder / store.JOURNAL).entries
    if not entries or not isinstance(entries[0].event, SessionBegun):
        raise RestoreError(f"{folder} holds no session.", "List them: reinstate sessions.")
    return entries[0].event


def main(
    folder: Path,
    recipe_for: Callable[[SessionBegun], Recipe],
    lock_for: Callable[[SessionBegun, Path], Path],
    at: At | None = None,
) -> int:
    """Run the session in `folder` to its end. Exit code 0, or 3 with the reason in refused.json."""
    try:
        mark = store.claim_runner(folder)
        take_environment(folder)
        begun = begun_in(folder)
        recipe = recipe_for(begun)
        runner = Runner(folder, recipe, at=at) if at is not None else Runner(folder, recipe)
        if runner.state.ended is not None:
            runner.finish()
            store.forget_target(lock_for(begun, folder), folder)
            raise Refused(f"Session {folder.name} is over ({runner.state.ended.how}).", "Read it: reinstate show.")
        with store.hold_target(lock_for(begun, folder), folder):
            is_new = not runner.state.last_seq
            runner.begin(begun if is_new else None, versions(), survival().text)
            (folder / BEGIN).unlink(missing_ok=True)
            asyncio.run(runner.run(new_socket(folder), mark))
    except RestoreError as error:
        with suppress(OSError):  # a full disk may be the very reason; the log below has it then
            replace_file(folder / REFUSED, msgspec.json.encode({"message": error.message, "hint": error.hint}))
        sys.stderr.write(f"{error.message} {error.hint}\n")
        return error.exit_code
    return 0
