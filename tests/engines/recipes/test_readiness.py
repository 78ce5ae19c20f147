"""Does the report speak of this target? What it names is compared, and what can't be compared is said."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from engines.checks import Check, Verdict
from engines.config import Environment
from engines.incident import About, Incident, IncidentTarget
from engines.recipes.readiness import right_target

HERE = socket.gethostname()


def asked(path: Path, told: IncidentTarget) -> Check:
    return right_target("production", "sqlite", (str(path), path.name, "shop"), Incident(About("INC-9"), told))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "db.sqlite").touch()
    return tmp_path / "db.sqlite"


def test_a_report_that_names_no_target_is_no_reason_to_be_sure(path: Path) -> None:
    check = asked(path, IncidentTarget())
    assert check.verdict is Verdict.WARN
    assert "it names no target" in check.evidence


def test_what_the_report_names_is_compared_each_by_itself(path: Path) -> None:
    found = path.stat()
    right = IncidentTarget(
        environment=Environment.PRODUCTION,
        engine="sqlite",
        host=HERE.upper(),
        database="db.sqlite",
        identity=f"device {found.st_dev}, inode {found.st_ino}",
    )
    check = asked(path, right)
    assert check.verdict is Verdict.OK, check
    assert "environment, engine, host, database, identity as it says" in check.evidence
    assert asked(path, replace(right, identity=f"{found.st_dev}:{found.st_ino}")).verdict is Verdict.OK
    for wrong in (
        {"environment": Environment.STAGING},
        {"engine": "mysql"},
        {"host": "some-other-machine"},
        {"database": "other.sqlite"},
        {"identity": f"{found.st_dev}:{found.st_ino + 1}"},
        {"identity": "6f2c0f6e-0000-0000-0000-000000000000"},
    ):
        ((key, _),) = wrong.items()
        check = asked(path, replace(right, **wrong))
        assert check.verdict is Verdict.FAIL
        assert check.evidence.startswith(f"it says {key} ")
        assert check.evidence.count("the target's is")


def test_what_can_not_be_compared_is_said(path: Path) -> None:
    path.unlink()
    check = asked(path, IncidentTarget(database="db.sqlite", identity="2049:131077"))
    assert check.verdict is Verdict.WARN
    assert "identity could not be compared" in check.evidence
    server = right_target("production", "mysql", ("shop",), Incident(About("INC-9"), IncidentTarget(host="db1")))
    assert server.verdict is Verdict.WARN


def test_a_servers_names_and_identity_are_the_callers_to_give() -> None:
    incident = Incident(About("INC-9"), IncidentTarget(host="db1.example", identity="6F2C-0F6E"))
    for hosts, identity, verdict in (
        (("db1",), "6f2c-0f6e", Verdict.OK),
        (("db1.other",), "6f2c-0f6e", Verdict.FAIL),
        (("db1.example",), "6f2c-0f6f", Verdict.FAIL),
        (("127.0.0.1", "db1.example"), "6f2c-0f6e", Verdict.OK),
    ):
        check = right_target("production", "mysql", ("shop",), incident, hosts=hosts, identity=identity)
        assert check.verdict is verdict, check
