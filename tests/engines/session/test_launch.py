"""Starting a runner: its command line, what it refuses with, and what is left when it does not start."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engines.checks import Verdict
from engines.errors import Refused, RestoreError
from engines.session import launch
from engines.session.launch import Survival, command, survival, survival_check
from engines.session.store import RunnerMark
from tests.engines.session.examples import begun, session_folder
from tests.engines.session.toy_session import ROOT, ToySession

FOLDER = Path("/var/lib/reinstate/sessions/2026-11-22T12-00-00Z-production-7f3a")
RUNNER = [sys.executable, "-P", "-m", "engines.recipes.run", str(FOLDER)]


def test_without_systemd_the_runner_is_started_as_it_is() -> None:
    assert command("engines.recipes.run", FOLDER, Survival(False, True, "")) == RUNNER


@pytest.mark.parametrize(("uid", "scope"), [(0, []), (1000, ["--user"])])
def test_with_systemd_the_runner_is_a_unit_of_its_own(
    uid: int, scope: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    argv = list(command("engines.recipes.run", FOLDER, Survival(True, True, "")))
    assert argv[: 1 + len(scope)] == ["systemd-run", *scope]
    assert argv[argv.index("--") + 1 :] == RUNNER
    assert f"--unit=reinstate-7f3a-{os.getpid()}" in argv
    assert "--property=KillMode=process" in argv  # a worker that a step started outlives the runner


def test_whether_the_runner_survives_the_login_is_said() -> None:
    assert survival(systemd=False).proven
    assert survival_check(survival(systemd=False)).verdict is Verdict.OK
    unknown = survival_check(Survival(False, False, "systemd may end it"))
    assert unknown.verdict is Verdict.WARN
    assert "tmux" in unknown.hint


def test_where_systemd_is_without_systemd_run_survival_is_not_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert survival(systemd=True) == Survival(
        False, False, "in an OS session of its own, but systemd may end it with the login"
    )


FAKE_SYSTEMD_RUN = """#!/bin/sh
# As systemd-run(1) does: the command in another environment, in the background, and it is back at once.
while [ "$1" != "--" ]; do shift; done
shift
env -i PATH=/usr/bin:/bin PYTHONPATH='{root}' setsid "$@" </dev/null >>'{log}' 2>&1 &
"""


def test_a_unit_gets_the_environment_of_the_login_and_no_file_keeps_it(
    session: ToySession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_systemd_run = tmp_path / "bin" / "systemd-run"
    fake_systemd_run.parent.mkdir()
    fake_systemd_run.write_text(FAKE_SYSTEMD_RUN.format(root=ROOT, log=tmp_path / "log"))
    fake_systemd_run.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake_systemd_run.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "caf\udce9 = secret")
    monkeypatch.setattr(launch, "survival", lambda: Survival(True, True, "as a unit"))
    handed = session.folder / "private" / "environment"
    taken: list[tuple[int, bytes]] = []
    answered = launch._answered

    def looking(*given: Any) -> RunnerMark:  # noqa: ANN401 - as it was called
        taken.append((stat.S_IMODE(handed.stat().st_mode), handed.read_bytes()))
        return answered(*given)

    monkeypatch.setattr(launch, "_answered", looking)
    assert session.begin().pid
    assert not handed.exists()
    assert "secret" not in (tmp_path / "log").read_text()
    ((mode, content),) = taken
    assert mode == 0o600
    handed.write_bytes(content)
    script = "import os, sys, pathlib; from engines.session.launch import take_environment as take; "
    script += "take(pathlib.Path(sys.argv[1])); os.execvp('env', ['env'])"  # what a child gets of it, found by its PATH
    argv = [sys.executable, "-c", script, str(session.folder)]
    child = subprocess.run(argv, env={"PYTHONPATH": str(ROOT)}, capture_output=True, check=True)
    assert b"AWS_SECRET_ACCESS_KEY=caf\xe9 = secret\n" in child.stdout
    assert os.fsencode(f"PATH={os.environ['PATH']}\n") in child.stdout
    assert not handed.exists()


def test_an_environment_that_no_runner_took_is_not_left(session: ToySession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "survival", lambda: Survival(True, True, "as a unit"))
    monkeypatch.setattr(launch, "command", lambda *_: ["false"])
    with pytest.raises(RestoreError, match="did not start"):
        session.begin()
    assert not (session.folder / "private" / "environment").exists()


def test_a_refusal_comes_back_with_its_reason_and_the_empty_folder_goes(session: ToySession) -> None:
    (session.ground / "target.reinstate.lock").mkdir()
    with pytest.raises(Refused, match="can't be locked") as refused:
        session.begin()
    assert "folder must exist" in refused.value.hint
    assert not session.folder.exists()


def test_a_session_that_had_begun_stays_when_its_runner_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = session_folder(tmp_path, begun())
    (folder / "begin.json").unlink(missing_ok=True)

    def refuse(_module: str, _folder: Path) -> None:
        raise Refused("The disk is full.", "Free some.")

    monkeypatch.setattr(launch, "start", refuse)
    with pytest.raises(Refused):
        launch.begin("engines.recipes.run", folder, begun())
    assert (folder / "journal.jsonl").exists()


def test_a_runner_that_does_not_start_leaves_its_words_and_its_log(session: ToySession) -> None:
    with pytest.raises(RestoreError, match=r"The runner did not start\. .*No module named") as error:
        launch.begin("tests.engines.session.no_such_module", session.folder, session.beginning())
    assert str(session.folder / "runner.log") in error.value.hint
    assert session.folder.exists()


def test_a_runner_that_says_nothing_is_given_up(session: ToySession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "ANSWER_WITHIN", 0.1)
    monkeypatch.setattr(launch, "command", lambda *_: ["sleep", "0.5"])
    with pytest.raises(RestoreError, match="did not start"):
        session.begin()


def test_the_runners_folder_is_not_where_modules_come_from(session: ToySession, tmp_path: Path) -> None:
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "__init__.py").write_text("raise SystemExit('taken over')")
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert session.begin().pid
    finally:
        os.chdir(before)
