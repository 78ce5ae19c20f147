"""Starts a session's runner so that it outlives the terminal, and waits until it answers or says why not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engines.checks import Check, ok, warn
from engines.errors import Refused, RestoreError
from engines.session.events import SessionBegun
from engines.session.journal import replace_file
from engines.session.store import BEGIN, JOURNAL, REFUSED, RunnerMark, runner_mark

ANSWER_WITHIN = 30.0  # seconds
_LOOK = 0.02  # seconds between looks
_ENVIRONMENT = Path("private", "environment")  # in the session's folder, from the console's hand to the runner's


@dataclass(frozen=True, slots=True)
class Survival:
    """How a runner is started here, and what is known about its outliving the login."""

    systemd: bool
    proven: bool
    text: str


def survival(systemd: bool | None = None) -> Survival:
    """A logind may end a login's whole control group (logind.conf(5), KillUserProcesses); a unit is outside of it."""
    running = Path("/run/systemd/system").is_dir() if systemd is None else systemd
    if not running:
        return Survival(False, True, "in an OS session of its own; no systemd here that could end it with the login")
    if shutil.which("systemd-run") is None:
        return Survival(False, False, "in an OS session of its own, but systemd may end it with the login")
    return Survival(True, True, "as a systemd unit, outside of the login's control group")


def survival_check(found: Survival) -> Check:
    if found.proven:
        return ok("survives the terminal", found.text)
    return warn("survives the terminal", found.text, "Run inside tmux, or install systemd-run.")


def command(module: str, folder: Path, found: Survival) -> Sequence[str]:
    """The runner's argument list. -P: never import from the folder that the operator happens to stand in."""
    runner = [sys.executable, "-P", "-m", module, str(folder)]
    if not found.systemd:
        return runner
    scope = [] if os.geteuid() == 0 else ["--user"]
    unit = f"reinstate-{folder.name[-4:]}-{os.getpid()}"
    return [
        "systemd-run",
        *scope,
        "--quiet",
        "--collect",
        f"--unit={unit}",
        "--property=KillMode=process",
        "--",
        *runner,
    ]


def begin(module: str, folder: Path, begun: SessionBegun) -> RunnerMark:
    """Start the runner of a new session. Raises what it refuses with; the empty folder is removed then."""
    replace_file(folder / BEGIN, msgspec.json.encode(begun))
    try:
        return start(module, folder)
    except Refused:
        if not _has_begun(folder):
            shutil.rmtree(folder)
        raise


def _has_begun(folder: Path) -> bool:
    """Is there anything in the journal? A runner may also be refused later, by a full disk."""
    journal = folder / JOURNAL
    return journal.exists() and journal.stat().st_size > 0


def start(module: str, folder: Path) -> RunnerMark:
    """Start a runner on `folder` and return its mark once it answers. Raises the reason when it does not."""
    living = runner_mark(folder)
    if living is not None and living.socket:
        return living
    (folder / REFUSED).unlink(missing_ok=True)
    log_path = folder / "runner.log"
    fd = os.open(log_path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    found = survival()
    if found.systemd:
        _hand_over_environment(folder)
    try:
        with os.fdopen(fd, "wb") as log:
            process = subprocess.Popen(
                command(module, folder, found),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        return _answered(process, folder, found)
    finally:
        (folder / _ENVIRONMENT).unlink(missing_ok=True)


def _answered(process: subprocess.Popen[bytes], folder: Path, found: Survival) -> RunnerMark:
    log_path = folder / "runner.log"
    until = time.monotonic() + ANSWER_WITHIN
    while time.monotonic() < until:
        mark = runner_mark(folder)
        if mark is not None and mark.socket:
            process.returncode = 0  # it lives on without us; keep Popen from complaining about that
            return mark
        code = process.poll()
        if (folder / REFUSED).exists():
            reason = msgspec.json.decode((folder / REFUSED).read_bytes(), type=dict[str, str])
            process.wait(5)
            (folder / REFUSED).unlink()
            raise Refused(reason["message"], reason["hint"])
        if code == 0 and not found.systemd:  # systemd-run itself is done as soon as the unit runs
            raise RestoreError("The runner has come and gone: nothing was left to do.", "Read it: reinstate show.")
        if code:
            break
        time.sleep(_LOOK)
    if process.poll() is None:
        process.returncode = 0  # it may still answer: keep Popen from complaining that nobody waits for it
    tail = log_path.read_text(errors="replace")[-400:].strip()
    raise RestoreError(f"The runner did not start. {tail}", f"Its output is in {log_path}. Then: reinstate resume.")


def _hand_over_environment(folder: Path) -> None:
    """A unit starts with systemd's environment, not the login's (systemd-run(1)): no PATH, no AWS_… of the operator.

    It goes by a file that only we can read and the runner removes: some of it may be secret, so not by --setenv.
    """
    (folder / _ENVIRONMENT.parent).mkdir(mode=0o700, exist_ok=True)
    replace_file(folder / _ENVIRONMENT, b"\0".join(name + b"=" + value for name, value in os.environb.items()))


def take_environment(folder: Path) -> None:
    """What the console handed over, if it did, becomes this process's own."""
    path = folder / _ENVIRONMENT
    try:
        handed = path.read_bytes()
    except FileNotFoundError:
        return
    path.unlink()
    os.environb.update(dict(entry.split(b"=", 1) for entry in handed.split(b"\0") if b"=" in entry))
