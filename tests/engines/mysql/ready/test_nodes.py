"""Other nodes: which there are, whether they are ready, how far they have come, and whether their data is the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.checks import Verdict
from engines.mysql.channels import Channel
from engines.mysql.connect import Place
from engines.mysql.flavour import Flavour, Version
from engines.mysql.intent import Intent
from engines.mysql.nodes import ready
from engines.mysql.nodes.comparing import Sum, Survey, differing, newer, verdict
from engines.mysql.nodes.following import Stand, standing
from engines.mysql.nodes.node import Galera, NodeFacts
from engines.mysql.server import Cluster, Replica, ServerFacts
from tests.engines.mysql.ready.ground import facts_of
from tests.servers.databases import Server

PLACE = Place("db2", 3306)
INTENT = Intent(schema="shop", staged=True, binary_log=True, replays=False, stage="shop_staged")
VERSIONS = (Version(Flavour.MARIADB, (10, 11, 18), "10.11.18"),) * 2
CHANNEL = Channel(
    source_id=1,
    file="binlog.000002",
    position=500,
    receiving=True,
    applying=True,
    receiver_error=0,
    applier_error=0,
    lag=0,
    delay=0,
    filters=(),
)
MEMBER = Galera("one", primary=True, state="Synced", committed=10, waiting=0)


@pytest.fixture
def facts(mariadb_server: Server) -> ServerFacts:
    return replace(facts_of(mariadb_server), server_id=1)


def here(facts: ServerFacts) -> NodeFacts:
    return NodeFacts(
        server=facts, galera=None, channels=(), applied="", log=("binlog.000002", 500), written="0-1-7",
        tables=frozenset({"a", "b"}),
    )  # fmt: skip


def replica(facts: ServerFacts, channel: Channel = CHANNEL) -> NodeFacts:
    return replace(
        here(facts), server=replace(facts, server_id=2, uid="other", port=9), channels=(channel,), applied="0-1-7"
    )


def test_what_is_configured_goes_before_what_the_server_tells(facts: ServerFacts) -> None:
    told = replace(facts, replicas=(Replica("db2:3306", 2, "db2:3306"),))
    assert ready.known(told, ()).places == (PLACE,)
    assert ready.known(told, ("db9:3310",)).places == (Place("db9", 3310),)
    assert ready.all_known(ready.known(told, ())).verdict is Verdict.OK
    assert ready.all_known(ready.known(facts, ())).evidence == "none: the server is alone"


def test_a_node_that_nobody_says_where_it_is_is_unknown(facts: ServerFacts) -> None:
    cluster = Cluster("Galera", 3, "Primary", primary=True, others=("db2:3306", ""))
    hidden = replace(facts, cluster=cluster, replicas=(Replica("a replica:3306", 7),))
    check = ready.all_known(ready.known(hidden, ()))
    assert check.verdict is Verdict.UNKNOWN
    assert "1 members of the cluster; replica a replica:3306 (server_id 7)" in check.evidence
    check = ready.all_known(ready.known(hidden, ("db2:3306",)))
    assert check.verdict is Verdict.UNKNOWN
    assert "the server knows 3, `nodes` names 1" in check.evidence


@pytest.mark.parametrize(
    ("channel", "verdict", "told"),
    [
        (CHANNEL, Verdict.OK, "2 tables, as here"),
        (replace(CHANNEL, applying=False, position=4, applier_error=1062), Verdict.FAIL, "does not apply, error 1062"),
        (replace(CHANNEL, receiving=False, file="binlog.000001"), Verdict.FAIL, "does not receive"),
        (replace(CHANNEL, filters=("replicate_do_db",)), Verdict.FAIL, "leaves things out: replicate_do_db"),
        (replace(CHANNEL, lag=90, position=4), Verdict.WARN, "90 s behind"),
        (replace(CHANNEL, delay=3600, position=4), Verdict.WARN, "3 600 s behind"),
    ],
)
def test_a_replica_is_ready_or_it_is_said_why_not(
    facts: ServerFacts, channel: Channel, verdict: Verdict, told: str
) -> None:
    check = ready.ready(PLACE, replica(facts, channel), here(facts), INTENT)
    assert check.verdict is verdict, check
    assert told in check.evidence.replace("\N{NARROW NO-BREAK SPACE}", " ").replace("\N{NO-BREAK SPACE}", " ")
    assert check.hint or verdict is Verdict.OK


def test_filters_are_no_obstacle_in_place(facts: ServerFacts) -> None:
    filtered = replica(facts, replace(CHANNEL, filters=("replicate_do_db",)))
    assert ready.ready(PLACE, filtered, here(facts), replace(INTENT, staged=False)).verdict is Verdict.WARN


def test_nodes_that_are_silent_or_differ_or_are_none_are_refused(facts: ServerFacts) -> None:
    own = here(facts)
    assert ready.ready(PLACE, ready.Silent("No connection", "Is it up?"), own, INTENT).verdict is Verdict.UNKNOWN
    assert "by another address" in ready.ready(PLACE, own, own, INTENT).evidence
    fewer = replace(replica(facts), tables=frozenset({"a", "c"}))
    check = ready.ready(PLACE, fewer, own, INTENT)
    assert (check.verdict, "lacks b; has c besides" in check.evidence) == (Verdict.FAIL, True)
    behind = replace(fewer, channels=(replace(CHANNEL, position=4),))
    assert ready.ready(PLACE, behind, own, INTENT).verdict is Verdict.UNKNOWN
    alone = replace(replica(facts), channels=())
    assert ready.ready(PLACE, alone, own, INTENT).verdict is Verdict.FAIL
    blind = replace(replica(facts), channels=None)
    assert ready.ready(PLACE, blind, own, INTENT).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("node", "stand"),
    [
        (MEMBER, Stand.THERE),
        (replace(MEMBER, committed=9, waiting=1), Stand.BEHIND),
        (replace(MEMBER, history="another"), Stand.BROKEN),
        (replace(MEMBER, primary=False, state="Initialized"), Stand.BROKEN),
    ],
)
def test_a_member_is_compared_by_its_last_write_set(facts: ServerFacts, node: Galera, stand: Stand) -> None:
    own = replace(here(facts), galera=MEMBER)
    assert standing(replace(replica(facts), galera=node), own).stand is stand


def test_a_replica_is_compared_by_gtids_or_by_the_place_in_the_log(facts: ServerFacts) -> None:
    own = here(facts)
    assert standing(replica(facts), own).stand is Stand.THERE
    behind = replica(facts, replace(CHANNEL, position=120))
    assert standing(behind, own).told == "380 bytes of log behind"
    chained = replace(replica(facts, replace(CHANNEL, source_id=5)), applied="0-1-6")
    assert standing(chained, own).stand is Stand.BEHIND
    assert standing(replace(chained, applied="0-5-7"), own).stand is Stand.THERE
    assert standing(replace(chained, applied=""), own).stand is Stand.UNKNOWN
    mysql = replace(facts, version=Version(Flavour.MYSQL, (9, 7, 4), "9.7.4"))
    source = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
    own = replace(own, server=mysql, written=f"{source}:1-9")
    assert standing(replace(replica(mysql), applied=f"{source}:1-7"), own).told == "2 transactions behind"
    assert standing(replace(replica(mysql), applied=f"{source}:1-12"), own).stand is Stand.THERE


def test_the_plan_says_what_happens_on_each_node(facts: ServerFacts) -> None:
    own = here(facts)
    assert "has older data until it has" in ready.foretold(PLACE, replica(facts), own, INTENT)
    off = replace(INTENT, binary_log=False)
    assert "keeps the old data" in ready.foretold(PLACE, replica(facts), own, off)
    assert "not known" in ready.foretold(PLACE, ready.Silent("", ""), own, INTENT)


ROWS = Survey({"a": Sum(3, 77, "Dynamic"), "b": Sum(1, 5, "Dynamic")})


@pytest.mark.parametrize(
    ("there", "wanted", "told"),
    [
        (ROWS, Verdict.OK, "2 tables, 4 rows: counts and checksums are the same"),
        (Survey({**ROWS.tables, "a": Sum(2, 77, "Dynamic")}), Verdict.FAIL, "a has 2 rows, here 3"),
        (Survey({**ROWS.tables, "a": Sum(3, 78, "Dynamic")}), Verdict.FAIL, "a has other rows (by CHECKSUM TABLE)"),
        (Survey({**ROWS.tables, "a": Sum(3, 78, "Compact")}), Verdict.UNKNOWN, "no checksum of a"),
        (Survey({**ROWS.tables, "a": Sum(3, None, "Dynamic")}), Verdict.UNKNOWN, "no checksum of a"),
        (Survey({"a": ROWS.tables["a"]}), Verdict.FAIL, "b is not there"),
        (Survey({**ROWS.tables, "c": Sum(0, 0, "Dynamic")}), Verdict.FAIL, "c is there alone"),
        (Survey(ROWS.tables, why="No connection"), Verdict.UNKNOWN, "No connection"),
    ],
)
def test_only_the_same_counts_and_checksums_are_the_same_data(there: Survey, wanted: Verdict, told: str) -> None:
    check = verdict("Same data on db2:3306", ROWS, there, VERSIONS)
    assert (check.verdict, told in check.evidence) == (wanted, True), check


def test_checksums_of_two_version_families_are_not_compared() -> None:
    older = (VERSIONS[0], Version(Flavour.MARIADB, (10, 6, 1), "10.6.1"))
    other = Survey({**ROWS.tables, "a": Sum(3, 78, "Dynamic")})
    check = verdict("Same data on db2:3306", ROWS, other, older)
    assert (check.verdict, "checksums are not compared" in check.evidence) == (Verdict.WARN, True)
    assert differing(ROWS, other, comparable=False) == ()
    assert differing(ROWS, other, comparable=True) == ("a",)


def test_what_is_looked_at_again_takes_the_place_of_what_was_seen() -> None:
    again = newer(ROWS, Survey({"a": Sum(4, 1, "Dynamic")}), ("a", "b"))
    assert dict(again.tables) == {"a": Sum(4, 1, "Dynamic")}
    assert newer(ROWS, Survey(why="gone"), ("a",)).why == "gone"
