"""The configuration: which targets there are, how their application is stopped and started, who may act.

`find` says where it is, `load` reads it whole or refuses with everything that is wrong. What a target's database
and application are really like is asked later, by the checks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from engines import tables
from engines.drilling import Drill
from engines.errors import ConfigError, Problem, UsageError
from engines.notify import Channel
from engines.people import Person, Role, in_role
from engines.surroundings import Tickets
from engines.targets import LARAVEL, Application, Environment, Framework, JournalMode, MysqlTarget, SqliteTarget, Target
from engines.trusted_file import read_text, safe_path, toml_table
from engines.values import WrongValue, day, positive
from engines.watched import Prometheus

__all__ = [
    "Application",
    "Approval",
    "Config",
    "Environment",
    "Framework",
    "JournalMode",
    "Look",
    "MysqlTarget",
    "Person",
    "Role",
    "SqliteTarget",
    "Target",
    "find",
    "from_table",
    "load",
    "safe_path",
    "to_table",
]


@dataclass(frozen=True, slots=True)
class Approval:
    """What counts as a yes."""

    window: timedelta = field(default=timedelta(hours=4), metadata={"check": positive})
    """How long an approval holds: a start after that needs a new one."""

    break_glass: bool = False
    """Whether an operator may approve, override or accept a risk without the commander. The reason is typed and
    is the first line of the record. Every channel of `[[notify]]` is told."""

    asserted: bool = True
    """Whether a typed name is enough. It is recorded as asserted, which proves nothing about who typed it. Can be
    false where watchers or signers are configured: then a yes comes from a login of one's own, or is signed."""

    self_approval: tuple[Environment, ...] = (Environment.STAGING, Environment.LOCAL)
    """The environments in which operators may approve their own plan. Production can't be one of them."""

    signers: Path | None = None
    """The file of SSH keys that may sign a yes (ALLOWED SIGNERS in ssh-keygen(1)). Default: nobody signs."""

    revoked: Path | None = None
    """The list of keys that may not sign any more: a KRL, or public keys, one a line. Default: no key is revoked."""

    record_key: Path | None = None
    """The SSH key that signs the record at its end: a private key without a passphrase, or the public one of a key
    in an agent. Default: the record is not signed."""

    remind: timedelta = field(default=timedelta(minutes=10), metadata={"check": positive})
    """How often a session reminds that it waits for somebody while the application is down."""

    shift: timedelta = field(default=timedelta(hours=8), metadata={"check": positive})
    """How long one operator keeps the keyboard before the session reminds of a handover."""

    def paths(self) -> dict[str, Path]:
        """The files that it names, each under its key."""
        named = {"signers": self.signers, "revoked": self.revoked, "record_key": self.record_key}
        return {key: path for key, path in named.items() if path is not None}

    def wrong(self) -> Iterator[tables.Fault]:
        if Environment.PRODUCTION in self.self_approval:
            hint = "Take it out; break_glass = true is the way out of a night without a commander."
            yield "self_approval", "can't contain production.", hint
        if self.revoked is not None and self.signers is None:
            yield "revoked", "takes keys away, and no signers are configured.", "Write signers too, or take it out."


def _days(number: object) -> None:
    if not isinstance(number, int) or not 1 <= number <= 30:
        raise WrongValue(f"is {number}.", "Write a number of business days between 1 and 30.")


@dataclass(frozen=True, slots=True)
class Review:
    """Until when the incident is reviewed."""

    business_days: int = field(default=3, metadata={"check": _days})
    """How many business days after the session's end: neither weekends nor the days below."""

    holidays: tuple[str, ...] = field(default=(), metadata={"check": day})
    """Days that are no business days, as in "2026-12-25"."""


class Look(StrEnum):
    """The console's colours. Neither says anything by colour alone."""

    DARK = "dark"
    HIGH_CONTRAST = "high-contrast"


