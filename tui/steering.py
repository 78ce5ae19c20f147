"""The commands that begin, go on with or end a session: in the console, or line by line."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from engines.config import Config, find, load
from engines.errors import Refused, RestoreError, UsageError
from engines.incident import Incident, read_incident
from engines.recipes import points, sessions
from engines.recipes.drills.place import ENVIRONMENT, drills_folder
from engines.recipes.mysql.until import Kind, Until, typed
from engines.recipes.snapshots import kept_by
from engines.session import commands as c
from engines.session import store
from engines.session.client import connect
from engines.session.events import Actor
from engines.session.moves import Ask, AskKind, check_filing, left_behind
from engines.session.notices import unsent
from engines.session.plan import PlanKind
from engines.session.sockets import one_served
from engines.session.state import SessionState
from engines.session.tickets import outcome, to_be_filed
from engines.targets import MysqlTarget, Target
from engines.text import drawable
from tui.answers import Answers, FromFile, Typed, read_answers
from tui.environment import importing, prepare
from tui.output import out, tell
from tui.plain import Choosing, drive, up_to_when

if TYPE_CHECKING:
    from engines.demo.sandbox import Sandbox
    from engines.session.runner import Runner


def privileged() -> bool:
    return os.geteuid() == 0


def configuration(arguments: argparse.Namespace) -> tuple[Config, Path]:
    given = getattr(arguments, "config", None)
    path = find(given, os.environ, Path.cwd(), Path.home())
    return load(path, privileged=privileged()), path


def configured(arguments: argparse.Namespace) -> Config | None:
    """The configuration, or None where there is none: whoever only watches need not have one."""
    try:
        path = find(getattr(arguments, "config", None), os.environ, Path.cwd(), Path.home())
    except UsageError:
        return None
    return load(path, privileged=privileged())


def incident_of(arguments: argparse.Namespace) -> Incident | None:
    return read_incident(arguments.incident, privileged=privileged()) if arguments.incident else None


def until_of(arguments: argparse.Namespace) -> Until | None:
    """How far to go beyond a dump; the demo and the console choose it in their own way."""
    if not hasattr(arguments, "until") or (arguments.until is None and not arguments.exclude):
        return None
    return typed(arguments.until or Kind.DUMP, tuple(arguments.exclude))


def operator_name(arguments: argparse.Namespace) -> str:
    return getattr(arguments, "name", "") or sessions.login()


def wants_plain(arguments: argparse.Namespace) -> bool:
    """Is there no terminal that the console could be drawn on, or was it not wanted?"""
    if getattr(arguments, "plain", False) or getattr(arguments, "answers", None):
        return True
    dumb = os.environ.get("TERM", "dumb") == "dumb"
    return dumb or not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty())


def console(arguments: argparse.Namespace) -> int:
    if wants_plain(arguments):
        raise UsageError(
            "The console needs a terminal (standard input, output and error, and TERM other than dumb).",
            "Line by line: reinstate restore TARGET --backup NAME --plain.",
        )
    config, _path = configuration(arguments)
    return _open(arguments, config=config, incident=arguments.incident)


def restore(arguments: argparse.Namespace) -> int:
    config, _path = configuration(arguments)
    target = sessions.target_named(config, arguments.target)
    incident = incident_of(arguments)
    if not wants_plain(arguments) and not arguments.backup:
        until = until_of(arguments)
        sessions.check_until(target, until)
        return _open(arguments, config=config, target=target.name, incident=arguments.incident, until=until)
    if not arguments.backup:
        raise UsageError("Which backup? Nothing was changed.", f"reinstate backups {target.name}, then --backup NAME.")
    backup = points.find(points.restore_points(target), arguments.backup)
    answers = answers_of(arguments)
    name = _operator(arguments, answers)
    folder = sessions.begin(config, target.name, backup, incident, name, _until(arguments, target, answers))
    out(f"Session {folder.name}")
    return _follow(arguments, folder, config, answers)


def _until(arguments: argparse.Namespace, target: Target, answers: Answers) -> Until | None:
    """How far to go beyond the dump, as the command line says, or as somebody answers. Raises UsageError."""
    given = until_of(arguments)
    if given is not None or not isinstance(target, MysqlTarget):
        return given
    hint = "--until dump, end, a time with its zone, FILE:POSITION, or a GTID. In an answers file: until."
    if not wants_plain(arguments):
        raise UsageError("How far beyond the dump? Nothing was started.", f"{hint} Without --backup, the console asks.")
    asked = asyncio.run(up_to_when(answers, Ask(AskKind.CHOOSE, "How far is the dump followed?")))
    if asked is None:
        raise UsageError("How far to go beyond the dump was not answered. Nothing was started.", hint)
    return asked


def attach(arguments: argparse.Namespace) -> int:
    return _follow(arguments, _unfinished(arguments).folder)


def resume(arguments: argparse.Namespace) -> int:
    known = readable(arguments)
    sessions.resume(known.folder)
    return _follow(arguments, known.folder)


def undo(arguments: argparse.Namespace) -> int:
    known = _unfinished(arguments)
    sessions.resume(known.folder)
    if known.state.plan is None or known.state.plan.kind is not PlanKind.UNDO:
        asyncio.run(_ask(known.folder, operator_name(arguments), c.Undo(arguments.reason)))
    return _follow(arguments, known.folder)


def abandon(arguments: argparse.Namespace) -> int:
    known = _unfinished(arguments)
    sessions.resume(known.folder)
    asyncio.run(_ask(known.folder, operator_name(arguments), c.Abandon(arguments.reason)))
    ended = store.open_session(known.folder).state
    out(f"Session {known.id} abandoned.")
    for line in left_behind(ended):
        out(f"  left as it is: {drawable(line)}")
    out(f"Record: {known.folder / 'session.toml'}")
    return 0


def notify(arguments: argparse.Namespace) -> int:
    """Send again what did not arrive, also once the session is over. Exit code 1 where something still did not."""
    known = readable(arguments)
    store.refuse_untrusted(known.folder, privileged=privileged())
    if known.state.ended is None:
        asyncio.run(_ask(known.folder, operator_name(arguments), c.SendAgain()))
        out(f"It is being sent again. What became of it: reinstate show {known.id}")
        return 0
    if not unsent(known.state):
        raise Refused("Nothing is unsent, so nothing was sent.", f"Read it: reinstate show {known.id}.")
    with _of_ended(known.folder, known.state) as runner:
        runner.send_again(Actor(operator_name(arguments), sessions.account()))
    left = unsent(runner.state)
    for notice, channel, why in left:
        out(f"NOT SENT {notice.about} to {drawable(channel)}: {drawable(why)}")
    out("All is sent." if not left else f"{len(left)} not sent.")
    return 1 if left else 0


def tickets(arguments: argparse.Namespace) -> int:
    """File follow-ups as issues, also once the session is over. Exit code 1 where something is not filed."""
    known = readable(arguments)
    store.refuse_untrusted(known.folder, privileged=privileged())
    keys = tuple(arguments.only)
    if known.state.ended is None:
        asyncio.run(_ask(known.folder, operator_name(arguments), c.FileTickets(keys)))
        out(f"It is being filed. What became of it: reinstate show {known.id}")
        return 0
    check_filing(known.state, keys)
    wanted = to_be_filed(known.state, keys)
    with _of_ended(known.folder, known.state) as runner:
        runner.file_tickets(wanted, Actor(operator_name(arguments), sessions.account()))
    tried = {key: runner.state.tickets[key] for key in wanted}
    for key, one in tried.items():
        out(drawable(f"{key}: {outcome(runner.state, one)}"))
        if one.hint:
            out(drawable(f"  {one.hint}"))
    return 0 if all(one.filed for one in tried.values()) else 1


@contextmanager
def _of_ended(folder: Path, state: SessionState) -> Iterator[Runner]:
    """A runner in this process, for what may still be said of a session that is over."""
    # here: only these commands need a recipe and a runner in their own process
    from engines.recipes.run import recipe_for
    from engines.session.runner import Runner

    claim = store.claim_runner(folder)
    try:
        assert state.begun is not None  # noqa: S101 - readable() refused a session that never began
        yield Runner(folder, recipe_for(state.begun))
    finally:
        os.close(claim)


def demo(arguments: argparse.Namespace) -> int:
    made, stop = _sandbox(arguments)
    arguments.config = made.config
    tell(f"The sandbox is in {made.folder}")
    if made.programs:  # what the runner inherits, so that it finds the server's own client programs
        os.environ["PATH"] = os.pathsep.join([*made.programs, os.environ.get("PATH", os.defpath)])
    try:
        if wants_plain(arguments):
            return _demo_plain(arguments, made)
        config = load(made.config, privileged=privileged())
        return _open(arguments, config=config, target=made.target, incident=made.incident, demo=True)
    finally:
        record = stop(made)
        ended = store.open_session(record.parent).state.ended if record is not None else None
        if record is not None and not wants_plain(arguments):
            if ended is not None:
                tell(f"Session {record.parent.name}: {ended.how}.")
            out(f"Record: {record}")
        if record is not None and ended is None:
            tell(f"Its session is unfinished. Take it up again: {made.again}")
        tell(f"What ran for the sandbox has ended. Its folder stays until you remove it: rm -r {made.folder}")


def _sandbox(arguments: argparse.Namespace) -> tuple[Sandbox, Callable[[Sandbox], Path | None]]:
    """The sandbox, and what ends what runs for it."""
    if arguments.engine == "sqlite":
        from engines.demo import sandbox  # here, and below: only the demo needs it

        return sandbox.build(arguments.folder), sandbox.stop
    from engines.demo.mysql import sandbox as on_server

    tell("Making a throwaway server and a shop on it; it takes some seconds.")
    return on_server.build(arguments.engine, arguments.folder, tell), on_server.stop


def _demo_plain(arguments: argparse.Namespace, made: Sandbox) -> int:
    arguments.target, arguments.incident = made.target, made.incident
    arguments.backup, arguments.plain = made.first_backup, True
    arguments.answers = arguments.answers or made.answers
    return restore(arguments)


def _operator(arguments: argparse.Namespace, answers: Answers) -> str:
    return getattr(arguments, "name", "") or (answers.operator if isinstance(answers, FromFile) else sessions.login())


def answers_of(arguments: argparse.Namespace) -> Answers:
    if arguments.answers:
        return FromFile(read_answers(arguments.answers))
    return Typed()


def _unfinished(arguments: argparse.Namespace) -> store.Known:
    known = readable(arguments)
    store.refuse_untrusted(known.folder, privileged=privileged())
    if known.state.ended is not None:
        kept = " Its safety snapshot is still a restore point: reinstate backups." if kept_by(known.state) else ""
        raise Refused(
            f"Session {known.id} is over ({known.state.ended.how}), so it can't be changed any more.",
            f"Read it: reinstate show {known.id}.{kept}",
        )
    return known


async def _ask(folder: Path, name: str, command: c.Command) -> None:
    socket = store.living_socket(folder)
    if socket is None:
        raise RestoreError("The runner is gone. Nothing was changed.", f"reinstate resume {folder.name}")
    client = await connect(socket, name)
    try:
        await client.do(command)
    finally:
        await client.close()


def found(arguments: argparse.Namespace) -> store.Known:
    """The session that is meant: a folder where a / is typed, else a name in the configured state folder.

    Raises UsageError.
    """
    if "/" in arguments.session:
        named = Path(arguments.session)
        if os.path.lexists(named / store.JOURNAL):
            return store.open_session(named.resolve())
        raise UsageError(
            f"{named} is no session's folder, or it can't be looked into: there is no {store.JOURNAL}.",
            "Name the folder that session.toml is in, or a session: reinstate sessions.",
        )
    if configured(arguments) is None and (served := one_served(None, arguments.session)) is not None:
        return store.open_session(served.folder)  # of root, shared with a group of ours
    config, _path = configuration(arguments)
    return store.find(_state_of(config, arguments.session), arguments.session)


def _state_of(config: Config, name: str) -> Path:
    """A drill is apart, and its name says what it is: `last` and a bare ending are restores."""
    return drills_folder(config) if f"{ENVIRONMENT}-" in name else config.state


def readable(arguments: argparse.Namespace) -> store.Known:
    """The session that is meant, its journal read. Raises RestoreError when that does not hold, or is empty."""
    known = found(arguments)
    if not known.error and known.state.begun is None and not (known.folder / store.BEGIN).exists():
        raise RestoreError(
            f"Session {known.id} never began: its journal is empty. Nothing was changed.",
            "If it did begin, its journal was emptied: keep the folder. Begin another: reinstate restore TARGET.",
        )
    if known.error:
        raise RestoreError(
            f"Session {known.id} can't be read: {known.error} Nothing was changed.",
            f"reinstate verify {known.folder} says what holds; reinstate sessions lists the others.",
        )
    return known


def _follow(
    arguments: argparse.Namespace, folder: Path, config: Config | None = None, answers: Answers | None = None
) -> int:
    if not wants_plain(arguments):
        return _open(arguments, config=config, folder=folder)
    answers = answers or answers_of(arguments)
    choosing = _choosing(folder)
    return asyncio.run(
        drive(folder, _operator(arguments, answers), answers, choosing, getattr(arguments, "config", None))
    )


def _choosing(folder: Path) -> Choosing | None:
    begun = store.open_session(folder).state.begun
    if begun is None:
        return None
    from engines.config import from_table  # here: it is a detail of this function

    target = from_table(begun.target)
    return Choosing(
        find=lambda name, until, why: points.to_table(points.find(points.restore_points(target), name), until, why),
        names=lambda: tuple(backup.name for backup in points.restore_points(target).backups),
        replays=isinstance(target, MysqlTarget),
    )


def _open(
    arguments: argparse.Namespace,
    *,
    config: Config | None = None,
    target: str | None = None,
    incident: Path | None = None,
    folder: Path | None = None,
    demo: bool = False,
    until: Until | None = None,
) -> int:
    prepare()
    with importing():
        from tui.app import Opening, run  # here: Textual is needed by no other command

    return run(
        Opening(
            config=config,
            config_path=getattr(arguments, "config", None),
            target=target,
            incident=incident,
            folder=folder,
            until=until,
            name=operator_name(arguments),
            theme=getattr(arguments, "theme", None) or (config.theme if config else "dark"),
            hints=demo,
            parting=not demo,  # the demo says it, once its runner has ended too
        )
    )


COMMANDS = {
    None: console,
    "restore": restore,
    "attach": attach,
    "resume": resume,
    "undo": undo,
    "abandon": abandon,
    "notify": notify,
    "tickets": tickets,
    "demo": demo,
}
