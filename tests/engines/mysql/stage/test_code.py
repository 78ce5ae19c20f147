"""The code of a dump is made in the stage by the operator's own login, and reaches nothing else on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.errors import Refused, RestoreError
from engines.mysql.connect import connected
from engines.mysql.stage import code, schema
from engines.mysql.stage.names import Names, names
from tests.engines.mysql.stage.ground import SESSION, TOKEN
from tests.servers.databases import Server


def prepared(server: Server) -> Names:
    live = server.new_schema("shop")
    server.sql(
        "CREATE TABLE t (id INT)", "INSERT INTO t VALUES (1)", "CREATE VIEW v AS SELECT id FROM t", database=live
    )
    made = names(live, TOKEN)
    with connected(server.place, server.login) as connection:
        schema.prepare(connection, made, SESSION)
    server.sql("CREATE TABLE t (id INT)", database=made.stage)
    return made


def make(server: Server, made: Names, folder: Path, text: str) -> code.StagedCode:
    dump = folder / "dump.sql"
    dump.write_text(f"{text}\n-- Dump completed\n")
    with connected(server.place, server.login) as connection:
        return code.make(connection, made, SESSION, dump, source=made.live)


def untouched(server: Server, made: Names) -> bool:
    live = {row[0] for row in server.sql("SHOW TABLES", database=made.live)} == {"t", "v"}
    return live and server.sql("SELECT id FROM v", database=made.live) == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "DROP VIEW IF EXISTS `other`.`v`;",
        "CREATE VIEW `other`.`w` AS SELECT 1;",
        "DELIMITER ;;\nCREATE PROCEDURE other.p() SELECT 1 ;;\nDELIMITER ;",
        "CREATE /* so */ TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET NEW.id = 1;",
        "CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM other.t;",  # no status that could be turned off
    ],
)
def test_code_that_reaches_out_or_is_in_a_strange_form_is_refused(
    server: Server, statement: str, tmp_path: Path
) -> None:
    made = prepared(server)
    with pytest.raises(Refused):
        make(server, made, tmp_path, statement)
    assert untouched(server, made)


def test_names_with_the_dumps_own_schema_are_made_in_the_stage(server: Server, tmp_path: Path) -> None:
    made = prepared(server)
    done = make(
        server,
        made,
        tmp_path,
        f"DROP VIEW IF EXISTS `{made.live}`.`v`;\nCREATE VIEW `{made.live}`.`v` AS SELECT 5 AS `five`;\n"
        f"CREATE TRIGGER `{made.live}`.`r` BEFORE INSERT ON `{made.live}`.`t` FOR EACH ROW SET NEW.id = 1;",
    )
    assert done.made == ("TRIGGER r", "VIEW v")
    assert server.sql("SELECT * FROM v", database=made.stage) == [(5,)]
    assert [row[0] for row in server.sql("SHOW TRIGGERS", database=made.stage)] == ["r"]
    assert untouched(server, made)


def test_nothing_of_the_dump_but_code_and_plain_settings_is_executed(server: Server, tmp_path: Path) -> None:
    """Whatever else is in it is the account's to run, which may not."""
    made = prepared(server)
    live = made.live
    done = make(
        server,
        made,
        tmp_path,
        f"DELETE FROM `{live}`.`t`;\nDROP TABLE IF EXISTS `{live}`.`t`;\nSET @a = (SELECT SLEEP(100));\n"
        f"INSERT INTO `{live}`.`t` VALUES (7);\nCREATE TABLE `{live}`.`u` (id INT);\nCREATE TABLE `x` (id INT);\n"
        f"SET GLOBAL max_connections = 7;\nSET @b = 1;\nCREATE VIEW `w` AS SELECT 1 AS `one`;\n"
        f"USE `elsewhere`;\nCREATE VIEW `other`.`z` AS SELECT 1;",
    )
    assert done.made == ("VIEW w",)
    assert {row[0] for row in server.sql("SHOW TABLES", database=made.stage)} == {"t", "w"}
    assert untouched(server, made)


def test_an_event_is_made_disabled_and_its_status_is_told(server: Server, tmp_path: Path) -> None:
    made = prepared(server)
    done = make(
        server,
        made,
        tmp_path,
        f"CREATE EVENT `e` ON SCHEDULE EVERY 1 SECOND ON COMPLETION PRESERVE ENABLE DO DELETE FROM `{made.live}`.t;",
    )
    assert done.events == {"e": "ENABLE"}
    status = f"SELECT status FROM information_schema.events WHERE event_schema = '{made.stage}'"
    assert server.sql(status) == [("DISABLED",)]


def test_code_that_the_server_does_not_take_is_told_with_its_place(server: Server, tmp_path: Path) -> None:
    made = prepared(server)
    with pytest.raises(RestoreError, match=r"view w, at byte \d+: 1146"):
        make(server, made, tmp_path, "SET @a = 1;\nCREATE VIEW `w` AS SELECT 1 AS `one` FROM `nowhere`;")


def test_a_stop_is_heard(server: Server, tmp_path: Path) -> None:
    made = prepared(server)
    dump = tmp_path / "dump.sql"
    dump.write_text("CREATE VIEW `w` AS SELECT 1 AS `one`;\n")
    with (
        connected(server.place, server.login) as connection,
        pytest.raises(RestoreError, match="The live schema is untouched"),
    ):
        code.make(connection, made, SESSION, dump, source=made.live, stop=lambda: True)
