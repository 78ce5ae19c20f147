"""Begins and resumes sessions: what a console or the plain mode asks for before there is a runner to ask."""

from __future__ import annotations

import os
import pwd
import socket
import tomllib
from pathlib import Path

from engines import tables
from engines.backups.catalogue import Backup
from engines.config import Config, to_table
from engines.errors import Refused, RestoreError, UsageError
from engines.incident import Incident
from engines.incident import to_table as incident_table
from engines.recipes import points
from engines.recipes.drills.known import last_proven
from engines.recipes.mysql.until import Until
from engines.session import launch, store
from engines.session.client import behind_sudo
from engines.session.events import Actor, How, SessionBegun
from engines.session.journal import read
from engines.session.store import RunnerMark
from engines.targets import MysqlTarget, Target
from engines.text import utc_now
from engines.version import tool

RUNNER = "engines.recipes.run"


def privileged() -> bool:
    return os.geteuid() == 0


def login() -> str:
    """The login behind sudo where there is one, else the one that runs Reinstate: the operator's usual name."""
    return behind_sudo() or account()


def account() -> str:
    """The login that runs Reinstate, as the kernel tells it to the other end of a socket."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def target_named(config: Config, name: str | None) -> Target:
    """The target called `name`, or the only one there is. Raises UsageError."""
    if name is None and len(config.targets) == 1:
        return next(iter(config.targets.values()))
    known = ", ".join(config.targets)
    if name is None:
        raise UsageError("Which target? Nothing was changed.", f"Name one of {known}.")
    if name not in config.targets:
        raise UsageError(f"There is no target {name!r} in the configuration.", f"Known: {known}.")
    return config.targets[name]


def check_until(target: Target, until: Until | None) -> None:
    """Raises UsageError where the target's engine has no such restore point."""
    if until is not None and until.replays and not isinstance(target, MysqlTarget):
        raise UsageError("An SQLite copy has no logs after it. Nothing was started.", "Leave --until away.")


def begin(
    config: Config,
    target: str,
    backup: Backup,
    incident: Incident | None,
    operator: str,
    until: Until | None = None,
) -> Path:
    """Start a session that restores `backup`, and return its folder. Raises Refused when the target is taken."""
    chosen = target_named(config, target)
    check_until(chosen, until)
    taken = store.unfinished_for(config.state, chosen.name)
    if taken is not None:
        raise Refused(
            f"Session {taken.id} of {chosen.name} is unfinished. Nothing was changed.",
            f"reinstate {'attach' if taken.alive else 'resume'} {taken.id}, or undo or abandon it.",
        )
    folder = store.new_folder(config.state, chosen.environment, utc_now(), config.watchers)
    launch.begin(RUNNER, folder, beginning(config, chosen, backup, incident, operator, folder.name, until))
    return folder


def beginning(
    config: Config,
    chosen: Target,
    backup: Backup | None,
    incident: Incident | None,
    operator: str,
    name: str,
    until: Until | None = None,
) -> SessionBegun:
    """A session's first event: everything that it takes over from the configuration and the incident report."""
    return SessionBegun(
        session=name,
        target=to_table(chosen),
        environment=chosen.environment,
        engine=chosen.engine,
        address=chosen.address,
        backup=points.to_table(backup, until, "given when the session was begun") if backup else {},
        incident=incident_table(incident) if incident else {},
        incident_id=incident.about.id if incident else "",
        people=tuple(
            {
                "name": person.name,
                "login": person.login,
                "roles": [str(role) for role in person.roles],
                "principal": person.principal or person.login,
            }
            for person in config.people
            if not person.targets or chosen.name in person.targets
        ),
        approval={
            "window_seconds": config.approval.window.total_seconds(),
            "break_glass": config.approval.break_glass,
            "asserted": config.approval.asserted,
            "self_approval": [str(environment) for environment in config.approval.self_approval],
            "remind_seconds": config.approval.remind.total_seconds(),
            "shift_seconds": config.approval.shift.total_seconds(),
            "watchers": config.watchers,
            **{key: str(path) for key, path in config.approval.paths().items()},
        },
        notify=tuple(
            tables.write(channel)
            for channel in config.channels
            if not channel.targets or chosen.name in channel.targets
        ),
        review=tables.write(config.review),
        last_drill=last_proven(config, chosen.name),
        tickets=tables.write(config.tickets) if config.tickets is not None else {},
        operator=Actor(operator or login(), account(), How.ASSERTED, sudo=behind_sudo()),
        host=socket.gethostname(),
        tool=tool(),
    )


def resume(folder: Path) -> RunnerMark:
    """Start a runner on an unfinished session whose runner is gone.

    On a session that is over it puts right what a kill at the very end left undone, and raises Refused. A privileged
    run resumes only what nobody else could have written.
    """
    store.refuse_untrusted(folder, privileged=privileged())
    known = store.open_session(folder)
    if known.error:
        raise RestoreError(f"Session {known.id} can't be resumed: {known.error}", "reinstate verify says more.")
    mark = store.runner_mark(folder)
    if mark is None:
        _refuse_cut_tail(folder)
    return mark if mark is not None else launch.start(RUNNER, folder)


def _refuse_cut_tail(folder: Path) -> None:
    """The record is only ever made from lines that are in the journal: one with more has lost its end.

    Going on from an earlier line would do again what was done, on a database that is another one by now.
    """
    try:
        head = tomllib.loads((folder / "session.toml").read_text())["chain_head"]
        recorded = int(head["entries"])
    except (OSError, ValueError, KeyError, TypeError):
        return  # the record can be made again; the journal is what counts
    lines = len(read(folder / store.JOURNAL).lines)
    if lines < recorded:
        raise Refused(
            f"The journal of {folder.name} has {lines} lines, but its record was made from {recorded}: its end is "
            "missing. Nothing was changed.",
            "Bring the whole journal.jsonl back. What is live now: reinstate check.",
        )
