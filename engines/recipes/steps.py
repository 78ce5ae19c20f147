"""Steps and facts of a plan that are the same for every engine."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from engines.incident import Incident
from engines.people import Role
from engines.process import shown
from engines.recipes import afterwards, deploys, measuring
from engines.recipes.application import STOPPING, Stopping, commands_of
from engines.recipes.readiness import incident_of
from engines.recipes.serving import shows_running, shows_smoke
from engines.session.plan import (
    BackupIdentity,
    Gate,
    GateKind,
    LossWindow,
    Plan,
    PlanKind,
    Step,
    TargetIdentity,
)
from engines.session.state import SessionState, Status
from engines.targets import Application, Target
from engines.text import parse_stamp, stamp, utc_now

CONFIRM = Gate(GateKind.CONFIRM, Role.OPERATOR, "Enter runs it.")


def stop_step(kind: Stopping, target: Target, phase: str = "3", after: int = 0) -> Step:
    """`after`: how many steps the phase has before the first of these."""
    shows = shows_turn(target.application, kind, off=True)
    return Step(
        id=f"{phase}.{after + kind.number}",
        title=kind.stop_title,
        action=kind.stop_action,
        shows=shows or ("not configured",),
        undo=kind.undo,
        note=(kind.note if shows else kind.without).format(proof=f"{phase}.{after + 5}"),
        gates=(turn_gate(target.application, kind, off=True),),
        configured=bool(shows),
        optional=True,
        halts=True,
        params={"key": kind.key},
    )


def start_step(kind: Stopping, target: Target, phase: str = "4") -> Step:
    shows = shows_turn(target.application, kind, off=False)
    number = 9 - kind.number  # started in the opposite order: 4.5 to 4.8
    return Step(
        id=f"{phase}.{number}",
        title=kind.start_title,
        action=kind.start_action,
        shows=shows or ("not configured",),
        gates=(turn_gate(target.application, kind, off=False),),
        configured=bool(shows),
        optional=True,
        params={"key": kind.key, "puts_right": kind.stop_action},
    )


def shows_turn(application: Application, kind: Stopping, *, off: bool) -> tuple[str, ...]:
    """What stops or starts it, exactly; nothing where nothing is configured."""
    run = commands_of(application, kind.stop if off else kind.start)
    if run:
        return tuple(map(shown, run))
    return deploys.shows(application, off=off) if kind.key == "deploys" else ()


def turn_gate(application: Application, kind: Stopping, *, off: bool) -> Gate:
    by_word = kind.key == "deploys" and deploys.way_of(application) is deploys.Way.NOTICE
    return deploys.notice(application, off=off) if by_word else CONFIRM


def command_step(
    step_id: str, title: str, key: str, target: Target, note: str = "", more: tuple[str, ...] = ()
) -> Step:
    """`more`: what the step does beside the configured command."""
    shows = tuple(map(shown, commands_of(target.application, key)))
    if key == "health" and target.application.health_url:
        shows += (f"GET {target.application.health_url}",)
    shows += more
    return Step(
        id=step_id,
        title=title,
        action=f"run-{key}",
        shows=shows or ("not configured",),
        note=note,
        gates=(CONFIRM,),
        configured=bool(shows),
        optional=True,
    )


def export_step(step_id: str, target: Target) -> Step:
    env_file = target.application.env_file
    where = ", ".join(_on_hosts(target.application, (env_file,) if env_file else ()))
    return Step(
        id=step_id,
        title="Export the application's settings",
        action="export-env",
        shows=(f"copy {where} into the session's private folder, 0600; removed at its end",)
        if target.application.env_file
        else ("not configured",),
        configured=target.application.env_file is not None,
        optional=True,
    )


def _on_hosts(application: Application, paths: Sequence[Path]) -> tuple[str, ...]:
    """The files as the plan names them: with their host, where they are not on this machine."""
    if not application.hosts:
        return tuple(map(str, paths))
    return tuple(f"{host.name}:{path}" for host in application.hosts for path in paths)


def handing_back(target: Target, clearing: str, incident: Incident | None = None) -> tuple[Step, ...]:
    """From the restored database to the end: 4.3 to 5.2. `clearing` says what closing removes."""
    application = target.application
    logs = (*application.logs, *(application.path / path for path in (incident.logs.paths if incident else ())))
    return (
        command_step(
            "4.3", "Check the schema's migrations", "migrations", target, note="Pending migrations block sign-off."
        ),
        command_step("4.4", "Smoke tests", "smoke", target),
        *(start_step(kind, target) for kind in reversed(STOPPING)),
        command_step("4.9", "Health check", "health", target, more=shows_smoke(incident, application)),
        Step(
            id="4.10",
            title="Read the application's log",
            action="scan-log",
            shows=tuple(f"look for errors in {log}" for log in _on_hosts(application, logs))
            or ("no log is configured",),
            configured=bool(logs),
            gates=(CONFIRM,),
            optional=True,
        ),
        Step(
            id="4.11",
            title="Prove that everything runs again",
            action="prove-running",
            shows=shows_running(incident, application),
            note="What was stopped and is not proven to run blocks sign-off.",
            gates=(CONFIRM,),
        ),
        afterwards.backup_step("4.12", target),
        measuring.metrics_step("4.13", target, incident),
        measuring.functional_step("4.14", target),
        Step(
            id="5.1",
            title="Sign off",
            action="agree",
            role=Role.OWNER,
            shows=("the application owner has validated the business workflows",),
            gates=(Gate(GateKind.SIGN_OFF, Role.OWNER, "I have validated the business workflows: the data is right."),),
        ),
        Step(
            id="5.2",
            title="Announce completion and close",
            action="clear-up",
            role=Role.COMMANDER,
            shows=(
                "the incident commander announces completion and closes",
                clearing,
            ),
            note="After this, undo is over. The safety snapshot remains a restore point.",
            final=True,
            gates=(Gate(GateKind.SIGN_OFF, Role.COMMANDER, "Completion is announced; the session is closed."),),
        ),
    )


def make_plan(
    state: SessionState,
    target: Target,
    kind: PlanKind,
    steps: tuple[Step, ...],
    *,
    details: Mapping[str, str] | None = None,
    backup: BackupIdentity | None = None,
    needs_approval: bool = False,
    loss: LossWindow | None = None,
    estimate: float | None = None,
    objective: float | None = None,
    reason: str = "",
) -> Plan:
    return Plan(
        kind=kind,
        revision=state.latest_revision + 1,
        session=state.id,
        made_at=stamp(utc_now()),
        target=TargetIdentity(target.name, target.engine, target.environment, target.address, details or {}),
        backup=backup,
        incident=state.begun.incident_id if state.begun else "",
        steps=steps,
        needs_approval=needs_approval,
        nonce=secrets.token_hex(8),
        loss=loss,
        estimate=estimate,
        objective=objective,
        reason=reason,
    )


def loss_window(state: SessionState, backup: BackupIdentity) -> LossWindow:
    """What restoring this backup alone loses."""
    return lost(state, parse_stamp(backup.taken_at))


def lost(state: SessionState, start: datetime) -> LossWindow:
    """From the last moment that comes back to when writing stopped, which is now while it goes on.

    Good writes from after the incident's start are lost like those from before it.
    """
    maintenance = next(kind for kind in STOPPING if kind.key == "maintenance")
    stopped = [known.ended for known in state.steps if known.step.action == maintenance.stop_action and known.ended]
    end = max(stopped[-1] if stopped and is_down(state, maintenance) else utc_now(), start)
    return LossWindow(stamp(start), stamp(end), (end - start).total_seconds())


def is_down(state: SessionState, kind: Stopping) -> bool:
    """Was it stopped, and has nobody begun to start it again, or said that it was done by hand?"""
    return any(
        known.step.action == kind.stop_action and known.status is Status.DONE for known in state.steps
    ) and not _may_be_started(state, kind)


def _may_be_started(state: SessionState, kind: Stopping) -> bool:
    return any(
        known.step.action == kind.start_action and (known.attempt > 0 or known.status is Status.SKIPPED)
        for known in state.steps
    )


@dataclass(frozen=True, slots=True)
class WayBack:
    """What stands around putting the old data back."""

    stops: tuple[Step, ...]
    starts: tuple[Step, ...]
    needs_approval: bool


NOTHING_DISCARDED = "nothing is discarded"  # stands in what an engine says where nothing was written since


def way_back(state: SessionState, target: Target, *, changed: bool, written: Sequence[str]) -> WayBack:
    """The stops and starts of an undo, and whether the commander decides about it.

    `changed`: may the restored data be live? `written`: what the engine says was written to it since. The commander
    decides unless it is known that nothing was written, and that nobody could have.
    """
    stops = [
        kind
        for kind in STOPPING
        if changed
        and (
            _may_be_started(state, kind)
            or (shows_turn(target.application, kind, off=True) and not is_down(state, kind))
        )
    ]
    starts = [kind for kind in reversed(STOPPING) if kind in stops or state.did(kind.stop_action)]
    untouched = any(NOTHING_DISCARDED in line for line in written)
    served = any(_may_be_started(state, kind) for kind in STOPPING)
    maintenance = next(kind for kind in STOPPING if kind.key == "maintenance")
    return WayBack(
        tuple(stop_step(kind, target, phase="6") for kind in stops),
        tuple(start_step(kind, target, phase="7") for kind in starts),
        needs_approval=changed and (not untouched or served or not is_down(state, maintenance)),
    )


def objective(state: SessionState, target: Target) -> float | None:
    incident = incident_of(state)
    allowed = (incident.objective.rto if incident else None) or target.rto
    return allowed.total_seconds() if allowed else None
