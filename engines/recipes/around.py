"""The work of steps that touch the application: stop, start, ask. The same for every engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from engines.application import commands, environment, health, logs
from engines.application.host_logs import fetched
from engines.application.hosts import NOT_THERE, failed_told, file_name
from engines.checks import Check, Panel, fail, ok, unknown
from engines.errors import RestoreError
from engines.process import Command
from engines.recipes import afterwards, deploys, serving
from engines.recipes.application import STOPPING, Stopping, commands_of
from engines.recipes.readiness import incident_of
from engines.recipes.serving import standing
from engines.session.plan import Step
from engines.session.recipe import Finding
from engines.session.state import SessionState, Status
from engines.session.work import Work
from engines.targets import Application
from engines.text import utc_now

_BY_KEY: Mapping[str, Stopping] = {kind.key: kind for kind in STOPPING}


def perform(work: Work, application: Application) -> Mapping[str, object]:
    """Carry out a step of the application. Raises RestoreError when its command failed."""
    action = work.step.action
    verb, _, key = action.partition("-")
    match verb:
        case "stop" | "start":
            return _turn(work, application, _BY_KEY[key], off=verb == "stop")
        case "export":
            return _export(work, application)
        case "run":
            return _run(work, application, key)
        case "scan":
            return _scan(work, application)
        case "set":
            return afterwards.set_again(work, application)
        case "prove":
            return _prove_running(work, application)
        case _:
            raise RestoreError(f"This version can't do {action!r}.", "Resume with the version that began the session.")


def _turn(work: Work, application: Application, kind: Stopping, *, off: bool) -> Mapping[str, object]:
    found = commands_of(application, kind.stop if off else kind.start)
    if not found and kind.key == "deploys":
        return deploys.turn(work, application, off=off)
    if not found:
        raise RestoreError(f"{work.step.title} is not configured.", "Skip it, with a reason.")
    hint = "Its output is in the log. Mend it and try again (r), do it by hand and pass over it (p), or undo (u)."
    _run_everywhere(work, found, hint)
    check = standing(application, kind, off=off)
    if check is None:
        return {"message": "the command succeeded; nothing is configured that would prove its effect"}
    work.check(check)
    if off and check.verdict.blocks:
        raise RestoreError(f"The command succeeded, but {check.name} says otherwise: {check.evidence}.", check.hint)
    return {"message": f"{check.name}: {check.evidence}"}


def _run_everywhere(work: Work, found: Sequence[Command], hint: str) -> None:
    """On each machine, also where it failed on one before: what is to be stopped is stopped wherever it can be."""
    if len(found) == 1 and not found[0].host:
        work.must(found[0], work.step.title, hint)
        return
    ended = [(command, work.run(command)) for command in found]
    wrong = [failed_told(command, end) for command, end in ended if not end.ok]
    if wrong:
        done = [command.host for command, end in ended if end.ok]
        rest = f" Done on {', '.join(done)}." if done else ""
        raise RestoreError(f"{work.step.title} failed on {'; '.join(wrong)}.{rest}", hint)


def _export(work: Work, application: Application) -> Mapping[str, object]:
    if application.env_file is None:
        raise RestoreError("No settings file is configured.", "Skip it, with a reason.")
    if application.hosts:
        return _export_from_hosts(work, application, application.env_file)
    found = environment.export(application.env_file, work.folder / "private" / "env")
    told = f"{len(found.names)} settings, sha256 {found.sha256[:16]}…; kept in private/env until the session ends"
    return {"sha256": found.sha256, "names": list(found.names), "message": told}


def _export_from_hosts(work: Work, application: Application, path: Path) -> Mapping[str, object]:
    found = {
        host.name: environment.export_from(
            host, path, application.user, work.folder / "private" / f"env-{file_name(host)}"
        )
        for host in application.hosts
    }
    for address, one in found.items():
        work.say(f"{address}: {len(one.names)} settings, sha256 {one.sha256[:16]}…")
    hashes = {one.sha256 for one in found.values()}
    same = "the same everywhere" if len(hashes) == 1 else "they are not the same everywhere"
    told = f"settings of {', '.join(found)}: {same}; kept in private/ until the session ends"
    return {"hosts": {address: one.sha256 for address, one in found.items()}, "message": told}


_MEND = "Its output is in the log. Mend it and check again, or override by name."


def _run(work: Work, application: Application, key: str) -> Mapping[str, object]:
    found: list[Check] = []
    configured = commands_of(application, key)
    if configured and key == "migrations":
        found.append(work.check(commands.on_each(key, configured, commands.migrations)))
    elif configured:
        found.append(work.check(commands.on_each(key, configured, lambda command: _ran(work, key, command))))
    if key == "health" and application.health_url:
        found.append(work.check(_address(application.health_url)))
    if key == "health":
        found += [work.check(check) for check in serving.smoke(application, work.state)]
    return {"message": "; ".join(f"{check.name} {check.verdict}: {check.evidence}" for check in found)}


def _ran(work: Work, key: str, command: Command) -> Check:
    """A command whose output belongs into the step's log."""
    ended = work.run(command)
    if ended.ok:
        return ok(key, ended.reason, Panel.VALIDATION)
    if command.host and ended.exit == NOT_THERE:
        return unknown(key, f"not asked ({ended.reason})", _MEND, Panel.VALIDATION)
    return fail(key, ended.reason, _MEND, Panel.VALIDATION)


