"""What is hidden in a dump is found, and no text makes reading it take forever."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.checks import Verdict
from engines.errors import RestoreError
from engines.mysql.dumps import guards
from engines.mysql.dumps.facts import count_rows, read_facts
from engines.mysql.dumps.statements import Insert, Statement, read
from engines.mysql.flavour import Flavour, Version

NINE = Version(Flavour.MYSQL, (9, 7, 4), "9.7.4")
DUMP = b"""-- MySQL dump 10.13  Distrib 9.7.4, for Linux (x86_64)
-- Host: localhost    Database: shop
-- Server version\t9.7.4
CREATE TABLE `t` (
  `id` int NOT NULL
) ENGINE=InnoDB;
INSERT INTO `t` VALUES (1);
HERE
INSERT INTO `t` VALUES (2);
-- Dump completed on 2026-11-22 20:00:01
"""


@pytest.mark.parametrize(
    "hidden",
    [
        b"INSERT INTO `t` VALUES (1) ;\nSET GLOBAL x=1;",
        b"INSERT INTO `t` VALUES (1) ON DUPLICATE KEY UPDATE id=2;\nGRANT ALL ON *.* TO x;",
        b'INSERT INTO `t` VALUES ("it\'s");\nSHUTDOWN;\nINSERT INTO `t` VALUES ("it\'s");',
        b"INSERT INTO `t` VALUES (1/*'*/);\nSHUTDOWN;\nINSERT INTO `t` VALUES (2/*'*/);",
        b"INSERT INTO `t` VALUES (1) -- '\n;\nSHUTDOWN;\nINSERT INTO `t` VALUES (1) -- '\n;",
        b"INSERT INTO `t` VALUES (sleep(9));",
        b"INSERT INTO `t` VALUES ((SELECT id FROM other.t));",
    ],
)
def test_nothing_can_hide_among_the_rows(hidden: bytes, tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_bytes(DUMP.replace(b"HERE", hidden))
    with pytest.raises(RestoreError, match=r"no dump program writes.*byte") as refusal:
        read_facts(path)
    assert refusal.value.hint


@pytest.mark.parametrize(
    "statement",
    [
        b"use other;",
        b"USE\tother;",
        b"/*!40000 USE `other` */;",
        b"USE/**/other;",
        b"drop database other;",
        b"DROP DATABASE IF EXISTS other;",
        b"/*!40000 DROP DATABASE IF EXISTS `other`*/;",
        b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ other;",
        b"INSERT INTO other.t VALUES (1);",
        b"drop table other.t;",
    ],
)
def test_another_schema_is_seen_however_it_is_written(statement: bytes, tmp_path: Path) -> None:
    path = tmp_path / "dump"
    # The rows after a USE would be of a table that the other schema does not define: refused even earlier.
    path.write_bytes(DUMP.replace(b"HERE\nINSERT INTO `t` VALUES (2);", statement))
    verdicts = {check.name: check.verdict for check in guards.guards(read_facts(path), "shop", NINE)}
    assert Verdict.FAIL in (verdicts[guards.MEANT], verdicts[guards.LAWFUL])


def test_a_head_that_is_no_head_is_given_up_at_once() -> None:
    text = b"INSERT INTO t (some_long_column_name, another_long_column_name) SELECT 1,2;"
    began = time.monotonic()
    (part,) = read(io.BytesIO(text))
    assert isinstance(part, Statement)
    assert time.monotonic() - began < 1


def test_rows_are_counted_in_time_that_grows_with_their_size_alone() -> None:
    """A piece that ends inside of a string with 200,000 escaped quotes took hours."""
    began = time.monotonic()
    assert count_rows(b"(1,'" + b"it\\'s (" * 200_000, inside=False) == (1, True)
    assert time.monotonic() - began < 2


VALUE = st.lists(st.sampled_from(["'", "\\", ")", "(", ";", ",", "\n", "x"]), max_size=10).map("".join)


@given(rows=st.lists(st.lists(VALUE, min_size=1, max_size=3), min_size=1, max_size=5), cut=st.integers(1, 30))
def test_rows_are_counted_alike_wherever_pieces_end(rows: list[list[str]], cut: int) -> None:
    def literal(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    values = ",".join("(" + ",".join(map(literal, row)) + ")" for row in rows).encode()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(cut)

    counted, inside = 0, False
    part = next(read(Slow(b"INSERT INTO `t` VALUES " + values + b";")))
    assert isinstance(part, Insert)
    for piece in part.values:
        more, inside = count_rows(piece, inside=inside)
        counted += more
    assert (counted, inside) == (len(rows), False)
