"""Every byte of a log is proven before anything believes it."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.mysql.binlogs import decoding, events, rows
from engines.mysql.binlogs.events import BadLog, Event, Fault, Kind, opened
from engines.mysql.flavour import Flavour
from tests.engines.mysql.binlogs.forge import HOME, NOON, Forge, flips


def read(path: Path) -> tuple[list[Event], BadLog | None]:
    """All events up to what is wrong, and what that is."""
    found: list[Event] = []
    try:
        with opened(path) as log:
            found.extend(log.events())
    except BadLog as bad:
        return found, bad
    return found, None


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def small(*, mariadb: bool = False, checksums: bool = True) -> Forge:
    forge = Forge(mariadb=mariadb, checksums=checksums).previous("0-9-3" if mariadb else f"{HOME}:1-3")
    return forge.transaction(4, rows=3).transaction(5).rotate("binlog.000002")


@pytest.mark.parametrize("mariadb", [False, True])
@pytest.mark.parametrize("checksums", [False, True])
def test_a_log_says_what_it_is_and_gives_its_events_in_place(tmp_path: Path, mariadb: bool, checksums: bool) -> None:
    path = small(mariadb=mariadb, checksums=checksums).save(tmp_path / "binlog.000001")
    with opened(path) as log:
        assert log.format.version.flavour is (Flavour.MARIADB if mariadb else Flavour.MYSQL)
        assert (log.format.checksums, log.format.in_use, log.format.time) == (checksums, False, NOON)
        found = list(log.events())
    assert found[0].position == log.format.end
    assert [event.end for event in found[:-1]] == [event.position for event in found[1:]]
    assert found[-1].end == path.stat().st_size
    assert decoding.rotate(found[-1].body) == ("binlog.000002", 4)


@pytest.mark.parametrize("checksums", [False, True])
def test_a_log_cut_at_any_byte_gives_the_whole_events_and_says_where_it_ends(tmp_path: Path, checksums: bool) -> None:
    forge = small(checksums=checksums)
    content, path = bytes(forge.content), tmp_path / "binlog.000001"
    everything, _ = read(forge.save(path))
    boundaries = {event.end for event in everything} | {everything[0].position}
    for length in range(len(content)):
        found, bad = read(written(path, content[:length]))
        assert found == everything[: len(found)]
        if length in boundaries:
            assert bad is None
            continue
        assert bad is not None
        assert bad.fault is Fault.CUT
        if length >= everything[0].position:
            assert bad.position == max(boundary for boundary in boundaries if boundary <= length)


@pytest.mark.parametrize("mariadb", [False, True])
def test_any_bit_turned_over_is_found_in_the_event_that_it_is_in(tmp_path: Path, mariadb: bool) -> None:
    forge = small(mariadb=mariadb)
    content, path = bytes(forge.content), tmp_path / "binlog.000001"
    everything, _ = read(forge.save(path))
    for position, changed in flips(content, range(len(content)), bit=3):
        found, bad = read(written(path, changed))
        assert bad is not None, f"byte {position}"
        within = [event.position for event in everything if event.position <= position]
        assert bad.position == (within[-1] if within else bad.position)
        assert found == [event for event in everything if event.end <= position]


def test_the_in_use_flag_is_no_damage(tmp_path: Path) -> None:
    with opened(Forge(in_use=True).save(tmp_path / "binlog.000001")) as log:
        assert log.format.in_use


def test_without_checksums_positions_are_the_proof(tmp_path: Path) -> None:
    forge = small(checksums=False)
    content = bytes(forge.content)
    everything, _ = read(forge.save(tmp_path / "binlog.000001"))
    second = everything[1].position
    for field in (9, 10, 11, 12, 13, 14):  # bytes of the event's size and of the next one's position
        _, bad = read(written(tmp_path / "binlog.000001", next(iter(flips(content, [second + field])))[1]))
        assert bad is not None
        assert (bad.fault, bad.position) == (Fault.DAMAGED, second)


def test_an_encrypted_log_is_refused_by_name(tmp_path: Path) -> None:
    _, bad = read(written(tmp_path / "binlog.000001", b"\xfdbin" + bytes(600)))
    assert bad is not None
    assert bad.fault is Fault.ENCRYPTED
    assert "encrypted by MySQL" in str(bad)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.sql", b"-- MySQL dump 10.13", "no binary log"),
        ("binlog-000001.ibb", b"\0\0\0\0", "inside InnoDB"),
        ("binlog.000001", b"\xfebin" + bytes(200), "no format description"),
    ],
)
def test_what_is_no_binary_log_is_refused_by_name(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    _, bad = read(written(tmp_path / name, content))
    assert bad is not None
    assert bad.fault is Fault.FOREIGN
    assert said in str(bad)


def test_folders_pipes_and_absent_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "absent"):
        _, bad = read(path)
        assert bad is not None


def test_an_event_larger_than_the_window_is_verified_and_not_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "WINDOW", 4096)
    forge = Forge().previous()
    begin = forge.position
    forge.gtid(1).query("BEGIN").table().rows(20_000).xid()
    found, bad = read(forge.save(tmp_path / "binlog.000001"))
    assert bad is None
    large = next(event for event in found if event.kind == Kind.WRITE_ROWS)
    assert (large.whole, len(large.body)) == (False, 4096 - 19)
    for position in (large.position + 5, large.position + 50_000, large.end - 1):
        changed = next(iter(flips(bytes(forge.content), [position])))[1]
        _, bad = read(written(tmp_path / "binlog.000001", changed))
        assert bad is not None
        assert (bad.fault, bad.position) == (Fault.DAMAGED, large.position)
    assert begin < large.position


def test_a_length_of_four_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    forge = Forge().previous()
    position = forge.position
    forge.transaction(1)
    forge.content[position + 9 : position + 13] = b"\xff\xff\xff\xff"
    path = forge.save(tmp_path / "binlog.000001")
    tracemalloc.start()
    try:
        _, bad = read(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert bad is not None
    assert bad.position == position


DECODERS = (
    decoding.query,
    decoding.query_compressed,
    decoding.mysql_gtid,
    decoding.tagged_gtid,
    decoding.previous_gtids,
    decoding.gtid_list,
    decoding.rotate,
    decoding.incident,
    decoding.table_map,
    decoding.payload,
    decoding.rows_query,
    lambda body: decoding.maria_gtid(body, 1),
    lambda body: rows.layout(decoding.table_map(body)),
)


@given(st.binary(max_size=200))
def test_no_bytes_make_a_decoder_do_anything_but_answer_or_refuse(body: bytes) -> None:
    for decode in DECODERS:
        try:
            decode(memoryview(body))
        except decoding.ERRORS:
            continue


@given(st.binary(max_size=120), st.sampled_from(sorted(rows.VERB)), st.binary(max_size=6), st.binary(max_size=12))
def test_no_bytes_make_counting_do_anything_but_answer_or_refuse(
    body: bytes, kind: Kind, types: bytes, metadata: bytes
) -> None:
    try:
        columns = rows.layout(decoding.TableMap(1, "s", "t", types, metadata))
        counted = rows.count(kind, memoryview(body), columns)
    except decoding.ERRORS:
        return
    assert counted is None or counted >= 0


@pytest.mark.parametrize("kind", [Kind.WRITE_ROWS, Kind.UPDATE_ROWS, Kind.DELETE_ROWS_V1, Kind.UPDATE_ROWS_V1])
def test_rows_are_counted_by_their_images(tmp_path: Path, kind: Kind) -> None:
    forge = Forge().previous().table().rows(37, kind=kind)
    found, _ = read(forge.save(tmp_path / "binlog.000001"))
    columns = rows.layout(decoding.table_map(found[-2].body))
    assert rows.count(kind, found[-1].body, columns) == 37


def test_a_tagged_gtid_is_read_as_the_server_writes_it() -> None:
    # From a MySQL 9.7.4 server's log, as mysqlbinlog --hexdump shows it.
    body = bytes.fromhex(
        "02720000000298 5902e50272 9d033022c503b9026d0304f103000000020404 06"
        "08626c7565083c0a400c7f64621075ed6006109104128312 0b"
    )
    found = decoding.tagged_gtid(memoryview(body))
    assert found.source == (HOME, "blue")
    assert (found.number, found.committed) == (1, 1_795_422_847_787_620)
