"""The commands that only read: what they find goes to standard output, as text or as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import msgspec

from engines.backups.catalogue import Backup, Status
from engines.backups.checksums import shown
from engines.backups.verify import verify_all
from engines.checks import Check
from engines.errors import Refused, RestoreError, UsageError
from engines.incident import Incident
from engines.recipes import points, rehearsal, sessions
from engines.recipes.drills.known import proofs
from engines.recipes.drills.outcome import Drilled
from engines.recipes.mysql import exploring
from engines.recipes.mysql.until import Kind, from_backup, stops_before, told, typed
from engines.session import archive, store
from engines.session import report as reporting
from engines.session import verify as verifying
from engines.session.plan import digest
from engines.session.record import record
from engines.session.ssh_keys import Signers
from engines.session.tickets import not_filed, outcome
from engines.targets import Target
from engines.text import clock, drawable, duration, size, span, stamp, utc_now
from tui.drilled import with_proof
from tui.narration import check_line, grid_lines, plan_lines, standing
from tui.output import json, out, table, tell
from tui.steering import configuration, found, incident_of, readable, until_of

RECORD = "session.toml"
STATEMENT = 120  # letters of a statement on one line
PROBLEMS = 8  # lines about what is wrong with a listing


def sessions_(arguments: argparse.Namespace) -> int:
    config, _path = configuration(arguments)
    known = list(store.known_sessions(config.state))
    if arguments.json:
        json([_session_row(one) for one in known])
        return 0
    if not known:
        out("No sessions yet.")
        return 0
    rows = [
        (
            one.id,
            str(one.state.begun.target.get("name", "")) if one.state.begun else "?",
            one.error or (standing(one.state) if one.state.begun else "never began"),
            ("alive" if one.alive else "gone") if one.unfinished else "",
        )
        for one in known
    ]
    out(drawable_table(rows, ("SESSION", "TARGET", "STANDS AT", "RUNNER")))
    return 0


def _session_row(one: store.Known) -> dict[str, object]:
    begun = one.state.begun
    return {
        "session": one.id,
        "folder": str(one.folder),
        "target": begun.target.get("name") if begun else None,
        "environment": begun.environment if begun else None,
        "began": stamp(one.state.begun_at) if one.state.begun_at else None,
        "state": standing(one.state) if begun else None,
        "unfinished": one.unfinished,
        "runner_alive": one.alive,
        "error": one.error or None,
    }


def drawable_table(rows: Sequence[tuple[str, ...]], heads: tuple[str, ...]) -> str:
    return table([tuple(drawable(cell) for cell in row) for row in rows], heads)


def show(arguments: argparse.Namespace) -> int:
    known = readable(arguments)
    if arguments.json:
        json(msgspec.to_builtins(record(known.state), enc_hook=str))
        return 0
    state = known.state
    out(f"{known.id}: {standing(state)}" + ("" if state.ended else f", runner {'alive' if known.alive else 'gone'}"))
    out(f"record {known.folder / 'session.toml'}")
    width = max((len(one.id) for one in state.steps), default=0)
    for one in state.steps:
        took = f" {duration(one.seconds)}" if one.attempt else ""
        message = f": {one.message}" if one.message else ""
        out(drawable(f"  {one.id:<{width}}  {one.status:<9}{one.step.title}{took}{message}"))
    for check in state.checks.values():
        out("  " + drawable(check_line(check.check)) + (" (overridden)" if check.override else ""))
    for grid in state.grids.values():
        for line in grid_lines(grid):
            out("  " + drawable(line))
    for one_follow_up, ticket in not_filed(state):
        out(drawable(f"  {one_follow_up.key}: {outcome(state, ticket)}"))
    for deviation in state.deviations:
        out(drawable(f"  DEVIATION {clock(deviation.at)} {deviation.what}, {deviation.by}: {deviation.reason}"))
    return 0


def transactions(arguments: argparse.Namespace) -> int:
    known = readable(arguments)
    if not 1 <= arguments.count <= exploring.MOST:
        raise UsageError(f"--count is {arguments.count}.", f"Write a number between 1 and {exploring.MOST}.")
    staged = exploring.staged(known.state)
    if staged is None:
        raise Refused(
            f"Session {known.id} has no binary logs staged. Nothing was changed.",
            "They are staged while a restore beyond its dump is prepared (--until): MySQL and MariaDB only.",
        )
    until = from_backup(known.state.backup)
    opened = exploring.open_logs(staged, until)
    more = False
    if arguments.search or arguments.table:
        rows, more = exploring.search(opened, arguments.search, arguments.table)
    else:
        rows = exploring.around(opened, _centre(arguments.around), arguments.count, arguments.count)
    if arguments.json:
        stop = f"{opened.stop[0]}:{opened.stop[1]}" if opened.stop else None
        found = [exploring.to_json(row) for row in rows]
        json({"until": told(until), "stop": stop, "trouble": opened.trouble, "more": more, "transactions": found})
        return 0
    out(drawable(f"Restored {told(until)}"))
    heads = ("COMMITTED (UTC)", "FATE", "POSITION", "GTID", "DID", "STATEMENT")
    out(drawable_table([_transaction(row) for row in rows], heads) if rows else "None found.")
    if opened.trouble:
        out(f"problem: {drawable(opened.trouble)}")
    if more:
        out("There are more: those nearest to the stop are listed.")
    return 0


def _transaction(row: exploring.Row) -> tuple[str, ...]:
    statement = " ".join(row.statements[0].split()) if row.statements else ""
    cut = statement if len(statement) <= STATEMENT else f"{statement[:STATEMENT]}…"
    at = f"{row.at:%Y-%m-%d %H:%M:%S}.{row.at.microsecond:06}"
    return at, str(row.fate), row.place, row.gtid, exploring.did(row), cut


def _centre(written: str | None) -> datetime | str | None:
    if written is None:
        return None
    until = typed(written)
    if until.kind in (Kind.DUMP, Kind.END):
        raise UsageError(f"{until.kind} is no moment to look at.", "A time with its zone, FILE:POSITION or a GTID.")
    return stops_before(until) or until.value


def verify(arguments: argparse.Namespace) -> int:
    path = Path(arguments.record)
    if "/" not in arguments.record and not path.is_file():
        config, _path = configuration(arguments)
        path = store.find(config.state, arguments.record).folder
    _refuse_special(path / RECORD if path.is_dir() else path)
    if arguments.revoked and not arguments.signers:
        raise UsageError("--revoked takes keys away from those of --signers.", "Give --signers FILE too.")
    signers = Signers(arguments.signers, arguments.revoked) if arguments.signers else None
    finding = verifying.verify(path, signers)
    if arguments.json:
        json({"verdict": finding.verdict, **msgspec.to_builtins(finding)})
    else:
        _tell_finding(finding)
    if finding.wrong:
        raise RestoreError(
            f"The record does not hold. {finding.wrong}",
            "It was changed after it was written, or damaged. Ask for the session's own folder, and compare.",
        )
    return 0


def _refuse_special(record: Path) -> None:
    """Opening a pipe in the record's place would wait for ever."""
    if record.exists() and not record.is_file():
        raise RestoreError(f"{record} is no regular file. It was not opened.", "Name a session.toml or a folder.")


