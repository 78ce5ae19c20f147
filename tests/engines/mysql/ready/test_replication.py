"""Replicas, sources, Group Replication and Galera are recognised, and what a restore does to them is said."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engines.checks import Check, Verdict
from engines.mysql import replication as ask
from engines.mysql.dumps.facts import DumpFacts, read_facts
from engines.mysql.flavour import Flavour
from engines.mysql.intent import Intent
from engines.mysql.replication import logging_told, replication
from engines.mysql.server import Cluster, Replica, ServerFacts, Source
from tests.engines.mysql.ready.ground import account, facts_of
from tests.servers.databases import Server, build_of
from tests.servers.waiting import until

INTENT = Intent(schema="shop", staged=False, binary_log=True, replays=True)
OFF = replace(INTENT, binary_log=False)


def asked(facts: ServerFacts, intent: Intent = INTENT, dump: DumpFacts | None = None) -> dict[str, Check]:
    return {check.name: check for check in replication(facts, intent, dump)}


@pytest.fixture
def dump(server: Server, tmp_path: Path) -> DumpFacts:
    return dump_of(server, tmp_path)


def dump_of(server: Server, tmp_path: Path) -> DumpFacts:
    schema = server.new_schema("shop")
    server.script("CREATE TABLE a (id INT PRIMARY KEY); CREATE TABLE b (x INT) ENGINE=MyISAM;", schema)
    path = tmp_path / "dump.sql"
    path.write_bytes(server.dump("--single-transaction", schema))
    return read_facts(path)


def test_a_server_alone_is_said_to_be(server: Server, dump: DumpFacts) -> None:
    found = asked(facts_of(server), INTENT, dump)
    assert {check.verdict for check in found.values()} == {Verdict.OK}, found
    assert "no replica follows" in found[ask.REPLICAS].evidence
    assert "left out" in asked(facts_of(server), OFF)[ask.REPLICAS].evidence


def test_a_read_only_server_is_refused(server: Server) -> None:
    try:
        server.sql("SET GLOBAL read_only = ON")
        assert asked(facts_of(server))[ask.WRITABLE].verdict is Verdict.FAIL
    finally:
        if server.flavour is Flavour.MYSQL:
            server.sql("SET GLOBAL super_read_only = OFF")
        server.sql("SET GLOBAL read_only = OFF")


def test_what_can_not_be_seen_of_replication_blocks(server: Server) -> None:
    found = asked(facts_of(server, account(server)))
    assert found[ask.SOURCE].verdict is Verdict.UNKNOWN
    assert found[ask.REPLICAS].verdict is Verdict.UNKNOWN
    assert "GRANT" in found[ask.REPLICAS].hint


def test_replicas_get_the_restore_or_have_to_be_made_anew(server: Server, start_server: Callable[..., Server]) -> None:
    """How a real replica is seen: test_server. Here one that has only been told of its source, and what is said."""
    stopped = start_server(build_of(server.flavour))
    if server.flavour is Flavour.MYSQL:
        stopped.sql("CHANGE REPLICATION SOURCE TO SOURCE_HOST='db0.example', SOURCE_PORT=3306")
    else:
        stopped.sql("CHANGE MASTER TO MASTER_HOST='db0.example', MASTER_PORT=3306")
    found = asked(facts_of(stopped))[ask.SOURCE]
    assert found.verdict is Verdict.FAIL
    assert "db0.example:3306 (stopped)" in found.evidence
    followed = replace(facts_of(server), replicas=(Replica("db2:3306", 2),))
    check = asked(followed)[ask.REPLICAS]
    assert check.verdict is Verdict.OK
    assert "so to 1 replicas: db2:3306" in check.evidence
    check = asked(followed, OFF)[ask.REPLICAS]
    assert check.verdict is Verdict.FAIL
    assert "made anew" in check.evidence
    assert str(Source("a", 1, "", receiving=True, applying=True)) == "a:1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_group_replication_is_recognised(start_server: Callable[..., Server], tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    member = start_server(
        build_of(Flavour.MYSQL),
        "--gtid-mode=ON",
        "--enforce-gtid-consistency=ON",
        "--plugin-load-add=group_replication.so",
        "--loose-group-replication-start-on-boot=OFF",
        f"--loose-group-replication-group-name={'-'.join(secrets.token_hex(n) for n in (4, 2, 2, 2, 6))}",
        f"--loose-group-replication-local-address={address}",
        f"--loose-group-replication-group-seeds={address}",
        "--report-host=127.0.0.1",
    )
    assert facts_of(member).cluster is None
    member.sql(
        "SET GLOBAL group_replication_bootstrap_group = ON",
        "START GROUP_REPLICATION",
        "SET GLOBAL group_replication_bootstrap_group = OFF",
    )
    until(lambda: facts_of(member).cluster == Cluster("Group Replication", 1, "ONLINE", primary=True), "it is online")
    dump = dump_of_other(tmp_path, start_server)
    facts = facts_of(member)
    check = asked(facts, INTENT, dump)[ask.CLUSTER]
    assert check.verdict is Verdict.FAIL
    assert "b" in check.evidence
    fitting = replace(dump, tables=dump.tables[:1])
    assert asked(facts, INTENT, fitting)[ask.CLUSTER].verdict is Verdict.OK
    assert asked(facts, OFF, fitting)[ask.CLUSTER].verdict is Verdict.FAIL
    assert "members of the group" in logging_told(facts, INTENT)
    member.sql("STOP GROUP_REPLICATION")
    assert facts_of(member).cluster is None


def dump_of_other(tmp_path: Path, start_server: Callable[..., Server]) -> DumpFacts:
    return dump_of(start_server(build_of(Flavour.MARIADB)), tmp_path)


def test_galera_is_recognised(start_server: Callable[..., Server], tmp_path: Path) -> None:
    node = start_server(
        build_of(Flavour.MARIADB),
        "--wsrep-on=ON",
        "--wsrep-provider=/usr/lib/galera/libgalera_smm.so",
        "--wsrep-cluster-address=gcomm://",
        "--wsrep-new-cluster",
        "--wsrep-sst-method=rsync",
        f"--wsrep-provider-options=base_port={free_port()};gmcast.listen_addr=tcp://127.0.0.1:{free_port()}",
        "--wsrep-node-address=127.0.0.1",
        "--innodb-autoinc-lock-mode=2",
        "--log-slave-updates=ON",
    )
    until(lambda: (facts_of(node).cluster or Cluster("", 0, "", primary=False)).primary, "it is primary")
    facts = facts_of(node)
    assert facts.cluster == Cluster("Galera", 1, "Primary", primary=True, limit=2147483647)
    dump = dump_of(node, tmp_path)
    check = asked(facts, INTENT, dump)[ask.CLUSTER]
    assert check.verdict is Verdict.FAIL
    assert "not in InnoDB, and so not replicated, are b" in check.evidence
    assert "stops all members" in asked(facts, INTENT, replace(dump, tables=dump.tables[:1]))[ask.CLUSTER].evidence
    assert "Galera cluster" in logging_told(facts, INTENT)
    assert asked(facts, OFF, dump)[ask.CLUSTER].verdict is Verdict.FAIL
    alone = replace(facts, cluster=Cluster("Galera", 1, "non-Primary", primary=False))
    assert asked(alone)[ask.CLUSTER].verdict is Verdict.FAIL


def test_a_strict_gtid_mode_refuses_a_replay_in_place(mariadb_server: Server, tmp_path: Path) -> None:
    server, dump = mariadb_server, dump_of(mariadb_server, tmp_path)
    try:
        server.sql("SET GLOBAL gtid_strict_mode = ON")
        facts = facts_of(server)
        assert asked(facts, INTENT, dump)[ask.GTIDS].verdict is Verdict.FAIL
        assert asked(facts, replace(INTENT, replays=False), dump)[ask.GTIDS].verdict is Verdict.OK
    finally:
        server.sql("SET GLOBAL gtid_strict_mode = OFF")


def test_gtids_of_a_dump_are_compared_with_the_servers_mode(mysql_server: Server, tmp_path: Path) -> None:
    server, dump = mysql_server, dump_of(mysql_server, tmp_path)
    assert dump.coordinates.gtids
    assert "left out" in asked(facts_of(server), INTENT, dump)[ask.GTIDS].evidence
    try:
        server.sql("SET GLOBAL gtid_mode = ON_PERMISSIVE")
        assert asked(facts_of(server), INTENT, dump)[ask.GTIDS].verdict is Verdict.WARN
        server.sql("SET GLOBAL gtid_mode = OFF_PERMISSIVE", "SET GLOBAL gtid_mode = OFF")
        check = asked(facts_of(server), INTENT, dump)[ask.GTIDS]
        assert check.verdict is Verdict.WARN
        assert "without their GTIDs" in check.hint
    finally:
        server.sql(
            "SET GLOBAL gtid_mode = OFF_PERMISSIVE", "SET GLOBAL gtid_mode = ON_PERMISSIVE", "SET GLOBAL gtid_mode = ON"
        )


def test_a_galera_cluster_in_which_members_would_differ_is_refused(mariadb_server: Server, tmp_path: Path) -> None:
    cluster = Cluster("Galera", 3, "Primary", primary=True, others=("db2:3306", "db3:3306"))
    facts = replace(facts_of(mariadb_server), cluster=cluster, log_updates=True)
    dump = dump_of(mariadb_server, tmp_path)
    fitting = replace(dump, tables=dump.tables[:1])
    assert asked(facts, INTENT, fitting)[ask.CLUSTER].verdict is Verdict.OK

    def refused(facts: ServerFacts = facts, dump: DumpFacts = fitting, intent: Intent = INTENT) -> str:
        check = asked(facts, intent, dump)[ask.CLUSTER]
        assert (check.verdict, bool(check.hint)) == (Verdict.FAIL, True), check
        return check.evidence

    assert "RSU" in refused(replace(facts, cluster=replace(cluster, shares=False)))
    assert "log_slave_updates" in refused(replace(facts, log_updates=False))
    assert "not in InnoDB" in refused(dump=dump)
    assert "wsrep_max_ws_size" in refused(replace(facts, cluster=replace(cluster, limit=10)))
    counting = replace(fitting, sequences=("tickets",))
    assert "sequence" in refused(dump=counting)
    assert asked(facts, replace(INTENT, staged=True), counting)[ask.CLUSTER].verdict is Verdict.WARN
