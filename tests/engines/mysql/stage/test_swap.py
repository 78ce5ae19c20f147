"""The staged schema goes live whole, and comes back whole; what can't be swapped is refused beforehand."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from engines.errors import Refused, RestoreError
from engines.hooks import At, nowhere
from engines.mysql.connect import Login, close, connect, connected
from engines.mysql.flavour import Flavour
from engines.mysql.stage import schema
from engines.mysql.stage.back import clear, discard, put_back
from engines.mysql.stage.code import StagedCode
from engines.mysql.stage.steps import Swap
from engines.mysql.stage.swap import Position, go_live, plan, position
from tests.engines.mysql.stage.ground import SESSION, Ground, bring, dumped, staged
from tests.engines.mysql.stage.test_kill import NEWER, OLDER, SMALL, left
from tests.servers.databases import Server
from tests.servers.waiting import until


def small(server: Server, folder: Path, older: str = "", newer: str = "") -> Ground:
    return staged(server, folder, base=SMALL, older=OLDER + older, newer=NEWER + newer)


def there(ground: Ground, at: At = nowhere) -> None:
    with connected(ground.server.place, ground.server.login) as connection:
        assert go_live(connection, ground.swap, at=at) is Position.NEW
        assert position(connection, ground.swap).position is Position.NEW
    assert ground.live() == ground.new


def back(ground: Ground, at: At = nowhere) -> None:
    with connected(ground.server.place, ground.server.login) as connection:
        assert put_back(connection, ground.swap, at=at) is Position.OLD
        assert position(connection, ground.swap).position is Position.OLD
    assert ground.live() == ground.old


def test_everything_goes_live_comes_back_and_is_cleared(server: Server, tmp_path: Path) -> None:
    ground = staged(server, tmp_path)
    swap = ground.plan()
    assert msgspec.json.decode(msgspec.json.encode(swap), type=Swap) == swap  # it can be kept in a journal
    assert sum(statement.startswith("RENAME TABLE") for statement in swap.statements) == 1
    there(ground)
    back(ground)
    there(ground)
    there(ground)  # again: nothing is left to do
    assert not any(" event " in line for line in swap.notes)
    with connected(server.place, server.login) as connection:
        clear(connection, swap)
        assert position(connection, swap).position is Position.SETTLED
        with pytest.raises(Refused, match="settled"):
            put_back(connection, swap)
        with pytest.raises(Refused, match="settled"):
            go_live(connection, swap)
    assert left(swap, server) == []
    assert ground.live() == ground.new


def test_the_staged_load_is_what_the_dump_holds(server: Server, tmp_path: Path) -> None:
    """But for events, which are all disabled there."""
    ground = staged(server, tmp_path)
    asleep = b"PRESERVE DISABLE"
    assert dumped(server, ground.names.stage) == ground.new.replace(b"PRESERVE ENABLE", asleep)
    assert ground.staged.events["nightly"] == "ENABLE"
    assert server.sql(
        "SELECT COUNT(*) FROM information_schema.events WHERE status = 'ENABLED' "
        f"AND event_schema = '{ground.names.stage}'"
    ) == [(0,)]
    bring(ground, next(row[0] for row in server.sql("SHOW DATABASES LIKE 'source%'")))  # begun again from its start
    assert dumped(server, ground.names.stage) == ground.new.replace(b"PRESERVE ENABLE", asleep)


def test_ghosts_may_be_left(server: Server, tmp_path: Path) -> None:
    ground = small(
        server,
        tmp_path,
        "CREATE TABLE ghost (id INT PRIMARY KEY); CREATE VIEW ghostly AS SELECT id FROM ghost; "
        "CREATE TRIGGER spooked BEFORE INSERT ON ghost FOR EACH ROW SET NEW.id = 1; CREATE PROCEDURE haunt() SELECT 1;"
        "CREATE EVENT midnight ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DO SET @x = 1;",
    )
    swap = ground.plan(leave_ghosts=True)
    assert any("left as they are: ghost" in line for line in swap.notes)
    with connected(server.place, server.login) as connection:
        go_live(connection, swap)
        live = {row[0] for row in server.sql("SHOW TABLES", database=swap.names.live)}
        assert {"ghost", "ghostly", "users", "named"} <= live
        assert [row[0] for row in server.sql("SHOW TRIGGERS LIKE 'ghost'", database=swap.names.live)] == ["spooked"]
        kept = f"SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = '{swap.names.live}'"
        assert server.sql(kept) == [(2,)]
    back(ground)


def test_a_live_schema_that_is_not_there_is_made_and_unmade(server: Server, tmp_path: Path) -> None:
    ground = small(server, tmp_path)
    server.sql(f"DROP DATABASE `{ground.names.live}`")
    swap = ground.plan()
    there(ground)
    with connected(server.place, server.login) as connection:
        assert put_back(connection, swap) is Position.OLD
        assert position(connection, swap).position is Position.OLD
    assert not server.sql(f"SHOW DATABASES LIKE '{swap.names.live}'")
    there(ground)


def test_what_was_made_after_going_live_goes_with_the_new_schema(server: Server, tmp_path: Path) -> None:
    ground = small(server, tmp_path)
    swap = ground.plan()
    there(ground)
    server.sql("CREATE TABLE since (id INT)", "CREATE VIEW seen AS SELECT id FROM since",
               "CREATE TRIGGER since_added BEFORE INSERT ON since FOR EACH ROW SET NEW.id = 1",
               "DROP TABLE jobs", database=swap.names.live)  # fmt: skip
    with connected(server.place, server.login) as connection:
        assert position(connection, swap).position is Position.NEW
    back(ground)
    assert server.sql(f"SHOW TABLES FROM `{swap.names.stage}` LIKE 'since'")


def test_a_lock_that_somebody_holds_refuses_and_changes_nothing(server: Server, tmp_path: Path) -> None:
    ground = small(server, tmp_path)
    swap = ground.plan()
    holder = server.connection(swap.names.live)
    with holder.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM jobs")
    points: list[str] = []
    with connected(server.place, server.login) as connection:
        with pytest.raises(Refused, match="after 10 s it was still locked") as refusal:
            go_live(connection, swap, at=points.append)
        assert f"{holder.thread_id()} (root@" in refusal.value.message  # type: ignore[no-untyped-call]  # not in the stubs
        assert points == []
        assert position(connection, swap).position is Position.OLD
        assert ground.live() == ground.old
        holder.close()
        go_live(connection, swap)
    assert ground.live() == ground.new


def test_a_lock_that_comes_just_before_the_rename_has_all_put_on_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the locks and the RENAME triggers are dropped: they come back."""
    monkeypatch.setattr("engines.mysql.stage.ask.LOCK_WAIT", 1)
    ground = small(server, tmp_path)
    swap = ground.plan()
    holder = server.connection(swap.names.live)

    def hold(point: str) -> None:
        if point.endswith("rename the tables: before"):
            with holder.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute("SELECT * FROM jobs")

    said: list[str] = []
    with connected(server.place, server.login) as connection:
        with pytest.raises(Refused, match="still locked"):
            go_live(connection, swap, say=said.append, at=hold)
        assert position(connection, swap).position is Position.OLD
    holder.close()
    assert ground.live() == ground.old
    assert any("is made again" in line for line in said)
    there(ground)


