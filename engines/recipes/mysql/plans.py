"""The runbook's MySQL and MariaDB recovery as three plans. What a step does is in the modules beside this one."""

from __future__ import annotations

from collections.abc import Mapping

from engines.mysql import aftermath
from engines.people import Role
from engines.recipes import afterwards, trust
from engines.recipes.application import STOPPING
from engines.recipes.mysql import keeping, pulling, reach
from engines.recipes.mysql.facts import Found
from engines.recipes.mysql.until import told, until_of
from engines.recipes.readiness import incident_of
from engines.recipes.report import not_asked
from engines.recipes.steps import (
    CONFIRM,
    export_step,
    handing_back,
    loss_window,
    lost,
    make_plan,
    objective,
    stop_step,
    way_back,
)
from engines.session.plan import BackupIdentity, Gate, GateKind, LossWindow, Plan, PlanKind, Step
from engines.session.state import SessionState
from engines.targets import MysqlTarget
from engines.text import count, size


def prepare_plan(state: SessionState, target: MysqlTarget) -> Plan:
    """What is harmless: look, stage, read to the end, fetch and prove the logs, check."""
    until = until_of(state)
    steps = (
        Step(
            id="2.1",
            title="Look at the server and the schema",
            action="look",
            shows=(f"ask {target.address}: version, identity, replicas, tables; nothing is changed",),
        ),
        Step(
            id="2.2",
            title="Check disk space",
            action="check-space",
            shows=("compare what each place needs with what is free",),
        ),
        Step(
            id="2.3",
            title="Stage the dump",
            action="stage",
            shows=(f"copy {state.backup.get('path')} to {target.staging}, hashing what is copied",),
            note="What was verified is what is used: these bytes are the ones that are loaded.",
        ),
        Step(
            id="2.4",
            title="Read the dump to its end",
            action="read-dump",
            shows=("every statement: tables, rows, where it ends, what it may not do; nothing is executed",),
        ),
        Step(
            id="2.5",
            title="Fetch and prove the binary logs",
            action="stage-logs",
            shows=(
                f"from the dump's own position {told(until)}: from {target.binlogs or 'the server'}",
                "every event's checksum, no gap between files, the stop found at a transaction's edge",
            )
            if until.replays
            else ("the dump alone is restored: nothing after it",),
            configured=until.replays,
        ),
        Step(
            id="2.6",
            title="Check prerequisites",
            action="check-ground",
            shows=(
                "ask whether the server takes this dump, and whether everything needed is allowed",
                "measure it: a small table in a schema of its own, loaded for a second and dropped",
            ),
        ),
        export_step("2.7", target),
    )
    return make_plan(state, target, PlanKind.PREPARE, steps)


def restore_plan(state: SessionState, target: MysqlTarget, found: Found) -> Plan:
    """The recovery, in order: staged beside the live schema, or in its place."""
    incident = incident_of(state)
    steps = _staged(target, found) if found.staged else _in_place(target, found)
    begin = afterwards.Next("3", len(steps) + 1)
    backup = trust.identity(state, found.dump_size, found.sha256)
    return make_plan(
        state,
        target,
        PlanKind.RESTORE,
        (
            *steps,
            *afterwards.steps(state, target, aftermath, found.table_names, begin),
            Step(
                id="4.1",
                title="Compare the live schema with the incident report",
                action="compare-live",
                shows=(
                    "count the expected tables in one consistent snapshot, run the must and must-not queries",
                    *(check.evidence for check in not_asked(incident, target.application)),
                ),
                gates=(CONFIRM,),
            ),
            _others("4.2", found),
            *handing_back(
                target, "then the replaced tables and the staged files are removed; the snapshot stays", incident
            ),
        ),
        details=found.details,
        backup=backup,
        needs_approval=True,
        loss=_loss(state, backup, found),
        estimate=found.estimate,
        objective=objective(state, target),
    )


def _in_place(target: MysqlTarget, found: Found) -> tuple[Step, ...]:
    """The runbook's letter: the live schema is emptied and loaded."""
    ghosts = f"not in the dump, and {'removed' if found.rebuilds else 'left'}: {', '.join(found.ghosts)}"
    return (
        *(stop_step(kind, target) for kind in STOPPING),
        _prove_unused("3.5", target),
        _last_logs("3.6", found),
        _keep("3.7", target, found),
        Step(
            id="3.8",
            title="Load the dump in place",
            action="load",
            shows=(
                f"empty schema {target.database} on {reach.place_of(target)}"
                if found.rebuilds
                else "replace the dump's tables",
                f"load {found.dump} ({_told_dump(found)}) {found.way}",
                found.logging,
                *found.nodes.values(),
                *((ghosts,) if found.ghosts else ()),
            ),
            undo="load the safety snapshot; once the session is over, restore it",
            gates=_typed(target, found),
            destructive=True,
            params={"sha256": found.sha256, "server": found.server, "database": target.database},
        ),
        _replay("3.9", found, target.database, destructive=True),
        _check_tables("3.10", target.database),
    )


