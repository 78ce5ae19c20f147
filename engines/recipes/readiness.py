"""Readiness questions that are the same for every engine."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, timedelta

from engines import checks
from engines.backups.catalogue import Backup, Catalogue, Status
from engines.backups.freshness import NAME, freshness
from engines.backups.places import ObjectAt
from engines.backups.verify import verify, verify_all
from engines.checks import Check
from engines.errors import RestoreError
from engines.incident import Incident
from engines.incident import from_table as incident_from
from engines.session.state import SessionState
from engines.text import both_zones, utc_now


def incident_of(state: SessionState) -> Incident | None:
    table = state.begun.incident if state.begun else {}
    return incident_from(table) if table else None


def fresh(
    listing: Callable[[], Catalogue],
    every: timedelta,
    progress: Callable[[int, int], None],
    stop: Callable[[], bool],
) -> Check:
    """A1, on the newest backups' real bytes: the first that verifies is enough to know how old it is.

    A bucket's are not fetched for it: what the bucket itself says of their bytes is taken.
    """
    try:
        catalogue = listing()
    except RestoreError as error:
        return checks.fail(NAME, error.message, error.hint)
    objects = tuple(one for one in catalogue.backups if isinstance(one.place, ObjectAt))
    asked = {one.where: one for one in verify_all(objects, lambda _one: None, stop)}
    settled: list[Backup] = []
    for backup in catalogue.backups:
        if backup.where in asked:
            settled.append(asked[backup.where])
            continue
        known = any(one.status is Status.VERIFIED for one in settled)
        settled.append(backup if known or backup.status is not Status.UNCHECKED else verify(backup, progress, stop))
    return freshness(replace(catalogue, backups=tuple(settled)), every, utc_now())


def right_target(
    environment: str,
    engine: str,
    names: tuple[str, ...],
    incident: Incident | None,
    *,
    hosts: tuple[str, ...] = (),
    identity: str = "",
) -> Check:
    """Does the incident report speak of this target? A restore in the wrong place is the oldest mistake there is.

    `names`: what the database may be called, an SQLite file's path first. `hosts`, `identity`: of its server; an SQLite
    file has those of this machine, and its device and inode.
    """
    name = "The incident is about this target"
    if incident is None:
        hint = "Give the report with --incident, so that counts can be compared with it."
        return checks.warn(name, "there is no incident report", hint)
    told = incident.target
    if engine == "sqlite":
        hosts, identity = hosts or (socket.gethostname(), socket.getfqdn()), identity or _file_identity(names[0])
    questions = (
        ("environment", told.environment, environment, told.environment == environment),
        ("engine", told.engine, engine, told.engine == engine),
        ("host", told.host, ", ".join(dict.fromkeys(hosts)), any(_same_host(told.host, host) for host in hosts)),
        ("database", told.database, names[0], told.database in names),
        ("identity", told.identity, identity, _numbers(told.identity) == _numbers(identity)),
    )
    asked = [question for question in questions if question[1]]
    for what, said, ours, same in asked:
        if ours and not same:
            hint = "Choose the target that the report names."
            if what == "identity":
                hint += " A restore since the report was written has made another file of it."
            return checks.fail(name, f"it says {what} {said}, the target's is {ours}", hint)
    source = f"{incident.about.id}, source {incident.source.file or 'typed'}"
    unknown = [what for what, _, ours, _ in asked if not ours]
    compared = [what for what, _, ours, _ in asked if ours]
    if unknown or not compared:
        why = f"{', '.join(unknown)} could not be compared" if unknown else "it names no target"
        hint = "Make sure that it is; [target] in the report says which database it is about."
        return checks.warn(name, f"{source}: {why}", hint)
    return checks.ok(name, f"{source}: {', '.join(compared)} as it says")


def _same_host(said: str | None, ours: str) -> bool:
    """By full names where both are, else by the first part."""
    if not said:
        return False
    one, other = said.casefold().rstrip("."), ours.casefold().rstrip(".")
    return one == other if "." in one and "." in other else one.partition(".")[0] == other.partition(".")[0]


def _file_identity(path: str) -> str:
    """Device and inode of a file; empty where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - the path is text here
    except (OSError, ValueError):
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def _numbers(identity: str | None) -> list[str]:
    """`2049:131077` and `device 2049, inode 131077` are the same; a server's UUID stays what it is."""
    written = (identity or "").casefold().strip()
    return re.findall(r"\d+", written) if re.fullmatch(r"(device\s*)?\d+\W+(inode\s*)?\d+", written) else [written]


def clock() -> Check:
    now = utc_now()
    zone = now.astimezone().strftime("%Z")
    return checks.ok("Clock and time zone", f"{both_zones(now)}; this machine's zone is {zone}, the record's is {UTC}")


def verdicts(found: Sequence[Check]) -> str:
    blocking = [check.name for check in found if check.verdict.blocks]
    told = f"{len(found)} checks" + (f", blocking: {', '.join(blocking)}" if blocking else ", none blocks")
    return told
