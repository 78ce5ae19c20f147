"""Tries, as the application's user and in a process of its own, whether the live database can be written."""

from __future__ import annotations

import os

from engines.checks import Check, Panel, fail, ok, unknown
from engines.sqlite.elsewhere import ask_apart
from engines.text import drawable

_NAME = "Write probe"


def write_probe(
    path: str, uid: int | None = None, gid: int | None = None, groups: tuple[int, ...] = (), *, timeout: float = 5.0
) -> Check:
    """Begins a write transaction, lets SQLite make its journal, and rolls back: no byte of the database changes.

    `groups` are the user's further groups. Without `uid` it is tried as the present user.
    """
    real = os.path.realpath(path)
    who = f"uid {os.geteuid() if uid is None else uid}"
    if uid is not None and os.geteuid() not in (0, uid):
        return unknown(_NAME, f"can't be tried as {who} from uid {os.geteuid()}", "Run this as root.", Panel.VALIDATION)
    group = gid if gid is not None else uid
    reply = ask_apart(
        {
            "do": "write_probe",
            "path": real,
            "uid": uid,
            "gid": group,
            "groups": list(groups) if groups else ([] if group is None else [group]),
            "timeout": timeout,
        }
    )
    if reply["ok"]:
        return ok(_NAME, f"{who} can write {drawable(real)} (tried and rolled back)", Panel.VALIDATION)
    return fail(
        _NAME,
        f"{who} can't write {drawable(real)}: {drawable(str(reply['why']))}",
        "Compare owner and mode of the file and of its folder with what the application runs as; stop what locks it.",
        Panel.VALIDATION,
    )
