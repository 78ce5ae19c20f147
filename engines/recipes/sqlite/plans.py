"""The runbook's SQLite recovery as three plans. What a step does is in the modules beside this one."""

from __future__ import annotations

from collections.abc import Mapping

from engines.people import Role
from engines.recipes import afterwards, trust
from engines.recipes.application import STOPPING
from engines.recipes.drills.estimating import by_drill
from engines.recipes.readiness import incident_of
from engines.recipes.report import not_asked
from engines.recipes.sqlite.facts import Found
from engines.recipes.steps import (
    CONFIRM,
    export_step,
    handing_back,
    loss_window,
    make_plan,
    objective,
    stop_step,
    way_back,
)
from engines.session.plan import Gate, GateKind, Plan, PlanKind, Step
from engines.session.state import SessionState
from engines.sqlite import aftermath
from engines.targets import SqliteTarget

# Rates of last resort, bytes per second; Readiness replaces them with what staging measured.
_SLOW_DISK = 50e6


def prepare_plan(state: SessionState, target: SqliteTarget) -> Plan:
    """What is harmless: look, check, stage, prove, compare."""
    source = str(state.backup.get("path"))
    steps = (
        Step(
            id="2.1",
            title="Look at the live database",
            action="look",
            shows=(f"read {target.database}: kind, journal mode, owner, row counts; nothing is changed",),
        ),
        Step(
            id="2.2",
            title="Check disk space",
            action="check-space",
            shows=("compare what each place needs with what is free",),
        ),
        Step(
            id="2.3",
            title="Check prerequisites",
            action="check-ground",
            shows=("ask whether backups are fresh, commands exist, and everything needed is allowed",),
        ),
        Step(
            id="2.4",
            title="Stage the backup",
            action="stage",
            shows=(f"copy {source} beside the live database, hashing what is copied",),
            note="What was verified is what is used: these bytes are the ones that go live.",
        ),
        Step(
            id="2.5",
            title="Prove the staged copy",
            action="prove",
            shows=("PRAGMA integrity_check; PRAGMA foreign_key_check; count every table",),
        ),
        Step(
            id="2.6",
            title="Compare with the incident report",
            action="compare-staged",
            shows=("count the expected tables in the staged copy, run the must and must-not queries",),
        ),
        export_step("2.7", target),
    )
    return make_plan(state, target, PlanKind.PREPARE, steps)


def restore_plan(state: SessionState, target: SqliteTarget, found: Found) -> Plan:
    """The runbook's SQLite recovery, in order."""
    incident = incident_of(state)
    steps = (
        *(stop_step(kind, target) for kind in STOPPING),
        _prove_unused("3.5", target),
        _keep("3.6", target, found),
        _replace("3.7", target, found),
        *afterwards.steps(state, target, aftermath, found.tables, afterwards.Next("3", 8)),
        Step(
            id="4.1",
            title="Compare the live database with the incident report",
            action="compare-live",
            shows=(
                "count the expected tables, run the must and must-not queries",
                *(check.evidence for check in not_asked(incident, target.application)),
            ),
            gates=(CONFIRM,),
        ),
        Step(
            id="4.2",
            title="Try to write as the application",
            action="write-probe",
            shows=(f"as {found.user or found.owner}: BEGIN IMMEDIATE; ROLLBACK",),
            gates=(CONFIRM,),
            optional=True,
        ),
        *handing_back(target, "then the replaced database's file is removed; its snapshot stays", incident),
    )
    backup = trust.identity(state, found.swap.copy.size, found.swap.copy.sha256)
    return make_plan(
        state,
        target,
        PlanKind.RESTORE,
        steps,
        details=found.details,
        backup=backup,
        needs_approval=True,
        loss=loss_window(state, backup),
        estimate=_estimate(state, found),
        objective=objective(state, target),
    )