def state_folder() -> Path:
    """Where sessions are kept unless the configuration says otherwise: root's, else the user's own."""
    if os.geteuid() == 0:
        return Path("/var/lib/reinstate")
    given = os.environ.get("XDG_STATE_HOME", "")
    return (Path(given) if given.startswith("/") else Path.home() / ".local/state") / "reinstate"


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration in which every path is absolute. `load` makes it."""

    targets: Mapping[str, Target] = field(metadata={"key": "target"})
    """The databases that can be restored, each under its name: `[target.NAME]`."""

    state: Path = field(default_factory=state_folder)
    """The folder for sessions, journals and records. Default: /var/lib/reinstate for root, else
    ~/.local/state/reinstate."""

    people: tuple[Person, ...] = field(default=(), metadata={"key": "person"})
    """Who may act, in which roles: one `[[person]]` for each."""

    watchers: str = ""
    """The system group whose members may watch sessions, and say yes where they are configured in a role. Default:
    only the account that runs a session, and root."""

    approval: Approval = field(default_factory=Approval)
    """What counts as a yes: `[approval]`."""

    channels: tuple[Channel, ...] = field(default=(), metadata={"key": "notify"})
    """Who is told what a session is at: one `[[notify]]` for each."""

    review: Review = field(default_factory=Review)
    """Until when the incident is reviewed: `[review]`."""

    tickets: Tickets | None = None
    """Where follow-ups are filed as issues: `[tickets]`. Default: nowhere, and a ticket's number is typed."""

    theme: Look = Look.DARK
    """The console's colours: dark or high-contrast. `--theme` goes before it; NO_COLOR takes all colour away."""

    keep_sessions: timedelta | None = field(default=None, metadata={"check": positive})
    """How long a session's folder is kept after its end before `reinstate prune --sessions` may remove it. Default:
    for good."""

    def wrong(self) -> Iterator[tables.Fault]:
        seen: set[str] = set()
        for n, person in enumerate(self.people, start=1):
            if person.name in seen:
                yield f"person[{n}].name", f'"{person.name}" is there twice.', "Give one entry all the roles."
            seen.add(person.name)
            for named in person.targets:
                if named not in self.targets:
                    known = ", ".join(self.targets)
                    yield f"person[{n}].targets", f'there is no target "{named}".', f"Known: {known}."
        for n, channel in enumerate(self.channels, start=1):
            for named in channel.targets:
                if named not in self.targets:
                    yield f"notify[{n}].targets", f'there is no target "{named}".', f"Known: {', '.join(self.targets)}."
            if any(other.name == channel.name for other in self.channels[: n - 1]):
                yield f"notify[{n}].name", f'"{channel.name}" is there twice.', "Give each a name of its own."
        if not self.approval.asserted:
            yield from self._unheard()
        for name, target in self.targets.items():
            if target.environment is Environment.PRODUCTION and not in_role(self.people, Role.COMMANDER, name):
                hint = 'Add a [[person]] with roles = ["commander"] for this target.'
                yield f"target.{name}", "is production, and nobody is configured as its commander.", hint
            yield from _unpaired(f"target.{name}.application", target.application)

    def _unheard(self) -> Iterator[tables.Fault]:
        """Without typed names each role's yes has to be able to come from somewhere."""
        if not self.watchers and self.approval.signers is None:
            hint = "Write watchers (a group) or approval.signers, or take it out: nobody could approve anything."
            yield "approval.asserted", "can't be false where nobody can be known by more than a typed name.", hint
        for name in self.targets:
            for role in (Role.COMMANDER, Role.OWNER):
                if not in_role(self.people, role, name):
                    hint = "Add a [[person]] for it, or take asserted = false out."
                    yield f"target.{name}", f"has nobody who could say yes as {role}, and a typed name is no yes.", hint


