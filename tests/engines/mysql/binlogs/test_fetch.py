"""What is fetched is what the server has, byte for byte, and what it no longer has is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from engines.errors import RestoreError
from engines.mysql.binlogs import fetch
from engines.mysql.binlogs.chain import Coordinates, chain
from engines.mysql.binlogs.events import IN_USE, Kind, opened
from engines.mysql.binlogs.fetch import Fetched, fetch_logs, flush, listing
from engines.mysql.binlogs.logs import Closed
from engines.mysql.connect import Login, Place, connected
from engines.mysql.flavour import Flavour
from tests.engines.mysql.binlogs.workload import busy
from tests.servers.databases import FLAVOURS, PASSWORD, Build, Server, build_of
from tests.servers.proxy import proxied
from tests.servers.waiting import until

pytestmark = pytest.mark.xdist_group("binlogs")


def same(server: Server, fetched: Fetched) -> None:
    """The fetched files are the server's own; to the one in use it may have written meanwhile (checkpoints)."""
    for log in fetched.logs:
        theirs = (server.datadir / log.name).read_bytes()
        ours = log.path.read_bytes()
        assert ours == (theirs[: len(ours)] if log.in_use else theirs), log.name
        assert log.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("build", FLAVOURS, ids=lambda build: build.name)
def test_fetched_logs_are_byte_for_byte_those_of_the_server(
    build: Build, start_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = start_server(build)
    busy(server)
    seen: list[tuple[int, int]] = []
    folder = tmp_path / "logs"
    found = fetch_logs(server.place, server.login, folder, progress=lambda done, total: seen.append((done, total)))
    with connected(server.place, server.login) as connection:
        names = [one.name for one in listing(connection)]
    assert [log.name for log in found.logs] == names
    same(server, found)
    assert not list(folder.glob("*.part"))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]
    assert all(log.flaw is None for log in found.logs)
    assert (found.logs[-1].in_use, found.logs[-2].closed_by) == (True, Closed.ROTATE)
    proven = chain(found.logs, Coordinates(names[0], 4))
    assert (proven.problems, len(proven.links)) == ((), len(names))
    # Again: what is there is kept, what has grown since is fetched, and the closed ones are not touched.
    times = {log.name: log.path.stat().st_mtime_ns for log in found.logs[:-1]}
    again = fetch_logs(server.place, server.login, folder, since=names[1])
    assert [log.name for log in again.logs][:-1] == names[1:]
    assert {name: (folder / name).stat().st_mtime_ns for name in times} == times
    same(server, again)


def test_a_broken_line_leaves_a_part_that_is_continued(server: Server, tmp_path: Path) -> None:
    schema = server.new_schema()
    server.sql(
        "CREATE TABLE big (a LONGTEXT)",
        *[f"INSERT INTO big VALUES (REPEAT('{letter}', 3000000))" for letter in "abcdef"],
        database=schema,
    )
    with connected(server.place, server.login) as connection:
        since = listing(connection)[-1].name
    with proxied(server.port) as proxy:
        proxy.cut_after(9_000_000)
        with pytest.raises(RestoreError):
            fetch_logs(Place("127.0.0.1", proxy.port), server.login, tmp_path, since=since)
    (part,) = tmp_path.glob("*.part")
    assert part.stat().st_size > 5_000_000
    points: list[str] = []
    starts: list[int] = []
    found = fetch_logs(
        server.place,
        server.login,
        tmp_path,
        since=since,
        progress=lambda done, total: starts.append(done),
        at=points.append,
    )
    same(server, found)
    assert starts[0] > 5_000_000
    assert f"received {since}" in points
    assert not list(tmp_path.glob("*.part"))


def test_fetching_stops_on_request_and_goes_on_later(server: Server, tmp_path: Path) -> None:
    schema = server.new_schema()
    server.sql("CREATE TABLE t (a INT)", *["INSERT INTO t VALUES (1)"] * 100, database=schema)
    with connected(server.place, server.login) as connection:
        since = listing(connection)[-1].name
    asked = iter([False, True])
    with pytest.raises(RestoreError, match="Stopped"):
        fetch_logs(server.place, server.login, tmp_path, since=since, stop=lambda: next(asked, True))
    same(server, fetch_logs(server.place, server.login, tmp_path, since=since))


def purge(server: Server, to: str) -> None:
    """Remove the logs before `to`. MariaDB does it only once its storage engine needs them no more."""

    def gone() -> bool:
        server.sql(f"PURGE BINARY LOGS TO '{to}'")
        return str(server.sql("SHOW BINARY LOGS")[0][0]) == to

    until(gone, "the logs are purged")


def test_a_purged_log_is_named(server: Server, tmp_path: Path) -> None:
    with connected(server.place, server.login) as connection:
        first = listing(connection)[-1].name
        flush(connection)
        last = listing(connection)[-1].name
    purge(server, last)
    with pytest.raises(RestoreError, match=f"no longer has {first}"):
        fetch_logs(server.place, server.login, tmp_path, since=first)


def test_a_log_purged_between_listing_and_fetching_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connected(server.place, server.login) as connection:
        flush(connection)
        flush(connection)
        names = [one.name for one in listing(connection)]
    real = fetch.listing
    purged = [False]

    def purging(connection: Connection[Cursor]) -> tuple[fetch.Listed, ...]:
        found = real(connection)
        if not purged[0]:
            purged[0] = True
            purge(server, found[-1].name)
        return found

    monkeypatch.setattr(fetch, "listing", purging)
    found = fetch_logs(server.place, server.login, tmp_path, since=names[-2])
    assert found.purged == tuple(names[-2:])
    assert len(found.logs) == 1


def test_without_the_privileges_the_hint_says_which(server: Server, tmp_path: Path) -> None:
    server.sql("CREATE USER reader IDENTIFIED BY 'a long enough secret'")
    login = Login("reader", "a long enough secret")
    with pytest.raises(RestoreError) as refused:
        fetch_logs(server.place, login, tmp_path)
    assert "REPLICATION SLAVE" in refused.value.hint
    assert "secret" not in f"{refused.value}{refused.value.hint}"
    assert PASSWORD not in str(refused.value)


def test_mariadbs_encrypted_logs_come_in_the_clear_at_their_own_positions(
    start_server: Callable[..., Server], tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("1;" + "a7" * 32 + "\n")
    server = start_server(
        build_of(Flavour.MARIADB),
        "--plugin-load-add=file_key_management",
        f"--loose-file-key-management-filename={keys}",
        "--encrypt-binlog=ON",
    )
    server.sql("CREATE DATABASE s", "CREATE TABLE s.t (a INT)", "INSERT INTO s.t VALUES (1), (2)", "FLUSH BINARY LOGS")
    found = fetch_logs(server.place, server.login, tmp_path / "logs")
    for log in found.logs:
        assert log.flaw is None
        assert log.size == (server.datadir / log.name).stat().st_size
        with opened(log.path) as reading:
            assert next(iter(reading.events())).kind == Kind.IGNORABLE
    assert chain(found.logs, Coordinates(found.logs[0].name, 4)).problems == ()
    with opened(found.logs[-1].path) as reading:
        assert reading.format.in_use
    assert found.logs[-1].path.read_bytes()[4 + 17] & IN_USE