def _address(url: str) -> Check:
    # Not called as the health command's check is: a later one of the same name would hide what that one found.
    return replace(health.request(url), name="health address")


def _prove_running(work: Work, application: Application) -> Mapping[str, object]:
    found = [work.check(check) for check in serving.running_again(application, work.state)]
    wrong = [check.name for check in found if check.verdict.blocks]
    return {"message": f"not proven: {', '.join(wrong)}" if wrong else f"{len(found)} asked, nothing is still stopped"}


def _scan(work: Work, application: Application) -> Mapping[str, object]:
    found = _recent(application, work.state)
    for line in found.found:
        work.say(f"{line.file}: {line.level} {line.text[:300]}")
    check = work.check(logs.check(found, _accepted(work.state)))
    return {"message": check.evidence}


def _recent(application: Application, state: SessionState) -> logs.LogScan:
    """Since the restored database went live, at most the window: errors from before that are the incident's own."""
    live = [known.ended for known in state.steps if known.step.destructive and known.status is Status.DONE]
    since = max((at for at in live if at is not None), default=None)
    incident = incident_of(state)
    if incident is None:
        return _searched(application, since)
    told = incident.logs
    wider = replace(
        application,
        logs=(*application.logs, *(application.path / path for path in told.paths)),
        log_window=told.window or application.log_window,
        log_ignore=(*application.log_ignore, *told.allow),
    )
    return _searched(wider, since, told.deny)


def _searched(application: Application, since: datetime | None, deny: Sequence[str] = ()) -> logs.LogScan:
    with fetched(application) as there:
        return there.named(logs.recent(there.application, utc_now(), since, deny))


def _accepted(state: SessionState) -> int:
    """How many errors the report accepts."""
    incident = incident_of(state)
    return incident.logs.max_matches if incident else 0


def check_again(name: str, application: Application, state: SessionState) -> Check | None:
    """A check of a step of the application, asked once more; None where it is none of them."""
    again = serving.check_again(name, application, state)
    if again is not None:
        return again
    if (again := deploys.check_again(name, application)) is not None:
        return again
    if name == "application log":
        return logs.check(_recent(application, state), _accepted(state))
    if name == "health address" and application.health_url:
        return _address(application.health_url)
    configured = commands_of(application, name) if name in ("migrations", "smoke", "health") else ()
    if not configured:
        return None
    if name == "migrations":
        return commands.on_each(name, configured, commands.migrations)
    return commands.on_each(name, configured, lambda command: commands.succeeds(name, command, _MEND))


def probe(step: Step, application: Application) -> Finding:
    """Did a command that was cut off have its effect? Only where something is configured that can tell."""
    verb, _, key = step.action.partition("-")
    kind = _BY_KEY.get(key)
    if verb in ("stop", "start") and kind is not None:
        check = standing(application, kind, off=verb == "stop")
        if check is not None:
            done = not check.verdict.blocks
            return Finding(done, f"{check.name}: {check.verdict}, {check.evidence}")
        return Finding(False, "whether its command had its effect can't be told; doing it again does no harm")
    if step.action == afterwards.AGAIN:
        return Finding(False, "it sets what is set again: doing it again does no harm")
    return Finding(False, "it only asks: it is asked again")
