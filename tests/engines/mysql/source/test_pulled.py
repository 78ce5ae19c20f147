"""A replay that the server pulls itself: its rights, its failures, and what is left on the server. Equality with the
client's is in tests/engines/mysql/replay.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import RestoreError
from engines.mysql.binlogs.moments import stop_point
from engines.mysql.connect import Login, connected, quoted
from engines.mysql.flavour import Flavour
from engines.mysql.replay.plan import ReplayPlan, plan_replay, wanted
from engines.mysql.replay.ways import Hooks
from engines.mysql.source import channel
from engines.mysql.source.channel import Changed
from engines.mysql.source.fit import against
from engines.mysql.source.replay import CHECK, replay, tried
from tests.engines.mysql.replay.both import CHANNEL, by_source, fitting, here, left_behind
from tests.engines.mysql.replay.source import Source, checksums, position
from tests.servers.databases import Server, build_of
from tests.servers.waiting import until

pytestmark = pytest.mark.xdist_group("replay")
ROOT = Path(__file__).resolve().parents[4]


def written(source: Source, rounds: int = 5) -> ReplayPlan:
    """A dump, work after it, and the plan to replay that."""
    source.take_dump()
    source.work(rounds)
    return fitting(plan_replay(source.chain(), stop_point("end"), source=source.schema), source.server)


def test_an_account_with_the_documented_rights_may_pull(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    plan = written(source)
    then = checksums(server, source.schema)
    source.load(source.schema)
    user = server.new_schema("puller")  # a name that is nobody's
    text = (ROOT / "docs/privileges.md").read_text()
    part = text[text.index("## MariaDB") :] if server.flavour is Flavour.MARIADB else text
    (own,) = re.findall(r"For `replay = \"auto\"`.*?```sql\n(.*?)```", part, re.DOTALL)[:1]
    mysql = server.flavour is Flavour.MYSQL
    general = "PROCESS, RELOAD, " + ("REPLICATION CLIENT" if mysql else "BINLOG MONITOR, SLAVE MONITOR")
    server.sql(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY 'secret'",
        f"GRANT {general} ON *.* TO '{user}'@'%'",
        own.strip().rstrip(";").replace("'reinstate'@'10.0.0.5'", f"'{user}'@'%'"),
    )
    into = replace(source.into(), login=Login(user, "secret"))
    noted: list[Changed | None] = []
    check = tried(plan, into, reach=here(), noted=noted.append)
    assert (check.name, check.verdict, check.hint) == (CHECK, "OK", ""), check.evidence
    assert len(noted) == 2
    assert left_behind(server) == ()
    replay(plan, into, reach=here())
    assert checksums(server, source.schema) == then
    assert left_behind(server) == ()


def test_without_the_right_the_client_is_taken_and_the_reason_said(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    plan = written(source)
    user = server.new_schema("nobody")
    server.sql(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'secret'")
    check = tried(plan, replace(source.into(), login=Login(user, "secret")), reach=here())
    assert check.verdict == "WARN"
    assert "1227" in check.evidence
    assert left_behind(server) == ()


def test_where_the_server_does_not_reach_this_machine_that_is_said_in_time(
    mysql_server: Server, tmp_path: Path
) -> None:
    server = mysql_server
    source = Source(server, server.new_schema("shop"), tmp_path)
    plan = written(source)
    lost = replace(here(), address="127.0.0.9")  # nobody listens there
    check = tried(plan, source.into(), reach=lost)
    assert check.verdict == "WARN"
    assert "does not reach 127.0.0.9" in check.evidence, check
    assert left_behind(server) == ()


def test_what_the_applier_refuses_is_named_without_its_row(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    source.work(3)
    file, byte = position(server)
    server.sql("INSERT INTO users (id, name) VALUES (4711, 'a secret name')", database=source.schema)
    source.work(3)
    plan = plan_replay(source.chain(), stop_point("end"), source=source.schema)
    source.load(source.schema)
    server.sql("INSERT INTO users (id, name) VALUES (4711, 'in the way')", database=source.schema)
    with pytest.raises(RestoreError, match="1062 dup entry") as failed:
        by_source(plan, source.into(), server)
    assert f"({file}, byte {byte})" in failed.value.message
    assert "unfinished" in failed.value.message
    assert "secret" not in str(failed.value)
    assert left_behind(server) == ()


def test_it_stops_when_asked_and_leaves_nothing_on_the_server(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    plan = written(source, 300)
    source.load(source.schema)
    hooks = Hooks(stop=lambda: True)  # before the first is applied: a fast server has all of them in an instant
    with pytest.raises(RestoreError, match=r"was stopped after .* of 300 transactions were applied"):
        by_source(plan, source.into(), server, hooks)
    assert left_behind(server) == ()


def test_rows_go_into_a_schema_of_another_name_and_the_live_one_stays(server: Server, tmp_path: Path) -> None:
    live, stage = "live `it's` 2", 'st"a`ge_é2'
    server.sql(f"CREATE DATABASE {quoted(live)}")
    source = Source(server, live, tmp_path)
    source.take_dump()
    source.work(5)
    then = checksums(server, live)
    plan = fitting(plan_replay(source.chain(), stop_point("end"), source=live, schema=stage), server)
    source.load(stage)
    server.sql("DELETE FROM users", database=live)
    changed = checksums(server, live)
    replay(plan, source.into(), reach=here(account=applier(server, stage)))
    assert checksums(server, stage) == then
    assert checksums(server, live) == changed
    assert left_behind(server) == ()
    # Nor is the renaming left for the next one on a channel of this name.
    again = fitting(plan_replay(source.chain(), stop_point("end"), source=live), server)
    source.load(live)
    replay(again, source.into(), reach=here())
    assert checksums(server, live) == changed


def test_mysql_applies_beside_the_live_schema_without_the_right_to_reach_it(
    mysql_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a plan would refuse, given to the server all the same."""
    server = mysql_server
    live, stage = server.new_schema("live"), server.new_schema("stage")
    source = Source(server, live, tmp_path)
    source.take_dump()
    server.sql(f"ALTER TABLE {live}.keyless DROP COLUMN b", database=live)
    as_if = plan_replay(source.chain(), stop_point("end"), source=live)
    source.load(live)
    before = checksums(server, live)
    source.load(stage)
    monkeypatch.setattr("engines.mysql.source.stream.wanted", lambda plan: wanted(as_if))
    with pytest.raises(RestoreError, match="1142"):
        replay(replace(as_if, schema=stage), source.into(), reach=here(account=applier(server, stage)))
    assert checksums(server, live) == before