def undo_plan(
    state: SessionState, target: SqliteTarget, details: Mapping[str, str], written: tuple[str, ...], reason: str
) -> Plan:
    """The way back: keep the present, put the old database back, start what was stopped."""
    replaced = state.did("replace")
    around = way_back(state, target, changed=replaced, written=written)
    steps: list[Step] = [*around.stops]
    if replaced:
        steps += [
            _prove_unused("6.5", target),
            Step(
                id="6.6",
                title="Keep the present state",
                action="keep-present",
                shows=(f"copy and snapshot {target.database} as it is now into {target.snapshots}", *written),
                gates=(CONFIRM,),
            ),
            Step(
                id="6.7",
                title="Put the old database back",
                action="put-back",
                shows=(f"rename the kept file back to {target.database}, with its owner, mode and journal mode",),
                gates=(Gate(GateKind.TYPED, Role.OPERATOR, "Type the target's name to put the old database back."),),
                destructive=True,
                params={"puts_right": f"replace {afterwards.CHANGES}"},
            ),
            Step(
                id="6.8",
                title="Compare with the state before",
                action="compare-undone",
                shows=("count the tables and compare them with the safety snapshot's",),
                gates=(CONFIRM,),
            ),
        ]
    steps += around.starts
    steps.append(
        Step(
            id="7.9",
            title="Clear up",
            action="clear-undone",
            shows=("remove the staged copy",),
            gates=(CONFIRM,),
        )
    )
    return make_plan(
        state,
        target,
        PlanKind.UNDO,
        tuple(steps),
        details=details,
        needs_approval=around.needs_approval,
        reason=reason,
    )


# -- steps that more than one plan has -------------------------------------------------------------------


def _prove_unused(step_id: str, target: SqliteTarget) -> Step:
    return Step(
        id=step_id,
        title="Prove that nobody has the database open",
        action="prove-unused",
        shows=(f"look through every process's open files for {target.database} (device and inode)",),
        note="An idle connection holds no lock: only its open file shows it.",
        gates=(CONFIRM,),
    )


def _keep(step_id: str, target: SqliteTarget, found: Found) -> Step:
    shows = (
        f"copy {found.path} and its sidecars as they are into {target.snapshots}",
        f"take a consistent snapshot, verify it, keep it {target.keep_days} days",
    )
    return Step(
        id=step_id,
        title="Safety snapshot",
        action="snapshot",
        shows=shows if found.readable else (shows[0], f"no snapshot: the live database is {found.kind}"),
        gates=(CONFIRM,),
    )


def _replace(step_id: str, target: SqliteTarget, found: Found) -> Step:
    typed = Gate(GateKind.TYPED, Role.OPERATOR, f"Going live. Type the target's name, {target.name}.")
    accepted = Gate(
        GateKind.ACCEPT,
        Role.COMMANDER,
        f"There is no safety snapshot: the live database is {found.kind}. Its raw files are kept. Go on all the same.",
    )
    return Step(
        id=step_id,
        title="Replace the database",
        action="replace",
        shows=(
            f"owner {found.owner}, mode {found.mode:04o}, journal mode {found.journal_mode} on the staged copy",
            f"hold {found.path} exclusively, look for holders once more",
            f"link it to {found.kept}, rename the staged copy over it, fsync the folder",
        ),
        undo="the old file, kept beside the new one, is renamed back; once the session is over, "
        + ("restore the safety snapshot" if found.readable else f"its raw files are in {target.snapshots}"),
        note="`cp` over a live file lets an old -wal bring the old rows back; a rename after a checkpoint can't.",
        gates=(typed,) if found.readable else (accepted, typed),
        destructive=True,
        params={"owner": found.owner},
    )


# -- the plan's own facts --------------------------------------------------------------------------------


def _estimate(state: SessionState, found: Found) -> float:
    """Seconds: copying the live database twice (raw and snapshot), proving one copy; the swap itself is instant.

    Where a drill is known, the copy takes what it took there.
    """
    rate = found.rate or _SLOW_DISK
    copy = by_drill(state, found.swap.copy.size)
    return 3 * found.live_size / rate + (5.0 + found.swap.copy.size / rate if copy is None else copy)
