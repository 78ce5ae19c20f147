"""The work of steps that touch the application: stop, start, ask. The same for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from engines.application import commands, environment, health, logs
from engines.checks import Check, Panel, fail, ok
from engines.errors import RestoreError
from engines.recipes import deploys, serving
from engines.recipes.application import STOPPING, Stopping, command_of
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
        case "prove":
            return _prove_running(work, application)
        case _:
            raise RestoreError(f"This version can't do {action!r}.", "Resume with the version that began the session.")


def _turn(work: Work, application: Application, kind: Stopping, *, off: bool) -> Mapping[str, object]:
    command = command_of(application, kind.stop if off else kind.start)
    if command is None and kind.key == "deploys":
        return deploys.turn(work, application, off=off)
    if command is None:
        raise RestoreError(f"{work.step.title} is not configured.", "Skip it, with a reason.")
    hint = "Its output is in the log. Mend it and try again (r), do it by hand and pass over it (p), or undo (u)."
    work.must(command, work.step.title, hint)
    check = standing(application, kind, off=off)
    if check is None:
        return {"message": "the command succeeded; nothing is configured that would prove its effect"}
    work.check(check)
    if off and check.verdict.blocks:
        raise RestoreError(f"The command succeeded, but {check.name} says otherwise: {check.evidence}.", check.hint)
    return {"message": f"{check.name}: {check.evidence}"}


def _export(work: Work, application: Application) -> Mapping[str, object]:
    if application.env_file is None:
        raise RestoreError("No settings file is configured.", "Skip it, with a reason.")
    found = environment.export(application.env_file, work.folder / "private" / "env")
    told = f"{len(found.names)} settings, sha256 {found.sha256[:16]}…; kept in private/env until the session ends"
    return {"sha256": found.sha256, "names": list(found.names), "message": told}


_MEND = "Its output is in the log. Mend it and check again, or override by name."


def _run(work: Work, application: Application, key: str) -> Mapping[str, object]:
    found: list[Check] = []
    command = command_of(application, key)
    if command is not None and key == "migrations":
        found.append(work.check(commands.migrations(command)))
    elif command is not None:
        ended = work.run(command)
        told = ok(key, ended.reason, Panel.VALIDATION) if ended.ok else fail(key, ended.reason, _MEND, Panel.VALIDATION)
        found.append(work.check(told))
    if key == "health" and application.health_url:
        found.append(work.check(_address(application.health_url)))
    if key == "health":
        found += [work.check(check) for check in serving.smoke(application, work.state)]
    return {"message": "; ".join(f"{check.name} {check.verdict}: {check.evidence}" for check in found)}


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
        return logs.recent(application, utc_now(), since)
    told = incident.logs
    wider = replace(
        application,
        logs=(*application.logs, *(application.path / path for path in told.paths)),
        log_window=told.window or application.log_window,
        log_ignore=(*application.log_ignore, *told.allow),
    )
    return logs.recent(wider, utc_now(), since, told.deny)


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
    command = command_of(application, name) if name in ("migrations", "smoke", "health") else None
    if command is None:
        return None
    return commands.migrations(command) if name == "migrations" else commands.succeeds(name, command, _MEND)


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
    return Finding(False, "it only asks: it is asked again")
