"""What the report expects of the restore as a whole: how much it loses, and which moment it comes back to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engines.checks import Check, Verdict
from engines.config import to_table
from engines.expectations import Expectation, LogExpectation, Question, Schema
from engines.incident import About, Incident, IncidentTarget, Objective
from engines.incident import to_table as incident_table
from engines.recipes import report
from engines.recipes.steps import loss_window
from engines.session.events import Event, Result, StepEnded, StepStarted
from engines.session.plan import BackupIdentity, PlanKind
from engines.session.state import SessionState
from engines.targets import Application, Environment, Framework, SqliteTarget
from engines.text import parse_stamp, stamp, utc_now
from tests.engines.session.examples import begun, plan_made, runner_started, state_of, step

STARTED = datetime(2026, 7, 1, 20, 30, tzinfo=UTC)
APPLICATION = Application(Path("/srv/shop"), Framework.NONE)
TARGET = SqliteTarget(
    "shop", "sqlite", Environment.LOCAL, Path("/srv/db.sqlite"), Path("/srv/backups"), application=APPLICATION
)
INCIDENT = Incident(About("INC-1", started_at=STARTED))


def chosen(
    taken: datetime,
    incident: Incident | None = INCIDENT,
    *events: Event,
    until: dict[str, object] | None = None,
    target: SqliteTarget = TARGET,
) -> SessionState:
    backup: dict[str, object] = {"name": "b", "path": "/srv/backups/b", "taken_at": stamp(taken)}
    if until is not None:
        backup["until"] = until
    table = incident_table(incident) if incident is not None else {}
    return state_of(begun(target=to_table(target), backup=backup, incident=table), runner_started(), *events)


def asked(name: str, state: SessionState) -> Check | None:
    return next((check for check in report.before(state) if check.name == name), None)


def verdict(name: str, state: SessionState) -> Verdict | None:
    check = asked(name, state)
    return check.verdict if check is not None else None


def objective(**told: object) -> Incident:
    return replace(INCIDENT, objective=Objective(**told))  # type: ignore[arg-type]  # the test says what it tells


def test_what_is_lost_goes_on_until_writing_has_stopped() -> None:
    """Good writes from after the incident's start are lost like those from before it."""
    taken = STARTED - timedelta(minutes=30)
    backup = BackupIdentity("b", "/b", 1, stamp(taken), "", "VERIFIED")
    before = utc_now() - timedelta(seconds=1)
    assert parse_stamp(loss_window(chosen(taken), backup).end) > before
    plan = plan_made(PlanKind.RESTORE, step("3.2", action="stop-maintenance"), step("4.7", action="start-maintenance"))
    stopped = (plan, StepStarted("3.2", 1), StepEnded(step="3.2", result=Result.DONE))
    down = chosen(datetime(2026, 11, 22, 11, 0, tzinfo=UTC), INCIDENT, *stopped)
    known = down.step("3.2")
    assert known is not None
    assert known.ended is not None
    early = replace(backup, taken_at="2026-11-22T11:00:00.000Z")
    assert loss_window(down, early).end == stamp(known.ended)
    up = chosen(taken, INCIDENT, *stopped, StepStarted("4.7", 1))
    assert parse_stamp(loss_window(up, backup).end) > before, "it may be written to again"


def test_a_loss_beyond_what_may_be_lost_fails() -> None:
    ago = utc_now() - timedelta(minutes=50)
    hour, half = timedelta(hours=1), timedelta(minutes=30)
    accepted = {"max_loss_accepted": hour, "accepted_by": "ivo"}
    cases: tuple[tuple[SessionState, Verdict | None, str], ...] = (
        (chosen(ago), None, ""),
        (chosen(ago, objective(rpo=hour)), Verdict.OK, "the report's RPO is 1 h"),
        (chosen(ago, objective(rpo=half)), Verdict.FAIL, "the report's RPO is 30 min"),
        (chosen(ago, objective(rpo=half, **accepted)), Verdict.OK, "the loss accepted by ivo is 1 h"),
        (chosen(ago, None, target=replace(TARGET, rpo=half)), Verdict.FAIL, "the target's RPO is 30 min"),
        (chosen(ago, objective(rpo=hour), target=replace(TARGET, rpo=half)), Verdict.OK, "the report's RPO"),
    )
    for state, expected, words in cases:
        check = asked(report.LOSS, state)
        assert (check.verdict if check else None) is expected, (words, check)
        assert check is None or words in check.evidence, check


