"""The server's latest binary logs are in our hands before anything else, verified, described, pruned when due."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from engines import shelf
from engines.errors import Refused, RestoreError
from engines.mysql.binlogs.logs import read_log
from engines.mysql.kept_logs import Wanted, keep_logs
from engines.mysql.snapshot import listed
from tests.engines.mysql.snap.ground import MONTH
from tests.servers.databases import Server
from tests.servers.waiting import until


def wanted(server: Server, folder: Path, since: str = "") -> Wanted:
    return Wanted(
        place=server.place,
        login=server.login,
        schema="shop",
        folder=str(folder / "snapshots"),
        name="logs",
        keep_until=MONTH,
        target="shop",
        session="2026-11-22-7f3a",
        since=since,
    )


def written(server: Server) -> str:
    """Some transactions in a log of their own; its name."""
    schema = server.new_schema()
    server.sql("CREATE TABLE t (a INT)", "FLUSH BINARY LOGS", database=schema)
    name = str(server.sql("SHOW BINARY LOGS")[-1][0])
    server.sql(*["INSERT INTO t VALUES (1)"] * 10, database=schema)
    return name


def purge_to(server: Server, name: str) -> None:
    def gone() -> bool:
        server.sql(f"PURGE BINARY LOGS TO '{name}'")
        return str(server.sql("SHOW BINARY LOGS")[0][0]) == name

    until(gone, "the logs are purged")


def test_they_are_kept_with_their_hashes_after_the_server_has_purged_its_own(server: Server, tmp_path: Path) -> None:
    name = written(server)
    said: list[str] = []
    seen: list[tuple[int, int]] = []
    want = wanted(server, tmp_path, name)
    kept = keep_logs(want, say=said.append, progress=lambda done, total: seen.append((done, total)))
    raw = kept.snapshot.raw
    assert raw is not None
    assert raw.files[0].name == name
    assert len(raw.files) == 2  # the one that was being written, closed by the flush, and the next
    purge_to(server, str(server.sql("SHOW BINARY LOGS")[-1][0]))
    for file in raw.files:
        content = Path(raw.folder, file.name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
        assert any(file.sha256 in line for line in said)
    assert read_log(Path(raw.folder, name)).transactions == 10
    assert (kept.missing, kept.flaws) == ((), ())
    assert seen[-1][0] == seen[-1][1]
    assert listed(want.folder).snapshots == (kept.snapshot,)
    assert Path(raw.folder).stat().st_mode & 0o777 == 0o700
    assert len(shelf.prune(want.folder, MONTH)) == 3
    assert not list(Path(want.folder).iterdir())


def test_what_the_server_does_not_have_any_more_is_named_and_the_rest_is_kept(server: Server, tmp_path: Path) -> None:
    gone = written(server)
    there = written(server)
    purge_to(server, there)
    said: list[str] = []
    kept = keep_logs(wanted(server, tmp_path, gone), say=said.append)
    assert kept.missing == (gone,)
    assert any(gone in line for line in said)
    assert kept.snapshot.raw is not None
    assert kept.snapshot.raw.files[0].name == there
    other = replace(wanted(server, tmp_path, "another-bin.000004"), name="other")
    assert keep_logs(other).missing == ("another-bin.000004",)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("point", ["logs.fetch.before", "received", "logs.fetched", "logs.describe.after"])
def test_killed_at_any_point_they_are_complete_or_do_not_count(server: Server, point: str, tmp_path: Path) -> None:
    want = wanted(server, tmp_path, written(server))
    child = os.fork()
    if not child:
        keep_logs(want, at=lambda passed: os._exit(9) if passed.startswith(point) else None)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    found = listed(want.folder)
    assert found.damaged == ()
    if point == "logs.describe.after":
        assert len(found.snapshots) == 1
        with pytest.raises(Refused, match="exists already"):
            keep_logs(want)
        return
    assert found.snapshots == ()
    kept = keep_logs(want)
    assert kept.snapshot.raw is not None
    assert {path.name for path in Path(kept.snapshot.raw.folder).iterdir()} == {
        file.name for file in kept.snapshot.raw.files
    }


def test_a_stop_leaves_nothing_that_counts(server: Server, tmp_path: Path) -> None:
    want = wanted(server, tmp_path, written(server))
    with pytest.raises(RestoreError, match=r"[Ss]topped"):
        keep_logs(want, stop=lambda: True)
    assert listed(want.folder).snapshots == ()