def test_a_server_killed_in_the_middle_of_the_rename_has_the_old_or_the_new(
    fresh_server: Server, tmp_path: Path
) -> None:
    """Many tables, so that the RENAME takes a moment; the server is killed as soon as the first one is seen to move."""
    server = fresh_server
    many = "".join(f"CREATE TABLE t{n} (id INT PRIMARY KEY); INSERT INTO t{n} VALUES ({n});" for n in range(120))
    ground = staged(server, tmp_path, base=SMALL + many, older=OLDER, newer=NEWER)
    swap = ground.plan()
    parked = server.datadir / swap.names.parked
    before = len(list(parked.glob("*.ibd")))
    killing = threading.Event()

    def kill() -> None:
        killing.wait()
        until(lambda: len(list(parked.glob("*.ibd"))) > before, "the first table moves", 30)
        server.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with connected(server.place, server.login) as connection, pytest.raises(RestoreError, match="outcome is not known"):
        go_live(connection, swap, at=lambda point: killing.set() if "rename" in point else None)
    killer.join()
    server.start()
    with connected(server.place, server.login) as connection:
        standing = position(connection, swap)
        assert standing.position is Position.BETWEEN, standing  # the triggers are off, or not on again
    back(ground)
    there(ground)


@pytest.mark.parametrize("outward", [False, True], ids=["into ours", "out of ours"])
def test_a_foreign_key_across_schemas_is_refused(server: Server, outward: bool, tmp_path: Path) -> None:
    ground = small(server, tmp_path)
    other = server.new_schema("other")
    live = ground.names.live
    if outward:
        server.sql(f"CREATE TABLE `{other}`.p (id INT PRIMARY KEY)",
                   f"CREATE TABLE `{live}`.c (id INT, FOREIGN KEY (id) REFERENCES `{other}`.p (id))")  # fmt: skip
    else:
        server.sql(f"CREATE TABLE `{other}`.c (id INT, FOREIGN KEY (id) REFERENCES `{live}`.users (id))")
    with pytest.raises(Refused, match="refers to") as refusal:
        ground.plan()
    assert "in-place" in refusal.value.hint
    for table in (f"`{live}`.c", f"`{other}`.c"):
        server.sql(f"DROP TABLE IF EXISTS {table}")  # a schema that is referred to can't be dropped