def _unpaired(key: str, application: Application) -> Iterator[tables.Fault]:
    """What is stopped has to be started again. Workers that are only sent a signal come back by themselves."""
    for stop, start in (
        ("maintenance_on", "maintenance_off"),
        ("workers_stop", "workers_start"),
        ("scheduler_stop", "scheduler_start"),
        ("freeze_deploys", "thaw_deploys"),
    ):
        command = getattr(application, stop)
        if command and not getattr(application, start) and "queue:restart" not in command:
            yield f"{key}.{start}", f"is missing, and {stop} is configured.", "Write both, or neither."


def _shared_databases(targets: Mapping[str, Target]) -> Iterator[tables.Fault]:
    owner: dict[str, str] = {}
    for name, target in targets.items():
        first = owner.setdefault(target.address, name)
        if first != name:
            hint = "Two sessions could restore the same database at once. Keep one of them."
            yield f"target.{name}.database", f'is the database of target "{first}" too.', hint


def find(
    explicit: Path | None,
    environ: Mapping[str, str],
    cwd: Path,
    home: Path,
    *,
    privileged: bool | None = None,
) -> Path:
    """The configuration file to read: --config, else REINSTATE_CONFIG, else ./reinstate.toml, else the user's.

    One that is named is taken even if it does not exist, so that `load` can say so. A privileged run (without
    the argument: effective user id 0) does not look into the current folder, which anybody may have filled.
    Raises UsageError with all the places where it looked.
    """
    if explicit is not None:
        return cwd / explicit
    if environ.get("REINSTATE_CONFIG"):
        return cwd / environ["REINSTATE_CONFIG"]
    by_user = environ.get("XDG_CONFIG_HOME", "")
    folder = Path(by_user) if by_user.startswith("/") else home / ".config"
    places = [folder / "reinstate" / "config.toml"]
    passed_over = ""
    if os.geteuid() == 0 if privileged is None else privileged:
        passed_over = " A privileged run does not read ./reinstate.toml: name it with --config if you trust it."
    else:
        places.insert(0, cwd / "reinstate.toml")
    for place in places:
        if place.is_file():
            return place
    looked = ", ".join(["--config", "REINSTATE_CONFIG", *map(str, places)])
    raise UsageError(
        f"There is no configuration. Looked at: {looked}. Nothing was started.",
        f"Copy config.example.toml to {places[-1]} and edit it, or try `reinstate demo`.{passed_over}",
    )


def load(path: Path, *, privileged: bool) -> Config:
    """The configuration in `path`. Raises ConfigError with everything that is wrong in it.

    Relative paths: `state` and an application's `path` start at the folder of the file, all others of a target
    at its application's `path`.
    """
    problems: list[Problem] = []
    written = read_text(path, problems, privileged=privileged)
    table = toml_table(written, problems) if written else None
    if written is None or table is None:
        raise ConfigError(tuple(problems))
    base = path.parent.absolute()
    table = _completed(table, written.name, problems)
    config = tables.read(Config, table, written.name, problems)
    if config is None or problems:
        raise ConfigError(tuple(problems))
    config = _placed(config, base)
    problems.extend(
        Problem(written.name, key, message, hint) for key, message, hint in _shared_databases(config.targets)
    )
    if privileged:
        trusted = {"state": config.state, **{f"approval.{key}": path for key, path in config.approval.paths().items()}}
        problems.extend(replace(p, key=key) for key, path in trusted.items() for p in safe_path(path))
    if problems:
        raise ConfigError(tuple(problems))
    return config


def to_table(target: Target) -> dict[str, object]:
    """The target as text, numbers, lists and tables: what a plan holds and `from_table` reads."""
    return tables.write(target)


def from_table(table: Mapping[str, object], file: str = "plan") -> Target:
    """The target that `to_table` wrote. Raises ConfigError if the table has been changed into nonsense."""
    problems: list[Problem] = []
    kinds: tuple[type[Target], ...] = (SqliteTarget, MysqlTarget)
    target = tables.read(tables.kind_of(kinds, table) or SqliteTarget, table, file, problems, internal=True)
    if target is None:
        raise ConfigError(tuple(problems))
    return target


