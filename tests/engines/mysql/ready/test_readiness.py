"""Each check on a real server, both ways: where it is well, and where it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engines.checks import Check, Verdict
from engines.mysql import readiness as ask
from engines.mysql.connect import connected
from engines.mysql.dumps.facts import Coordinates, DumpFacts, read_facts
from engines.mysql.flavour import Flavour
from engines.mysql.intent import Intent
from engines.mysql.readiness import readiness
from engines.mysql.schema import SchemaFacts, look_at_schema
from engines.mysql.server import ServerFacts, identity, look
from tests.engines.mysql.ready.ground import account, facts_of
from tests.servers.databases import Server, build_of

MAKES = (
    "CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(30)) DEFAULT CHARSET=utf8mb4; "
    "INSERT INTO users VALUES (1, 'ana'); CREATE TABLE log (x INT);"
    "CREATE DEFINER='root'@'localhost' VIEW v AS SELECT id FROM users;"
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DO 1;"
)


def dumped(server: Server, schema: str, folder: Path, *options: str) -> DumpFacts:
    plain = ("--set-gtid-purged=OFF",) if server.flavour is Flavour.MYSQL else ()
    path = folder / "dump.sql"
    path.write_bytes(server.dump("--routines", "--events", *plain, *options, schema))
    return read_facts(path)


def ground(
    server: Server, folder: Path, *options: str, makes: str = MAKES
) -> tuple[ServerFacts, SchemaFacts, DumpFacts]:
    schema = server.new_schema("shop")
    server.script(makes, schema, "--default-character-set=utf8mb4")
    with connected(server.place, server.login) as connection:
        return look(connection), look_at_schema(connection, schema), dumped(server, schema, folder, *options)


def intent_for(schema: SchemaFacts, *, staged: bool = False) -> Intent:
    return Intent(schema=schema.schema, staged=staged, binary_log=True, replays=False)


def verdicts(found: list[Check]) -> dict[str, Verdict]:
    return {check.name: check.verdict for check in found}


def test_a_server_that_made_the_dump_is_ready_for_it(server: Server, tmp_path: Path) -> None:
    facts, schema, dump = ground(server, tmp_path)
    found = list(readiness(facts, schema, dump, intent_for(schema), planned=identity(facts)))
    expected = {Verdict.OK}
    assert {check.verdict for check in found if check.name != ask.EVENTS} == expected, found
    assert len(verdicts(found)) == 12


def test_another_server_than_the_planned_one_is_refused(server: Server, start_server: Callable[..., Server]) -> None:
    other = start_server(build_of(server.flavour))
    check = ask.right_server(facts_of(server), identity(facts_of(other)))
    assert check.verdict is Verdict.FAIL
    assert str(other.port) in check.evidence


def test_a_packet_that_is_too_small_is_named_with_the_table(server: Server, tmp_path: Path) -> None:
    values = ",".join(f"({n},'{'x' * 1000}')" for n in range(300))
    facts, _schema, dump = ground(
        server, tmp_path, makes=f"CREATE TABLE big (id INT PRIMARY KEY, x TEXT); INSERT INTO big VALUES {values};"
    )
    before = facts.max_allowed_packet
    try:
        server.sql("SET GLOBAL max_allowed_packet = 65536")
        check = ask.packet(facts_of(server), dump)
        assert check.verdict is Verdict.FAIL
        assert "big" in check.evidence
        server.sql(check.hint.split(";")[0])
        assert ask.packet(facts_of(server), dump).verdict is Verdict.OK
    finally:
        server.sql(f"SET GLOBAL max_allowed_packet = {before}")
    assert ask.packet(facts, replace(dump, largest=2 << 30)).hint.startswith("Take the dump")


def test_a_dump_without_header_depends_on_the_servers_mode(server: Server, tmp_path: Path) -> None:
    facts, _schema, whole = ground(server, tmp_path)
    assert ask.sql_mode(facts, whole).verdict is Verdict.OK
    bare = dumped(server, _schema.schema, tmp_path, "--compact")
    check = ask.sql_mode(facts, bare)
    assert check.verdict is Verdict.WARN
    try:
        server.sql("SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'")
        check = ask.sql_mode(facts_of(server), bare)
        assert check.verdict is Verdict.FAIL
        assert "ANSI_QUOTES" in check.evidence
        server.sql("SET GLOBAL sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")
        assert ask.sql_mode(facts_of(server), bare).verdict is Verdict.OK
    finally:
        server.sql(f"SET GLOBAL sql_mode = '{facts.sql_mode}'")


def test_a_server_that_wants_primary_keys_refuses_tables_without(mysql_server: Server, tmp_path: Path) -> None:
    server = mysql_server
    facts, _schema, dump = ground(server, tmp_path)
    assert ask.keys(facts, dump).verdict is Verdict.OK
    try:
        server.sql("SET GLOBAL sql_require_primary_key = ON")
        check = ask.keys(facts_of(server), dump)
        assert check.verdict is Verdict.FAIL
        assert "log" in check.evidence
    finally:
        server.sql("SET GLOBAL sql_require_primary_key = OFF")


def test_names_that_a_server_takes_for_one_are_refused(
    mariadb_server: Server, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    """MySQL chooses this when its data directory is made: there is no other server of that kind here."""
    facts, _schema, dump = ground(
        mariadb_server,
        tmp_path,
        makes="CREATE TABLE Users (id INT PRIMARY KEY); CREATE TABLE users (id INT PRIMARY KEY);",
    )
    assert ask.names(facts, dump).verdict is Verdict.OK
    small = facts_of(start_server(build_of(Flavour.MARIADB), "--lower-case-table-names=1"))
    check = ask.names(small, dump)
    assert check.verdict is Verdict.FAIL
    assert "users" in check.evidence
    alone = replace(dump, tables=dump.tables[:1])
    assert ask.names(small, alone).verdict is Verdict.WARN


def test_collations_that_the_server_does_not_know_are_named(
    server: Server, mysql_server: Server, mariadb_server: Server, tmp_path: Path
) -> None:
    other = mariadb_server if server.flavour is Flavour.MYSQL else mysql_server
    strange = "uca1400_ai_ci" if other.flavour is Flavour.MARIADB else "0900_ai_ci"
    _facts, _schema, dump = ground(
        other, tmp_path, makes=f"CREATE TABLE t (x TEXT) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_{strange};"
    )
    check = ask.collations(facts_of(server), dump)
    assert check.verdict is Verdict.FAIL
    assert f"utf8mb4_{strange}" in check.evidence
    assert ask.collations(facts_of(other), dump).verdict is Verdict.OK


def test_the_old_name_of_utf8_is_known(server: Server, tmp_path: Path) -> None:
    facts, _schema, dump = ground(server, tmp_path)
    assert ask.collations(facts, replace(dump, collations=("utf8_general_ci",))).verdict is Verdict.OK


def test_definers_that_do_not_exist_are_named(server: Server, tmp_path: Path) -> None:
    makes = "CREATE TABLE t (id INT PRIMARY KEY); CREATE DEFINER='gone'@'10.%' PROCEDURE p() SELECT 1;"
    facts, _schema, dump = ground(server, tmp_path, makes=makes)
    check = ask.definers(facts, dump)
    assert check.verdict is Verdict.FAIL
    assert "gone@10.%" in check.evidence
    server.sql("CREATE USER 'gone'@'10.%' IDENTIFIED BY 'x'")
    assert ask.definers(facts_of(server), dump).verdict is Verdict.OK
    blind = facts_of(server, account(server))
    check = ask.definers(blind, dump)
    assert check.verdict is Verdict.UNKNOWN
    assert "mysql.user" in check.hint


@pytest.mark.parametrize(("ahead", "verdict"), [(0, Verdict.OK), (10, Verdict.WARN), (-3600, Verdict.FAIL)])
def test_a_clock_that_is_off_is_said(server: Server, ahead: int, verdict: Verdict) -> None:
    with connected(server.place, server.login) as connection:
        if ahead:
            with connection.cursor() as cursor:
                cursor.execute("SELECT UNIX_TIMESTAMP(SYSDATE(6))")
                (now,) = cursor.fetchone() or (0,)
                cursor.execute("SET TIMESTAMP = %s", (float(now) + ahead,))
        check = ask.clock(look(connection))
    assert check.verdict is verdict, check.evidence


def test_a_dump_that_does_not_say_its_time_zone_is_warned_of(server: Server, tmp_path: Path) -> None:
    facts, schema, dump = ground(server, tmp_path)
    assert ask.zone(facts, dump).verdict is Verdict.OK
    bare = dumped(server, schema.schema, tmp_path, "--skip-tz-utc")
    assert ask.zone(facts, bare).verdict is Verdict.WARN
    assert ask.zone(facts, replace(dump, time_zone="Europe/Paris")).verdict is Verdict.FAIL


def test_events_that_would_run_at_once_are_warned_of(fresh_server: Server, tmp_path: Path) -> None:
    server = fresh_server
    facts, _schema, dump = ground(server, tmp_path)
    server.sql("SET GLOBAL event_scheduler = ON")
    check = ask.events(facts_of(server), dump)
    assert check.verdict is Verdict.WARN
    server.sql("SET GLOBAL event_scheduler = OFF")
    assert ask.events(facts_of(server), dump).verdict is Verdict.OK
    assert ask.events(facts, replace(dump, events=())).verdict is Verdict.OK


def test_ghosts_are_shown(server: Server, tmp_path: Path) -> None:
    _facts, schema, dump = ground(server, tmp_path)
    server.sql(f"CREATE TABLE `{schema.schema}`.late (id INT)")
    with connected(server.place, server.login) as connection:
        check = ask.ghost_tables(look_at_schema(connection, schema.schema), dump)
    assert (check.verdict, check.evidence) == (Verdict.WARN, "late")
    assert ask.ghost_tables(SchemaFacts(schema="x", exists=False), dump).verdict is Verdict.OK


def test_foreign_keys_of_other_schemas_stand_in_the_way(server: Server, tmp_path: Path) -> None:
    _facts, schema, _dump = ground(server, tmp_path)
    other = server.new_schema()
    parent = f"`{schema.schema}`.users (id)"
    server.sql(f"CREATE TABLE `{other}`.kids (id INT PRIMARY KEY, u INT, FOREIGN KEY (u) REFERENCES {parent})")
    try:
        with connected(server.place, server.login) as connection:
            tied = look_at_schema(connection, schema.schema)
            away = look_at_schema(connection, other)
        with connected(server.place, account(server, "SELECT")) as connection:
            blind = look_at_schema(connection, schema.schema)
    finally:
        server.sql(f"DROP TABLE `{other}`.kids")
    assert ask.ties(tied, staged=True).verdict is Verdict.FAIL
    assert f"{other}.kids" in ask.ties(tied, staged=False).evidence
    assert ask.ties(away, staged=True).verdict is Verdict.WARN
    assert ask.ties(away, staged=False).verdict is Verdict.OK
    assert ask.ties(blind, staged=True).verdict is Verdict.UNKNOWN


def test_every_check_that_is_not_ok_says_what_to_do(server: Server, tmp_path: Path) -> None:
    facts, schema, dump = ground(server, tmp_path)
    wrong = replace(
        dump,
        largest=1 << 29,
        charset="",
        collations=("klingon_ci",),
        definers=("`a`@`b`",),
        time_zone="",
        coordinates=Coordinates(),
    )
    off = replace(facts, clock_offset=-100.0, require_primary_key=True, event_scheduler="ON", lower_case_table_names=1)
    found = list(readiness(off, schema, wrong, intent_for(schema), planned="another"))
    assert sum(check.verdict is not Verdict.OK for check in found) >= 9
    assert all(check.hint for check in found if check.verdict is not Verdict.OK)