def test_a_left_ghost_that_is_tied_to_a_replaced_table_is_refused(server: Server, tmp_path: Path) -> None:
    ground = small(
        server, tmp_path, "CREATE TABLE ghost (id INT, CONSTRAINT g FOREIGN KEY (id) REFERENCES users (id));"
    )
    with pytest.raises(Refused, match="only one of them is replaced"):
        ground.plan(leave_ghosts=True)
    ground.plan()


def test_a_default_from_a_sequence_is_refused(mariadb_server: Server, tmp_path: Path) -> None:
    ground = small(mariadb_server, tmp_path)
    stage = ground.names.stage
    mariadb_server.sql(
        f"CREATE SEQUENCE `{stage}`.s", f"CREATE TABLE `{stage}`.d (id INT DEFAULT nextval(`{stage}`.s))"
    )
    with pytest.raises(Refused, match="takes from a sequence"):
        ground.plan()


def test_a_view_that_is_broken_and_would_go_is_refused(server: Server, tmp_path: Path) -> None:
    ground = small(server, tmp_path)
    server.sql("CREATE TABLE gone (id INT)", "CREATE VIEW broken AS SELECT id FROM gone", "DROP TABLE gone",
               database=ground.names.live)  # fmt: skip
    with pytest.raises(Refused, match=r"broken refers to what is not there"):
        ground.plan()
    server.sql("DROP VIEW broken", database=ground.names.live)
    ground.plan()


def test_a_live_schema_that_changed_since_the_plan_is_not_replaced(server: Server, tmp_path: Path) -> None:
    ground = small(server, tmp_path)
    swap = ground.plan()
    server.sql("CREATE TABLE since (id INT)", database=swap.names.live)
    with (
        connected(server.place, server.login) as connection,
        pytest.raises(Refused, match="changed since the swap was planned: table since"),
    ):
        go_live(connection, swap)
    server.sql("DROP TABLE since", "CREATE OR REPLACE VIEW named AS SELECT id FROM users", database=swap.names.live)
    with connected(server.place, server.login) as connection, pytest.raises(Refused, match="view named"):
        go_live(connection, swap)


def test_tables_that_somebody_put_where_they_do_not_belong_are_refused(server: Server, tmp_path: Path) -> None:
    ground = small(server, tmp_path)
    swap = ground.plan()
    there(ground)
    server.sql(f"DROP TABLE `{swap.names.parked}`.jobs")
    server.sql("DROP TABLE jobs", database=swap.names.live)
    with connected(server.place, server.login) as connection:
        standing = position(connection, swap)
        assert standing.position is Position.FOREIGN
        assert "jobs is gone" in standing.told
        for deed in (go_live, put_back):
            with pytest.raises(Refused, match="not where this swap left them"):
                deed(connection, swap)


