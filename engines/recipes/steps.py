"""Steps and facts of a plan that are the same for every engine."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from engines.people import Role
from engines.process import shown
from engines.recipes.application import STOPPING, Stopping, command_of
from engines.recipes.readiness import incident_of
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
from engines.session.state import SessionState
from engines.targets import Target
from engines.text import parse_stamp, stamp, utc_now

CONFIRM = Gate(GateKind.CONFIRM, Role.OPERATOR, "Enter runs it.")


def stop_step(kind: Stopping, target: Target, phase: str = "3", after: int = 0) -> Step:
    """`after`: how many steps the phase has before the first of these."""
    run = command_of(target.application, kind.stop)
    return Step(
        id=f"{phase}.{after + kind.number}",
        title=kind.stop_title,
        action=kind.stop_action,
        shows=(shown(run),) if run else ("not configured",),
        undo=kind.undo,
        note=kind.note if run else kind.without,
        gates=(CONFIRM,),
        configured=run is not None,
        optional=True,
        params={"key": kind.key},
    )


def start_step(kind: Stopping, target: Target, phase: str = "4") -> Step:
    run = command_of(target.application, kind.start)
    number = 9 - kind.number  # started in the opposite order: 4.5 to 4.8
    return Step(
        id=f"{phase}.{number}",
        title=kind.start_title,
        action=kind.start_action,
        shows=(shown(run),) if run else ("not configured",),
        gates=(CONFIRM,),
        configured=run is not None,
        optional=True,
        params={"key": kind.key, "puts_right": kind.stop_action},
    )


def command_step(step_id: str, title: str, key: str, target: Target, note: str = "") -> Step:
    run = command_of(target.application, key)
    shows: tuple[str, ...] = (shown(run),) if run else ()
    if key == "health" and target.application.health_url:
        shows += (f"GET {target.application.health_url}",)
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
    return Step(
        id=step_id,
        title="Export the application's settings",
        action="export-env",
        shows=(f"copy {target.application.env_file} into the session's private folder, 0600; removed at its end",)
        if target.application.env_file
        else ("not configured",),
        configured=target.application.env_file is not None,
        optional=True,
    )


def handing_back(target: Target, clearing: str) -> tuple[Step, ...]:
    """From the restored database to the end: 4.3 to 5.2. `clearing` says what closing removes."""
    return (
        command_step(
            "4.3", "Check the schema's migrations", "migrations", target, note="Pending migrations block sign-off."
        ),
        command_step("4.4", "Smoke tests", "smoke", target),
        *(start_step(kind, target) for kind in reversed(STOPPING)),
        command_step("4.9", "Health check", "health", target),
        Step(
            id="4.10",
            title="Read the application's log",
            action="scan-log",
            shows=tuple(f"look for errors in {log}" for log in target.application.logs) or ("no log is configured",),
            configured=bool(target.application.logs),
            gates=(CONFIRM,),
            optional=True,
        ),
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
    """From the last moment that the backup holds to the incident's start, or to now where that is not known."""
    incident = incident_of(state)
    start = parse_stamp(backup.taken_at)
    end = max((incident.about.started_at if incident else None) or utc_now(), start)
    return LossWindow(stamp(start), stamp(end), (end - start).total_seconds())


def objective(state: SessionState, target: Target) -> float | None:
    incident = incident_of(state)
    allowed = (incident.objective.rto if incident else None) or target.rto
    return allowed.total_seconds() if allowed else None
