"""Asks an application which artisan commands it really has, before the plan relies on one.

`schedule:finish` is why: the runbook names it, it exists, and it ends in "Not enough arguments". So arguments and
options are looked at too, not the name alone.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePath

import msgspec

from engines import checks
from engines.application.commands import Ask, answer, in_application
from engines.checks import Check
from engines.errors import RestoreError
from engines.process import Command, captured, find_program
from engines.targets import COMMAND, Application
from engines.text import drawable

_ERROR_PAGE = re.compile(r"--render=errors::(?P<name>[\w.-]+)")
_SHIPPED = frozenset({"401", "402", "403", "404", "419", "429", "500", "503"})  # Illuminate/Foundation/Exceptions/views
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
    said = answer(replace(command, argv=(*call[0], "list", "--format=json"), timeout=_TIMEOUT), ask)
    if not (said.ended and said.ended.ok):
        return Listing(None, said.evidence)
    # PHP's notices and sudo's warnings may stand before and after it.
    text = said.output[max(said.output.find('{"'), 0) : said.output.rfind("}") + 1]
    try:
        found = msgspec.json.decode(text, type=_List)
    except msgspec.MsgspecError as error:
        return Listing(None, f"the answer of {' '.join(call[0])} list is not its usual JSON: {error}")
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
    if listing is None or listing.commands is None:
        why = drawable(listing.evidence) if listing else "not asked"
        by_hand = " ".join(call[0])
        return checks.unknown(key, f"artisan could not be asked: {why}", f"Run {by_hand} list by hand, mend it.")
    check = _can(key, call[1], listing.commands)
    return check if check.verdict.blocks else _view(key, call[1], command.cwd) or check


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
    found = next((match for word in told if (match := _ERROR_PAGE.fullmatch(word))), None)
    if told[:1] != ("down",) or found is None or folder is None or found["name"] in _SHIPPED:
        return None
    place = folder / "resources" / "views" / "errors"
    page = found["name"].replace(".", "/")
    if any(os.path.exists(place / f"{page}{ending}") for ending in (".blade.php", ".php")):  # noqa: PTH110 - Path raises where it may not look
        return None
    return checks.fail(
        key,
        f"down would fail: there is no view {drawable(page)} in {drawable(str(place))}",
        "Make that view, or use --render=errors::503, which Laravel brings along.",
    )


def configured(application: Application, ask: Ask = captured) -> tuple[Check, ...]:
    """A check for each configured command. Each way of calling artisan is asked once."""
    listings: dict[tuple[str, ...], Listing] = {}
    found: list[Check] = []
    for key in (field.name for field in fields(Application) if field.metadata.get("read") is COMMAND["read"]):
        argv: tuple[str, ...] = getattr(application, key)
        if not argv:
            continue
        command = in_application(application, argv)
        call = artisan(argv)
        if call and call[0] not in listings:
            listings[call[0]] = artisan_commands(command, ask)
        found.append(exists(key, command, listings[call[0]] if call else None))
    return tuple(found)