def _tell_finding(finding: verifying.Finding) -> None:
    out(finding.verdict)
    for line in finding.holds:
        out(f"  holds      {drawable(line)}")
    for line in finding.unchecked:
        out(f"  unchecked  {drawable(line)}")
    if finding.wrong:
        out(f"  WRONG      {drawable(finding.wrong)}")
    if finding.signed and not finding.authentic:
        out("  not known  whose key signed it: with --signers FILE it is checked against the keys that you believe")
    elif not finding.signed:
        out("  unsigned   nobody signed it, so a rewrite of the whole session would not show")


def report(arguments: argparse.Namespace) -> int:
    state = readable(arguments).state
    if arguments.format == "md":
        out(reporting.report(state, roles=arguments.roles).rstrip("\n"))
        return 0
    facts = msgspec.to_builtins(record(state), enc_hook=str)
    json(reporting.without_names(facts, state) if arguments.roles else facts)
    return 0


def export(arguments: argparse.Namespace) -> int:
    known = found(arguments)
    if not any((known.folder / name).is_file() for name in (RECORD, store.JOURNAL)):
        raise RestoreError(
            f"{known.folder} holds neither a record nor a journal that can be read. Nothing was written.",
            "Look for the session's folder: reinstate sessions.",
        )
    if known.error:
        tell(drawable(f"Its journal does not hold, and is exported as it is: {known.error}"))
    to = arguments.to or Path(f"{known.id}.tar.gz")
    names = archive.export(known.folder, to, logs=arguments.logs)
    out(f"{to.resolve()}: {', '.join(names)}")
    return 0


def backups(arguments: argparse.Namespace) -> int:
    config, _path = configuration(arguments)
    target = sessions.target_named(config, arguments.target)
    catalogue = points.restore_points(target)
    known: tuple[Backup, ...] = catalogue.backups
    if not arguments.unchecked:
        settled = {one.where: one for one in verify_all(known, lambda _one: None, lambda: False)}
        known = tuple(settled.get(one.where, one) for one in known)
    drilled = proofs(config, target.name)
    if arguments.json:
        listed = [_backup_row(one, drilled.get(one.name)) for one in known]
        json({"folder": catalogue.folder, "problems": catalogue.problems, "backups": listed})
    else:
        rows = [
            (
                str(one.status),
                clock(one.taken_at),
                span(max((utc_now() - one.taken_at).total_seconds(), 0)),
                size(one.size),
                shown(one.name),
                one.kind,
                with_proof(one.evidence, drilled.get(one.name), utc_now()),
            )
            for one in known
        ]
        out(
            drawable_table(rows, ("STATUS", "TAKEN", "AGE", "SIZE", "NAME", "KIND", "EVIDENCE"))
            if rows
            else "No backups."
        )
        _tell_problems(catalogue.problems)
    if not arguments.unchecked and not any(one.status is Status.VERIFIED or one.unread for one in known):
        raise RestoreError(
            f"No backup in {catalogue.folder} is VERIFIED. Nothing was changed.",
            f"Mend {drawable(target.checksums)} or the files. Others need the incident commander's override.",
        )
    return 0


