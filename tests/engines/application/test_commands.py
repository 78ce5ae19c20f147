"""What the answers of an application's own commands prove, and what they do not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from engines.application.commands import answer, denies, in_application, migrations, succeeds
from engines.checks import Panel, Verdict
from engines.process import Command
from engines.targets import Application


def shell(script: str, timeout: float = 30.0) -> Command:
    return Command(("sh", "-c", script), timeout=timeout)


def test_a_command_runs_in_the_applications_folder_as_its_user_within_its_time(tmp_path: Path) -> None:
    application = Application(tmp_path, user="www-data", timeout=timedelta(minutes=2))
    command = in_application(application, ("php", "artisan", "up"))
    assert command == Command(("php", "artisan", "up"), tmp_path, "www-data", 120.0)


@pytest.mark.parametrize(
    ("script", "yes", "no"),
    [
        ("exit 0", Verdict.OK, Verdict.FAIL),
        ("exit 1", Verdict.FAIL, Verdict.OK),
        ("exit 3", Verdict.FAIL, Verdict.OK),  # systemctl is-active: inactive
        ("exit 2", Verdict.FAIL, Verdict.UNKNOWN),  # test, pgrep, grep: the question is wrong
        ("exit 4", Verdict.FAIL, Verdict.UNKNOWN),  # systemctl is-active: no such unit
        ("exit 127", Verdict.FAIL, Verdict.UNKNOWN),
        ("exit 255", Verdict.FAIL, Verdict.UNKNOWN),  # an uncaught error of PHP
        ("kill -9 $$", Verdict.UNKNOWN, Verdict.UNKNOWN),
    ],
)
def test_only_a_clear_no_proves_that_something_is_stopped(script: str, yes: Verdict, no: Verdict) -> None:
    assert succeeds("workers run", shell(script), "Start them.").verdict is yes
    assert denies("workers are stopped", shell(script), "Stop them.").verdict is no


def test_a_no_that_is_wanted_does_not_read_like_a_failure() -> None:
    assert denies("workers stopped", shell("exit 1"), "Stop them.").evidence == "the check command says no (exit 1)"
    told = denies("workers stopped", shell("echo 4711; exit 0"), "Stop them.").evidence
    assert told == "the check command says yes (exit 0): 4711"


def test_a_question_out_of_time_is_unknown_both_ways() -> None:
    command = shell("trap 'exit 1' TERM; sleep 99 & wait", timeout=0.05)
    for check in (succeeds("workers", command, "Look."), denies("workers", command, "Look.")):
        assert check.verdict is Verdict.UNKNOWN
        assert "out of time" in check.evidence


def test_a_question_that_cannot_be_asked_is_unknown_and_says_why() -> None:
    for check in (
        succeeds("workers", Command(("no-such-ctl", "status")), "Look."),
        denies("workers", Command(("no-such-ctl", "status")), "Look.", panel=Panel.PREREQUISITES),
    ):
        assert check.verdict is Verdict.UNKNOWN
        assert "no-such-ctl" in check.evidence


def test_evidence_is_the_end_of_the_output_and_harmless_to_a_terminal() -> None:
    check = succeeds("smoke", shell(r"seq 1000; printf 'a\033[2Jb\n\n'; printf '\377 %0300d' 7; exit 1"), "Look.")
    assert check.verdict is Verdict.FAIL
    assert check.evidence.startswith("exit 1, 0:00: …0000")
    assert check.evidence.endswith("07")
    assert "\x1b" not in check.evidence
    assert len(check.evidence) < 300


OLD = """\
+------+-----------------------------+-------+
| Ran? | Migration                   | Batch |
+------+-----------------------------+-------+
| Yes  | 2026_01_05_create_ledger    | 1     |
| {} | 2026_02_01_add_currency     |       |
+------+-----------------------------+-------+
"""
NEW = """

  Migration name ........................ Batch / Status
  2026_01_05_create_ledger ..................... [1] Ran
  2026_02_01_add_currency ....................... {}

"""


@pytest.mark.parametrize(("form", "yes", "no"), [(OLD, "Yes ", "No  "), (NEW, "[2] Ran", "Pending")])
def test_a_pending_migration_is_found_in_old_and_new_laravels(form: str, yes: str, no: str, tmp_path: Path) -> None:
    (tmp_path / "answer").write_text(form.format(yes))
    check = migrations(Command(("cat", "answer"), tmp_path))
    assert (check.verdict, check.evidence) == (Verdict.OK, "2 ran, none pending")
    (tmp_path / "answer").write_text(form.format(no))
    check = migrations(Command(("cat", "answer"), tmp_path))
    assert (check.verdict, check.evidence) == (Verdict.FAIL, "1 pending (2026_02_01_add_currency), 1 ran")


def test_a_dry_run_of_the_migrations_says_what_would_run() -> None:
    """As Laravel 8.83 answers `migrate --pretend`, and as later ones do."""
    assert migrations(shell("echo 'Nothing to migrate.'")).verdict is Verdict.OK
    for answer_ in (
        "echo '2026_01_05_090200_create_cache: create table `cache` (x)'; echo '2026_01_05_090200_create_cache: alter'",
        "echo '   INFO  Running migrations.'; echo '  2026_01_05_090200_create_cache ....'; echo '  ⇂ create table'",
    ):
        check = migrations(shell(answer_))
        assert check.verdict is Verdict.FAIL
        assert check.evidence == "1 pending (2026_01_05_090200_create_cache)"


def test_an_answer_without_migrations_is_unknown() -> None:
    assert migrations(shell("echo fine")).verdict is Verdict.UNKNOWN
    assert migrations(shell("echo 'Migration table not found.'; exit 1")).verdict is Verdict.FAIL
    assert migrations(Command(("no-such-php",))).verdict is Verdict.UNKNOWN


def test_an_answer_is_the_commands_own_even_when_it_speaks_no_utf8() -> None:
    said = answer(shell(r"printf '\377\376'"))
    assert said.known
    assert said.output == "��"