def test_a_backup_from_after_the_first_bad_write_may_hold_it() -> None:
    a_minute = timedelta(minutes=1)
    assert verdict(report.BAD_WRITE, chosen(STARTED - a_minute)) is Verdict.OK
    for taken in (STARTED, STARTED + a_minute):
        assert verdict(report.BAD_WRITE, chosen(taken)) is Verdict.FAIL
    gone = replace(INCIDENT, must_not_contain=(Question("SELECT 1"),))
    assert verdict(report.BAD_WRITE, chosen(STARTED + a_minute, gone)) is Verdict.WARN, "a query tells"
    assert verdict(report.BAD_WRITE, chosen(STARTED, Incident(About("INC-1")))) is None


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("time", "2026-07-01T20:30:00Z", Verdict.OK),
        ("time", "2026-07-01T20:30:01Z", Verdict.FAIL),
        ("end", "", Verdict.FAIL),
        ("position", "binlog.000123:4567", Verdict.WARN),
    ],
)
def test_a_replay_past_the_first_bad_write_brings_it_back(kind: str, value: str, expected: Verdict) -> None:
    state = chosen(STARTED - timedelta(days=1), until={"kind": kind, "value": value})
    assert verdict(report.BAD_WRITE, state) is expected


def test_the_moment_to_come_back_to_is_compared_with_the_restore_point() -> None:
    wanted = objective(restore_point="2026-07-01T20:00:00Z")
    moment = datetime(2026, 7, 1, 20, 0, tzinfo=UTC)
    assert verdict(report.POINT, chosen(moment, wanted)) is Verdict.OK
    assert verdict(report.POINT, chosen(moment - timedelta(minutes=50), wanted)) is Verdict.OK
    assert verdict(report.POINT, chosen(moment - timedelta(hours=5), wanted)) is Verdict.WARN
    assert verdict(report.POINT, chosen(moment + timedelta(seconds=1), wanted)) is Verdict.FAIL
    assert verdict(report.POINT, chosen(moment, objective())) is None, "latest says nothing more"
    by_position = chosen(moment, wanted, until={"kind": "position", "value": "binlog.000123:4567"})
    assert verdict(report.POINT, by_position) is Verdict.UNKNOWN


def test_the_stop_of_a_replay_is_compared_with_the_one_that_is_chosen() -> None:
    taken = datetime(2026, 7, 1, 3, 0, tzinfo=UTC)
    position = {"kind": "position", "value": "binlog.000123:4567"}
    cases: tuple[tuple[str, dict[str, object] | None, Verdict], ...] = (
        ("2026-07-01T20:30:00Z", None, Verdict.OK),
        ("2026-07-01T02:00:00Z", None, Verdict.FAIL),
        ("2026-07-01T20:30:00Z", {"kind": "time", "value": "2026-07-01T20:30:00Z"}, Verdict.OK),
        ("2026-07-01T20:30:00Z", {"kind": "time", "value": "2026-07-01T20:31:00Z"}, Verdict.FAIL),
        ("2026-07-01T20:30:00Z", {"kind": "time", "value": "2026-07-01T20:29:00Z"}, Verdict.WARN),
        ("2026-07-01T20:30:00Z", {"kind": "end"}, Verdict.FAIL),
        ("2026-07-01T20:30:00Z", dict(position), Verdict.UNKNOWN),
        ("binlog.000123:4567", dict(position), Verdict.OK),
        ("binlog.000123:9999", dict(position), Verdict.UNKNOWN),
        ("binlog.000123:4567", None, Verdict.UNKNOWN),
        ("half past eight", None, Verdict.UNKNOWN),
    )
    for wanted, until, expected in cases:
        state = chosen(taken, objective(stop_before=wanted), until=until)
        assert verdict(report.STOP, state) is expected, (wanted, until)


def test_another_applications_folder_in_the_report_fails() -> None:
    def told(path: str, target: SqliteTarget = TARGET) -> Verdict | None:
        incident = replace(INCIDENT, target=IncidentTarget(app_path=Path(path)))
        return verdict(report.APPLICATION, chosen(STARTED, incident, target=target))

    assert told("/srv/shop/") is Verdict.OK
    assert told("/nowhere") is Verdict.FAIL
    none = replace(TARGET, application=Application(Path(), Framework.NONE))
    assert told("/srv/shop", none) is Verdict.WARN
    assert verdict(report.APPLICATION, chosen(STARTED)) is None


def test_whatever_no_step_asks_is_a_check_of_its_own_that_holds_the_sign_off() -> None:
    incident = replace(
        INCIDENT,
        tables=(Expectation("users", rows=5, checksum="sha256:00"), Expectation("orders", rows=5)),
        schema=Schema(app_key_probe="SELECT 1"),
        logs=LogExpectation(deny=("SQLSTATE",)),
    )
    found = report.not_asked(incident, APPLICATION)
    assert [check.name for check in found] == [
        "incident report: table users: checksum",
        "incident report: [schema] app_key_probe",
        "incident report: [logs]: no log is configured",
    ]
    assert all(check.verdict is Verdict.UNKNOWN for check in found)
    assert all("not asked by this version" in check.evidence for check in found)
    with_a_log = replace(APPLICATION, logs=(Path("/srv/shop/log"),))
    assert not any("[logs]" in check.name for check in report.not_asked(incident, with_a_log))
    assert report.not_asked(INCIDENT, APPLICATION) == ()
    again = report.check_again(found[0].name, chosen(STARTED, incident))
    assert again == found[0]
