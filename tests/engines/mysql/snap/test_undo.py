"""Whatever became of a restore in place, undo makes the schema what it was: proven by comparing dumps of both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pymysql
import pytest

from engines.errors import Refused, RestoreError
from engines.mysql.flavour import Flavour
from engines.mysql.load.loader import Hooks
from engines.mysql.programs import Tool
from engines.mysql.same import same
from engines.mysql.snapshot import Snapshot, take
from engines.mysql.undo import PutBack, put_back
from tests.engines.mysql.snap.ground import asked, content, full_schema, program
from tests.engines.mysql.snap.killed import Deed, written
from tests.servers.databases import ROOT, Server
from tests.servers.waiting import until

# Every so many points are killed at: in the ordinary run, and under torture. A load passes hundreds that are alike.
_STRIDE = 61
_TORTURE = {"in-place": 11, "by-client": 31, "put-back": 13}


def other_dump(server: Server, folder: Path) -> tuple[Path, str]:
    """The nightly dump that is restored: other rows, other tables, other code, another default character set."""
    source = full_schema(server, "nightly")
    server.sql(
        f"ALTER DATABASE `{source}` CHARACTER SET latin1 COLLATE latin1_bin",
        "CREATE TABLE only_in_the_dump (id INT PRIMARY KEY, t TEXT)",
        "INSERT INTO only_in_the_dump VALUES (1, 'nightly')",
        "DELETE FROM no_key",
        "UPDATE users SET name = 'of the night' WHERE id = 4",
        "DROP TABLE `empty table`",
        "DROP FUNCTION twice",
        "DROP TRIGGER users_after",
        database=source,
    )
    more = ("--set-gtid-purged=OFF",) if server.flavour is Flavour.MYSQL else ()
    dump = folder / "nightly.sql"
    dump.write_bytes(
        server.dump("--single-transaction", "--routines", "--events", "--triggers", *more, "--databases", source)
    )
    return dump, source


def live_schema(server: Server) -> str:
    """What is live before: every kind of object, and a ghost table that the dump does not have."""
    schema = full_schema(server)
    server.sql(
        "CREATE TABLE ghost (id INT PRIMARY KEY AUTO_INCREMENT, t TEXT)",
        "INSERT INTO ghost (t) VALUES ('a'), ('b'), ('c')",
        "CREATE TRIGGER ghost_before BEFORE INSERT ON ghost FOR EACH ROW SET NEW.t = upper(NEW.t)",
        "CREATE VIEW ghost_view AS SELECT t FROM ghost",
        "CREATE PROCEDURE ghostly() SELECT 1",
        f"CREATE USER '{schema}'@'%' IDENTIFIED BY 'a long secret'",
        f"GRANT SELECT ON `{schema}`.* TO '{schema}'@'%'",
        database=schema,
    )
    return schema


def ground_of(server: Server, folder: Path) -> tuple[Deed, Path]:
    """A snapshot of what is live, and the file with what a killed process is told."""
    schema = live_schema(server)
    dump, source = other_dump(server, folder)
    want = asked(server, schema, folder)
    deed = Deed(
        PutBack(
            snapshot=take(want),
            place=server.place,
            login=server.login,
            schema=schema,
            client=program(server, Tool.CLIENT),
            private=want.private,
        ),
        dump,
        source,
    )
    file = folder / "deed.json"
    file.touch(mode=0o600)
    file.write_bytes(written(deed))
    return deed, file


def started(deed: str, file: Path, point: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.engines.mysql.snap.killed", deed, str(file), str(point)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def end_connections(server: Server, output: str) -> None:
    """As a resumed session does: what the dead one had opened is ended by its journalled id, and seen to be gone."""
    ids = {line.split()[1] for line in output.splitlines() if line.startswith("connection ")}
    there = {str(row[0]) for row in server.sql("SHOW PROCESSLIST")}
    for number in ids & there:
        with suppress(pymysql.err.OperationalError):  # it has ended by itself since
            server.sql(f"KILL {number}")
    until(lambda: not ids & {str(row[0]) for row in server.sql("SHOW PROCESSLIST")}, "the connections are gone", 20)


def points(output: str) -> list[str]:
    return [line.removeprefix("point ") for line in output.splitlines() if line.startswith("point ")]


def assert_put_back(server: Server, deed: Deed, before: bytes) -> None:
    put_back(deed.asked)
    assert content(server, deed.asked.schema) == before
    found = same(
        program(server, Tool.DUMP),
        deed.asked.place,
        deed.asked.login,
        deed.asked.schema,
        Path(str(deed.asked.snapshot.path)),
        private=deed.asked.private,
    )
    assert (found.difference, found.counters) == (None, ())
    assert found.statements > 100


def kill_everywhere(server: Server, deed_name: str, folder: Path, stride: int) -> None:
    deed, file = ground_of(server, folder)
    before = content(server, deed.asked.schema)
    grants = server.sql(f"SHOW GRANTS FOR '{deed.asked.schema}'@'%'")
    ended = started(deed_name, file, 0)
    assert ended.returncode == 0, ended.stderr
    passed = points(ended.stdout)
    assert len(passed) > (60 if deed_name != "put-back" else 80)
    if deed_name != "put-back":
        assert b"only_in_the_dump" in content(server, deed.asked.schema)
        assert b"ghost" not in content(server, deed.asked.schema)
    assert_put_back(server, deed, before)
    for point in range(stride // 2 + 1, len(passed) + 1, stride):
        ended = started(deed_name, file, point)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        end_connections(server, ended.stdout)
        assert_put_back(server, deed, before)
    assert server.sql(f"SHOW GRANTS FOR '{deed.asked.schema}'@'%'") == grants
    killed = len(range(stride // 2 + 1, len(passed) + 1, stride))
    told = f"{killed} of {len(passed)} points (every {stride}th); put back: old {killed}; mixed 0"
    os.write(2, f"\n{server.build.name}, {deed_name}: {told}\n".encode())


@pytest.mark.parametrize("deed", ["in-place", "put-back"])
def test_killed_in_the_middle_of_a_restore_in_place_or_its_undo_the_schema_comes_back(
    server: Server, deed: str, tmp_path: Path
) -> None:
    kill_everywhere(server, deed, tmp_path, _STRIDE)


def test_killed_in_the_middle_of_a_load_by_the_client_the_schema_comes_back(server: Server, tmp_path: Path) -> None:
    kill_everywhere(server, "by-client", tmp_path, _STRIDE)


@pytest.mark.torture
@pytest.mark.parametrize("deed", ["in-place", "by-client", "put-back"])
def test_killed_at_many_points_the_schema_comes_back(server: Server, deed: str, tmp_path: Path) -> None:
    kill_everywhere(server, deed, tmp_path, _TORTURE[deed])


def test_a_snapshot_that_was_changed_or_is_gone_is_refused_and_nothing_is_dropped(
    server: Server, tmp_path: Path
) -> None:
    deed, _file = ground_of(server, tmp_path)
    before = content(server, deed.asked.schema)
    path = Path(str(deed.asked.snapshot.path))
    kept = path.read_bytes()
    path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(Refused, match="is not the one that was taken"):
        put_back(deed.asked)
    path.unlink()
    with pytest.raises(RestoreError, match="can't be read"):
        put_back(deed.asked)
    without = replace(deed.asked.snapshot, path=None)
    with pytest.raises(Refused, match="holds no dump"):
        put_back(replace(deed.asked, snapshot=without))
    path.write_bytes(kept)
    with pytest.raises(Refused, match="not whole"):
        put_back(replace(deed.asked, snapshot=replace(deed.asked.snapshot, tables=1)))
    assert content(server, deed.asked.schema) == before


def test_an_undo_that_is_stopped_is_begun_again(server: Server, tmp_path: Path) -> None:
    deed, _file = ground_of(server, tmp_path)
    before = content(server, deed.asked.schema)
    seen: list[str] = []
    with pytest.raises(RestoreError, match="unfinished"):
        put_back(deed.asked, Hooks(say=seen.append, stop=lambda: len(seen) > 5))
    assert_put_back(server, deed, before)


def test_views_that_were_broken_before_are_named_and_not_made(server: Server, tmp_path: Path) -> None:
    schema = server.new_schema("shop")
    server.sql(
        "CREATE TABLE t (id INT PRIMARY KEY)",
        "CREATE TABLE lost (a INT)",
        "CREATE VIEW seeing AS SELECT a FROM lost",
        "DROP TABLE lost",
        database=schema,
    )
    want = asked(server, schema, tmp_path)
    kept: Snapshot = take(want)
    said: list[str] = []
    put_back(
        PutBack(
            snapshot=kept,
            place=server.place,
            login=server.login,
            schema=schema,
            client=program(server, Tool.CLIENT),
            private=want.private,
        ),
        Hooks(say=said.append),
    )
    assert any("views seeing" in line for line in said)
    assert [name for (name,) in server.sql(f"SHOW TABLES FROM `{schema}`")] == ["t"]
