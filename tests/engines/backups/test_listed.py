"""Binary logs in a folder and in a bucket: listed alike, and brought here with what was listed of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from engines.backups.checksums import Digest
from engines.backups.listed import backups, fetch_listed, listed_logs
from engines.backups.places import Location, ObjectAt
from engines.errors import Refused, RestoreError
from tests.engines.backups.folder import fill
from tests.engines.backups.objects import Bucket, fresh_name, sha256
from tests.servers.s3 import S3Server

LOGS = {f"binlog.{number:06}": f"\xfebin{number}".encode("latin-1") for number in (3, 1, 2)}
Put = Callable[[Mapping[str, bytes], bool], Location]


@pytest.fixture(params=["folder", "bucket", "bucket with versions"])
def put(request: pytest.FixtureRequest, tmp_path: Path) -> Put:
    """Puts files into a place of the test's own."""
    if request.param == "folder":

        def put_files(files: Mapping[str, bytes], listed: bool = True) -> Location:
            folder = tmp_path / "kept"
            folder.mkdir(exist_ok=True)
            fill(folder, files, listed)
            return folder

        return put_files
    bucket = Bucket(request.getfixturevalue("s3"), fresh_name(), versioned=request.param != "bucket")

    def put_objects(files: Mapping[str, bytes], listed: bool = True) -> Location:
        bucket.put(files, listed=listed)
        return bucket.folder

    return put_objects


def test_logs_come_in_the_order_of_their_numbers(put: Put) -> None:
    place = put({**LOGS, "binlog.1000000": b"x", "binlog.999999.gz": b"x", "binlog.index": b"x", "a.sql": b"x"}, False)
    found = listed_logs(place)
    assert [log.name for log in found.logs] == [*sorted(LOGS), "binlog.999999.gz", "binlog.1000000"]
    assert found.problems == ()
    first = found.logs[0]
    assert first.size == 5
    assert first.expected is None
    assert bool(first.version) == (isinstance(first.place, ObjectAt) and first.place.version != "")


def test_what_lists_logs_goes_with_them_and_what_is_missing_is_said(put: Put) -> None:
    place = put({**LOGS, "binlog.000009": b"gone", "checksums.txt": b""}, True)
    listing = "".join(f"{sha256(content)}  {name}\n" for name, content in LOGS.items())
    place = put({"checksums.txt": f"{listing}{'1' * 64}  binlog.000007\n".encode()}, False)
    found = listed_logs(place)
    assert found.logs[0].expected == Digest("sha256", sha256(LOGS["binlog.000001"]))
    assert found.logs[-1].expected is None
    (problem,) = found.problems
    assert "binlog.000007: checksums.txt line 4 lists it" in problem


def test_chosen_logs_are_fetched_and_a_second_time_used_again(put: Put, tmp_path: Path) -> None:
    found = listed_logs(put(LOGS, True))
    told: list[tuple[int, int]] = []
    into = tmp_path / "staging"
    staged = fetch_listed(found.logs[1:], into, progress=lambda done, total: told.append((done, total)))
    assert [Path(one.path).name for one in staged] == ["binlog.000002", "binlog.000003"]
    assert [Path(one.path).read_bytes() for one in staged] == [LOGS["binlog.000002"], LOGS["binlog.000003"]]
    assert told[-1] == (10, 10)
    assert not (into / "binlog.000001").exists()
    assert fetch_listed(found.logs[1:], into) == staged


def test_a_log_that_is_not_what_was_listed_is_refused(put: Put, tmp_path: Path) -> None:
    place = put(LOGS, True)
    put({"binlog.000002": b"other"}, False)
    with pytest.raises(Refused, match=r"binlog\.000002 has sha256"):
        fetch_listed(listed_logs(place).logs, tmp_path / "staging")
    assert (tmp_path / "staging" / "binlog.000001").exists()


def test_dumps_of_a_folder_and_of_a_bucket_are_listed_alike(put: Put) -> None:
    files = {"shop-2026-11-22.sql.gz": b"newer", "shop-2026-11-21.sql": b"older", "shop.txt": b"none"}
    found = backups(put(files, True), "*.sql*")
    assert [(one.name, one.kind, one.size) for one in found.backups] == [
        ("shop-2026-11-22.sql.gz", "dump", 5),
        ("shop-2026-11-21.sql", "dump", 5),
    ]
    assert all(one.expected for one in found.backups)


def test_a_bucket_that_is_not_there_cannot_be_listed(s3: S3Server) -> None:
    folder = Bucket(s3, fresh_name()).folder
    with pytest.raises(RestoreError, match="no such bucket"):
        listed_logs(type(folder)(folder.service, "no-such-bucket-at-all", ""))
