"""Asks an application which artisan commands it really has, before the plan relies on one.

`schedule:finish` is why: the runbook names it, it exists, and it ends in "Not enough arguments". So arguments and
options are looked at too, not the name alone.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePath

import msgspec

from engines import checks
from engines.application.commands import Ask, answer, in_application, worst
from engines.application.hosts import can_run, on_host, reachable
from engines.checks import Check
from engines.errors import RestoreError
from engines.process import Command, captured, find_program
from engines.surroundings import Host
from engines.targets import COMMAND, Application
from engines.text import drawable

_ERROR_PAGE = re.compile(r"--render=errors::(?P<name>[\w.-]+)")
_SHIPPED = frozenset({"401", "402", "403", "404", "419", "429", "500", "503"})  # Illuminate/Foundation/Exceptions/views
_LIST = ("list", "--format=json")
_TIMEOUT = 60.0  # seconds; a cold `artisan list` over a slow disk takes a few


@dataclass(frozen=True, slots=True)
class Artisan:
    """One artisan command of the application. Source: `artisan list --format=json`."""

    name: str
    required: tuple[str, ...]  # arguments without which it ends in an error
    options: frozenset[str]  # long ones, with their dashes


@dataclass(frozen=True, slots=True)
class Listing:
    """What the application has; None with the reason when it could not be asked."""

    commands: Mapping[str, Artisan] | None
    evidence: str


@dataclass(frozen=True, slots=True)
class _Argument:
    is_required: bool


@dataclass(frozen=True, slots=True)
class _Option:
    name: str


@dataclass(frozen=True, slots=True)
class _Definition:
    """PHP writes an empty table as a list."""

    arguments: dict[str, _Argument] | list[str]
    options: dict[str, _Option] | list[str]


@dataclass(frozen=True, slots=True)
class _Listed:
    name: str
    definition: _Definition


@dataclass(frozen=True, slots=True)
class _List:
    commands: list[_Listed]


def artisan(argv: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """A command in two: how artisan is called (`php artisan`), and what it is told (`down --render=…`)."""
    for at, argument in enumerate(argv):
        if PurePath(argument).name == "artisan" and len(argv) > at + 1:
            return argv[: at + 1], argv[at + 1 :]
    return None


def artisan_commands(command: Command, ask: Ask = captured) -> Listing:
    """Ask artisan, called just as `command` calls it (user, folder, sudo or container included), what it has."""
    call = artisan(command.argv)
    if call is None:
        return Listing(None, "not an artisan command")
    return _listing(call[0], replace(command, argv=(*call[0], *_LIST), timeout=_TIMEOUT), ask)


def _listing(how: tuple[str, ...], command: Command, ask: Ask) -> Listing:
    said = answer(command, ask)
    if not (said.ended and said.ended.ok):
        return Listing(None, said.evidence)
    # PHP's notices and sudo's warnings may stand before and after it.
    text = said.output[max(said.output.find('{"'), 0) : said.output.rfind("}") + 1]
    try:
        found = msgspec.json.decode(text, type=_List)
    except msgspec.MsgspecError as error:
        return Listing(None, f"the answer of {' '.join(how)} list is not its usual JSON: {error}")
    listed = {one.name: _command(one) for one in found.commands}
    return Listing(listed, f"{len(listed)} commands")


def _command(one: _Listed) -> Artisan:
    arguments, options = one.definition.arguments, one.definition.options
    return Artisan(
        name=one.name,
        required=tuple(k for k, v in arguments.items() if v.is_required) if isinstance(arguments, dict) else (),
        options=frozenset(o.name for o in options.values()) if isinstance(options, dict) else frozenset(),
    )


def exists(key: str, command: Command, listing: Listing | None = None) -> Check:
    """Can the configured command `key` work at all? Runs nothing."""
    try:
        program = find_program(command)
    except RestoreError as error:
        return checks.fail(key, error.message, error.hint)
    call = artisan(command.argv)
    if call is None:
        return checks.ok(key, program)
    check = _listed(key, call, listing)
    return check if check.verdict.blocks else _view(key, call[1], command.cwd) or check


def _listed(key: str, call: tuple[tuple[str, ...], tuple[str, ...]], listing: Listing | None) -> Check:
    if listing is None or listing.commands is None:
        why = drawable(listing.evidence) if listing else "not asked"
        by_hand = " ".join(call[0])
        return checks.unknown(key, f"artisan could not be asked: {why}", f"Run {by_hand} list by hand, mend it.")
    return _can(key, call[1], listing.commands)


def _can(key: str, told: tuple[str, ...], commands: Mapping[str, Artisan]) -> Check:
    words = [word for word in told if not word.startswith("-")]
    if not words:
        return checks.ok(key, "artisan answers")
    name = words[0]
    found = commands.get(name)
    if found is None:
        near = difflib.get_close_matches(name, commands, n=1)
        hint = f"Did you mean {near[0]}?" if near else "See `php artisan list`."
        return checks.fail(key, f"the application has no command {drawable(name)!r}", hint)
    missing = found.required[len(words) - 1 :]
    if missing:
        hint = f"Give it, or configure another command for {key}."
        if name == "schedule:finish":
            hint = (
                "It marks one background task as done and stops nothing. Configure a command that disables the "
                "cron entry or timer of the scheduler."
            )
        return checks.fail(key, f"{name} needs arguments that are not given: {', '.join(missing)}", hint)
    unknown = [option for word in told if word.startswith("--") and (option := word.split("=")[0]) not in found.options]
    if unknown and "--" not in unknown:
        hint = "Take it out, or use what this version of the application has (php artisan help " + name + ")."
        return checks.fail(key, f"{name} has no option {drawable(', '.join(unknown))}", hint)
    return checks.ok(key, f"the application has {name}")


def _view(key: str, told: tuple[str, ...], folder: Path | None) -> Check | None:
    """Is the page there that `down --render=errors::…` shows? Without it `down` fails, and the application stays up."""
    views = _views(told, folder)
    if not views or any(os.path.exists(view) for view in views):  # noqa: PTH110 - Path raises where it may not look
        return None
    return _no_view(key, views[0])


def _views(told: tuple[str, ...], folder: Path | None) -> tuple[Path, ...]:
    """The files of which one has to be there; none where Laravel brings the page along."""
    found = next((match for word in told if (match := _ERROR_PAGE.fullmatch(word))), None)
    if told[:1] != ("down",) or found is None or folder is None or found["name"] in _SHIPPED:
        return ()
    place = folder / "resources" / "views" / "errors"
    page = found["name"].replace(".", "/")
    return tuple(place / f"{page}{ending}" for ending in (".blade.php", ".php"))


def _no_view(key: str, view: Path) -> Check:
    return checks.fail(
        key,
        f"down would fail: there is no view {drawable(view.name.partition('.')[0])} in {drawable(str(view.parent))}",
        "Make that view, or use --render=errors::503, which Laravel brings along.",
    )


def configured(application: Application, ask: Ask = captured) -> tuple[Check, ...]:
    """A check for each configured command. Each way of calling artisan is asked once, on each machine."""
    keys = [field.name for field in fields(Application) if field.metadata.get("read") is COMMAND["read"]]
    wanted: dict[str, tuple[str, ...]] = {key: getattr(application, key) for key in keys if getattr(application, key)}
    if application.hosts:
        by_host = {host.name: _on_host(application, host, wanted, ask) for host in application.hosts}
        return tuple(worst(key, [(host, there[key]) for host, there in by_host.items()]) for key in wanted)
    listings: dict[tuple[str, ...], Listing] = {}
    found: list[Check] = []
    for key, argv in wanted.items():
        command = in_application(application, argv)
        call = artisan(argv)
        if call and call[0] not in listings:
            listings[call[0]] = artisan_commands(command, ask)
        found.append(exists(key, command, listings[call[0]] if call else None))
    return tuple(found)


def reached(application: Application, ask: Ask = captured) -> Iterator[Check]:
    """A check for each host: can it be logged in to?"""
    for host in application.hosts:
        yield reachable(host, ask)


def _on_host(
    application: Application, host: Host, wanted: Mapping[str, tuple[str, ...]], ask: Ask
) -> Mapping[str, Check]:
    """Can each command work on that host? Asked in one go, and once more for each way of calling artisan."""
    calls = {key: call for key, argv in wanted.items() if (call := artisan(argv)) is not None}
    views = {key: _views(call[1], application.path) for key, call in calls.items()}
    files = tuple(view for those in views.values() for view in those)
    has = can_run(host, tuple(wanted.values()), files, application.path, application.user, ask)
    if has is None:
        hint = f"Mend the line to {host.name}, or correct the application's path; then check again."
        told = f"not asked: it can't be reached, or has no {drawable(str(application.path))}"
        return {key: checks.unknown(key, told, hint) for key in wanted}
    listings: dict[tuple[str, ...], Listing] = {}
    there = {path for path, found in zip(files, has.files, strict=True) if found}
    answers: dict[str, Check] = {}
    for n, (key, argv) in enumerate(wanted.items()):
        call = calls.get(key)
        if not has.programs[n]:
            hint = "Install it there, or give its full path: a login by ssh may have another PATH."
            answers[key] = checks.fail(key, f"there is no program {drawable(argv[0])}", hint)
        elif not has.leave[n]:
            hint = f"Have it in sudoers there: {host.login or 'LOGIN'} ALL=({application.user}) NOPASSWD: …"
            answers[key] = checks.fail(key, f"sudo -n -u {application.user} does not let the login run it", hint)
        elif call is None:
            answers[key] = checks.ok(key, argv[0])
        else:
            if call[0] not in listings:
                listing = on_host(
                    host, (*call[0], *_LIST), folder=application.path, user=application.user, timeout=_TIMEOUT
                )
                listings[call[0]] = _listing(call[0], listing, ask)
            answers[key] = _listed(key, call, listings[call[0]])
            if views[key] and not answers[key].verdict.blocks and not there.intersection(views[key]):
                answers[key] = _no_view(key, views[key][0])
    return answers
