"""Real logins and a real group, made for a test and removed after it. Only root can make them."""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Our Python may be where another login can't look, so all that a command needs is loaded while we are still root.
_BECOME = """
import concurrent.futures.thread, encodings.idna, importlib, os, pkgutil, pwd, sys
login, *argv = sys.argv[1:]
for name in ("tui.approving", "tui.steering", "tui.reading", "engines.session"):
    module = importlib.import_module(name)
    for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
        importlib.import_module(f"{name}.{found.name}")
person = pwd.getpwnam(login)
os.initgroups(login, person.pw_gid)
os.setgid(person.pw_gid)
os.setuid(person.pw_uid)
os.environ.update(HOME=person.pw_dir, USER=login, LOGNAME=login)
os.chdir("/")
sys.exit(importlib.import_module("tui.cli").main(argv))
"""


@dataclass(frozen=True, slots=True)
class Done:
    """How a command of somebody else's ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Logins:
    """Accounts of this machine: three of the group that may watch, and one outside of it."""

    group: str
    boris: str  # in the group; the tests configure him as commander
    olga: str  # in the group; a role as the test says
    wanda: str  # in the group, and nobody
    mallory: str  # not in the group

    def reinstate(
        self, login: str, *words: str | Path, keys: str = "", environ: Mapping[str, str] | None = None
    ) -> Done:
        """Run a command as that login, from the beginning of the process to its end."""
        done = subprocess.run(
            [sys.executable, "-P", "-c", _BECOME, login, *map(str, words)],
            input=keys.encode(),
            capture_output=True,
            timeout=60,
            check=False,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "TERM": "dumb",
                "LANG": "C.UTF-8",
                **(environ or {}),
            },
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def acting_as(login: str) -> Iterator[None]:
    """Act in this process with another login's rights: user, group and groups."""
    person = pwd.getpwnam(login)
    groups, gid, uid = os.getgroups(), os.getegid(), os.geteuid()
    os.setgroups(os.getgrouplist(login, person.pw_gid))
    os.setegid(person.pw_gid)
    os.seteuid(person.pw_uid)
    try:
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)
        os.setgroups(groups)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two workers that change the accounts at once get "cannot lock /etc/passwd"."""
    with Path(tempfile.gettempdir(), "reinstate-test-logins.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def made_logins() -> Iterator[Logins]:
    """Make the accounts, and remove them again."""
    if os.geteuid() != 0:
        pytest.fail("This needs root: another login is the point of it. Run `make test` as root.")
    mark = secrets.token_hex(3)
    group = f"rei-{mark}"
    names = {name: f"{name}-{mark}" for name in ("boris", "olga", "wanda", "mallory")}
    try:
        with _one_at_a_time():
            subprocess.run(["groupadd", group], check=True)
            for name, login in names.items():
                member = [] if name == "mallory" else ["-G", group]
                argv = ["useradd", "--no-create-home", "--home-dir", "/nonexistent", *member, login]
                subprocess.run(argv, check=True, capture_output=True)
        yield Logins(group, **names)
    finally:
        with _one_at_a_time():
            for login in names.values():
                subprocess.run(["userdel", login], check=False, capture_output=True)
            subprocess.run(["groupdel", group], check=False, capture_output=True)
        shutil.rmtree(Path("/run/reinstate", group), ignore_errors=True)  # of sockets, made by the first runner


def gid_of(group: str) -> int:
    return grp.getgrnam(group).gr_gid
