"""What SHOW GRANTS says is understood, and what docs/privileges.md tells to grant is enough."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from engines.checks import Verdict
from engines.mysql.connect import Login, Place, connect, connected, write_option_file
from engines.mysql.dumps.facts import DumpFacts, read_facts
from engines.mysql.flavour import Flavour
from engines.mysql.grants import grants_of, parse
from engines.mysql.intent import Intent
from engines.mysql.privileges import creators, grant_statements, missing, needs, privileges
from engines.mysql.server import ServerFacts, look
from tests.engines.mysql.ready.ground import account
from tests.servers.databases import ROOT, Server

IN_PLACE = Intent(schema="shop", staged=False, binary_log=True, replays=True)
STAGED = Intent(
    schema="shop", staged=True, binary_log=True, replays=True, stage="shop_r1a2b_new", parked="shop_r1a2b_old"
)


def blocks() -> dict[tuple[str, str], list[str]]:
    """The SQL of the page, by its two headings."""
    found: dict[tuple[str, str], list[str]] = {}
    chapter = section = ""
    inside = False
    for line in (ROOT / "docs" / "privileges.md").read_text().splitlines():
        if line.startswith("## "):
            chapter, section = line[3:], ""
        elif line.startswith("### "):
            section = line[4:]
        elif line.startswith("```"):
            inside = line == "```sql"
        elif inside:
            found.setdefault((chapter, section), []).append(line)
    return found


def granted(server: Server, *sections: tuple[str, str]) -> Login:
    """The account of the page, from anywhere, with the schema of the page."""
    found = blocks()
    for section in sections:
        for statement in found[section]:
            server.sql(statement.replace("'10.0.0.5'", "'%'").replace("choose-a-long-one", "x").rstrip(";"))
    return Login("reinstate", "x")


@contextmanager
def shop(server: Server, tmp_path: Path) -> Iterator[DumpFacts]:
    """The schema of the page, with code of two other accounts, one of which is gone; and a dump of it."""
    server.sql("CREATE DATABASE shop", "CREATE USER 'app'@'%' IDENTIFIED BY 'x'")
    server.script(
        "CREATE TABLE users (id INT PRIMARY KEY); INSERT INTO users VALUES (1);"
        "CREATE DEFINER='app'@'%' VIEW v AS SELECT id FROM users;"
        "CREATE DEFINER='gone'@'%' PROCEDURE p() SELECT 1;"
        "CREATE DEFINER='app'@'%' FUNCTION f() RETURNS INT DETERMINISTIC NO SQL RETURN 1;"
        "CREATE DEFINER='app'@'%' TRIGGER t BEFORE INSERT ON users FOR EACH ROW SET NEW.id = NEW.id;"
        "CREATE DEFINER='app'@'%' EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1;",
        "shop",
    )
    plain = ("--set-gtid-purged=OFF",) if server.flavour is Flavour.MYSQL else ()
    dump = tmp_path / "dump.sql"
    dump.write_bytes(server.dump("--routines", "--events", "--single-transaction", *plain, "shop"))
    yield read_facts(dump)


def facts_as(server: Server, login: Login) -> ServerFacts:
    with connected(server.place, login) as connection:
        return look(connection)


def chapter(server: Server) -> str:
    return server.flavour.shown


@pytest.mark.parametrize("intent", [IN_PLACE, STAGED], ids=["in place", "staged"])
def test_what_the_page_says_is_enough(server: Server, intent: Intent, tmp_path: Path) -> None:
    with shop(server, tmp_path) as dump:
        sections = [(chapter(server), "In place"), *([(chapter(server), "Staged")] if intent.staged else [])]
        login = granted(server, *sections)
        facts = facts_as(server, login)
        with connected(server.place, login) as connection:
            grants = grants_of(connection)
        for log in (True, False):
            check = privileges(facts, grants, replace(intent, binary_log=log), dump)
            assert check.verdict is Verdict.OK, (check.evidence, check.hint)
        assert facts.unknown == {}
        assert creators(facts, grants, dump).verdict is Verdict.FAIL
        trusting = replace(facts, trust_function_creators=True)
        assert creators(trusting, grants, dump).verdict is Verdict.OK
        every = replace(intent, local_infile=True)
        turned_off = replace(facts, local_infile=False)
        assert privileges(turned_off, grants, every, dump).verdict is Verdict.FAIL
        login = granted(server, (chapter(server), "Where it is needed"))
        with connected(server.place, login) as connection:
            grants = grants_of(connection)
        assert privileges(turned_off, grants, every, dump).verdict is Verdict.OK


def test_what_the_page_says_is_enough_to_do_it(server: Server, tmp_path: Path) -> None:
    """Dump it, make what the dump has, replay's settings, the staged account, and the swap: as that account."""
    with shop(server, tmp_path):
        login = granted(server, (chapter(server), "In place"), (chapter(server), "Staged"))
        text = dumped_as(server, login, tmp_path)
        (tmp_path / "as.sql").write_bytes(text)
        dump = read_facts(tmp_path / "as.sql")
        assert (dump.views, sorted(dump.routines), dump.triggers, dump.events) == (("v",), ["f", "p"], ("t",), ("e",))
        assert dump.coordinates.known
        server.sql("SET GLOBAL log_bin_trust_function_creators = 1")
        try:
            subprocess.run(
                (server.build.program("mysql"), f"--defaults-file={tmp_path}/client.cnf", "shop"),
                input=text,
                check=True,
                timeout=60,
            )
        finally:
            server.sql("SET GLOBAL log_bin_trust_function_creators = 0")
        settings = ["FLUSH BINARY LOGS", "SHOW BINARY LOGS", "SET SESSION sql_log_bin = 0"]
        if server.flavour is Flavour.MYSQL:
            settings += [
                "SET SESSION pseudo_thread_id = 7",
                "SHOW REPLICAS",
                "SET SESSION original_commit_timestamp = 0",
            ]
        else:
            settings += ["SET SESSION pseudo_thread_id = 7", "SET SESSION server_id = 7"]
        right = "REPLICATION_APPLIER" if server.flavour is Flavour.MYSQL else "BINLOG REPLAY"
        steps = (
            *settings,
            "CREATE DATABASE `shop_r1a2b_new`",
            "CREATE DATABASE `shop_r1a2b_old`",
            "CREATE USER 'reinstate_1a2b'@'%' IDENTIFIED BY 'y'",
            "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, LOCK TABLES, "
            "CREATE TEMPORARY TABLES ON `shop\\_r1a2b\\_new`.* TO 'reinstate_1a2b'@'%'",
            f"GRANT {right} ON *.* TO 'reinstate_1a2b'@'%'",
            "CREATE TABLE `shop_r1a2b_new`.users (id INT PRIMARY KEY)",
            "DROP TRIGGER shop.t",
            "RENAME TABLE shop.users TO `shop_r1a2b_old`.users, `shop_r1a2b_new`.users TO shop.users",
        )
        # MariaDB wants SUPER, or the trusting setting, also to drop a trigger.
        server.sql("SET GLOBAL log_bin_trust_function_creators = 1")
        connection = connect(server.place, login)
        with connection.cursor() as cursor:
            for step in steps:
                cursor.execute(step)
            staged = connect(server.place, Login("reinstate_1a2b", "y"))
            cursor.execute(f"KILL {staged.thread_id()}")  # type: ignore[no-untyped-call]  # the stubs leave it out
            staged._force_close()  # type: ignore[attr-defined]  # the server has ended it
            cursor.execute("DROP USER 'reinstate_1a2b'@'%'")
        connection.close()
        server.sql("SET GLOBAL log_bin_trust_function_creators = 0")


