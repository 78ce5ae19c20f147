"""Is the application in service again, as it was before, and as the incident report wants it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from engines import checks
from engines.application import commands, health
from engines.application.commands import everywhere
from engines.checks import Check, Panel
from engines.incident import About, Incident, Smoke, Stopped
from engines.process import Command, shown
from engines.recipes import deploys
from engines.recipes.application import STOPPING, Stopping, commands_of
from engines.recipes.readiness import incident_of
from engines.session.state import SessionState, Status
from engines.targets import Application

_SIGNAL = "queue:restart"  # ends workers that a supervisor starts again: there is no command that starts them


def standing(application: Application, kind: Stopping, *, off: bool) -> Check | None:
    """Is it really off, or on again? None where nothing can tell. Some are asked whether they are off, others on."""
    asked = commands_of(application, kind.check)
    if not asked:
        return deploys.standing(application, off=off) if kind.key == "deploys" else None
    name = kind.off if off else kind.on
    hint = f"Look why, see to it by hand that {name}, and check again."
    ask = commands.succeeds if off == kind.asks_off else commands.denies
    return commands.on_each(name, asked, lambda command: ask(name, command, hint))


def running_again(application: Application, state: SessionState) -> Iterator[Check]:
    """One check for each thing that was stopped: by this session, and in the incident (`[[stopped]]`)."""
    for kind in STOPPING:
        check = _running(application, kind, state)
        if check is not None:
            yield check
    for stopped in _incident(state).stopped:
        yield _back(stopped, application)


def smoke(application: Application, state: SessionState) -> Iterator[Check]:
    """The report's own smoke tests."""
    for test in _incident(state).smoke:
        yield _smoke(test, application)


def shows_smoke(incident: Incident | None, application: Application) -> tuple[str, ...]:
    """The report's smoke tests as the plan shows them."""
    tests = incident.smoke if incident else ()
    return tuple(
        f"{test.name}: {'; '.join(_shown(application, test.command)) if test.command else f'GET {test.url}'}"
        for test in tests
    )


def shows_running(incident: Incident | None, application: Application) -> tuple[str, ...]:
    """What is asked, as the plan shows it."""
    asked = [shown(command) for kind in STOPPING for command in commands_of(application, kind.check)]
    proofs = [one.proof for one in (incident.stopped if incident else ()) if one.proof]
    lines = (*asked, *(line for proof in proofs for line in _shown(application, proof)))
    if deploys.way_of(application) is deploys.Way.WORKFLOW:
        lines += deploys.shows(application, off=False)[1:]
    return lines or ("look whether a start followed each stop; no command is configured that would prove it",)


def _shown(application: Application, argv: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(shown, everywhere(application, argv)))


def check_again(name: str, application: Application, state: SessionState) -> Check | None:
    """One of these checks, asked once more; None where it is none of them."""
    for kind in STOPPING:
        if name == kind.on:
            return _running(application, kind, state) or standing(application, kind, off=False)
        if name == kind.off:
            return standing(application, kind, off=True)
    incident = _incident(state)
    for stopped in incident.stopped:
        if name == _back_name(stopped):
            return _back(stopped, application)
    for test in incident.smoke:
        if name == _smoke_name(test):
            return _smoke(test, application)
    return None


def _incident(state: SessionState) -> Incident:
    return incident_of(state) or Incident(About(""))


def _running(application: Application, kind: Stopping, state: SessionState) -> Check | None:
    """None where it was never stopped, or was started again and nothing more can be asked."""
    stops = [known for known in state.steps if known.step.action == kind.stop_action and known.attempt]
    if not stops:
        return None
    check = standing(application, kind, off=False)
    if check is not None:
        return check
    last = state.steps.index(stops[-1])
    if any(k.step.action == kind.start_action and k.status is Status.DONE for k in state.steps[last:]):
        return None
    if kind.key == "workers" and _SIGNAL in application.workers_stop:
        evidence = f"{_SIGNAL} is a signal: supervised workers come back by themselves, and nothing here proves it"
        return checks.warn(kind.on, evidence, "Configure workers_check, or look by hand.", Panel.VALIDATION)
    return checks.fail(
        kind.on,
        f"it was stopped in step {stops[-1].id}, and no step has started it again",
        "Start it by hand. Then the incident commander overrides by name, with how it is known to run.",
        Panel.VALIDATION,
    )


def _back_name(stopped: Stopped) -> str:
    return f"{stopped.name} runs again"


def _back(stopped: Stopped, application: Application) -> Check:
    if not stopped.proof:
        evidence = f"the report names no proof for this {stopped.kind}"
        hint = "Look by hand; then the incident commander overrides by name, with how it is known to run."
        return checks.unknown(_back_name(stopped), evidence, hint, Panel.VALIDATION)
    hint = "It was stopped during the incident: start it again, then check again."
    name = _back_name(stopped)
    return commands.on_each(
        name, everywhere(application, stopped.proof), lambda command: commands.succeeds(name, command, hint)
    )


def _smoke_name(test: Smoke) -> str:
    return f"smoke test: {test.name}"


def _smoke(test: Smoke, application: Application) -> Check:
    name, seconds = _smoke_name(test), test.timeout.total_seconds()
    if test.url is not None:
        return replace(health.request(test.url, seconds, expect_text=test.expect), name=name)
    return commands.on_each(
        name,
        everywhere(application, test.command),
        lambda command: _smoke_on(name, test, replace(command, timeout=seconds)),
    )


def _smoke_on(name: str, test: Smoke, command: Command) -> Check:
    said = commands.answer(command)
    if not said.known:
        return checks.unknown(name, said.evidence, "Correct the command in the incident report.", Panel.VALIDATION)
    hint = "Mend it and check again, or override by name."
    if not (said.ended and said.ended.ok):
        return checks.fail(name, said.evidence, hint, Panel.VALIDATION)
    if test.expect is not None and test.expect not in said.output:
        return checks.fail(name, f"{said.evidence}, but without {test.expect!r}", hint, Panel.VALIDATION)
    return checks.ok(name, said.evidence, Panel.VALIDATION)
