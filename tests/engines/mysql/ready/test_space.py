"""Room here and on the server, measured in each of the ways, and unknown where none of them works."""

from __future__ import annotations

import os
import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from engines.checks import Check, Panel, Verdict
from engines.mysql import space
from engines.mysql.connect import Place, connected
from engines.mysql.dumps.facts import DumpFacts, read_facts
from engines.mysql.intent import Intent
from engines.mysql.schema import SchemaFacts, look_at_schema
from engines.mysql.server import ServerFacts, look
from engines.mysql.space import Free, free_on_server, needed_on_server, parse_free, space_checks
from tests.engines.mysql.ready.ground import facts_of
from tests.servers.databases import Server


def ground(server: Server, folder: Path) -> tuple[ServerFacts, SchemaFacts, DumpFacts]:
    schema = server.new_schema("shop")
    values = ",".join(f"({n},'{n % 97} {'x' * 200}')" for n in range(5000))
    server.script(
        f"CREATE TABLE t (id INT PRIMARY KEY, x VARCHAR(250), KEY (x)); INSERT INTO t VALUES {values};ANALYZE TABLE t;",
        schema,
    )
    dump = folder / "dump.sql"
    dump.write_bytes(server.dump("--single-transaction", schema))
    with connected(server.place, server.login) as connection:
        return look(connection), look_at_schema(connection, schema), read_facts(dump)


def intent_for(schema: SchemaFacts, *, staged: bool, log: bool = True) -> Intent:
    return Intent(schema=schema.schema, staged=staged, binary_log=log, replays=False)


def checks(
    server: ServerFacts, schema: SchemaFacts, dump: DumpFacts | None, free: Free, folder: Path, to_stage: int = 1000
) -> dict[str, Check]:
    found = space_checks(
        server,
        schema,
        dump,
        intent_for(schema, staged=True),
        free,
        staging=folder / "staging",
        snapshots=folder / "snapshots",
        to_stage=to_stage,
    )
    return {check.name: check for check in found}


def test_what_a_restore_needs_depends_on_how_it_is_done(server: Server, tmp_path: Path) -> None:
    facts, schema, dump = ground(server, tmp_path)
    beside = needed_on_server(facts, schema, dump, intent_for(schema, staged=True))
    instead = needed_on_server(facts, schema, dump, intent_for(schema, staged=False))
    assert beside.tables == instead.tables >= dump.tables[0].size
    # The estimate is within the same order as what the tables really take.
    assert schema.size / 3 < beside.tables < schema.size * 3
    assert beside.total > instead.total
    assert instead.freed == schema.size
    assert beside.log >= dump.tables[0].size
    assert needed_on_server(facts, schema, dump, intent_for(schema, staged=True, log=False)).log == 0
    more = needed_on_server(facts, schema, dump, intent_for(schema, staged=True), replayed=10**9)
    assert more.total >= beside.total + 2 * 10**9
    unknown = replace(schema, tables=())
    assert needed_on_server(facts, unknown, dump, intent_for(schema, staged=True)).tables > dump.tables[0].size
    # The rows were deleted, which is why it is restored: what a row of the rest takes says nothing.
    emptied = replace(schema, tables=tuple(replace(table, rows=1) for table in schema.tables))
    assert needed_on_server(facts, emptied, dump, intent_for(schema, staged=True)).tables < schema.size * 3


def test_a_server_on_this_machine_is_looked_at_itself(server: Server) -> None:
    facts = facts_of(server)
    with connected(server.place, server.login) as connection:
        free = free_on_server(connection, server.place, facts)
        figures = os.statvfs(server.datadir)
        assert free.bytes is not None
        assert abs(free.bytes - figures.f_bavail * figures.f_frsize) < 1 << 30
        assert "statvfs" in free.how
        # Behind a tunnel the address is here too, and the host's name is another.
        assert free_on_server(connection, server.place, replace(facts, hostname="db1")).bytes is None
        assert free_on_server(connection, Place("db1.example"), facts).bytes is None
        assert free_on_server(connection, server.place, replace(facts, datadir="/nowhere/")).bytes is None


def test_a_folder_of_another_server_is_not_taken_for_it(mysql_server: Server) -> None:
    facts = facts_of(mysql_server)
    assert facts.hostname == socket.gethostname()
    with connected(mysql_server.place, mysql_server.login) as connection:
        assert free_on_server(connection, mysql_server.place, replace(facts, uid="another")).bytes is None


