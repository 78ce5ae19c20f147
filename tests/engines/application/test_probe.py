"""A real Laravel is asked what it has."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engines.application.commands import migrations
from engines.application.probe import artisan, artisan_commands, configured, exists
from engines.checks import Verdict
from engines.process import Command, Ended, captured
from engines.targets import Application

HERE = Path(__file__).parents[2] / "application"


@pytest.fixture(scope="module")
def laravel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("laravel") / "shop"
    shutil.copytree(HERE, folder)
    shutil.copy(folder / ".env.example", folder / ".env")
    (folder / "database" / "database.sqlite").touch()
    yield folder
    shutil.rmtree(folder)


def php(folder: Path, *told: str) -> Command:
    return Command(("php", "artisan", *told), folder, timeout=60)


def test_the_runbooks_commands_are_there_but_schedule_finish_lacks_its_id(laravel: Path) -> None:
    listing = artisan_commands(php(laravel, "list"))
    assert listing.commands is not None
    for told in (
        ("down", "--render=errors::503-maintenance"),
        ("up",),
        ("queue:restart",),
        ("migrate:status",),
        ("migrate", "--pretend", "--force"),
        ("schedule:finish", "3f2a"),
        ("--version",),
    ):
        assert exists("key", php(laravel, *told), listing).verdict is Verdict.OK, told
    check = exists("scheduler_stop", php(laravel, "schedule:finish"), listing)
    assert check.verdict is Verdict.FAIL
    assert check.evidence == "schedule:finish needs arguments that are not given: id"
    assert "cron" in check.hint


def test_a_command_or_option_that_the_application_lacks_is_named_with_its_nearest(laravel: Path) -> None:
    listing = artisan_commands(php(laravel, "list"))
    check = exists("workers_stop", php(laravel, "queue:restrat"), listing)
    assert (check.verdict, check.hint) == (Verdict.FAIL, "Did you mean queue:restart?")
    check = exists("maintenance_on", php(laravel, "down", "--rendre=x"), listing)
    assert check.verdict is Verdict.FAIL
    assert "--rendre" in check.evidence


def test_a_maintenance_page_that_is_not_there_is_noticed_before_down_fails_for_it(laravel: Path) -> None:
    listing = artisan_commands(php(laravel, "list"))
    (laravel / "resources/views/errors/503-maintenance.blade.php").unlink()
    check = exists("maintenance_on", php(laravel, "down", "--render=errors::503-maintenance"), listing)
    assert check.verdict is Verdict.FAIL
    assert "no view 503-maintenance" in check.evidence
    assert "errors::503" in check.hint
    shipped = php(laravel, "down", "--render=errors::503")
    assert exists("maintenance_on", shipped, listing).verdict is Verdict.OK


def test_every_configured_command_gets_a_check_and_artisan_is_asked_once(laravel: Path) -> None:
    asked: list[tuple[str, ...]] = []

    def ask(command: Command) -> tuple[Ended, bytes]:
        asked.append(command.argv)
        return captured(command)

    application = Application(
        laravel,
        maintenance_on=("php", "artisan", "down"),
        maintenance_off=("php", "artisan", "up"),
        workers_stop=("no-such-ctl", "stop"),
        workers_check=("test", "-e", "x"),
        smoke=("./bin/nothing",),
    )
    found = {check.name: check.verdict for check in configured(application, ask)}
    assert found == {
        "maintenance_on": Verdict.OK,
        "maintenance_off": Verdict.OK,
        "workers_stop": Verdict.FAIL,
        "workers_check": Verdict.OK,
        "smoke": Verdict.FAIL,
    }
    assert asked == [("php", "artisan", "list", "--format=json")]


def test_migrations_of_a_real_application_are_read(laravel: Path) -> None:
    status = php(laravel, "migrate:status")
    assert migrations(status).verdict is Verdict.FAIL  # no table yet
    assert captured(php(laravel, "migrate", "--force"))[0].ok
    assert migrations(status).verdict is Verdict.OK
    later = laravel / "database" / "migrations" / "2026_09_09_000000_add_nothing.php"
    shutil.copy(next(later.parent.glob("*queue*")), later)
    check = migrations(status)
    later.unlink()
    assert check.verdict is Verdict.FAIL
    assert "2026_09_09_000000_add_nothing" in check.evidence


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"", "not its usual JSON"),
        (b"PHP Fatal error: no", "not its usual JSON"),
        (b'{"commands": 3}', "not its usual JSON"),
        (b'{"commands": [{"name": "up"}]}', "not its usual JSON"),
        (b"[" * 100_000, "not its usual JSON"),
    ],
)
def test_an_answer_that_is_no_listing_leaves_the_check_unknown(said: bytes, why: str, tmp_path: Path) -> None:
    def ask(command: Command) -> tuple[Ended, bytes]:
        return Ended(0, None, 0.1), said

    listing = artisan_commands(php(tmp_path, "up"), ask)
    assert listing.commands is None
    assert why in listing.evidence
    check = exists("maintenance_off", php(tmp_path, "up"), listing)
    assert check.verdict is Verdict.UNKNOWN


def test_notices_around_the_listing_do_not_hide_it(laravel: Path) -> None:
    def ask(command: Command) -> tuple[Ended, bytes]:
        ended, output = captured(command)
        return ended, b"Deprecated: x in /y on line 3\n" + output + b"\nsudo: unable to resolve host\n"

    assert artisan_commands(php(laravel, "up"), ask).commands


def test_an_application_without_artisan_is_unknown_and_says_what_php_said(tmp_path: Path) -> None:
    listing = artisan_commands(php(tmp_path, "up"))
    assert listing.commands is None
    assert "Could not open input file: artisan" in listing.evidence
    assert exists("maintenance_off", php(tmp_path, "up"), listing).verdict is Verdict.UNKNOWN


def test_artisan_is_recognised_behind_sudo_and_containers() -> None:
    assert artisan(("php", "artisan", "up")) == (("php", "artisan"), ("up",))
    assert artisan(("sudo", "-n", "-u", "www-data", "php8.2", "/srv/shop/artisan", "down", "--retry=5")) == (
        ("sudo", "-n", "-u", "www-data", "php8.2", "/srv/shop/artisan"),
        ("down", "--retry=5"),
    )
    assert artisan(("supervisorctl", "stop", "artisan")) is None
    assert artisan(("systemctl", "stop", "queue")) is None


def test_a_program_is_looked_for_in_the_applications_folder(tmp_path: Path) -> None:
    command = Command(("bin/workers", "stop"), tmp_path)
    assert exists("workers_stop", command).verdict is Verdict.FAIL
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "workers").write_text("#!/bin/sh\n")
    check = exists("workers_stop", command)
    assert check.verdict is Verdict.FAIL
    assert "not executable" in check.evidence
    (tmp_path / "bin" / "workers").chmod(0o755)
    assert exists("workers_stop", command).verdict is Verdict.OK
    assert exists("workers_stop", replace(command, cwd=tmp_path / "gone")).verdict is Verdict.FAIL
