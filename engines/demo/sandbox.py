"""Builds the demo's sandbox, starts its application, and ends what it started.

Everything is in one folder, which stays: the record of what was restored is in it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from engines.children import Child, end
from engines.demo import app, papers
from engines.demo.history import write_past
from engines.errors import Refused, RestoreError
from engines.session import store
from engines.text import drawable, utc_now

HOME = "shop"  # the application's folder
_START_WITHIN = 30.0  # seconds
_GRACE = 5.0  # seconds between asking a process to end and ending it


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox and its papers. Every path is absolute."""

    folder: Path
    config: Path
    incident: Path  # the machine-readable report; incident-report.md beside it says the same
    answers: Path
    target: str
    first_backup: str  # the copy that looks best, and is corrupted
    good_backup: str
    programs: tuple[str, ...] = ()  # folders that go before PATH, for the programs of its server
    server: Path | None = None  # the folder of its server, where it has one

    @property
    def again(self) -> str:
        """The commands that take up a session that was left waiting."""
        resume = f"reinstate --config {self.config} resume"
        if self.server is None:
            return resume
        path = f"PATH={':'.join(self.programs)}:$PATH " if self.programs else ""
        return f"{sys.executable} -P -m engines.demo.mysql.server start {self.server} && {path}{resume}"

    @property
    def home(self) -> Path:
        """The application's folder."""
        return self.folder / HOME

    @property
    def database(self) -> Path:
        return self.home / app.DATABASE


def build(folder: Path | None = None) -> Sandbox:
    """A sandbox in `folder` (default: a new temporary one), with its application running.

    Raises Refused when there is something in the folder, RestoreError when the sandbox can't be made.
    """
    place = own_folder(folder)
    made: Sandbox | None = None
    try:
        made = _fill(place)
        for service in app.SERVICES:
            start_service(made, service)
    except (OSError, sqlite3.Error, subprocess.SubprocessError) as error:
        _abort(made)
        raise RestoreError(
            f"The sandbox in {drawable(str(place))} could not be made: {drawable(str(error))}.",
            "Nothing outside of it was touched. Give it another place with --folder, then remove this one.",
        ) from error
    except BaseException:
        _abort(made)
        raise
    return made


def stop(sandbox: Sandbox) -> Path | None:
    """End what runs for the sandbox, and nothing else. The folder stays; returns the newest session's record."""
    return stop_in(sandbox.folder)


def stop_in(folder: Path) -> Path | None:
    """`stop`, of the sandbox in this folder."""
    records: list[Path] = []
    # The runner first: it could start the application again.
    for known in store.known_sessions(folder / "state"):
        records.append(known.folder / "session.toml")
        mark = store.runner_mark(known.folder)
        if mark is not None:
            end(Child(mark.pid, mark.started), _GRACE)
    for child in running_in(folder):
        end(child, _GRACE)
    return next((record for record in sorted(records, reverse=True) if record.exists()), None)


def running(sandbox: Sandbox) -> tuple[Child, ...]:
    """The processes of the sandbox's application."""
    return running_in(sandbox.folder)


def running_in(folder: Path) -> tuple[Child, ...]:
    found = ((app.running(folder / HOME, service), service) for service in app.SERVICES)
    return tuple(Child(pid, app.start_of(pid)) for pid, _service in found if pid is not None)


def own_folder(folder: Path | None) -> Path:
    """An empty folder that only we can look into."""
    try:
        if folder is None:
            return Path(tempfile.mkdtemp(prefix="reinstate-demo-")).resolve()
        place = folder.absolute()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        filled = any(place.iterdir())
        if not filled:
            place.chmod(0o700)
    except OSError as error:
        raise RestoreError(
            f"{drawable(str(folder or tempfile.gettempdir()))} can't be used for the sandbox: {error.strerror}.",
            "Name a new folder that you may write to: reinstate demo --folder DIR.",
        ) from error
    if filled:
        raise Refused(
            f"{drawable(str(place))} is not empty. Nothing was changed.", "Name a new folder, or empty this one."
        )
    return place


def _fill(folder: Path) -> Sandbox:
    home = folder / HOME
    backups = home / "storage/backups/sqlite"
    make_home(home, str(app.__file__), (app.DATABASE, app.LOG, app.DOWN))
    backups.mkdir(parents=True)
    past = write_past(home / app.DATABASE, backups, utc_now())
    (home / app.LOG).write_text(papers.log(past))
    made = sandbox_in(folder, past.corrupted, past.good)
    write_papers(made, papers.configuration(), papers.incident(past), papers.report(past), papers.answers(past))
    return made


def make_home(home: Path, script: str, files: tuple[str, ...]) -> None:
    """The application's folder: its script as app.py, and a folder for each of these files."""
    for place in files:
        (home / place).parent.mkdir(parents=True)
    (home / app.RUN).mkdir()
    shutil.copyfile(script, home / "app.py")


def sandbox_in(
    folder: Path, first: str, good: str, programs: tuple[str, ...] = (), server: Path | None = None
) -> Sandbox:
    return Sandbox(
        folder=folder,
        config=folder / "reinstate.toml",
        incident=folder / "incident.toml",
        answers=folder / "answers.toml",
        target=papers.TARGET,
        first_backup=first,
        good_backup=good,
        programs=programs,
        server=server,
    )


def write_papers(made: Sandbox, configuration: str, incident: str, report: str, answers: str) -> None:
    written = {
        made.config: configuration,
        made.incident: incident,
        made.folder / "incident-report.md": report,
        made.answers: answers,
    }
    for path, text in written.items():
        path.write_text(text)
        path.chmod(0o600)


def start_service(sandbox: Sandbox, service: str) -> None:
    """Raises RestoreError, SubprocessError."""
    done = subprocess.run(
        [sys.executable, "-I", "app.py", service, "start"],
        cwd=sandbox.home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_START_WITHIN,
        check=False,
        env={"PATH": os.environ.get("PATH", os.defpath)},
    )
    if done.returncode:
        raise RestoreError(
            f"The demo's application did not start: {drawable(done.stdout + done.stderr)[-400:].strip()}",
            f"Its output is in {sandbox.home / app.RUN}.",
        )


def _abort(sandbox: Sandbox | None) -> None:
    if sandbox is not None:
        stop(sandbox)
