"""Whatever breaks in the middle of a replay is said, with where it was; it never looks like a success."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engines.checks import Verdict
from engines.errors import Refused, RestoreError
from engines.mysql.binlogs.chain import Coordinates, chain
from engines.mysql.binlogs.logs import logs_in, read_logs
from engines.mysql.binlogs.moments import StopKind, StopPoint, stop_point
from engines.mysql.connect import Login, Place
from engines.mysql.flavour import Flavour
from engines.mysql.replay.pipeline import replay
from engines.mysql.replay.plan import plan_replay
from engines.mysql.replay.programs import shows
from engines.mysql.replay.rights import rights
from engines.mysql.replay.ways import Hooks
from engines.process import Child
from tests.engines.mysql.replay.both import programs
from tests.engines.mysql.replay.source import Source, checksums, position
from tests.servers.databases import PASSWORD, Server
from tests.servers.proxy import proxied

pytestmark = pytest.mark.xdist_group("replay")


@pytest.fixture
def held(server: Server, tmp_path: Path) -> Iterator[Source]:
    """A source whose replay comes to rest in its middle: another session holds a row that it needs."""
    yield from _held(server, tmp_path)


def _held(server: Server, folder: Path) -> Iterator[Source]:
    source = Source(server, server.new_schema("shop"), folder)
    source.take_dump()
    source.work(3)
    server.sql("UPDATE users SET n = -1 WHERE id = 1", database=source.schema)
    # More than the pipes between the programs hold.
    rows = "information_schema.columns a JOIN information_schema.columns b"
    server.sql(f"INSERT INTO users (name) SELECT REPEAT('y', 60) FROM {rows} LIMIT 20000", database=source.schema)
    yield source


def stuck(source: Source, act: Callable[[list[Child]], None]) -> RestoreError:
    """Replays until the row that is held is reached, does `act`, and returns what the replay said."""
    server = source.server
    plan = plan_replay(source.chain(), stop_point("end"), source=source.schema)
    source.load(source.schema)
    holder = server.connection(source.schema)
    with holder.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM users WHERE id = 1 FOR UPDATE")
    children: list[Child] = []
    acted: list[bool] = []

    def waits() -> bool:
        rows = server.sql("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'")
        return bool(rows[0][0])

    looked = time.monotonic()

    def stop() -> bool:
        nonlocal looked
        if acted or time.monotonic() < looked + 0.3:  # read more often, InnoDB would not make its list anew
            return False
        looked = time.monotonic()
        if waits():
            acted.append(True)
            act(children)
        return False

    try:
        with pytest.raises(RestoreError) as caught:
            replay(plan, source.into(), Hooks(started=children.append, stop=stop), programs=programs(server))
    finally:
        holder.close()
    assert acted
    assert not list(source.folder.glob("replay-*"))  # no login is left behind
    for child in children:
        assert not Path(f"/proc/{child.pid}").exists()
    return caught.value


def test_a_client_that_is_killed_is_a_failure(held: Source) -> None:
    said = stuck(held, lambda children: os.kill(children[0].pid, signal.SIGKILL))
    assert "ended by SIGKILL" in said.message
    assert "unfinished" in said.message


def test_a_mysqlbinlog_that_is_killed_is_a_failure(held: Source) -> None:
    said = stuck(held, lambda children: os.kill(children[1].pid, signal.SIGKILL))
    assert "mysqlbinlog failed: it ended by SIGKILL" in said.message
    assert "unfinished" in said.message


def test_a_connection_that_is_ended_on_the_server_is_a_failure(held: Source) -> None:
    def end(_children: list[Child]) -> None:
        query = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
        held.server.sql(f"KILL {held.server.sql(query)[0][0]}")

    said = stuck(held, end)
    assert "unfinished" in said.message
    assert "byte" in said.message
    assert "went away" in said.hint


def test_a_server_that_is_killed_is_a_failure(fresh_server: Server, tmp_path: Path) -> None:
    for source in _held(fresh_server, tmp_path):
        said = stuck(source, lambda _children: fresh_server.kill())
        assert "unfinished" in said.message
        assert "went away" in said.hint


def test_a_line_that_is_cut_is_a_failure(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    source.work(40)
    plan = plan_replay(source.chain(), stop_point("end"), source=source.schema)
    source.load(source.schema)
    with proxied(server.port) as proxy:
        into = replace(source.into(), place=Place("127.0.0.1", proxy.port))
        with pytest.raises(RestoreError, match="2013") as caught:
            replay(plan, into, Hooks(opened=lambda _id: proxy.cut_after(2_000)), programs=programs(server))
    assert "byte" in caught.value.message


def test_a_row_that_is_there_already_names_the_transaction_and_no_value(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    source.work(2)
    file, byte = position(server)
    server.sql("INSERT INTO users VALUES (999, 'Ana Secret', 1)", database=source.schema)
    source.work(2)
    plan = plan_replay(source.chain(), stop_point("end"), source=source.schema)
    source.load(source.schema)
    server.sql("INSERT INTO users VALUES (999, 'Ana Secret', 2)", database=source.schema)
    with pytest.raises(RestoreError, match=f"{file}, byte {byte}\\): 1062 dup entry") as caught:
        replay(plan, source.into(), programs=programs(server))
    assert "Ana" not in caught.value.message


def test_a_stop_ends_between_two_transactions_and_says_where(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    source.work(200)
    plan = plan_replay(source.chain(), stop_point("end"), source=source.schema)
    source.load(source.schema)
    applied: list[str] = []
    with pytest.raises(RestoreError, match=r"stopped after binlog\.\d+, byte \d+"):
        replay(plan, source.into(), Hooks(stop=lambda: True, at=applied.append), programs=programs(server))
    assert applied == ["client", "logged in"]
    ((copies,),) = server.sql("SELECT COUNT(*) FROM keyless WHERE b IS NULL", database=source.schema)
    ((users,),) = server.sql("SELECT COUNT(*) FROM users", database=source.schema)
    assert copies == users  # each transaction adds one of both


def test_a_log_that_changed_since_the_plan_is_a_failure(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    source.work(10)
    plan = plan_replay(source.chain(), stop_point("end"), source=source.schema)
    source.load(source.schema)
    path = Path(plan.parts[-1].path)
    content = bytearray(path.read_bytes())
    content[plan.parts[-1].end - 40] ^= 1
    path.write_bytes(content)
    with pytest.raises(RestoreError, match="checksum"):
        replay(plan, source.into(), programs=programs(server))


def test_a_login_that_is_wrong_replays_nothing(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    source.work(1)
    plan = plan_replay(source.chain(), stop_point("end"), source=source.schema)
    into = replace(source.into(), login=Login("root", "not it"))
    with pytest.raises(RestoreError, match=r"1045 .*Nothing was replayed"):
        replay(plan, into, programs=programs(server))


def test_the_binary_log_is_left_out_where_the_plan_says_so(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    source.work(3)
    then = checksums(server, source.schema)
    chain = source.chain()
    for binary_log in (True, False):
        plan = plan_replay(chain, stop_point("end"), source=source.schema, binary_log=binary_log)
        source.load(source.schema)
        before = position(server)
        replay(plan, source.into(), programs=programs(server))
        assert (position(server) != before) is binary_log
        assert checksums(server, source.schema) == then


def test_no_secret_is_in_what_is_shown_or_in_an_argument(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    source.work(1)
    plan = plan_replay(source.chain(), stop_point("end"), source=source.schema)
    source.load(source.schema)
    arguments: list[bytes] = []
    said: list[str] = []

    def look(child: Child) -> None:
        arguments.extend(Path(f"/proc/{child.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))

    replay(plan, source.into(), Hooks(started=look, say=said.append), programs=programs(server))
    assert len(arguments) == 4
    assert not any(PASSWORD.encode() in one for one in arguments)
    assert not any(PASSWORD in line for line in said)
    assert said[: len(shows(plan))][0] == shows(plan)[0]


def test_rights_that_are_missing_are_named(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    server.sql("CREATE PROCEDURE answer() SELECT 42", database=source.schema)
    plan = plan_replay(source.chain(), stop_point("end"), source=source.schema, binary_log=False)
    assert plan.code == 1
    assert rights(server.place, server.login, plan).verdict is Verdict.OK
    server.sql("CREATE USER poor@'%' IDENTIFIED BY 'x'", f"GRANT ALL ON {source.schema}.* TO poor@'%'")
    mysql = server.flavour is Flavour.MYSQL
    needed = ("REPLICATION_APPLIER", "SESSION_VARIABLES_ADMIN") if mysql else ("BINLOG REPLAY", "BINLOG ADMIN")
    for right in needed:
        found = rights(server.place, Login("poor", "x"), plan)
        assert found.verdict is Verdict.FAIL
        assert right in found.hint
        server.sql(f"GRANT {right} ON *.* TO poor@'%'")
    found = rights(server.place, Login("poor", "x"), plan)
    assert found.verdict is Verdict.WARN
    assert ("SET_ANY_DEFINER" if mysql else "SET USER") in found.evidence


def test_a_gap_bounds_what_can_be_chosen(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    for _ in range(3):
        source.work(1)
        server.sql("FLUSH BINARY LOGS")
    source.chain()
    names = [path.name for path in logs_in(tmp_path / "logs")]
    (tmp_path / "logs" / names[1]).unlink()
    broken = chain(read_logs(logs_in(tmp_path / "logs")), source.start)
    assert broken.reach is not None
    plan = plan_replay(broken, stop_point("end"), source=source.schema)
    assert plan.stop[0] == names[0]
    assert not plan.complete
    with pytest.raises(Refused, match=f"{names[1]} is"):
        plan_replay(broken, StopPoint(StopKind.TIME, broken.reach.replace(year=2100)), source=source.schema)
    with pytest.raises(Refused, match="not among the logs"):
        plan_replay(broken, stop_point("position", f"{names[2]}:4"), source=source.schema)


def test_what_is_no_readable_log_is_refused_by_name(tmp_path: Path) -> None:
    for name, content, why in (
        ("binlog.000001", b"\xfdbin" + bytes(600), "encrypted"),
        ("binlog-000001.ibb", bytes(600), "inside InnoDB"),
    ):
        (tmp_path / name).write_bytes(content)
        found = chain(read_logs(logs_in(tmp_path)), Coordinates("binlog.000001", 4))
        with pytest.raises(Refused, match=why):
            plan_replay(found, stop_point("end"), source="shop")
        (tmp_path / name).unlink()


def test_a_stop_or_an_exclusion_that_is_not_there_is_refused(server: Server, tmp_path: Path) -> None:
    source = Source(server, server.new_schema("shop"), tmp_path)
    source.take_dump()
    begin = position(server)
    source.work(1)
    chain = source.chain()
    inside = f"{begin[0]}:{begin[1] + 100}"
    with pytest.raises(Refused, match="inside a transaction"):
        plan_replay(chain, stop_point("position", inside), source=source.schema)
    with pytest.raises(Refused, match="No transaction begins"):
        plan_replay(chain, stop_point("end", exclude=(inside,)), source=source.schema)
