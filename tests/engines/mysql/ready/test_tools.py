"""The client programs: there, and of the server's own kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engines.checks import Verdict
from engines.mysql.flavour import Flavour, Version
from engines.mysql.intent import Intent
from engines.mysql.tools import look_for, tools, wanted
from tests.servers.databases import FLAVOURS, Build, build_of

ALL = ("mysqldump", "mysql", "mysqlbinlog", "mysqlcheck")
SERVERS = {
    Flavour.MYSQL: Version(Flavour.MYSQL, (9, 7, 4), "9.7.4"),
    Flavour.MARIADB: Version(Flavour.MARIADB, (10, 11, 18), "10.11.18-MariaDB"),
}


def folder_of(build: Build) -> str:
    return str(Path(build.program("mysqldump")).parent)


@pytest.mark.parametrize("build", FLAVOURS, ids=lambda build: build.name)
def test_the_servers_own_programs_are_found(build: Build) -> None:
    found = look_for(build.flavour, ALL, folder_of(build))
    assert [tool.flavour for tool in found] == [build.flavour] * len(ALL)
    assert {check.verdict for check in tools(SERVERS[build.flavour], found)} == {Verdict.OK}
    assert str(found[0].version).startswith(f"{build.flavour.shown} {build.expected}")


def test_mariadbs_programs_under_mysqls_names_are_refused_for_mysql() -> None:
    found = look_for(Flavour.MYSQL, ALL, folder_of(build_of(Flavour.MARIADB)))
    assert {tool.flavour for tool in found} == {Flavour.MARIADB}
    for check in tools(SERVERS[Flavour.MYSQL], found):
        assert check.verdict is Verdict.FAIL
        assert "MySQL 9.7" in check.hint


def test_programs_that_are_not_there_are_named(tmp_path: Path) -> None:
    (check,) = tools(SERVERS[Flavour.MYSQL], look_for(Flavour.MYSQL, ("mysqldump",), str(tmp_path)))
    assert check.verdict is Verdict.FAIL
    assert "mysqldump" in check.evidence


def test_a_program_that_can_not_run_is_told_so(tmp_path: Path) -> None:
    broken = tmp_path / "mysqldump"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    (check,) = tools(SERVERS[Flavour.MYSQL], look_for(Flavour.MYSQL, ("mysqldump",), f"{tmp_path}:/bin"))
    assert check.verdict is Verdict.FAIL
    assert "exit 3" in check.evidence


def test_a_program_older_than_the_server_is_warned_of() -> None:
    newer = Version(Flavour.MARIADB, (11, 8, 2), "11.8.2-MariaDB")
    found = look_for(Flavour.MARIADB, ("mysqldump",), folder_of(build_of(Flavour.MARIADB)))
    (check,) = tools(newer, found)
    assert check.verdict is Verdict.WARN


def test_only_what_the_steps_start_is_wanted() -> None:
    intent = Intent(schema="shop", staged=False, binary_log=True, replays=False)
    assert wanted(intent) == ("mysqldump",)
    assert wanted(replace(intent, own_client=False)) == ("mysqldump", "mysql")
    assert wanted(replace(intent, replays=True)) == ("mysqldump", "mysql", "mysqlbinlog")