def test_a_session_that_staged_nothing_can_plan_nothing(server: Server) -> None:
    live = server.new_schema("shop")
    from engines.mysql.stage.names import names

    with connected(server.place, server.login) as connection:
        with pytest.raises(Refused, match="not made by this session"):
            plan(connection, names(live, "7f3a"), SESSION, staged=StagedCode())
        schema.prepare(connection, names(live, "7f3a"), SESSION)
        with pytest.raises(Refused, match="no table"):
            plan(connection, names(live, "7f3a"), SESSION, staged=StagedCode())
        discard(connection, names(live, "7f3a"), SESSION)
        discard(connection, names(live, "7f3a"), SESSION)
        assert schema.owner(connection, names(live, "7f3a"), SESSION) is schema.Owner.NOBODY


def test_a_swap_that_was_begun_is_not_planned_anew_without_its_triggers(server: Server, tmp_path: Path) -> None:
    ground = small(server, tmp_path)
    ground.plan()
    there(ground)
    back(ground)
    with pytest.raises(Refused, match="lacks TRIGGER users_before"):
        ground.plan()
    bring(ground, next(row[0] for row in server.sql("SHOW DATABASES LIKE 'source%'")))
    ground.plan()
    there(ground)


def test_discarding_never_takes_parked_tables_along(server: Server, tmp_path: Path) -> None:
    ground = small(server, tmp_path)
    ground.plan()
    there(ground)
    with connected(server.place, server.login) as connection, pytest.raises(Refused, match="holds replaced tables"):
        discard(connection, ground.names, SESSION)
    back(ground)


def test_code_keeps_the_letters_modes_and_defaults_that_it_was_made_under(server: Server, tmp_path: Path) -> None:
    """Latin-1 code, ANSI quotes, another default of the schema, a trigger before the first, names with their schema."""
    strange = """
SET NAMES latin1; CREATE PROCEDURE latin() SELECT 'caf\N{LATIN SMALL LETTER E WITH ACUTE}';
SET NAMES utf8mb4; SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT';
CREATE FUNCTION "an""si"(n varchar(5)) RETURNS varchar(20) DETERMINISTIC RETURN n || 'x'; SET sql_mode = '';
CREATE TRIGGER users_zero BEFORE INSERT ON users FOR EACH ROW PRECEDES users_before SET NEW.id = NEW.id;
ALTER DATABASE COLLATE latin1_german1_ci; CREATE PROCEDURE german(a varchar(5)) SELECT a;
ALTER DATABASE COLLATE utf8mb4_general_ci; CREATE PROCEDURE general(a varchar(5)) SELECT a;
CREATE VIEW v1 AS SELECT 1 AS one, _latin1'caf' AS c, '``' AS d; CREATE VIEW a_later AS SELECT one FROM v1;
SET time_zone = '+03:00';
CREATE EVENT there ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' ON COMPLETION PRESERVE ENABLE DO SET @a = 'é';
"""
    ground = small(server, tmp_path, strange, strange + "CREATE PROCEDURE more() SELECT 1;")
    ground.plan()
    there(ground)
    back(ground)
    there(ground)


def test_a_view_over_two_schemas_points_to_the_live_one_afterwards(server: Server, tmp_path: Path) -> None:
    other = server.new_schema("other")
    server.sql(f"CREATE TABLE `{other}`.o (id INT)")
    across = f"CREATE VIEW across AS SELECT o.id, u.name FROM `{other}`.o JOIN users u ON u.id = o.id;"
    ground = small(server, tmp_path)
    server.script(across, ground.names.live)
    server.script(across.replace("o.id, u.name", "u.name, o.id"), ground.names.stage)
    ground.plan()
    with connected(server.place, server.login) as connection:
        go_live(connection, ground.swap)
        server.sql(f"INSERT INTO `{other}`.o VALUES (2)")
        assert server.sql("SELECT * FROM across", database=ground.names.live) == [("b", 2)]
        text = server.sql("SHOW CREATE VIEW across", database=ground.names.live)[0][1]
        assert ground.names.stage not in text
        put_back(connection, ground.swap)
    assert server.sql("SELECT * FROM across", database=ground.names.live) == []


