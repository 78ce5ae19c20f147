"""Two dumps are the same when their statements are; the first difference is named, and never a row shown."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from engines.errors import RestoreError
from engines.mysql.programs import Tool
from engines.mysql.same import Compared, compare, same
from engines.mysql.snapshot import take
from tests.engines.mysql.snap.ground import asked, full_schema, program
from tests.servers.databases import Server

DUMP = b"""-- MySQL dump 10.13  Distrib 9.7.4, for Linux (x86_64)
-- Host: localhost    Database: shop
-- CHANGE REPLICATION SOURCE TO SOURCE_LOG_FILE='binlog.000001', SOURCE_LOG_POS=22718;
/*!50503 SET NAMES utf8mb4 */;
DROP TABLE IF EXISTS `users`;
CREATE TABLE `users` (
  `id` int NOT NULL AUTO_INCREMENT,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB AUTO_INCREMENT=8 DEFAULT CHARSET=utf8mb4 COMMENT='AUTO_INCREMENT=5';
INSERT INTO `users` VALUES (1,'canary one'),(2,'canary two');
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER `before` BEFORE INSERT ON `users`
FOR EACH ROW SET NEW.id = 1 */;;
DELIMITER ;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */
/*!50001 VIEW `seen` AS select 1 AS `a` */;
-- Dump completed on 2026-11-22 20:04:00
"""


def compared(first: bytes, second: bytes) -> Compared:
    return compare(io.BytesIO(first), io.BytesIO(second))


def test_header_date_and_coordinates_make_no_difference() -> None:
    other = (
        DUMP.replace(b"localhost    Database", b"db1    Database")
        .replace(b"SOURCE_LOG_POS=22718", b"SOURCE_LOG_POS=4")
        .replace(b"on 2026-11-22", b"on 2026-11-23")
    )
    assert compared(DUMP, other) == Compared(6)


def test_the_next_auto_increment_is_told_apart_from_the_content() -> None:
    found = compared(DUMP, DUMP.replace(b"AUTO_INCREMENT=8", b"AUTO_INCREMENT=9"))
    assert found.same
    assert found.counters == ("users 8 and 9",)
    found = compared(DUMP, DUMP.replace(b" AUTO_INCREMENT=8", b""))
    assert found.counters == ("users 8 and none",)


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        (b"canary two", b"canary 2", "the rows of users differ"),
        (b",(2,'canary two')", b"", "the rows of users differ"),
        (b"`id` int NOT NULL", b"`id` bigint NOT NULL", "the definition of table users differ"),
        (b"COMMENT='AUTO_INCREMENT=5'", b"COMMENT='AUTO_INCREMENT=6'", "the definition of table users differ"),
        (b"SET NEW.id = 1", b"SET NEW.id = 2", "the definition of trigger before differ"),
        (b"select 1 AS", b"select 2 AS", "the definition of view seen differ"),
        (
            b"DROP TABLE IF EXISTS `users`;\n",
            b"",
            "the first has drop table users at byte 210, the second has the definition of table users at byte 210",
        ),
    ],
)
def test_the_first_difference_is_named_by_kind_and_table_and_never_by_value(
    was: bytes, becomes: bytes, told: str
) -> None:
    assert was in DUMP
    found = compared(DUMP, DUMP.replace(was, becomes))
    assert not found.same
    assert told in str(found.difference)
    assert "canary" not in str(found)


def test_what_is_missing_at_the_end_is_a_difference() -> None:
    more = DUMP.replace(b"-- Dump completed", b"CREATE TABLE `more` (\n  `a` int\n) ENGINE=InnoDB;\n-- Dump completed")
    assert "the first has its end" in str(compared(DUMP, more).difference)
    assert "the second has its end" in str(compared(more, DUMP).difference)
    assert "the definition of table more" in str(compared(more, DUMP).difference)


def test_a_dump_without_its_last_line_proves_nothing() -> None:
    cut = DUMP[: DUMP.index(b"-- Dump completed")]
    with pytest.raises(RestoreError, match="The second dump ends without its last line"):
        compared(DUMP, cut)
    with pytest.raises(RestoreError, match="The first dump ends without its last line"):
        compared(cut, DUMP)


def test_rows_are_compared_wherever_the_reading_cuts_them() -> None:
    rows = b",".join(b"(%d,'%s')" % (n, b"x" * 1000) for n in range(5000))
    first = DUMP.replace(b"(1,'canary one'),(2,'canary two')", rows)
    assert compared(first, DUMP.replace(b"DROP TABLE", b"-- " + b"y" * 700_001 + b"\nDROP TABLE")).difference
    assert compared(first, first.replace(b"DROP TABLE", b"-- " + b"y" * 700_001 + b"\nDROP TABLE")).same
    assert not compared(first, first[: len(first) // 2] + b"z" + first[len(first) // 2 + 1 :]).same


def test_comparing_stops_on_request() -> None:
    with pytest.raises(RestoreError, match="stopped"):
        compare(io.BytesIO(DUMP), io.BytesIO(DUMP), stop=lambda: True)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE users SET name = 'a canary' WHERE id = 5", "rows of users"),
        ("ALTER TABLE checked ADD COLUMN more int", "definition of table checked"),
        ("DROP FUNCTION twice", "function twice"),
        ("DROP VIEW third", "third"),
        ("ALTER EVENT nightly ENABLE", "event nightly"),
        ("INSERT INTO isam VALUES (3, 'c')", "rows of isam"),
    ],
)
def test_a_change_since_the_snapshot_is_found(server: Server, change: str, told: str, tmp_path: Path) -> None:
    schema = full_schema(server)
    want = asked(server, schema, tmp_path)
    kept = take(want)

    def now() -> Compared:
        dump = program(server, Tool.DUMP)
        return same(dump, server.place, server.login, schema, Path(str(kept.path)), private=want.private)

    assert now().same
    server.sql(change, database=schema)
    found = now()
    assert not found.same
    assert told in str(found.difference)
    assert "canary" not in str(found)
    assert not list(want.private.iterdir())
