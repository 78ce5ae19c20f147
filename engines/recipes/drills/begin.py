"""Begins a drill: what is refused, which backup is taken, and the session that restores it into a scratch place."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from engines.backups.catalogue import Backup, Status
from engines.config import Config
from engines.drilling import Expect
from engines.errors import Refused, RestoreError
from engines.incident import Incident
from engines.recipes import points, sessions
from engines.recipes.drills import expecting
from engines.recipes.drills.known import of_target
from engines.recipes.drills.place import ENVIRONMENT, drills_folder
from engines.session import launch, store
from engines.session.events import Ending, SessionBegun
from engines.targets import Application, Framework, LoadClient, Method, MysqlTarget, SqliteTarget, Target
from engines.text import drawable, utc_now
from engines.trusted_file import safe_path

NAMED = "named on the command line"
ANY = "a random one"
NEWEST = "the newest"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a drill is to restore, and what it expects. `backup`: a name, or empty for the newest."""

    backup: str = ""
    random: bool = False
    incident: Incident | None = None
    expect: Expect | None = None  # None: as configured


def begin(config: Config, target: Target, wanted: Wanted, operator: str) -> Path:
    """Start the session of a drill, and return its folder. Raises RestoreError, Refused."""
    refuse_beside_a_restore(config, target)
    _refuse_place(config, target)
    backup = chosen(_backups(target), wanted, target)
    expected = _expected(config, target, wanted)
    folder = store.new_folder(drills_folder(config), ENVIRONMENT, utc_now(), config.watchers)
    launch.begin(sessions.RUNNER, folder, beginning(config, target, backup, expected, wanted, operator, folder.name))
    return folder


def take_up_dead(config: Config, target: Target) -> tuple[Path, ...]:
    """End what a killed drill left, and remove its scratch folder. Raises Refused where one is still under way."""
    ended: list[Path] = []
    for known in of_target(config, target.name):
        if not known.unfinished:
            continue
        if known.alive:
            raise Refused(
                f"Drill {known.id} of {target.name} is under way. Nothing was begun.",
                f"Wait for it, or watch it: reinstate attach {known.folder}.",
            )
        with suppress(RestoreError):  # "has come and gone": it ends as soon as it has looked
            sessions.resume(known.folder)
        ended.append(known.folder)
    return tuple(ended)


def refuse_beside_a_restore(config: Config, target: Target) -> None:
    """An incident has the disk and the eyes to itself. A restore may begin beside a drill: they share nothing."""
    taken = store.unfinished_for(config.state, target.name)
    if taken is not None:
        raise Refused(
            f"Session {taken.id} restores {target.name}, so no drill is begun beside it. Nothing was changed.",
            f"Try again once it is over: reinstate show {taken.id}.",
        )


def _refuse_place(config: Config, target: Target) -> None:
    """The scratch folder may be none that something of the target's is in. Paths are compared as they lead.

    Root makes and removes nothing where others could put something else in its place.
    """
    problems = safe_path(target.drill.scratch) if sessions.privileged() else ()
    if problems:
        raise Refused(f"The scratch folder can't be used: {problems[0].message} Nothing was begun.", problems[0].hint)
    scratch = target.drill.scratch.resolve()
    theirs: list[tuple[str, Path]] = [("the state folder", config.state)]
    if isinstance(target, MysqlTarget):
        theirs += [
            ("the backups' folder", Path(target.backups)),
            ("the folder that restores stage in", target.staging),
            ("the safety snapshots' folder", Path(target.snapshots)),
        ]
    if isinstance(target, SqliteTarget):
        theirs += [
            ("the live database's folder", target.database.parent),
            ("the folder the live database is really in", target.database.resolve().parent),
            ("the backups' folder", target.backups),
            ("the safety snapshots' folder", target.snapshots),
        ]
    for what, place in theirs:
        if scratch == place.resolve():
            raise Refused(
                f"The scratch folder {drawable(str(scratch))} is {what}. Nothing was begun.",
                "Set `scratch` in the target's drill section to a folder of its own.",
            )