def test_mariadbs_plugin_is_asked_where_it_is_there(mariadb_server: Server) -> None:
    server = mariadb_server
    server.sql("INSTALL SONAME 'disks'")
    try:
        with connected(server.place, server.login) as connection:
            facts = replace(look(connection), hostname="elsewhere")
            free = free_on_server(connection, Place("db1.example"), facts)
    finally:
        server.sql("UNINSTALL SONAME 'disks'")
    assert free.bytes is not None
    assert free.bytes > 1 << 20
    assert "DISKS" in free.how


def test_a_configured_command_goes_first(server: Server, tmp_path: Path) -> None:
    facts = facts_of(server)
    with connected(server.place, server.login) as connection:

        def asked(*command: str) -> Free:
            return free_on_server(connection, server.place, facts, command)

        assert asked("echo", "12345").bytes == 12345
        real = asked("df", "--output=avail", "-B1", str(tmp_path))
        assert real.bytes is not None
        assert real.bytes > 0
        assert asked("df", "-PB1", str(tmp_path)).bytes is not None
        for wrong in (("echo", "no number"), ("false",), ("no-such-program",), ("echo", "1", "2"), ("df", "-P", "/")):
            assert asked(*wrong).bytes is None
            assert asked(*wrong).how


@pytest.mark.parametrize(
    ("output", "free"),
    [
        ("      Avail\n78384697344\n", 78384697344),
        ("Filesystem  1-blocks  Used  Available Capacity Mounted on\n/dev/vda 100 60 40 60% /\n", 40),
        ("Filesystem  1B-blocks  Used  Available Use% Mounted on\n/dev/vda 100 60 40 60% /var/lib/my sql\n", 40),
        ("Filesystem  1024-blocks  Used  Available Capacity Mounted on\n/dev/vda 100 60 40 60% /\n", None),
        ("Filesystem  1K-blocks  Used  Available Use% Mounted on\n/dev/vda 100 60 40 60% /\n", None),
        ("", None),
        ("38G\n", None),
        ("1 2\n", None),
        ("1234.5\n", None),
    ],
)
def test_what_a_command_prints_is_bytes_or_nothing(output: str, free: int | None) -> None:
    assert parse_free(output) == free


def test_too_little_room_is_refused_and_no_answer_blocks(server: Server, tmp_path: Path) -> None:
    facts, schema, dump = ground(server, tmp_path)
    plenty = checks(facts, schema, dump, Free(10**12, "by word"), tmp_path)
    assert {check.verdict for check in plenty.values()} == {Verdict.OK}
    assert {check.panel for check in plenty.values()} == {Panel.SPACE}
    assert all(check.needed is not None and check.free is not None for check in plenty.values())
    little = checks(facts, schema, dump, Free(1000, "by word"), tmp_path)[space.DATA]
    assert little.verdict is Verdict.FAIL
    assert little.free == 1000
    nothing = checks(facts, schema, dump, Free(None, "nobody says"), tmp_path)[space.DATA]
    assert nothing.verdict is Verdict.UNKNOWN
    assert "space_command" in nothing.hint
    here = checks(facts, schema, dump, Free(10**12, "by word"), tmp_path, to_stage=1 << 60)
    assert here[space.STAGING].verdict is Verdict.FAIL
    assert here[space.SNAPSHOTS].verdict is Verdict.FAIL  # on the same file system: they add up
    before = checks(facts, schema, None, Free(10**12, "by word"), tmp_path)[space.DATA]
    assert before.verdict is Verdict.OK
    assert "not read yet" in before.evidence


def test_a_snapshot_for_a_bucket_needs_room_where_it_is_staged(server: Server, tmp_path: Path) -> None:
    facts, schema, dump = ground(server, tmp_path)
    found = space_checks(
        facts,
        schema,
        dump,
        intent_for(schema, staged=False),
        Free(10**12, "by word"),
        staging=tmp_path,
        snapshots=None,
        bucket="s3://bucket/safety/",
        to_stage=1,
    )
    rows = {check.name: check for check in found}
    assert "s3://bucket/safety/" in rows[space.SNAPSHOTS].evidence
    assert rows[space.STAGING].needed == 1 + schema.size
    assert stat.S_ISDIR(tmp_path.stat().st_mode)