def _staged(target: MysqlTarget, found: Found) -> tuple[Step, ...]:
    """Loaded and proven beside the live schema while that is untouched; then swapped."""
    return (
        Step(
            id="3.1",
            title="Load the dump beside the live schema",
            action="load-staged",
            shows=(
                f"make schema {found.stage} on {reach.place_of(target)}, and an account that can reach nothing else",
                f"load {found.dump} ({_told_dump(found)}) into it {found.way}",
                found.logging,
                *found.nodes.values(),
            ),
            undo="drop the staged schema and its account",
            gates=(CONFIRM,),
            params={"sha256": found.sha256, "server": found.server, "stage": found.stage},
        ),
        _replay("3.2", found, found.stage, destructive=False),
        _check_tables("3.3", found.stage),
        Step(
            id="3.4",
            title="Compare the staged schema with the incident report",
            action="compare-staged",
            shows=("count the expected tables, run the must and must-not queries",),
            gates=(CONFIRM,),
        ),
        *(stop_step(kind, target, after=4) for kind in STOPPING),
        _prove_unused("3.9", target),
        _last_logs("3.10", found),
        _keep("3.11", target, found),
        Step(
            id="3.12",
            title="Swap the schemas",
            action="swap",
            shows=(
                f"drop the triggers of both; one RENAME TABLE: {target.database} to {found.parked}, "
                f"{found.stage} to {target.database}",
                "make triggers, views, routines and events again",
            ),
            undo=f"rename the replaced tables, kept in {found.parked}, back; once the session is over, restore the "
            "safety snapshot",
            gates=_typed(target, found),
            destructive=True,
            params={"server": found.server, "stage": found.stage, "parked": found.parked},
        ),
    )


def _typed(target: MysqlTarget, found: Found) -> tuple[Gate, ...]:
    typed = Gate(GateKind.TYPED, Role.OPERATOR, f"Going live. Type the target's name, {target.name}.")
    if found.readable:
        return (typed,)
    accepted = Gate(
        GateKind.ACCEPT,
        Role.COMMANDER,
        "There is no safety snapshot: the live schema does not exist or is empty. Go on all the same.",
    )
    return (accepted, typed)


def _prove_unused(step_id: str, target: MysqlTarget) -> Step:
    return Step(
        id=step_id,
        title="Prove that nobody uses the schema",
        action="prove-unused",
        shows=(f"look through the server's sessions and open transactions for {target.database}",),
        note="An idle session can write again at any moment: it has to be gone.",
        gates=(CONFIRM,),
    )


def _last_logs(step_id: str, found: Found) -> Step:
    return Step(
        id=step_id,
        title="Keep the server's latest binary logs",
        action="keep-logs",
        shows=("FLUSH BINARY LOGS; fetch what is not fetched yet, check every event, keep it with the snapshots",)
        if found.logs_kept
        else ("the server writes no binary log, or the login may not read it",),
        note="They hold what was written since the dump: without them it is lost when the server purges them.",
        gates=(CONFIRM,),
        configured=found.logs_kept,
    )


def _keep(step_id: str, target: MysqlTarget, found: Found) -> Step:
    return Step(
        id=step_id,
        title="Safety snapshot",
        action="snapshot",
        shows=(
            f"dump {target.database} consistently, with routines, events and triggers, into {target.snapshots}",
            f"read it back to its end, keep it {target.keep_days} days",
            *(keeping.STORED if keeping.bucket_of(target) else ()),
        )
        if found.readable
        else (f"no snapshot: there is nothing in {target.database}",),
        gates=(CONFIRM,),
    )


def _replay(step_id: str, found: Found, schema: str, *, destructive: bool) -> Step:
    return Step(
        id=step_id,
        title="Replay the binary logs",
        action="replay",
        shows=found.replay or ("the dump alone is restored: nothing after it",),
        note=f"{'By the server itself' if found.pulls else 'In one session and in order'}. Interrupted, load and "
        "replay are done again from the start.",
        undo="load the safety snapshot" if destructive else "drop the staged schema",
        gates=(CONFIRM,),
        configured=bool(found.replay),
        destructive=destructive,
        params={"schema": schema, **({"by": pulling.SOURCE} if found.pulls else {})},
    )