def test_an_event_whose_time_passes_meanwhile_does_not_stand_in_the_way(server: Server, tmp_path: Path) -> None:
    ground = small(server, tmp_path)
    brief = "CREATE EVENT brief ON SCHEDULE AT CURRENT_TIMESTAMP + INTERVAL {} SECOND DO SET @a = 1"
    server.sql("SET GLOBAL event_scheduler = OFF")
    server.sql(brief.format(2), brief.format(3600).replace("brief", "later"), database=ground.names.live)
    swap = ground.plan()
    with connected(server.place, server.login) as connection:
        go_live(connection, swap)
        past = "SELECT NOW() > execute_at FROM (SELECT STR_TO_DATE(%r, '%%Y-%%m-%%d %%H:%%i:%%s') AS execute_at) x"
        text = next(code.text for code in swap.old if code.name == "brief")
        moment = text.split("AT '")[1].split("'")[0]
        until(lambda: server.sql(past % moment) == [(1,)], "its time has passed")
        put_back(connection, swap)
        assert position(connection, swap).position is Position.OLD
    events = {row[1] for row in server.sql("SHOW EVENTS", database=swap.names.live)}
    assert events == {"nightly", "later"}


def test_grants_on_the_live_schema_and_on_code_that_stays_the_same_stay(server: Server, tmp_path: Path) -> None:
    same = "CREATE PROCEDURE same() SELECT 1; CREATE PROCEDURE changed() SELECT {};"
    ground = small(server, tmp_path, same.format(1), same.format(2))
    live = ground.names.live
    server.sql("CREATE USER 'app'@'%'", f"GRANT SELECT ON `{live}`.users TO 'app'@'%'",
               f"GRANT EXECUTE ON PROCEDURE `{live}`.same TO 'app'@'%'",
               f"GRANT EXECUTE ON PROCEDURE `{live}`.changed TO 'app'@'%'")  # fmt: skip
    swap = ground.plan()
    assert any("changed to app@%" in line and "same" not in line for line in swap.notes)
    there(ground)
    grants = " ".join(row[0] for row in server.sql("SHOW GRANTS FOR 'app'@'%'"))
    assert f"`{live}`.`users`" in grants
    assert f"`{live}`.`same`" in grants


def test_a_login_that_may_not_make_the_old_code_again_is_refused(server: Server, tmp_path: Path) -> None:
    """Before anything is dropped: an undo would need the right too."""
    ground = small(server, tmp_path)
    server.sql("CREATE USER 'half'@'%' IDENTIFIED BY 'x'", "GRANT PROCESS, SELECT ON *.* TO 'half'@'%'",
               *(f"GRANT ALL ON `{name}`.* TO 'half'@'%'"
                 for name in (ground.names.live, ground.names.stage, ground.names.parked)))  # fmt: skip
    if server.flavour is Flavour.MYSQL:
        server.sql("GRANT SHOW_ROUTINE ON *.* TO 'half'@'%'")
    with connected(server.place, Login("half", "x")) as connection, pytest.raises(Refused) as refusal:
        plan(connection, ground.names, SESSION, staged=ground.staged)
    assert "may not make code of root@localhost" in refusal.value.message
    assert "may not make triggers and functions" in refusal.value.message


def test_left_out_of_the_binary_log_as_a_whole(server: Server, tmp_path: Path) -> None:
    ground = small(server, tmp_path)
    swap = ground.plan(binary_log=False)
    status = "SHOW BINARY LOG STATUS" if server.flavour is Flavour.MYSQL else "SHOW MASTER STATUS"
    before = server.sql(status)[0][:2]
    there(ground)
    back(ground)
    with connected(server.place, server.login) as connection:
        clear(connection, swap)
    assert server.sql(status)[0][:2] == before


def test_a_connection_that_is_lost_is_said_to_be(server: Server, tmp_path: Path) -> None:
    ground = small(server, tmp_path)
    swap = ground.plan()
    connection = connect(server.place, server.login)
    number = connection.thread_id()  # type: ignore[no-untyped-call]  # not in the stubs

    def end(point: str) -> None:
        if "rename" in point and point.endswith("before"):
            server.sql(f"KILL {number}")

    with pytest.raises(RestoreError, match="connection was lost"):
        go_live(connection, swap, at=end)
    close(connection)
    back(ground)
