"""A dump is split where the client program splits it, however it is cut into chunks."""

from __future__ import annotations

import io
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.mysql.dumps import statements
from engines.mysql.dumps.statements import Comment, Cut, Insert, Statement, read

DUMP = rb"""/*M!999999\- enable the sandbox mode */
-- MySQL dump 10.13
--
/*!40101 SET NAMES utf8mb4 */;
# another comment; with a delimiter
DROP TABLE IF EXISTS `a;b`;
CREATE TABLE `a;b` (
  `id` int NOT NULL COMMENT 'it''s; -- no end /* here',
  `n` varchar(3) DEFAULT "\";" -- not; the end
);
INSERT INTO `a;b` VALUES (1,'a);\\'),(2,'it\'s'),
(3,');\n');
INSERT INTO `it's``q` (`a`, `b)`) VALUES (1,NULL);REPLACE  INTO t VALUES (0x61);
DELIMITER ;;
CREATE PROCEDURE p() BEGIN SELECT 1; /* ;; */ SELECT ';;'; END ;;
DELIMITER ;
SELECT 5--3;
/*!50003 SET x = 1 */ ;
-- Dump completed on 2026-11-22 20:00:01
"""


def parts(dump: bytes, chunk: int = 1 << 20) -> list[tuple[str, int, int, bytes]]:
    found: list[tuple[str, int, int, bytes]] = []
    with patch.object(statements, "CHUNK", chunk):
        for part in read(io.BytesIO(dump)):
            match part:
                case Comment():
                    found.append(("comment", part.start, part.line, part.text))
                case Statement():
                    found.append(("statement", part.start, part.line, part.text))
                case Insert():
                    found.append(("insert", part.start, part.line, part.head + b"|" + b"".join(part.values)))
    return found


def test_every_part_is_found_with_its_place() -> None:
    found = parts(DUMP)
    assert [(kind, text) for kind, _start, _line, text in found] == [
        ("comment", rb"/*M!999999\- enable the sandbox mode */"),
        ("comment", b"-- MySQL dump 10.13"),
        ("comment", b"--"),
        ("statement", b"/*!40101 SET NAMES utf8mb4 */"),
        ("comment", b"# another comment; with a delimiter"),
        ("statement", b"DROP TABLE IF EXISTS `a;b`"),
        ("statement", DUMP[DUMP.index(b"CREATE TABLE") : DUMP.index(b";\nINSERT")]),
        ("insert", rb"INSERT INTO `a;b` VALUES |(1,'a);\\'),(2,'it\'s')," + b"\n" + rb"(3,');\n')"),
        ("insert", b"INSERT INTO `it's``q` (`a`, `b)`) VALUES |(1,NULL)"),
        ("insert", b"REPLACE  INTO t VALUES |(0x61)"),
        ("statement", b"CREATE PROCEDURE p() BEGIN SELECT 1; /* ;; */ SELECT ';;'; END"),
        ("statement", b"SELECT 5--3"),
        ("statement", b"/*!50003 SET x = 1 */"),
        ("comment", b"-- Dump completed on 2026-11-22 20:00:01"),
    ]
    for _kind, start, line, text in found:
        assert DUMP[start:].startswith(text.split(b"|")[0][:20])
        assert DUMP[:start].count(b"\n") == line - 1


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 7, 64, 1000])
def test_where_chunks_end_changes_nothing(chunk: int) -> None:
    assert parts(DUMP, chunk) == parts(DUMP)


def test_table_and_columns_of_an_insert_are_plain_names() -> None:
    inserts = [part for part in read(io.BytesIO(DUMP)) if isinstance(part, Insert)]
    assert [(insert.table, insert.columns) for insert in inserts] == [
        ("a;b", None),
        ("it's`q", ("a", "b)")),
        ("t", None),
    ]


def test_a_dump_cut_inside_a_statement_is_named_with_its_byte() -> None:
    """Cut anywhere, it is either refused or seems to end: then the missing footer tells (facts)."""
    whole = parts(DUMP)
    cuts: list[Cut] = []
    for end in range(len(DUMP)):
        try:
            found = parts(DUMP[:end])
        except Cut as cut:
            cuts.append(cut)
        else:
            assert [part[:2] for part in found] == [part[:2] for part in whole[: len(found)]]
    assert all(cut.hint and "byte" in cut.message for cut in cuts)
    assert len(cuts) > len(DUMP) // 2


def test_a_row_of_many_megabytes_comes_in_pieces() -> None:
    row = b"('" + b"x\\'" * 3_000_000 + b"')"
    pieces = [
        len(piece)
        for part in read(io.BytesIO(b"INSERT INTO `t` VALUES " + row + b";\n"))
        if isinstance(part, Insert)
        for piece in part.values
    ]
    assert sum(pieces) == len(row)
    assert max(pieces) <= 2 * statements.CHUNK


ROW = st.lists(
    st.sampled_from(["'", "\\", ")", ";", "(", ",", "\n", "`", '"', "-- ", "/*", "x", "é"]), max_size=12
).map("".join)


@given(
    rows=st.lists(st.lists(ROW, min_size=1, max_size=3), min_size=1, max_size=4),
    chunk=st.integers(1, 40),
    doubled=st.booleans(),
)
def test_the_fast_way_ends_where_the_slow_way_ends(rows: list[list[str]], chunk: int, doubled: bool) -> None:
    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "''" if doubled else "\\'") + "'"

    values = ",".join("(" + ",".join(map(quoted, row)) + ")" for row in rows).encode()
    dump = b"INSERT INTO `t` VALUES " + values + b";\nSELECT 1;\n"
    fast = parts(dump, chunk)
    # A statement that does not begin with INSERT is read string by string.
    slow = parts(b"XNSERT" + dump[6:], chunk)
    assert fast[0][3].replace(b"|", b"", 1)[1:] == slow[0][3][1:]
    assert fast[1:] == slow[1:]