def applier(server: Server, stage: str) -> str:
    """With whose rights MySQL applies: one that reaches the stage alone. MariaDB knows no such thing."""
    if server.flavour is Flavour.MARIADB:
        return ""
    user = server.new_schema("applier")
    server.sql(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY 'secret'",
        f"GRANT ALL ON {quoted(stage).replace('_', chr(92) + '_')}.* TO '{user}'@'%'",
        f"GRANT REPLICATION_APPLIER, SESSION_VARIABLES_ADMIN ON *.* TO '{user}'@'%'",
    )
    return f"{user}@%"


def test_mariadb_does_not_make_definitions_beside_the_live_schema(mariadb_server: Server, tmp_path: Path) -> None:
    server = mariadb_server
    source = Source(server, server.new_schema("live"), tmp_path)
    source.take_dump()
    server.sql("CREATE TABLE made (i INT)", database=source.schema)
    plan = plan_replay(source.chain(), stop_point("end"), source=source.schema, schema="stage")
    with connected(server.place, server.login) as connection:
        assert any("beside the live schema" in why for why in against(connection, fitting(plan, server)))


@pytest.mark.parametrize("flavour", list(Flavour))
def test_replication_that_is_there_goes_on_beside_it(
    flavour: Flavour, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    mysql = flavour is Flavour.MYSQL
    other = start_server(build_of(flavour), "--server-id=77")
    target = start_server(build_of(flavour), "--server-id=78", *(() if mysql else ("--log-slave-updates",)))
    source = Source(target, target.new_schema("shop"), tmp_path)
    plan = written(source)
    then = checksums(target, source.schema)
    source.load(source.schema)
    other.sql("CREATE USER follower@'%' IDENTIFIED BY 'secret'", "GRANT REPLICATION SLAVE ON *.* TO follower@'%'")
    file, byte = position(other)
    where = f"HOST = '127.0.0.1', {{0}}_PORT = {other.port}, {{0}}_USER = 'follower', {{0}}_PASSWORD = 'secret', "
    where += f"{{0}}_LOG_FILE = '{file}', {{0}}_LOG_POS = {byte}"
    if mysql:
        made = f"CHANGE REPLICATION SOURCE TO SOURCE_{where.format('SOURCE')}, GET_SOURCE_PUBLIC_KEY = 1"
        target.sql(made, "START REPLICA")
    else:
        target.sql(f"CHANGE MASTER TO MASTER_{where.format('MASTER')}", "START SLAVE")
    for number in range(3):
        other.sql(f"CREATE DATABASE before_{number}")
    replay(plan, source.into(target), reach=here())
    other.sql("CREATE DATABASE afterwards")
    with connected(target.place, target.login) as connection:
        until_there(target, "afterwards")
        assert not channel.filtered(connection, Changed(flavour, CHANNEL), wiring_of_nothing())
    assert checksums(target, source.schema) == then
    assert not [one for one in left_behind(target) if one.startswith("channel")]


def wiring_of_nothing() -> channel.Wiring:
    return channel.Wiring(host="", port=0, user="", password="", file="", position=0, encrypted=False)


def until_there(server: Server, schema: str) -> None:
    until(lambda: bool(server.sql(f"SHOW DATABASES LIKE '{schema}'")), f"{schema} is replicated")
