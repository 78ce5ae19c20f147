"""A chain of logs is believed as far as it is proven, and not a byte further."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.errors import RestoreError
from engines.mysql.binlogs.chain import Chain, Coordinates, chain, coverage
from engines.mysql.binlogs.events import Fault, Kind
from engines.mysql.binlogs.gtids import GtidSet
from engines.mysql.binlogs.logs import Closed, logs_in, read_log, read_logs
from tests.engines.mysql.binlogs.forge import HOME, NOON, Forge

OTHER = "00000000-e718-11f1-aedb-02fc00000002"


def name(number: int) -> str:
    return f"binlog.{number:06}"


def log(number: int, *, gtids: bool = True, mariadb: bool = False, server_id: int = 9, uuid: str = HOME) -> Forge:
    """The log of this number, with ten transactions; the numbers count on, and it is not closed."""
    first = (number - 1) * 10 + 1
    forge = Forge(mariadb=mariadb, server_id=server_id, uuid=uuid, at=NOON + number * 100)
    if mariadb:
        forge.previous(f"0-9-{first - 1}" if first > 1 else "")
    else:
        forge.previous(f"{uuid}:1-{first - 1}" if gtids and first > 1 else "")
    for index in range(first, first + 10):
        forge.at += 1
        forge.transaction(index if gtids else 0)
    forge.at += 1
    return forge


def closed(number: int, **kind: bool) -> Forge:
    return log(number, **kind).rotate(name(number + 1))  # type: ignore[arg-type]  # only the flags are passed


def chained(folder: Path, start: Coordinates | None = None) -> Chain:
    found = [read_log(path) for path in sorted(folder.glob("binlog.*"))]
    return chain(found, start or Coordinates(name(1), 4))


def three(folder: Path, **kind: bool) -> None:
    for number in (1, 2, 3):
        closed(number, **kind).save(folder / name(number))


@pytest.mark.parametrize("kind", [{}, {"gtids": False}, {"mariadb": True}])
def test_logs_that_name_and_continue_one_another_are_a_chain(tmp_path: Path, kind: dict[str, bool]) -> None:
    three(tmp_path, **kind)
    found = chained(tmp_path)
    assert [link.log.name for link in found.links] == [name(1), name(2), name(3)]
    assert found.problems == ()
    assert found.transactions == 30
    assert found.reach is not None
    assert int(found.reach.timestamp()) == NOON + 310
    assert found.end == (name(3), (tmp_path / name(3)).stat().st_size)
    assert not found.statements


@pytest.mark.parametrize("kind", [{}, {"gtids": False}, {"mariadb": True}])
def test_a_missing_log_bounds_the_chain_and_is_named(tmp_path: Path, kind: dict[str, bool]) -> None:
    three(tmp_path, **kind)
    closed(6, **kind).save(tmp_path / name(6))
    found = chained(tmp_path)
    assert [link.log.name for link in found.links] == [name(1), name(2), name(3)]
    (problem,) = found.problems
    assert "binlog.000004 to binlog.000005 are missing" in str(problem)
    first, second = coverage(read_log(path) for path in tmp_path.glob("binlog.*"))
    assert (first.first, first.last, second.first, second.last) == (name(1), name(3), name(6), name(6))
    assert "are missing" in first.broken
    assert first.end < second.start


def test_the_log_in_which_the_dump_begins_is_named_when_it_was_purged(tmp_path: Path) -> None:
    three(tmp_path)
    (tmp_path / name(1)).unlink()
    found = chained(tmp_path)
    assert found.links == ()
    assert "binlog.000001" in str(found.problems[0])
    assert "not here" in str(found.problems[0])
    assert "binlog.000002 to binlog.000003" in str(found.problems[0])


@pytest.mark.parametrize("mariadb", [False, True])
def test_another_servers_file_of_the_right_name_is_found_by_its_gtids(tmp_path: Path, mariadb: bool) -> None:
    three(tmp_path, mariadb=mariadb)
    if mariadb:
        stranger = Forge(mariadb=True, server_id=9, at=NOON + 300).previous("0-9-19").transaction(20)
    else:
        stranger = log(3, uuid=OTHER)
    stranger.rotate(name(4)).save(tmp_path / name(3))
    found = chained(tmp_path)
    assert [link.log.name for link in found.links] == [name(1), name(2)]
    assert "another server's file" in str(found.problems[0])


def test_another_servers_file_without_gtids_is_found_by_its_server_id(tmp_path: Path) -> None:
    three(tmp_path, gtids=False)
    log(3, gtids=False, server_id=77).rotate(name(4)).save(tmp_path / name(3))
    found = chained(tmp_path)
    assert found.end is not None
    assert found.end[0] == name(2)
    assert "id 77" in str(found.problems[0])


def test_a_log_from_the_past_without_gtids_is_found_by_its_clock(tmp_path: Path) -> None:
    three(tmp_path, gtids=False)
    Forge(at=NOON - 5000).previous().transaction(0).rotate(name(4)).save(tmp_path / name(3))
    assert "begun before" in str(chained(tmp_path).problems[0])


def test_transactions_that_are_in_no_log_are_a_gap(tmp_path: Path) -> None:
    three(tmp_path)
    Forge(at=NOON + 300).previous(f"{HOME}:1-25").transaction(26).rotate(name(4)).save(tmp_path / name(3))
    assert "5 transactions before it are in no log" in str(chained(tmp_path).problems[0])


def test_a_log_that_names_another_as_the_next_is_not_continued(tmp_path: Path) -> None:
    three(tmp_path)
    log(2).rotate("mysql-bin.000003").save(tmp_path / name(2))
    assert "names mysql-bin.000003" in str(chained(tmp_path).problems[0])


def test_a_crashed_servers_log_is_continued_only_where_gtids_prove_it(tmp_path: Path) -> None:
    three(tmp_path)
    log(2).save(tmp_path / name(2))
    found = chained(tmp_path)
    assert found.problems == ()
    assert any("never closed" in note for note in found.notes)
    three(tmp_path, gtids=False)
    log(2, gtids=False).save(tmp_path / name(2))
    found = chained(tmp_path)
    assert len(found.links) == 2
    assert "never closed" in str(found.problems[0])


@pytest.mark.parametrize("last", [1, 2])
def test_a_log_cut_anywhere_keeps_its_whole_transactions_alone(tmp_path: Path, last: int) -> None:
    """Cut at each byte: the last log of a chain, and one in the middle of it."""
    three(tmp_path)
    for number in range(last + 2, 4):
        (tmp_path / name(number)).unlink()
    cut = tmp_path / name(last)
    content = cut.read_bytes()
    for length in range(0, len(content), 7):
        cut.write_bytes(content[:length])
        facts = read_log(cut)
        found = chained(tmp_path)
        assert facts.whole <= length
        if not found.problems:  # cut just before it was closed, and GTIDs prove that nothing else is missing
            assert (last, facts.transactions, found.transactions) == (2, 10, 30)
            continue
        assert found.transactions == sum(link.log.transactions for link in found.links)
        assert not any(link.log.name > name(last) for link in found.links)
    cut.write_bytes(content)
    assert len(chained(tmp_path).links) == last + 1


def test_a_log_copied_while_it_was_written_is_used_up_to_its_last_whole_transaction(tmp_path: Path) -> None:
    closed(1).save(tmp_path / name(1))
    forge = Forge(in_use=True, at=NOON + 200).previous(f"{HOME}:1-10").transaction(11)
    whole = forge.position
    forge.transaction(12)
    (tmp_path / name(2)).write_bytes(forge.content[:-9])
    found = chained(tmp_path)
    assert found.problems == ()
    assert found.end == (name(2), whole)
    assert found.transactions == 11
    assert any("copied while the server wrote it" in note for note in found.notes)
    # The same bytes, not in use: the copy broke off.
    sealed = Forge(at=NOON + 200).previous(f"{HOME}:1-10").transaction(11).transaction(12)
    (tmp_path / name(2)).write_bytes(sealed.content[:-9])
    found = chained(tmp_path)
    assert found.problems[0].fault is Fault.CUT
    assert found.end == (name(2), whole)


def test_a_log_that_ends_inside_a_transaction_ends_before_it(tmp_path: Path) -> None:
    forge = log(1)
    whole = forge.position
    forge.gtid(11).query("BEGIN").table().save(tmp_path / name(1))
    facts = read_log(tmp_path / name(1))
    assert facts.flaw is not None
    assert (facts.whole, facts.flaw.position, facts.transactions) == (whole, whole, 10)
    assert "inside a transaction" in str(facts.flaw)


def test_a_transaction_that_begins_inside_another_ends_what_can_be_used(tmp_path: Path) -> None:
    forge = log(1)
    whole = forge.position
    forge.gtid(11).query("BEGIN").table().rows().transaction(12).rotate(name(2)).save(tmp_path / name(1))
    facts = read_log(tmp_path / name(1))
    assert facts.flaw is not None
    assert (facts.flaw.fault, facts.whole, facts.transactions) == (Fault.DAMAGED, whole, 10)


def test_a_damaged_log_bounds_the_chain_at_its_last_sound_transaction(tmp_path: Path) -> None:
    three(tmp_path)
    path = tmp_path / name(2)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    found = chained(tmp_path)
    assert [link.log.name for link in found.links] == [name(1), name(2)]
    assert found.problems[0].fault is Fault.DAMAGED
    assert found.links[1].end <= len(content) // 2
    assert 10 < found.transactions < 20


def test_encrypted_logs_and_incidents_end_the_chain_by_name(tmp_path: Path) -> None:
    three(tmp_path, mariadb=True)
    log(2, mariadb=True).event(Kind.START_ENCRYPTION, bytes(17)).save(tmp_path / name(2))
    assert "encrypted by MariaDB" in str(chained(tmp_path).problems[0])
    three(tmp_path)
    log(2).event(Kind.INCIDENT, b"\1\0\3bad").rotate(name(3)).save(tmp_path / name(2))
    assert "events are missing here (incident number 1, bad)" in str(chained(tmp_path).problems[0])


def test_a_position_inside_a_transaction_is_not_a_start(tmp_path: Path) -> None:
    three(tmp_path)
    first = read_log(tmp_path / name(1))
    found = chained(tmp_path, Coordinates(name(1), first.first + 80))
    assert found.links == ()
    assert "inside a transaction" in str(found.problems[0])
    assert "behind its end" in str(chained(tmp_path, Coordinates(name(1), 1 << 30)).problems[0])


def test_a_position_between_two_transactions_counts_from_there(tmp_path: Path) -> None:
    forge = log(1)
    middle = forge.position
    forge.transaction(11).rotate(name(2)).save(tmp_path / name(1))
    found = chained(tmp_path, Coordinates(name(1), middle))
    assert (found.links[0].begin, found.transactions) == (middle, 1)


def test_a_gtid_set_finds_the_log_and_the_byte(tmp_path: Path) -> None:
    three(tmp_path)
    found = chained(tmp_path, Coordinates(gtid_set=f"{HOME}:1-14"))
    by_position = chained(tmp_path, Coordinates(name(2), found.links[0].begin))
    assert found.links == by_position.links
    assert found.links[0].log.name == name(2)
    assert found.transactions == 16
    assert found.already == GtidSet.parse(f"{HOME}:1-14")


def test_a_mariadb_position_finds_the_log_and_the_byte(tmp_path: Path) -> None:
    three(tmp_path, mariadb=True)
    found = chained(tmp_path, Coordinates(gtid_set="0-9-14"))
    assert found.links[0].log.name == name(2)
    assert found.transactions == 16


def test_gtids_older_than_the_logs_are_a_gap(tmp_path: Path) -> None:
    closed(2).save(tmp_path / name(2))
    found = chained(tmp_path, Coordinates(gtid_set=f"{HOME}:1-4"))
    assert found.links == ()
    assert f"{HOME}:5-10" in str(found.problems[0])


def test_a_dump_of_another_server_does_not_begin_in_this_log(tmp_path: Path) -> None:
    three(tmp_path)
    found = chained(tmp_path, Coordinates(name(2), 4, f"{OTHER}:1-900"))
    assert found.links == ()
    assert "another server's file" in str(found.problems[0])


def test_two_different_logs_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder, uuid in (("a", HOME), ("b", OTHER)):
        (tmp_path / folder).mkdir()
        log(1, uuid=uuid).save(tmp_path / folder / name(1))
    logs = [read_log(tmp_path / folder / name(1)) for folder in ("a", "b")]
    assert "two different logs" in str(chain(logs, Coordinates(name(1), 4)).problems[0])
    assert chain([logs[0], logs[0]], Coordinates(name(1), 4)).links


def test_a_log_says_how_its_changes_are_written(tmp_path: Path) -> None:
    rows = read_log(log(1).gtid(11).query("create table x (a int)").save(tmp_path / name(1)))
    assert (rows.statements, rows.closed_by, rows.precise) == (False, Closed.OPEN, True)
    written = log(1).gtid(11).query("BEGIN").query("/* app */ insert into t values (1)").xid()
    assert read_log(written.save(tmp_path / name(1))).statements
    user = log(1).gtid(11).query("BEGIN").event(Kind.USER_VAR, b"\0").query("SAVEPOINT a").xid()
    assert read_log(user.save(tmp_path / name(1))).statements


def test_reading_stops_on_request_and_says_how_far_it_is(tmp_path: Path) -> None:
    forge = Forge().previous()
    for number in range(1, 8001):
        forge.transaction(number)
    path = forge.save(tmp_path / name(1))
    seen: list[tuple[int, int]] = []
    read_log(path, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)
    with pytest.raises(RestoreError, match="Stopped"):
        read_log(path, stop=lambda: True)


def test_a_folder_gives_its_logs_in_order_and_nothing_else(tmp_path: Path) -> None:
    three(tmp_path)
    for other in ("binlog.index", "binlog.000004.part", "notes.txt", "dump.sql"):
        (tmp_path / other).write_text("")
    closed(4).save(tmp_path / "binlog.1000000")
    paths = logs_in(tmp_path)
    assert [path.name for path in paths] == [name(1), name(2), name(3), "binlog.1000000"]
    seen: list[tuple[int, int]] = []
    assert [log.transactions for log in read_logs(paths, progress=lambda *told: seen.append(told))] == [10] * 4
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == sum(path.stat().st_size for path in paths)
    with pytest.raises(RestoreError, match="can't be read"):
        logs_in(tmp_path / "absent")