def _backups(target: Target) -> Sequence[Backup]:
    """Raises Refused: a folder or bucket that can't be listed is a backup that is not there."""
    try:
        return points.backups_of(target).backups
    except RestoreError as error:
        raise Refused(error.message, error.hint) from error


def chosen(backups: Sequence[Backup], wanted: Wanted, target: Target) -> Backup:
    """The backup that is drilled: the very newest, whatever is known of it, unless one is named. Raises Refused."""
    if not backups:
        raise Refused(
            f"There is no backup of {target.name} in {drawable(str(target.backups))}. Nothing was begun.",
            "Look at the job that makes them, and at `backups` and `pattern` in the configuration.",
        )
    if wanted.backup:
        found = next((one for one in backups if one.name == wanted.backup), None)
        if found is None:
            newest = ", ".join(drawable(one.name) for one in backups[:3])
            raise Refused(
                f"There is no backup {drawable(wanted.backup)!r} of {target.name}. Nothing was begun.",
                f"The newest are: {newest}.",
            )
    else:
        found = random.SystemRandom().choice(backups) if wanted.random else backups[0]
    if found.status is Status.MISSING_FILE:
        raise Refused(
            f"{drawable(found.name)} is listed, and is not there: {drawable(found.evidence)}. Nothing was begun.",
            "Look at the job that makes the backups: the newest one of its list has gone.",
        )
    return found


def _expected(config: Config, target: Target, wanted: Wanted) -> expecting.Expected:
    if wanted.incident is not None:
        return expecting.of_report(wanted.incident)
    last = next(
        (
            known.state
            for known in of_target(config, target.name)
            if known.state.ended is not None and known.state.ended.how is Ending.PROVEN
        ),
        None,
    )
    return expecting.of_target(target, wanted.expect or target.drill.expect, last, utc_now())


def beginning(
    config: Config,
    target: Target,
    backup: Backup,
    expected: expecting.Expected,
    wanted: Wanted,
    operator: str,
    name: str,
) -> SessionBegun:
    """A drill's first event. Its target is the scratch database; of the live one only the name goes along."""
    begun = sessions.beginning(config, scratch_target(target, name), backup, expected.incident, operator, name)
    objectives = {"rto_seconds": target.rto, "rpo_seconds": target.rpo}
    decided = {
        "backup": NAMED if wanted.backup else ANY if wanted.random else NEWEST,
        "expectations": expected.source,
        "scratch": str(target.drill.scratch / name),
        "approval": "none: nothing of the live target is touched",
        "application": "none of its commands is run",
        "a check that blocks": "the drill has failed; nobody overrides",
        **{key: f"{span.total_seconds():g}" for key, span in objectives.items() if span is not None},
    }
    return replace(begun, drill=True, decided=decided, people=(), notify=(), tickets={}, incident_id="")


def scratch_target(target: Target, name: str) -> Target:
    """The target as a drill has it: another database, without application, owner or objectives."""
    folder, drill = target.drill.scratch / name, target.drill
    listed = target.application.security_checklist if drill.checklist else None
    application = Application(folder, Framework.NONE, security_checklist=listed)
    if isinstance(target, MysqlTarget):
        if drill.login is None:
            raise Refused(
                f"No drill server is configured for {target.name}, and a drill never uses the live one. Nothing was "
                "begun.",
                "Write its login, and host and port or socket, in the target's drill section.",
            )
        return replace(
            target,
            host=drill.host,
            port=drill.port,
            socket=drill.socket,
            login=drill.login,
            nodes=(),
            space_command=drill.space_command,
            method=Method.STAGED,
            client=LoadClient.OWN,
            local_infile=False,
            binlogs=None,
            staging=folder,
            snapshots=str(folder / "snapshots"),
            spare=folder / "snapshots",
            rto=None,
            rpo=None,
            prometheus=None,
            drill=replace(drill, login=None, socket=None),
            application=application,
        )
    return replace(
        target,
        database=folder / f"{target.name}.sqlite",
        snapshots=folder / "snapshots",
        owner=None,
        group=None,
        mode=None,
        rto=None,
        rpo=None,
        prometheus=None,
        application=application,
    )
