"""What the server says of itself, and what is in a schema."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from engines.mysql.connect import Login, connected
from engines.mysql.dumps.facts import read_facts
from engines.mysql.flavour import Flavour
from engines.mysql.schema import SchemaFacts, ghosts, look_at_schema
from engines.mysql.server import ServerFacts, identity, look
from tests.engines.mysql.ready.ground import account, facts_of
from tests.servers.databases import FLAVOURS, Server, build_of


def test_a_server_says_what_it_is(server: Server) -> None:
    facts = facts_of(server)
    assert facts.version.flavour is server.flavour
    assert facts.version.text.startswith(server.build.expected)
    assert facts.port == server.port
    assert facts.datadir.rstrip("/") == str(server.datadir)
    assert facts.log_bin
    assert facts.binlog_format == "ROW"
    assert not facts.read_only
    assert facts.replica_of == ()
    assert facts.replicas == ()
    assert facts.cluster is None
    assert facts.buffer_pool == 64 << 20
    assert facts.account in ("root@127.0.0.1", "root@localhost")  # by how names are resolved there
    assert "root@localhost" in (facts.accounts or ())
    assert "utf8mb4_general_ci" in facts.collations
    assert "utf8mb4" in facts.charsets
    assert not facts.unknown
    assert abs(facts.clock_offset) < 1
    if server.flavour is Flavour.MYSQL:
        assert facts.tls
        assert facts.uid == server.sql("SELECT @@server_uuid")[0][0]
        assert facts.gtid_mode == "ON"


def test_the_facts_go_into_a_journal_and_come_back(server: Server) -> None:
    facts = facts_of(server)
    written = json.dumps(msgspec.to_builtins(facts))
    assert msgspec.convert(json.loads(written), ServerFacts) == facts
    with connected(server.place, server.login) as connection:
        schema = look_at_schema(connection, server.new_schema())
    assert msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(schema))), SchemaFacts) == schema


def test_a_server_is_known_again_after_a_restart_and_another_one_is_not_it(
    start_server: Callable[..., Server], server: Server
) -> None:
    own = start_server(build_of(server.flavour))
    before = identity(facts_of(own))
    own.restart()
    assert identity(facts_of(own)) == before
    assert identity(facts_of(server)) != before


def test_what_a_login_may_not_know_is_unknown_and_never_an_error(server: Server) -> None:
    with connected(server.place, account(server)) as connection:
        facts = look(connection)
    assert facts.replica_of is None
    assert facts.replicas is None
    assert facts.accounts is None
    assert set(facts.unknown) - {"system_users"} == {"replica_of", "replicas", "accounts"}
    assert all("denied" in why for why in facts.unknown.values())
    assert "reinstate" in facts.account


def test_a_clock_that_is_wrong_is_measured(server: Server) -> None:
    with connected(server.place, server.login) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SET TIMESTAMP = %s", (time.time() + 90,))
        facts = look(connection)
    assert 88 < facts.clock_offset < 91


def test_replicas_and_sources_are_seen_from_both_sides(start_server: Callable[..., Server], server: Server) -> None:
    source, replica = start_server(build_of(server.flavour)), start_server(build_of(server.flavour))
    follow(replica, source)
    facts, followed = facts_of(source), facts_of(replica)
    assert [one.server_id for one in facts.replicas or ()] == [replica.port]
    assert followed.replica_of is not None
    assert [(one.host, one.port, one.receiving, one.applying) for one in followed.replica_of] == [
        ("127.0.0.1", source.port, True, True)
    ]
    # Without the right to list replicas, the threads that send them the log still show them.
    with connected(source.place, account(source, "PROCESS")) as connection:
        assert len(look(connection).replicas or ()) == 1


def follow(replica: Server, source: Server) -> None:
    from tests.servers.waiting import until

    source.sql("CREATE USER 'replica'@'%' IDENTIFIED BY 'x'", "GRANT REPLICATION SLAVE ON *.* TO 'replica'@'%'")
    if source.flavour is Flavour.MYSQL:
        replica.sql(
            f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT={source.port}, SOURCE_USER='replica', "
            "SOURCE_PASSWORD='x', SOURCE_SSL=1, SOURCE_AUTO_POSITION=1",
            "START REPLICA",
        )
    else:
        replica.sql(
            f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={source.port}, MASTER_USER='replica', "
            "MASTER_PASSWORD='x', MASTER_USE_GTID=slave_pos",
            "START SLAVE",
        )
    until(lambda: bool(facts_of(source).replicas), "the replica has registered")
    until(lambda: all(one.receiving for one in facts_of(replica).replica_of or ()), "the replica receives")


def test_what_is_in_a_schema(server: Server) -> None:
    shop, other = server.new_schema("sh-op"), server.new_schema()
    server.script(
        "CREATE TABLE users (id INT PRIMARY KEY, name VARCHAR(20), KEY (name)) ENGINE=InnoDB;"
        "INSERT INTO users VALUES (1,'a'),(2,'b'); CREATE TABLE log (x INT) ENGINE=MyISAM;"
        "CREATE VIEW v AS SELECT * FROM users; CREATE PROCEDURE p() SELECT 1;"
        "CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW SET NEW.name='x';"
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1;"
        "CREATE EVENT off ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1;"
        f"CREATE TABLE `{other}`.parents (id INT PRIMARY KEY);"
        f"CREATE TABLE orders (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES `{other}`.parents (id));"
        f"CREATE TABLE `{other}`.kids (id INT PRIMARY KEY, u INT, FOREIGN KEY (u) REFERENCES `{shop}`.users (id));",
        shop,
    )
    with connected(server.place, server.login) as connection:
        facts = look_at_schema(connection, shop)
        assert not look_at_schema(connection, "no such schema").exists
    assert facts.exists
    assert facts.readable
    assert [(table.name, table.engine) for table in facts.tables] == [
        ("log", "MyISAM"),
        ("orders", "InnoDB"),
        ("users", "InnoDB"),
    ]
    users = facts.tables[2]
    assert (users.rows, users.size > 0, users.index_size > 0) == (2, True, True)
    assert (facts.views, facts.routines, facts.triggers) == (("v",), ("p",), ("t",))
    assert (facts.events, facts.enabled_events) == (("e", "off"), ("e",))
    assert [str(tie) for tie in facts.ties_in] == [f"{other}.kids → {shop}.users"]
    assert [str(tie) for tie in facts.ties_out] == [f"{shop}.orders → {other}.parents"]
    server.sql(f"DROP TABLE `{shop}`.orders", f"DROP TABLE `{other}`.kids")  # or neither schema could be dropped


def test_tables_that_the_dump_does_not_have_are_ghosts(server: Server, tmp_path: Path) -> None:
    shop = server.new_schema("shop")
    server.script("CREATE TABLE users (id INT); CREATE TABLE a (id INT); CREATE VIEW v AS SELECT * FROM users;", shop)
    dump = tmp_path / "dump.sql"
    dump.write_bytes(server.dump(shop))
    server.script("CREATE TABLE late (id INT); CREATE VIEW w AS SELECT * FROM users;", shop)
    with connected(server.place, server.login) as connection:
        live = look_at_schema(connection, shop)
    assert ghosts(live, read_facts(dump)) == ("late", "w")
    assert ghosts(replace(live, tables=(), views=()), read_facts(dump)) == ()


def test_the_matrix_has_both_flavours() -> None:
    assert {build.flavour for build in FLAVOURS} == set(Flavour)


def test_a_lost_server_is_an_error_with_a_hint(fresh_server: Server) -> None:
    import pytest

    from engines.errors import RestoreError

    with connected(fresh_server.place, Login("root", fresh_server.login.password)) as connection:
        fresh_server.kill()
        with pytest.raises(RestoreError, match="did not answer") as lost:
            look(connection)
        assert lost.value.hint
