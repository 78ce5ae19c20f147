"""Client programs: the right kind is found, nobody sees its login, and what it complains of is told by its meaning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import RestoreError
from engines.mysql.flavour import Flavour
from engines.mysql.programs import ProgramFailed, Tool, find, look_at, running
from tests.engines.mysql.snap.ground import program
from tests.servers.databases import PASSWORD, Server


def fake(folder: Path, name: str, says: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("tool", list(Tool))
def test_each_program_is_known_by_its_kind_and_version(server: Server, tool: Tool) -> None:
    found = program(server, tool)
    assert found.flavour is server.flavour
    assert found.version is not None
    folder = Path(found.path).parent
    assert find(tool, server.flavour, [folder]) == found


@pytest.mark.parametrize(
    ("says", "flavour", "numbers"),
    [
        ("mysqldump  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", Flavour.MYSQL, (9, 7, 4)),
        ("mysqldump  Ver 10.13 Distrib 5.7.44, for Linux (x86_64)", Flavour.MYSQL, (5, 7, 44)),
        ("mysqldump  Ver 10.19 Distrib 10.11.18-MariaDB, for debian-linux-gnu", Flavour.MARIADB, (10, 11, 18)),
        ("mysqldump from 11.8.2-MariaDB, client 10.19 for Linux (x86_64)", Flavour.MARIADB, (11, 8, 2)),
    ],
)
def test_versions_are_read_from_what_each_kind_of_program_says(
    says: str, flavour: Flavour, numbers: tuple[int, ...], tmp_path: Path
) -> None:
    found = look_at(Tool.DUMP, str(fake(tmp_path, "mysqldump", f"echo '{says}'")))
    assert (found.flavour, found.version and found.version.numbers) == (flavour, numbers)


def test_another_servers_program_is_not_taken_and_what_is_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, "mysqldump", "echo 'mysqldump  Ver 10.19 Distrib 10.11.18-MariaDB'")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RestoreError, match="mysqldump is MariaDB's") as refused:
        find(Tool.DUMP, Flavour.MYSQL)
    assert "Install the client programs of MySQL" in refused.value.hint
    with pytest.raises(RestoreError, match="is not there"):
        find(Tool.BINLOG, Flavour.MARIADB, [tmp_path])


def test_a_program_that_cannot_run_is_said(tmp_path: Path) -> None:
    fake(tmp_path, "mysqldump", "exit 127")
    with pytest.raises(RestoreError, match="exit 127"):
        find(Tool.DUMP, Flavour.MYSQL, [tmp_path])


def test_what_a_program_says_of_rows_is_told_by_number_and_line_alone(server: Server, tmp_path: Path) -> None:
    schema = server.new_schema()
    client = program(server, Tool.CLIENT)
    with running(client, ("--batch", schema), server.place, server.login, private=tmp_path) as started:
        assert started.write(b"CREATE TABLE t (a VARCHAR(20) PRIMARY KEY);\nINSERT INTO t VALUES ('canary');\n")
        assert started.write(b"INSERT INTO t VALUES ('canary');\n")
        with pytest.raises(ProgramFailed) as failed:
            started.finish()
    (complaint,) = failed.value.complaints
    assert (complaint.code, complaint.line) == (1062, 3)
    assert failed.value.codes == {1062}
    assert "canary" not in f"{failed.value}{failed.value.hint}{failed.value.complaints}"
    assert failed.value.ended.exit == 1


def test_an_error_is_heard_behind_a_long_statement(server: Server, tmp_path: Path) -> None:
    """MariaDB's client repeats the statement first."""
    schema = server.new_schema()
    client = program(server, Tool.CLIENT)
    with running(client, ("--batch", schema), server.place, server.login, private=tmp_path) as started:
        assert started.write(b"INSERT INTO nowhere VALUES ('" + b"canary" * 500_000 + b"');\n")
        with pytest.raises(ProgramFailed) as failed:
            started.finish()
    assert failed.value.codes == {1146}
    assert "canary" not in f"{failed.value}{failed.value.hint}{failed.value.complaints}"


def test_a_complaint_with_exit_0_is_a_failure_too(server: Server, tmp_path: Path) -> None:
    path = fake(tmp_path, "mysqldump", "echo half a dump; echo \"Warning: 'a value' was lost\" >&2")
    client = look_at(Tool.DUMP, str(path))
    with running(client, (), server.place, server.login, private=tmp_path) as started:
        assert started.read() == b"half a dump\n"
        assert started.read() == b""
        with pytest.raises(ProgramFailed, match="Warning: '…' was lost"):
            started.finish()


def test_a_program_that_is_left_is_ended_before_its_input_is(server: Server, tmp_path: Path) -> None:
    """A client that sees the end of its input executes what it has of a statement."""
    schema = server.new_schema()
    server.sql("CREATE TABLE t (a INT)", database=schema)
    client = program(server, Tool.CLIENT)
    pids: list[int] = []

    class Damaged(Exception):
        pass

    def half_a_statement() -> None:
        arguments = ("--batch", "--unbuffered", "--skip-column-names", schema)
        with running(
            client,
            arguments,
            server.place,
            server.login,
            private=tmp_path,
            started=lambda child: pids.append(child.pid),
        ) as started:
            started.write(b"SELECT 1;\nINSERT INTO t VALUES (1),(2)")
            assert started.line() == b"1"
            raise Damaged

    with pytest.raises(Damaged):
        half_a_statement()
    assert server.sql("SELECT COUNT(*) FROM t", database=schema) == [(0,)]
    assert not Path(f"/proc/{pids[0]}").exists()
    assert not list(tmp_path.iterdir())


def test_a_wrong_login_is_said_without_the_password(server: Server, tmp_path: Path) -> None:
    login = replace(server.login, user="nobody")
    with running(program(server, Tool.DUMP), ("x",), server.place, login, private=tmp_path) as dump:
        while dump.read():
            pass
        with pytest.raises(ProgramFailed, match="1045") as failed:
            dump.finish()
    assert PASSWORD not in f"{failed.value}{failed.value.hint}"
    assert "docs/privileges.md" in failed.value.hint


def test_another_home_hides_login_paths_that_would_lead_elsewhere(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fake(tmp_path, "mysqldump", 'echo "$HOME"; ls -A "$HOME"; env')
    shown = look_at(Tool.DUMP, str(path))
    monkeypatch.setenv("MYSQL_TEST_LOGIN_FILE", "/canary")
    text = b""
    with running(shown, (), server.place, server.login, private=tmp_path / "private") as started:
        while piece := started.read():
            text += piece
        started.finish()
    lines = text.decode().splitlines()
    assert Path(lines[0]).parent == tmp_path / "private"
    assert lines[1] == "client.cnf"
    assert "canary" not in text.decode()
    assert "TZ=UTC" in lines