def _tell_problems(problems: Sequence[str]) -> None:
    """The first ones: a listing that is no text has as many as it has lines."""
    for problem in problems[:PROBLEMS]:
        out(f"problem: {drawable(problem)}")
    if len(problems) > PROBLEMS:
        out(f"problem: and {len(problems) - PROBLEMS} more; --json has them")


def _backup_row(one: Backup, proof: Drilled | None) -> dict[str, object]:
    return {
        "name": shown(one.name),
        "kind": one.kind,
        "taken_at": stamp(one.taken_at),
        "taken_at_from": one.taken_at_from,
        "size": one.size,
        "status": str(one.status),
        "evidence": one.evidence,
        "drill": None
        if proof is None
        else {"session": proof.session, "began": stamp(proof.at), "outcome": proof.outcome, "seconds": proof.seconds},
    }


def check(arguments: argparse.Namespace) -> int:
    config, _path = configuration(arguments)
    target = sessions.target_named(config, arguments.target)
    answers = rehearsal.checks(config, target, incident_of(arguments))
    if arguments.json:
        json([msgspec.to_builtins(one) for one in answers])
    else:
        for one in answers:
            out(drawable(check_line(one)))
    _refuse_blocked(answers)
    return 0


def _refuse_blocked(answers: Sequence[Check]) -> None:
    blocking = [one.name for one in answers if one.verdict.blocks]
    if blocking:
        count = "1 check blocks" if len(blocking) == 1 else f"{len(blocking)} checks block"
        raise Refused(
            f"{count}: {', '.join(blocking)}. Nothing was changed.",
            "Mend what they say. In a session the incident commander can override one by name, with a reason.",
        )


def plan(arguments: argparse.Namespace) -> int:
    config, _path = configuration(arguments)
    target = sessions.target_named(config, arguments.target)
    incident = incident_of(arguments)
    backup = _backup_for(target, arguments.backup, incident)
    dry = rehearsal.dry_run(config, target, backup, incident, until_of(arguments))
    name = digest(dry.plan)
    if arguments.json:
        json(
            {
                "sha256": name,
                "plan": msgspec.to_builtins(dry.plan),
                "checks": [msgspec.to_builtins(c) for c in dry.checks],
                "later": dry.later,
            }
        )
    else:
        for line in plan_lines(dry.plan, name):
            out(line)
        for one in dry.checks:
            out("  " + drawable(check_line(one)))
        if dry.later:
            out("Known once the dump has been read, while a session prepares:")
        for line in dry.later:
            out(f"  {drawable(line)}")
        out("A dry run: nothing was staged or changed. A session makes this plan anew, with a digest of its own.")
    _refuse_blocked(dry.checks)
    return 0


def _backup_for(target: Target, name: str | None, incident: Incident | None) -> Backup:
    """The one that was named; else the newest good one from before the incident, which is read to know that it is."""
    catalogue = points.restore_points(target)
    if name:
        return points.find(catalogue, name)
    start = incident.about.started_at if incident else None
    passed_over: list[Backup] = []
    while (backup := points.likely(catalogue, start)) is not None and backup.status is Status.UNCHECKED:
        found = rehearsal.looked_at(backup)
        if found.status is Status.UNCHECKED:
            return found  # an object, which only staging reads
        if not found.restorable:
            passed_over.append(found)
        backups = tuple(found if one.place == found.place else one for one in catalogue.backups)
        catalogue = replace(catalogue, backups=backups)
    if backup is None:
        when = f" from before {clock(start)}" if start else ""
        raise RestoreError(
            f"There is no backup{when} in {catalogue.folder}. Nothing was changed.",
            "Correct `backups` and `pattern`, or name another one: --backup NAME.",
        )
    for one in passed_over:
        if one.place != backup.place:
            tell(drawable(f"{shown(one.name)} is {one.status}: {one.evidence}. {shown(backup.name)} is taken."))
    return backup


COMMANDS = {
    "sessions": sessions_,
    "show": show,
    "transactions": transactions,
    "verify": verify,
    "report": report,
    "export": export,
    "backups": backups,
    "check": check,
    "plan": plan,
}
