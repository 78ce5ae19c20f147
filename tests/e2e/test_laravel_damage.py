"""The live database is gone, empty or garbage: it is restored all the same, with what the commander has to accept.

Line by line from an answers file: here the people's words matter, not the screen.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence

import tomli_w

from engines.checks import Verdict
from engines.session.plan import GateKind
from engines.session.state import Status
from tests.e2e.recovery import COMMANDER, OPERATOR, OWNER, TARGET, Job
from tests.servers.laravel import LaravelApp

Build = Callable[..., LaravelApp]
Prepare = Callable[..., Job]

# What needs artisan can't be asked while artisan needs the database: each is let pass by name.
ARTISAN = ("maintenance_on", "maintenance_off", "migrations", "smoke")
SAME_SECOND = {
    # The log knows whole seconds: an error of the damaged database can have the second in which the new one went live.
    "ask": "checks",
    "do": "o",
    "check": "application log",
    "reason": "That was the damaged database, in the same second",
}
TRIED = [
    {"ask": "checks", "do": "f", "check": f"functional: {tried}"}
    for tried in ("authentication", "payment flow", "reporting dashboard")
]


def remove(app: LaravelApp) -> None:
    for path in app.database.parent.glob("database.sqlite*"):
        path.unlink()


def write(app: LaravelApp, content: bytes) -> None:
    remove(app)
    app.database.write_bytes(content)
    app.database.chmod(0o640)
    shutil.chown(app.database, app.owner, app.owner)


def restore(job: Job, answers: Sequence[Mapping[str, object]]) -> str:
    """The whole restore with these answers; what it printed. Fails when it does not end signed off."""
    people = {"operator": OPERATOR, "commander": COMMANDER, "owner": OWNER, "target": TARGET, "confirm": True}
    path = job.folder / "answers.toml"
    path.write_text(tomli_w.dumps({**people, "answer": [*answers, SAME_SECOND, *TRIED]}))
    backup = ("--backup", job.incident.good, "--incident", str(job.report))
    done = job.run("restore", TARGET, *backup, "--answers", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "CONSISTENT" in job.run("verify", "last").stdout
    return done.stdout


def is_restored(app: LaravelApp, job: Job) -> None:
    assert app.counts()["users"] == job.incident.users
    transactions = app.rows("SELECT count(*) FROM transactions WHERE id <= ?", [job.incident.transactions])
    assert transactions == [(job.incident.transactions,)]
    assert app.database.owner() == app.owner
    assert not app.is_down()


def accepted(job: Job) -> list[str]:
    return [gate.actor.name for gate in job.step("3.7").gates if gate.gate is GateKind.ACCEPT]


def test_a_missing_database_comes_back_though_artisan_can_do_nothing_without_it(
    build_laravel: Build, prepare_job: Prepare
) -> None:
    app = build_laravel(cache="database")
    job = prepare_job(app)
    remove(app)
    app.start("web")
    reason = "artisan needs the database that is missing"
    told = restore(job, [{"ask": "decide", "step": "3.2", "do": "p", "reason": reason}])
    assert "missing" in told
    for name in ARTISAN:  # what can't be asked because of the very damage is said, and bars nothing
        check = job.state.checks[f"command {name}"].check
        assert check.verdict is Verdict.WARN
        assert "the live database is missing" in check.evidence
    assert job.step("3.2").status is Status.SKIPPED
    assert accepted(job) == [COMMANDER]
    assert [one.reason for one in job.state.deviations if "3.2" in one.what] == [reason]
    is_restored(app, job)


def test_an_empty_database_is_kept_and_replaced(build_laravel: Build, prepare_job: Prepare) -> None:
    app = build_laravel(cache="file")
    job = prepare_job(app)
    write(app, b"")
    app.start("web")
    restore(job, ())
    is_restored(app, job)


def test_garbage_is_kept_as_it_was_and_replaced_once_the_commander_accepts_that(
    build_laravel: Build, prepare_job: Prepare
) -> None:
    app = build_laravel(cache="file")
    job = prepare_job(app)
    garbage = b"this was a database once\n" * 500
    write(app, garbage)
    app.start("web")
    restore(job, ())
    assert accepted(job) == [COMMANDER]
    kept = [path.read_bytes() for path in (job.folder / "state" / "snapshots").rglob("database.sqlite")]
    assert kept == [garbage]
    is_restored(app, job)