def _completed(table: dict[str, object], file: str, problems: list[Problem]) -> dict[str, object]:
    """The table with the framework's commands filled in, without the targets whose engine is not known."""
    targets = table.get("target", {})
    if not isinstance(targets, dict):
        return table
    if not targets:
        hint = "Write [target.NAME] with engine, environment, database and backups."
        problems.append(Problem(file, "target", "there is no target.", hint))
    return {**table, "target": {name: _with_framework(target) for name, target in targets.items()}}


def _with_framework(target: object) -> object:
    application = target.get("application") if isinstance(target, dict) else None
    if not isinstance(application, dict) or application.get("framework", "laravel") != Framework.LARAVEL:
        return target
    return {**target, "application": {**LARAVEL, **application}} if isinstance(target, dict) else target


def _placed(config: Config, base: Path) -> Config:
    """The same configuration with absolute paths."""
    state = _absolute(base, config.state)
    channels = tuple(
        replace(one, webhook_file=one.webhook_file and _absolute(base, one.webhook_file)) for one in config.channels
    )
    targets = {name: _target_placed(target, base, state) for name, target in config.targets.items()}
    named = {key: _absolute(base, path) for key, path in config.approval.paths().items()}
    approval = replace(
        config.approval,
        signers=named.get("signers"),
        revoked=named.get("revoked"),
        record_key=named.get("record_key"),
    )
    return replace(config, state=state, targets=targets, approval=approval, channels=channels)


def _target_placed(target: Target, base: Path, state: Path) -> Target:
    home = _absolute(base, target.application.path)

    def of_its_own(name: str, path: Path) -> Path:
        return state / name / target.name if path == Path() else _absolute(home, path)

    application = _application_placed(target.application, home)
    drill = _drill_placed(target.drill, home, state / "scratch" / target.name)
    target = replace(target, prometheus=_watched_placed(target.prometheus, home))
    if isinstance(target, SqliteTarget):
        database, backups = _absolute(home, target.database), _absolute(home, target.backups)
        snapshots = of_its_own("snapshots", target.snapshots)
        target = replace(target, drill=drill, application=application)
        return replace(target, database=database, backups=backups, snapshots=snapshots)
    return replace(
        target,
        login=_absolute(home, target.login),
        socket=target.socket and _absolute(home, target.socket),
        backups=_location(home, target.backups),
        binlogs=target.binlogs and _location(home, target.binlogs),
        staging=of_its_own("staging", target.staging),
        snapshots=_location(home, target.snapshots or str(state / "snapshots" / target.name)),
        spare=state / "snapshots" / target.name,
        drill=drill,
        application=application,
    )


def _drill_placed(drill: Drill, home: Path, scratch: Path) -> Drill:
    return replace(
        drill,
        scratch=scratch if drill.scratch == Path() else _absolute(home, drill.scratch),
        heartbeat_file=drill.heartbeat_file and _absolute(home, drill.heartbeat_file),
        metrics=drill.metrics and _absolute(home, drill.metrics),
        login=drill.login and _absolute(home, drill.login),
        socket=drill.socket and _absolute(home, drill.socket),
    )


def _application_placed(application: Application, home: Path) -> Application:
    return replace(
        application,
        path=home,
        env_file=None if application.env_file is None else _absolute(home, application.env_file),
        security_checklist=None
        if application.security_checklist is None
        else _absolute(home, application.security_checklist),
        logs=tuple(_absolute(home, log) for log in application.logs),
    )


def _watched_placed(watched: Prometheus | None, home: Path) -> Prometheus | None:
    if watched is None or watched.token_file is None:
        return watched
    return replace(watched, token_file=_absolute(home, watched.token_file))


def _location(folder: Path, written: str) -> str:
    return written if written.startswith("s3://") else str(_absolute(folder, Path(written)))


def _absolute(folder: Path, path: Path) -> Path:
    # Not resolved: where a link leads may differ by the time it is used.
    return Path(os.path.normpath(folder / path))
