"""What was stopped is proven to run again, and the report's own smoke tests are really made."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from engines.checks import Check, Verdict
from engines.config import to_table
from engines.expectations import Smoke, Stopped
from engines.incident import About, Incident
from engines.incident import to_table as incident_table
from engines.recipes import serving
from engines.recipes.application import STOPPING
from engines.recipes.steps import start_step, stop_step
from engines.session import commands as c
from engines.session.client import Client
from engines.session.events import Event, Result, StepEnded, StepSkipped, StepStarted
from engines.session.moves import AskKind, Wait, next_move, overriding
from engines.session.plan import PlanKind
from engines.session.state import SessionState
from engines.session.verify import verify
from engines.targets import Application, Environment, Framework, SqliteTarget
from engines.text import utc_now
from tests.engines.recipes.world import NEW_ROWS, answering, build, new_session, say_yes, start_runner
from tests.engines.session.examples import ANA, begun, plan_made, runner_started, state_of


@pytest.fixture
def application(tmp_path: Path) -> Application:
    return Application(
        tmp_path,
        Framework.NONE,
        maintenance_on=("touch", "down"),
        maintenance_off=("rm", "-f", "down"),
        workers_stop=("true",),
        workers_start=("true",),
    )


def after(application: Application, *events: Event, incident: Incident | None = None) -> SessionState:
    target = SqliteTarget(
        "shop", "sqlite", Environment.LOCAL, Path("/srv/db"), Path("/srv/backups"), application=application
    )
    plan = plan_made(
        PlanKind.RESTORE,
        *(stop_step(kind, target) for kind in STOPPING),
        *(start_step(kind, target) for kind in reversed(STOPPING)),
    )
    table = incident_table(incident) if incident else {}
    return state_of(begun(target=to_table(target), incident=table), runner_started(), plan, *events)


def done(*ids: str) -> tuple[Event, ...]:
    return tuple(event for id_ in ids for event in (StepStarted(id_, 1), StepEnded(step=id_, result=Result.DONE)))


def found(application: Application, *events: Event, incident: Incident | None = None) -> dict[str, Check]:
    state = after(application, *events, incident=incident)
    return {check.name: check for check in serving.running_again(application, state)}


BY_HAND = StepSkipped("4.7", ANA, "I did it by hand")


def test_what_was_stopped_and_not_started_again_fails_before_sign_off(application: Application) -> None:
    for events in ((), (BY_HAND,), (StepEnded(step="4.7", result=Result.SKIPPED, message="not configured"),)):
        checks = found(application, *done("3.2"), *events)
        assert checks["maintenance mode is off"].verdict is Verdict.FAIL
        assert "stopped in step 3.2" in checks["maintenance mode is off"].evidence
    assert found(application, *done("3.2", "4.7")) == {}
    assert found(application) == {}, "nothing was stopped"


def test_where_a_command_can_tell_it_is_asked_whatever_was_said(application: Application) -> None:
    telling = replace(application, maintenance_check=("test", "-e", "down"))
    checks = found(telling, *done("3.2"), BY_HAND)
    assert checks["maintenance mode is off"].verdict is Verdict.OK
    (telling.path / "down").touch()
    checks = found(telling, *done("3.2", "4.7"))
    assert checks["maintenance mode is off"].verdict is Verdict.FAIL, "it is down again"
    state = after(telling, *done("3.2", "4.7"))
    again = serving.check_again("maintenance mode is off", telling, state)
    assert again is not None
    assert again.verdict is Verdict.FAIL


def test_workers_that_were_only_sent_a_signal_are_a_warning(application: Application) -> None:
    signalled = replace(application, workers_stop=("php", "artisan", "queue:restart"), workers_start=())
    checks = found(signalled, *done("3.3"))
    assert checks["workers running again"].verdict is Verdict.WARN
    assert found(application, *done("3.3"))["workers running again"].verdict is Verdict.FAIL


def test_what_the_incident_stopped_is_proven_back_or_somebody_says_so_by_name(application: Application) -> None:
    incident = Incident(
        About("INC-1"),
        stopped=(Stopped("billing cron", proof=("false",)), Stopped("mailer", proof=("true",)), Stopped("search")),
    )
    checks = found(application, incident=incident)
    assert {name: check.verdict for name, check in checks.items()} == {
        "billing cron runs again": Verdict.FAIL,
        "mailer runs again": Verdict.OK,
        "search runs again": Verdict.UNKNOWN,
    }
    assert "by name" in checks["search runs again"].hint
    state = after(application, incident=incident)
    for name, check in checks.items():
        again = serving.check_again(name, application, state)
        assert again is not None
        assert again.verdict is check.verdict


def test_deploys_frozen_by_a_command_are_proven_thawed_where_a_command_can_tell(application: Application) -> None:
    frozen = replace(application, freeze_deploys=("touch", "frozen"), thaw_deploys=("rm", "-f", "frozen"))
    assert found(frozen, *done("3.1"))["deploys may start again"].verdict is Verdict.FAIL
    assert found(frozen, *done("3.1", "4.8")) == {}, "the step is all there is to go by"
    telling = replace(frozen, freeze_check=("test", "-e", "frozen"))
    (telling.path / "frozen").touch()
    assert found(telling, *done("3.1", "4.8"))["deploys may start again"].verdict is Verdict.FAIL
    (telling.path / "frozen").unlink()
    assert found(telling, *done("3.1"))["deploys may start again"].verdict is Verdict.OK


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"Sign in, please")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Page)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/login"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_reports_smoke_tests_are_made(application: Application, address: str) -> None:
    tests = {
        Smoke("works", ("true",)): Verdict.OK,
        Smoke("fails", ("false",)): Verdict.FAIL,
        Smoke("says so", ("echo", "12 passed"), expect="12 passed"): Verdict.OK,
        Smoke("says otherwise", ("echo", "11 passed"), expect="12 passed"): Verdict.FAIL,
        Smoke("is not there", ("/nowhere/at/all",)): Verdict.UNKNOWN,
        Smoke("page", url=address, expect="Sign in"): Verdict.OK,
        Smoke("other page", url=address, expect="Welcome back"): Verdict.FAIL,
    }
    incident = Incident(About("INC-1"), smoke=tuple(tests))
    state = after(application, incident=incident)
    for test, check in zip(tests, serving.smoke(application, state), strict=True):
        assert check.name == f"smoke test: {test.name}"
        assert check.verdict is tests[test], check
        again = serving.check_again(check.name, application, state)
        assert again is not None
        assert again.verdict is check.verdict
    shown = serving.shows_smoke(incident, application)
    assert "says so: echo '12 passed'" in shown[2]
    assert shown[5] == f"page: GET {address}"


# -- a whole session ---------------------------------------------------------------------------------------

_REPORT = """
[schema]
app_key_probe = "SELECT no_such FROM nowhere"
[[smoke]]
name = "login works"
command = ["false"]
[[metric]]
name = "errors"
url = "http://127.0.0.1:9/never"
[[stopped]]
name = "billing cron"
proof = ["false"]
[logs]
paths = ["log"]
deny = ["refund"]
[objective]
rpo = "1s"
"""


def test_a_session_is_not_signed_off_before_everything_the_report_expects_was_asked_or_overridden(
    tmp_path: Path,
) -> None:
    world = build(tmp_path, "delete")
    incident = world.folder / "incident.toml"
    incident.write_text(incident.read_text().replace("rows = 200", 'rows = 200\nchecksum = "sha256:00"') + _REPORT)
    (world.folder / "app" / "log").touch()
    configured = world.folder / "reinstate.toml"
    # A worker that goes on talking into the log of the step that started it.
    talking = (
        '["sh", "-c", "rm -f workers-off; (i=0; while [ $i -lt 200 ]; do sleep 0.05; echo job; i=$((i+1)); done) &"]'
    )
    configured.write_text(
        configured.read_text().replace('workers_start = ["rm", "-f", "workers-off"]', f"workers_start = {talking}")
    )
    session = new_session(world)
    blocked: list[tuple[str, ...]] = []

    async def meet(client: Client) -> bool:
        move = next_move(client.state, utc_now())
        if isinstance(move, Wait) and move.ask.kind is AskKind.CHECKS:
            blocked.append(move.ask.checks)
            for name in move.ask.checks:
                await client.do(overriding(client.state, name, "ivo", "looked at by hand"))
            return True
        return await say_yes(client)

    asyncio.run(answering(session, start_runner(session), meet))
    assert world.rows() == NEW_ROWS
    assert [set(names) - {"Open files can be seen", "File system"} for names in blocked] == [
        {"Data loss"},
        {
            "incident report: table users: checksum",
            "incident report: [schema] app_key_probe",
            "metric: errors",
            "smoke test: login works",
            "billing cron runs again",
        },
    ]
    record = tomllib.loads((session / "session.toml").read_text())
    assert record["session"]["state"] == "signed off"
    assert "left_behind" not in record["session"]
    plan = (session / "plan.toml").read_text()
    assert "not asked by this version: table users: checksum" in plan, "and it was said before the approval"
    assert "errors: http://127.0.0.1:9/never" in plan
    finding = verify(session)
    assert not finding.wrong, finding
    assert [line for line in finding.unchecked if "written after the step had ended" in line], finding


def test_a_session_that_is_signed_off_with_something_stopped_says_so(tmp_path: Path) -> None:
    world = build(tmp_path, "delete")
    session = new_session(world)
    blocked: list[str] = []

    async def meet(client: Client) -> bool:
        move = next_move(client.state, utc_now())
        if isinstance(move, Wait) and move.ask.step == "4.7":
            await client.do(c.Skip("4.7", "it stays down for now"))
            return True
        if isinstance(move, Wait) and move.ask.kind is AskKind.CHECKS:
            blocked.extend(move.ask.checks)
            for name in move.ask.checks:
                await client.do(overriding(client.state, name, "ivo", "known"))
            return True
        return await say_yes(client)

    asyncio.run(answering(session, start_runner(session), meet))
    assert blocked[-1] == "maintenance mode is off"
    record = tomllib.loads((session / "session.toml").read_text())
    assert record["session"]["state"] == "signed off"
    assert record["session"]["left_behind"] == ["3.2 Maintenance mode on: take the application out of maintenance mode"]
