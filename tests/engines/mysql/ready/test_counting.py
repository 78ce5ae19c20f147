"""Exact counts in one snapshot, and what is said where that can't be proven."""

from __future__ import annotations

import threading

import pytest

from engines.errors import RestoreError
from engines.mysql import counting
from engines.mysql.counting import count_tables
from engines.mysql.queries import rows_of
from tests.servers.databases import Server

ROWS = 3000


def filled(server: Server) -> str:
    schema = server.new_schema("shop")
    values = ",".join(f"({n})" for n in range(ROWS))
    server.script(
        "CREATE TABLE a (id INT PRIMARY KEY); CREATE TABLE b (id BIGINT UNSIGNED PRIMARY KEY); CREATE TABLE c (x INT);"
        "CREATE TABLE `d``d` (x VARCHAR(9) PRIMARY KEY); CREATE TABLE `empty` (id INT PRIMARY KEY);"
        f"INSERT INTO a VALUES {values}; INSERT INTO b VALUES {values}; INSERT INTO c VALUES {values};"
        "INSERT INTO `d``d` VALUES ('x'); ANALYZE TABLE a, b, c;",
        schema,
    )
    return schema


def test_tables_are_counted_side_by_side_in_one_snapshot(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = filled(server)
    monkeypatch.setattr(counting, "_PART", 400)  # so that a and b are cut into parts
    seen: list[tuple[int, int]] = []
    counts = count_tables(
        server.place,
        server.login,
        schema,
        connections=3,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert counts.rows == {"a": ROWS, "b": ROWS, "c": ROWS, "d`d": 1, "empty": 0}
    assert counts.same_moment, counts.how
    assert "binlog" in counts.how
    assert seen[-1][0] == seen[-1][1]


def test_a_table_that_is_not_there_is_counted_as_none(server: Server) -> None:
    schema = filled(server)
    counts = count_tables(server.place, server.login, schema, ("c", "nowhere"), connections=1)
    assert counts.rows == {"c": ROWS, "nowhere": None}
    assert counts.same_moment


def test_writes_between_the_snapshots_are_noticed_and_said(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    schema = filled(server)
    real, number = rows_of, iter(range(ROWS, 2 * ROWS))

    def written_between(connection: object, sql: str, values: tuple[object, ...] = ()) -> object:
        if sql == counting._SNAPSHOT:
            server.sql(f"INSERT INTO `{schema}`.a VALUES ({next(number)})")
        return real(connection, sql, values)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(counting, "rows_of", written_between)
    counts = count_tables(server.place, server.login, schema, ("a",), connections=2)
    assert not counts.same_moment
    assert "committed while" in counts.how


def test_a_writer_that_never_rests_does_not_change_what_one_snapshot_sees(server: Server) -> None:
    schema = filled(server)
    ended = threading.Event()

    def write() -> None:
        connection = server.connection(schema)
        with connection.cursor() as cursor:
            number = ROWS
            while not ended.is_set():
                cursor.execute(f"INSERT INTO a VALUES ({number})")
                cursor.execute(f"INSERT INTO b VALUES ({number})")
                number += 1
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            counts = count_tables(server.place, server.login, schema, ("a", "b"), connections=1)
            assert counts.same_moment
            assert 0 <= (counts.rows["a"] or 0) - (counts.rows["b"] or 0) <= 1
            several = count_tables(server.place, server.login, schema, ("a", "b"), connections=2)
            if several.same_moment:
                assert 0 <= (several.rows["a"] or 0) - (several.rows["b"] or 0) <= 1
    finally:
        ended.set()
        writer.join()


def test_a_table_whose_engine_has_no_snapshots_takes_the_proof_away(server: Server) -> None:
    schema = filled(server)
    server.sql(f"CREATE TABLE `{schema}`.old (x INT) ENGINE=MyISAM")
    counts = count_tables(server.place, server.login, schema)
    assert not counts.same_moment
    assert "old" in counts.how


def test_a_stop_ends_the_queries_on_the_server(server: Server) -> None:
    schema = filled(server)
    # As a table that takes minutes: the count waits for a lock that is never given.
    blocker = server.connection(schema)
    with blocker.cursor() as cursor:
        cursor.execute("LOCK TABLES c WRITE")
        with pytest.raises(RestoreError, match="stopped"):
            count_tables(server.place, server.login, schema, ("c",), connections=1, stop=lambda: True)
    blocker.close()
