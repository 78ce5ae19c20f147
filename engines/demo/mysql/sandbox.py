"""Builds the sandbox of the demo on a server: the server itself, a shop on it, and everybody's papers."""

from __future__ import annotations

import subprocess
from pathlib import Path

from engines.demo import app, sandbox
from engines.demo.mysql import papers, server, shop
from engines.demo.mysql.history import write_past
from engines.demo.mysql.programs import Programs, programs
from engines.demo.sandbox import Sandbox
from engines.errors import RestoreError
from engines.hooks import Say, silent
from engines.mysql.flavour import Flavour
from engines.text import drawable, utc_now

SERVER = "server"  # the server's folder in the sandbox
_ACCOUNT = "reinstate"


def build(engine: str, folder: Path | None = None, say: Say = silent) -> Sandbox:
    """A sandbox in `folder` (default: a new temporary one), its server and its application running.

    `engine` is mysql or mariadb.
    What a demo that was killed has left is ended first. Raises UsageError where the server's programs are not there,
    Refused when there is something in the folder, RestoreError when the sandbox can't be made.
    """
    import pymysql

    found = programs(Flavour(engine))
    for left in server.sweep(lambda place: sandbox.stop_in(place.parent)):
        say(f"ended what a demo that was killed had left: {drawable(str(left.parent))}")
    place = sandbox.own_folder(folder)
    try:
        made = _fill(place, found, say)
        for service in app.SERVICES:
            sandbox.start_service(made, service)
    except (OSError, pymysql.MySQLError, subprocess.SubprocessError) as error:
        stop_in(place)
        raise RestoreError(
            f"The sandbox in {drawable(str(place))} could not be made: {drawable(str(error))}.",
            "Nothing outside of it was touched. Give it another place with --folder, then remove this one.",
        ) from error
    except BaseException:
        stop_in(place)
        raise
    return made


def stop(made: Sandbox) -> Path | None:
    """End what runs for the sandbox, and nothing else. The folder stays; returns the newest session's record."""
    return stop_in(made.folder)


def stop_in(folder: Path) -> Path | None:
    record = sandbox.stop_in(folder)
    server.stop(folder / SERVER)
    return record


def _fill(folder: Path, found: Programs, say: Say) -> Sandbox:
    home = folder / sandbox.HOME
    sandbox.make_home(home, str(shop.__file__), (app.LOG, app.DOWN))
    backups, archive = home / papers.BACKUPS, home / papers.ARCHIVE
    for place in (backups, archive):
        place.mkdir(parents=True)
    login = folder / papers.LOGIN
    running = server.make(folder / SERVER, found, {server.SCHEMA: home / shop.LOGIN, _ACCOUNT: login}, say)
    past = write_past(running, lambda: shop.connect(home), backups, archive, say)
    (home / app.LOG).write_text(papers.log(past))
    made = sandbox.sandbox_in(folder, past.corrupted, past.good, found.folders, running.folder)
    now = utc_now()
    sandbox.write_papers(
        made,
        papers.configuration(found.flavour, running.place, str(login)),
        papers.incident(past, found.flavour, now),
        papers.report(past, found.flavour, now),
        papers.answers(past, found.flavour),
    )
    return made
