"""Safety snapshots of schemas: whole, at one moment, proven, described; and nothing that counts when it was killed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from engines import shelf
from engines.errors import Refused, RestoreError
from engines.mysql.dumps.facts import read_facts
from engines.mysql.dumps.packing import opened
from engines.mysql.flavour import Flavour
from engines.mysql.programs import Tool
from engines.mysql.snapshot import VIEWS, Asked, Snapshot, listed, take
from tests.engines.mysql.snap.ground import MONTH, NOW, asked, full_schema, program
from tests.servers.databases import PASSWORD, Server
from tests.servers.proxy import proxied


def text_of(path: str) -> bytes:
    with opened(Path(path)) as dump:
        return dump.stream.read()


def small(server: Server) -> str:
    schema = server.new_schema("shop")
    server.sql("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2), (3)", database=schema)
    return schema


def test_the_snapshot_holds_every_kind_of_object_and_is_described_as_a_restore_point(
    server: Server, tmp_path: Path
) -> None:
    schema = full_schema(server)
    said: list[str] = []
    seen: list[tuple[int, int]] = []
    want = asked(server, schema, tmp_path)
    kept = take(want, say=said.append, progress=lambda done, total: seen.append((done, total)))
    folder = Path(want.folder)
    assert kept.path is not None
    assert sorted(path.name for path in folder.iterdir()) == ["before.sql.zst", "before.toml"]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert not list(want.private.iterdir())
    assert kept.sha256 == hashlib.sha256(Path(kept.path).read_bytes()).hexdigest()
    facts = read_facts(Path(kept.path))
    assert facts.complete
    assert (facts.packing, facts.databases, facts.header_database) == ("zstd", (), schema)
    assert (len(facts.views), len(facts.routines), len(facts.triggers), len(facts.events)) == (3, 2, 3, 1)
    assert facts.coordinates.file == kept.log_file != ""
    assert kept.counts == {table.name: table.rows for table in facts.tables}
    assert kept.rows == sum(kept.counts.values())
    assert "isam" in kept.unsafe
    assert any("consistent only if nobody writes" in line for line in said)
    assert seen[-1][0] == seen[-1][1]
    (shown,) = listed(want.folder).snapshots
    assert shown == replace(kept, counts={})
    assert msgspec.json.decode(msgspec.json.encode(kept), type=Snapshot) == kept
    assert [one.name for one in shelf.listed(want.folder, shelf.Snapshot).snapshots] == ["before"]
    assert shelf.due(want.folder, NOW) == ()
    assert len(shelf.prune(want.folder, MONTH)) == 2
    assert not list(folder.iterdir())


def test_rows_of_the_past_are_kept_where_the_server_has_them(mariadb_server: Server, tmp_path: Path) -> None:
    schema = full_schema(mariadb_server)
    kept = take(asked(mariadb_server, schema, tmp_path))
    assert kept.counts["versions"] == 3
    assert kept.path is not None
    assert b"system_versioning_insert_history=1" in text_of(kept.path)


def test_without_the_right_to_ask_for_the_binary_log_it_is_taken_without_coordinates(
    server: Server, tmp_path: Path
) -> None:
    schema = small(server)
    server.sql("CREATE USER keeper IDENTIFIED BY 'x y'", f"GRANT ALL ON `{schema}`.* TO keeper")
    said: list[str] = []
    want = asked(server, schema, tmp_path, login=replace(server.login, user="keeper", password="x y"))  # noqa: S106
    kept = take(want, say=said.append)
    # MariaDB tells a transaction where the log stood when it began, and asks for no right.
    granted = server.flavour is Flavour.MARIADB
    assert (kept.log_file != "", kept.log_position > 0, kept.rows) == (granted, granted, 3)
    assert any("RELOAD" in line for line in said) is not granted


def test_views_whose_tables_are_gone_do_not_stop_it_and_their_definitions_are_kept(
    server: Server, tmp_path: Path
) -> None:
    schema = small(server)
    server.sql(
        "CREATE TABLE lost (a INT)",
        "CREATE VIEW seeing AS SELECT a FROM lost",
        "CREATE VIEW again AS SELECT a FROM seeing",
        "CREATE VIEW sound AS SELECT id FROM t",
        "DROP TABLE lost",
        database=schema,
    )
    said: list[str] = []
    kept = take(asked(server, schema, tmp_path), say=said.append)
    assert kept.left_out == "again, seeing"
    assert any("again, seeing" in line for line in said)
    assert kept.raw is not None
    text = Path(kept.raw.folder, VIEWS).read_text()
    assert "from `" in text
    assert text.count("VIEW") == 2
    assert kept.path is not None
    assert read_facts(Path(kept.path)).views == ("sound",)
    assert len(shelf.prune(kept.folder, MONTH)) == 3
    assert not list(Path(kept.folder).iterdir())


def test_a_write_during_the_snapshot_is_noticed_and_nothing_stays(server: Server, tmp_path: Path) -> None:
    schema = small(server)

    def write(point: str) -> None:
        if point == "snapshot.copy.after":
            server.sql("INSERT INTO t VALUES (4)", database=schema)

    want = asked(server, schema, tmp_path)
    with pytest.raises(RestoreError, match="t has 4 rows, and 3 in the snapshot: somebody still writes"):
        take(want, at=write)
    assert not list(Path(want.folder).iterdir())
    said: list[str] = []
    server.sql("DELETE FROM t WHERE id = 4", database=schema)
    kept = take(replace(want, quiet=False), at=write, say=said.append)
    assert kept.rows == 3
    assert any("written to meanwhile" in line for line in said)


def test_tables_too_large_to_count_are_named(server: Server, tmp_path: Path) -> None:
    schema = small(server)
    said: list[str] = []
    take(asked(server, schema, tmp_path, counting=0.0), say=said.append)
    assert "not counted in the time for it: t" in said


@pytest.mark.parametrize("point", ["snapshot.create.after", "snapshot.copy.after", "snapshot.proof.after"])
def test_a_stopped_or_failed_snapshot_leaves_nothing(server: Server, point: str, tmp_path: Path) -> None:
    want = asked(server, small(server), tmp_path)

    class Interrupted(Exception):
        pass

    def interrupt(passed: str) -> None:
        if passed == point:
            raise Interrupted

    with pytest.raises(Interrupted):
        take(want, at=interrupt)
    assert not list(Path(want.folder).iterdir())
    assert not list(want.private.glob("*"))
    with pytest.raises(RestoreError, match="stopped on request"):
        take(want, stop=lambda: True)
    assert not list(Path(want.folder).iterdir())


def killed_at(want: Asked, point: str) -> None:
    """Take it in a process that ends itself at `point`, as kill -9 does."""
    child = os.fork()
    if not child:
        take(want, at=lambda passed: os._exit(9) if passed == point else None)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "point",
    [
        "snapshot.create.after",
        "snapshot.copy.after",
        "snapshot.proof.after",
        "snapshot.name.after",
        "snapshot.describe.after",
    ],
)
def test_killed_at_any_point_it_is_complete_or_does_not_count(server: Server, point: str, tmp_path: Path) -> None:
    want = asked(server, small(server), tmp_path)
    killed_at(want, point)
    found = listed(want.folder)
    assert found.damaged == ()
    if point == "snapshot.describe.after":
        assert found.snapshots[0].path is not None
        assert read_facts(Path(found.snapshots[0].path)).complete
        with pytest.raises(Refused, match="exists already"):
            take(want)
        return
    assert found.snapshots == ()
    assert take(want).rows == 3
    assert sorted(path.name for path in Path(want.folder).iterdir()) == ["before.sql.zst", "before.toml"]


def test_a_line_that_is_cut_is_a_failure_and_nothing_stays(server: Server, tmp_path: Path) -> None:
    schema = server.new_schema("shop")
    server.sql("CREATE TABLE big (a LONGTEXT)", *["INSERT INTO big VALUES (REPEAT('x', 4000000))"] * 6, database=schema)
    with proxied(server.port) as proxy:
        proxy.cut_after(9_000_000)
        want = asked(server, schema, tmp_path, place=replace(server.place, port=proxy.port))
        with pytest.raises(RestoreError) as lost:
            take(want)
    assert "2013" in lost.value.message
    assert PASSWORD not in f"{lost.value}{lost.value.hint}"
    assert not list(Path(want.folder).iterdir())


def test_a_full_disk_is_said_with_what_is_free(
    mariadb_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        if Path(f"/proc/self/fd/{handle}").readlink().name.endswith(".sql.zst.part"):
            raise OSError(28, "No space left on device")

    want = asked(mariadb_server, small(mariadb_server), tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RestoreError, match="No space left") as failed:
        take(want)
    assert "free" in failed.value.hint
    assert not list(Path(want.folder).iterdir())


def test_a_schema_that_is_not_there_is_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(RestoreError, match="can't be listed: 1049"):
        take(asked(server, "nowhere", tmp_path))


def test_nothing_secret_is_in_the_arguments_or_environment_of_the_dump_program(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://canary")
    monkeypatch.setenv("MYSQL_PWD", "canary")
    real = program(server, Tool.DUMP)
    spy = tmp_path / "spy"
    spy.write_text(
        f'#!/bin/sh\n{{ echo "$@"; env; stat -c %a "$HOME/client.cnf"; }} > {tmp_path}/seen\nexec {real.path} "$@"\n'
    )
    spy.chmod(0o755)
    want = asked(server, small(server), tmp_path, program=replace(real, path=str(spy)))
    take(want)
    seen = (tmp_path / "seen").read_text()
    assert PASSWORD not in seen
    assert "canary" not in seen
    assert f"HOME={want.private}" in seen
    assert f"--defaults-file={want.private}" in seen
    assert seen.splitlines()[-1] == "600"


def test_a_name_with_a_dash_or_a_quote_is_no_option(server: Server, tmp_path: Path) -> None:
    name = "--all-databases 'x' `y`"
    server.sql("CREATE DATABASE " + "`" + name.replace("`", "``") + "`")
    server.sql("CREATE TABLE t (id INT PRIMARY KEY)", database=name)
    kept = take(asked(server, name, tmp_path))
    assert (kept.tables, kept.of) == (1, f"{server.place}/{name}")
