"""Who is at the other end of the socket: the kernel gives a user id, the configuration a person. docs/security.md."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping
from pathlib import Path

from engines.session.authority import person_with
from engines.session.events import Actor, How, SessionBegun
from engines.session.sharing import is_member, watchers_of

Identify = Callable[[int, Mapping[str, str]], Actor | None]


def trusted_account(uid: int) -> bool:
    """The runner's own account, and root: they could do everything without asking."""
    return uid in (0, os.geteuid())


def only_us(uid: int, said: Mapping[str, str]) -> Actor | None:
    """The runner's own account and root by the name they give; nobody else."""
    if not trusted_account(uid):
        return None
    login = login_of(uid)
    sudo = said.get("sudo", "") if uid == 0 else ""
    return Actor(
        said.get("name") or login, login, How.ASSERTED, said.get("console", ""), said.get("connection", ""), sudo
    )


def watched_by(folder: Path, begun: Callable[[], SessionBegun | None]) -> Identify:
    """Also members of the group that the session's folder is shared with, each by the login that the kernel gives."""

    def identify(uid: int, said: Mapping[str, str]) -> Actor | None:
        ours = only_us(uid, said)
        group = watchers_of(folder)
        if ours is not None or group is None:
            return ours
        login = login_of(uid)
        if not is_member(login, uid, group):
            return None
        session = begun()
        name = person_with(session.people if session else (), login, said.get("name", ""))
        return Actor(name, login, How.PEER, said.get("console", ""), said.get("connection", ""))

    return identify


def login_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