def dumped_as(server: Server, login: Login, tmp_path: Path) -> bytes:
    options = tmp_path / "client.cnf"
    write_option_file(options, Place(socket=server.socket), login, mariadb=server.flavour is Flavour.MARIADB)
    plain = (
        ("--set-gtid-purged=OFF", "--source-data=2", "--loose-skip-masking-policies")
        if server.flavour is Flavour.MYSQL
        else ("--master-data=2",)
    )
    ended = subprocess.run(
        (
            server.build.program("mysqldump"),
            f"--defaults-file={options}",
            "--single-transaction",
            "--routines",
            "--events",
            "--triggers",
            "--no-tablespaces",
            *plain,
            "shop",
        ),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout


def test_what_the_page_says_of_rds_is_enough_without_what_rds_does_not_have(server: Server, tmp_path: Path) -> None:
    mysql = server.flavour is Flavour.MYSQL
    with shop(server, tmp_path) as dump:
        login = granted(server, ("RDS", f"RDS for {chapter(server)}"))
        server.sql("CREATE USER 'gone'@'%' IDENTIFIED BY 'x'")
        facts = facts_as(server, login)
        with connected(server.place, login) as connection:
            grants = grants_of(connection)
        wanted = replace(IN_PLACE, replays=False)
        check = privileges(facts, grants, wanted, dump if mysql else replace(dump, definers=()))
        assert check.verdict is Verdict.OK, (check.evidence, check.hint)
        assert facts.unknown == {}
        if not mysql:
            assert "SET USER" in privileges(facts, grants, wanted, dump).hint


@pytest.mark.parametrize("intent", [IN_PLACE, STAGED], ids=["in place", "staged"])
def test_the_hint_is_a_statement_that_mends_it(server: Server, intent: Intent, tmp_path: Path) -> None:
    with shop(server, tmp_path) as dump:
        login = account(server)
        facts = facts_as(server, login)
        intent = replace(intent, binary_log=False, local_infile=True)
        facts = replace(facts, local_infile=False)
        with connected(server.place, login) as connection:
            check = privileges(facts, grants_of(connection), intent, dump)
            lacks = missing(needs(facts, intent, dump), grants_of(connection))
        assert check.verdict is Verdict.FAIL
        assert "PROCESS" in check.evidence
        statements = grant_statements(lacks, facts)
        assert all(statement in check.hint for statement in statements)
        server.sql(*(statement.rstrip(";") for statement in statements))
        with connected(server.place, login) as connection:
            check = privileges(facts, grants_of(connection), intent, dump)
        assert check.verdict is Verdict.OK, (check.evidence, check.hint)


def test_what_a_role_gives_counts_while_it_is_active(server: Server) -> None:
    login = account(server)
    server.sql("CREATE ROLE restorers", "GRANT PROCESS ON *.* TO restorers", f"GRANT restorers TO '{login.user}'@'%'")
    with connected(server.place, login) as connection:
        assert not grants_of(connection).has("PROCESS") or server.flavour is Flavour.MARIADB
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE restorers")
        assert grants_of(connection).has("PROCESS")
    server.sql("DROP ROLE restorers")


def test_grants_that_can_not_be_seen_are_unknown(server: Server, tmp_path: Path) -> None:
    with shop(server, tmp_path) as dump:
        assert privileges(facts_as(server, server.login), None, IN_PLACE, dump).verdict is Verdict.UNKNOWN


def test_root_has_everything(server: Server, tmp_path: Path) -> None:
    with shop(server, tmp_path) as dump, connected(server.place, server.login) as connection:
        facts, grants = look(connection), grants_of(connection)
        check = privileges(facts, grants, replace(STAGED, binary_log=False, local_infile=True), dump)
        assert check.verdict is Verdict.OK, check.evidence
        # The function says what it does; one that does not would still be refused.
        assert creators(facts, grants, dump).verdict is Verdict.WARN


@pytest.mark.parametrize(
    ("line", "has", "lacks"),
    [
        ("GRANT SELECT, LOCK TABLES ON `a\\_b`.* TO `u`@`%`", ("a_b", "*"), ("axb", "*")),
        ("GRANT SELECT ON `a_b`.* TO `u`@`%`", ("axb", "*"), ("ab", "*")),
        ("GRANT ALL PRIVILEGES ON `shop\\_r%`.* TO `u`@`%`", ("shop_r1a2b_new", "t"), ("shop", "*")),
        ("GRANT SELECT ON `mysql`.`user` TO `u`@`%`", ("mysql", "user"), ("mysql", "db")),
        ("GRANT SELECT ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*AB' WITH GRANT OPTION", ("x", "*"), None),
        ("GRANT SELECT (`id`), UPDATE (`id`, `x`) ON `shop`.`t` TO `u`@`%`", None, ("shop", "t")),
        ("GRANT EXECUTE ON PROCEDURE `sys`.`p` TO `u`@`%`", None, ("sys", "*")),
        ("GRANT SELECT ON `it``s`.* TO 'u'@'%'", ("it`s", "*"), ("its", "*")),
    ],
)
def test_a_line_of_show_grants_is_understood(
    line: str, has: tuple[str, str] | None, lacks: tuple[str, str] | None
) -> None:
    grants = parse([line])
    if has:
        assert grants.has("SELECT", *has)
        assert not grants.has("DROP", *has) or "ALL" in line
        assert grants.has("SELECT", *has, option=True) is line.endswith("GRANT OPTION")
    if lacks:
        assert not grants.has("SELECT", *lacks)
        assert not grants.has("EXECUTE", *lacks)
    assert "*AB" not in repr(grants)


def test_the_most_exact_pattern_is_the_one_that_holds() -> None:
    grants = parse(["GRANT ALL PRIVILEGES ON `shop%`.* TO `u`@`%`", "GRANT SELECT ON `shop`.* TO `u`@`%`"])
    assert not grants.has("DROP", "shop")  # as the servers do it
    assert grants.has("DROP", "shops")


def test_a_partial_revocation_is_one(mysql_server: Server) -> None:
    server = mysql_server
    server.sql("SET GLOBAL partial_revokes = ON")
    try:
        login = account(server, "SELECT", "INSERT")
        server.sql(f"REVOKE INSERT ON mysql.* FROM '{login.user}'@'%'", "CREATE DATABASE a_b", "CREATE DATABASE axb")
        server.sql(f"GRANT DROP ON `a_b`.* TO '{login.user}'@'%'")
        with connected(server.place, login) as connection:
            grants = grants_of(connection, literal=look(connection).partial_revokes)
        assert grants.has("INSERT", "shop")
        assert not grants.has("INSERT", "mysql")
        assert grants.has("SELECT", "mysql")
        assert grants.has("DROP", "a_b")
        assert not grants.has("DROP", "axb")
        server.sql(f"DROP USER '{login.user}'@'%'")
    finally:
        server.sql("SET GLOBAL partial_revokes = OFF")