def _check_tables(step_id: str, schema: str) -> Step:
    return Step(
        id=step_id,
        title="Check the tables",
        action="check-tables",
        shows=(f"CHECK TABLE for every table of {schema}; rebuilt only where one is damaged",),
        gates=(CONFIRM,),
        params={"schema": schema},
    )


def _others(step_id: str, found: Found) -> Step:
    """Not to be skipped where other nodes are known: one that can't be compared is for the commander to accept."""
    compared = (
        f"wait until {', '.join(found.nodes)} {'have' if len(found.nodes) > 1 else 'has'} applied all of it",
        "count every table and CHECKSUM TABLE on each of them and here: a check for each",
    )
    return Step(
        id=step_id,
        title="Compare the other nodes" if found.nodes else "Look at replication",
        action="look-at-replicas",
        shows=("ask the server how far its replicas are behind", *(compared if found.nodes else ())),
        note="Stopped, what is not compared is UNKNOWN, and blocks sign-off." if found.nodes else "",
        gates=(CONFIRM,),
        configured=found.replicated,
        optional=not found.nodes,
        params={"nodes": " ".join(found.nodes)} if found.nodes else {},
    )


def _others_again(step_id: str, state: SessionState) -> tuple[Step, ...]:
    """After an undo, where the restore's plan named other nodes."""
    named = next((one for known in reversed(state.steps) if (one := known.step.params.get("nodes"))), "")
    if not named:
        return ()
    return (
        Step(
            id=step_id,
            title="Compare the other nodes",
            action="compare-nodes",
            shows=(
                f"wait until {', '.join(str(named).split())} has applied all of it",
                "count every table and CHECKSUM TABLE there and here: a check for each",
            ),
            gates=(CONFIRM,),
            params={"nodes": str(named)},
        ),
    )


def undo_plan(
    state: SessionState, target: MysqlTarget, details: Mapping[str, str], written: tuple[str, ...], reason: str
) -> Plan:
    """The way back: keep the present, put the old schema back, start what was stopped."""
    loaded, swapped = state.did("load"), state.did("swap")
    around = way_back(state, target, changed=loaded or swapped, written=written)
    steps: list[Step] = [*around.stops]
    if loaded or swapped:
        how = "rename the kept tables back" if swapped else "empty the schema and load the safety snapshot"
        steps += [
            _prove_unused("6.5", target),
            Step(
                id="6.6",
                title="Keep the present state",
                action="keep-present",
                shows=(
                    f"dump {target.database} as it is now into {target.snapshots}",
                    *(keeping.STORED[:1] if keeping.bucket_of(target) else ()),
                    *((f"into {target.spare} where the bucket does not take it",) if keeping.has_spare(target) else ()),
                    *written,
                ),
                gates=(CONFIRM,),
            ),
            Step(
                id="6.7",
                title="Put the old schema back",
                action="put-back",
                shows=(f"{how}: {target.database} on {reach.place_of(target)}",),
                gates=(Gate(GateKind.TYPED, Role.OPERATOR, "Type the target's name to put the old schema back."),),
                destructive=True,
                params={"puts_right": f"{'swap' if swapped else 'load replay'} {afterwards.CHANGES}"},
            ),
            Step(
                id="6.8",
                title="Compare with the state before",
                action="compare-undone",
                shows=("dump it and compare with the safety snapshot, statement by statement",),
                gates=(CONFIRM,),
            ),
        ]
        steps += _others_again("6.9", state)
    steps += around.starts
    steps.append(
        Step(
            id="7.9",
            title="Clear up",
            action="clear-undone",
            shows=("remove the staged schema, its account and the staged files",),
            gates=(CONFIRM,),
            params={} if loaded else {"puts_right": "load-staged replay"},
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


def _told_dump(found: Found) -> str:
    return size(found.dump_size) + (f", {count(found.tables)} tables" if found.tables is not None else "")


def _loss(state: SessionState, backup: BackupIdentity, found: Found) -> LossWindow | None:
    """From the last transaction that comes back; without logs, from when the dump was taken."""
    if not found.reach_known:
        return None
    return lost(state, found.reaches) if found.reaches is not None else loss_window(state, backup)
