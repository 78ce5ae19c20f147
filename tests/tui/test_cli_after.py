"""What comes after the restore, line by line: answers, follow-ups, the checklist, and `reinstate notify`."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from engines.session import store
from engines.session.seal import SEAL
from engines.session.verify import verify
from tests.engines.recipes.world import BACKUP, World, build
from tests.servers.fake_slack import fake_slack
from tests.tui.cli_ground import ANSWERS, UNSEEN, Said, is_drawable, runner_has_left, typed

CHECKLIST = "# Security\n\n- 2026-05-01: restore drill, by bob\n- 2026-08-01: restore drill, by bob\n"
ANSWERED = """
[[answer]]
ask = "checks"
do = "f"
check = "functional: payment flow"
passed = false
reason = "the form stays shut"

[[answer]]
ask = "checks"
do = "f"
check = "functional: payment flow"
reason = "it opens"

[[answer]]
ask = "sign-off"
do = "n"
reason = "todo: alert on mass deletes"

[[answer]]
ask = "sign-off"
do = "t"
follow_up = "todo-1"
name = "bo"
due = "2026-12-04"

[[answer]]
ask = "sign-off"
do = "t"
follow_up = "todo-1"
due = "soon"

[[answer]]
ask = "sign-off"
do = "c"
passed = false

[[answer]]
ask = "sign-off"
do = "c"
"""


def reinstate(world: World, *words: str | Path) -> Said:
    said = typed("--config", world.folder / "reinstate.toml", *words)
    assert is_drawable(said)
    return said


def restored(world: World, answers: str) -> Path:
    file = world.folder / "answers.toml"
    file.write_text(ANSWERS + UNSEEN + answers)
    incident = ("--incident", world.folder / "incident.toml")
    said = reinstate(world, "restore", "box", "--backup", BACKUP, *incident, "--answers", file)
    assert said.code == 0, said.all
    (folder,) = (world.folder / "state" / "sessions").iterdir()
    runner_has_left(folder)
    (world.folder / "said").write_text(said.all)
    return folder


def configured(world: World, application: str, top: str = "") -> None:
    file = world.folder / "reinstate.toml"
    state, rest = file.read_text().lstrip().split("\n", 1)
    file.write_text(f"{state}\n{top}\n{rest}{application}")


def test_the_owner_answers_follow_ups_get_owners_and_the_checklist_its_line(tmp_path: Path) -> None:
    world = build(tmp_path / "world", "delete")
    configured(world, 'functional_checks = ["payment flow"]\nsecurity_checklist = "security.md"\n')
    checklist = world.folder / "app" / "security.md"
    checklist.write_text(CHECKLIST)
    folder = restored(world, ANSWERED)
    said = (world.folder / "said").read_text()
    assert "functional: payment flow: FAILED, says olu: the form stays shut" in said
    assert "REFUSED: 'soon' is no date. Nothing was kept." in said
    assert "Nothing was written." in said
    record = tomllib.loads((folder / "session.toml").read_text())
    assert [(one["result"], one["by"], one["note"]) for one in record["functional"]] == [
        ("failed", "olu", "the form stays shut"),
        ("passed", "olu", "it opens"),
    ]
    assert record["follow_up"][0] == {
        "key": "todo-1",
        "kind": "remediation",
        "task": "alert on mass deletes",
        "owner": "bo",
        "due": "2026-12-04",
    }
    line = f"- {record['session']['began'][:10]}: restore of box (local), INC-7, by ana, session {folder.name}"
    assert checklist.read_text() == f"{CHECKLIST}{line}\n"


def test_what_did_not_arrive_is_sent_again_once_the_session_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = build(tmp_path / "world", "delete")
    configured(world, "", '[[notify]]\nname = "incidents"\nwebhook_env = "INCIDENT_WEBHOOK"\non = ["closed"]')
    monkeypatch.delenv("INCIDENT_WEBHOOK", raising=False)
    folder = restored(world, "")
    assert "## Not sent" in (folder / "report.md").read_text()
    with fake_slack() as slack:
        still = reinstate(world, "notify")
        assert still.code == 1
        assert "NOT SENT closed to incidents: the environment variable INCIDENT_WEBHOOK is not set" in still.out
        monkeypatch.setenv("INCIDENT_WEBHOOK", slack.url)
        assert reinstate(world, "notify").out == "All is sent.\n"
        assert len(slack.texts) == 1
        again = reinstate(world, "notify")
        assert again.code == 3
        assert "Nothing is unsent" in again.err
        written = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        assert slack.secret.encode() not in written
    assert "## Not sent" not in (folder / "report.md").read_text()
    found = verify(folder)
    assert (found.wrong, found.unchecked) == ("", ())
    assert store.runner_mark(folder) is None


def test_a_signed_record_that_could_not_be_signed_anew_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key)], check=True)
    world = build(tmp_path / "world", "delete")
    configured(world, "", '[[notify]]\nname = "incidents"\nwebhook_env = "INCIDENT_WEBHOOK"\non = ["closed"]')
    file = world.folder / "reinstate.toml"
    file.write_text(file.read_text().replace("[approval]\n", f'[approval]\nrecord_key = "{key}"\n'))
    monkeypatch.delenv("INCIDENT_WEBHOOK", raising=False)
    folder = restored(world, "")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "runner.pid"}
    assert folder / SEAL in before
    away = key.rename(tmp_path / "away")
    refused = reinstate(world, "notify")
    assert refused.code == 1
    assert "can't sign" in refused.err
    assert {path: path.read_bytes() for path in before} == before
    away.rename(key)
    with fake_slack() as slack:
        monkeypatch.setenv("INCIDENT_WEBHOOK", slack.url)
        assert reinstate(world, "notify").out == "All is sent.\n"
    found = verify(folder)
    assert (found.wrong, found.signed) == ("", True)
