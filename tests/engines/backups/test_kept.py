"""Safety snapshots in a bucket: proven by reading them back; what is half sent or changed since is taken for none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from engines.backups import kept, uploading
from engines.backups.places import BucketFolder, ObjectAt
from engines.backups.s3 import S3, asking
from engines.backups.uploading import Content, client_of, small
from engines.checks import Verdict
from engines.errors import OtherBytes, Refused, RestoreError
from engines.shelf import Pruned, RawCopy, RawFile, Snapshot
from engines.text import stamp
from tests.engines.backups.objects import Bucket, fresh_name, sha256
from tests.servers.proxy import proxied
from tests.servers.s3 import S3Server, answering, refusal

NOW = datetime(2026, 11, 24, 22, 0, tzinfo=UTC)
DUMP, LOG = b"packed rows " * 1000, b"events"
PART = 5 << 20  # the smallest that S3 takes
LARGE = os.urandom(2 * PART + 1000)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(params=[False, True], ids=["plain", "versioned"])
def bucket(request: pytest.FixtureRequest, s3: S3Server) -> Bucket:
    return Bucket(s3, fresh_name(), versioned=request.param, prefix="safety/shop/")


@pytest.fixture
def plain(s3: S3Server) -> Bucket:
    return Bucket(s3, fresh_name(), prefix="safety/shop/")


def made(folder: Path, name: str = "shop-night", until: datetime = NOW) -> Snapshot:
    """A snapshot in a folder of this machine, with a log beside it."""
    raw = folder / f"{name}.raw"
    raw.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.sql.zst").write_bytes(DUMP)
    (raw / "binlog.000007").write_bytes(LOG)
    return Snapshot(
        name=name,
        folder=str(folder),
        path=str(folder / f"{name}.sql.zst"),
        sha256=sha256(DUMP),
        size=len(DUMP),
        taken_at=stamp(NOW - timedelta(days=30)),
        keep_until=stamp(until),
        target="shop",
        session="s",
        kind="before-restore",
        of="db1:3306/shop",
        raw=RawCopy(str(raw), (RawFile("binlog.000007", len(LOG), sha256(LOG)),)),
    )


def upload(content: Content, folder: BucketFolder, name: str, **more: Any) -> ObjectAt:  # noqa: ANN401 - its own
    with client_of(folder.service) as client:
        return uploading.upload(client, content, folder, name, **more)


def sha256_of(place: ObjectAt) -> str:
    with client_of(place.service) as client:
        return uploading.sha256_of(client, place)


def keys(bucket: Bucket) -> list[str]:
    client = bucket.s3.client()
    found = client.list_objects_v2(Bucket=bucket.name, Prefix=bucket.prefix).get("Contents", ())
    client.close()
    return [one["Key"].removeprefix(bucket.prefix) for one in found]


def unfinished(bucket: Bucket) -> list[str]:
    client = bucket.s3.client()
    found = client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", ())
    client.close()
    return [one["Key"] for one in found]


def at_point(name: str, harm: Callable[[], object]) -> Callable[[str], None]:
    """Does harm the first time that the point is passed."""
    left = [harm]

    def at(point: str) -> None:
        if point == name and left:
            left.pop()()

    return at


def through(bucket: Bucket, port: int) -> BucketFolder:
    return replace(bucket.folder, service=bucket.service(f"http://127.0.0.1:{port}"))


# -- kept ---------------------------------------------------------------------------------------------------


def test_what_is_kept_is_listed_with_its_objects_and_reads_back(bucket: Bucket, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    one = kept.keep(made(tmp_path), bucket.folder, progress=lambda *done: told.append(done))
    assert sorted(keys(bucket)) == ["shop-night.raw/binlog.000007", "shop-night.sql.zst", "shop-night.toml"]
    there = kept.listed(bucket.folder, Snapshot)
    assert there.snapshots == (one,)
    assert there.damaged == ()
    assert bool(one.version) is bucket.versioned
    assert sha256_of(kept.place_of(one, bucket.service())) == sha256(DUMP)
    assert told[-1] == (2 * (len(DUMP) + len(LOG)),) * 2
    client = bucket.s3.client()
    metadata = client.head_object(Bucket=bucket.name, Key="safety/shop/shop-night.sql.zst")["Metadata"]
    client.close()
    assert metadata == {"sha256": sha256(DUMP), "keep-until": stamp(NOW), "session": "s"}
    with pytest.raises(Refused, match="exists already"):
        kept.keep(made(tmp_path), bucket.folder)


def test_a_file_that_is_not_what_was_hashed_is_not_kept(plain: Bucket, tmp_path: Path) -> None:
    one = made(tmp_path)
    Path(str(one.path)).write_bytes(DUMP[:-1] + b"x")
    with pytest.raises(OtherBytes, match="does not read back as it was sent"):
        kept.keep(one, plain.folder)
    assert kept.listed(plain.folder, Snapshot).snapshots == ()
    assert keys(plain) == []


@pytest.mark.parametrize("point", ["upload.end.after", "upload.proof.after", "keep.describe.before"])
def test_what_was_sent_is_not_left_where_it_is_not_described(bucket: Bucket, tmp_path: Path, point: str) -> None:
    """Whole objects, of which the first is a log and the second the dump; and nobody else's go."""
    bucket.put({"shop-night.sql.zst": b"an earlier one"}, listed=False)
    passed, said = 0, list[str]()

    def at(name: str) -> None:
        nonlocal passed
        passed += name == point
        if name == point and passed == (1 if point == "keep.describe.before" else 2):
            raise RestoreError("The point of the test.", "")

    with pytest.raises(RestoreError, match="The point of the test"):
        kept.keep(made(tmp_path), bucket.folder, say=said.append, at=at)
    assert unfinished(bucket) == []
    assert keys(bucket) == (["shop-night.sql.zst"] if bucket.versioned else [])
    assert any(f"{bucket.folder}shop-night.sql.zst is removed again" in line for line in said)
    client = bucket.s3.client()
    found = client.list_object_versions(Bucket=bucket.name)
    client.close()
    assert not found.get("DeleteMarkers")
    assert len(found.get("Versions", ())) == bucket.versioned


def test_what_is_described_stays_whole_though_the_description_could_not_be_proven(
    bucket: Bucket, tmp_path: Path
) -> None:
    told = iter(range(9))

    def proven(*asked: object) -> None:
        if next(told) == 2:
            raise RestoreError("The line broke.", "")

    with (
        patch.object(uploading, "_refuse_other", proven),
        patch.object(uploading, "remove", side_effect=RestoreError("The line broke.", "")),
        pytest.raises(RestoreError, match="The line broke"),
    ):
        kept.keep(made(tmp_path), bucket.folder)
    assert len(keys(bucket)) == 3
    assert len(kept.listed(bucket.folder, Snapshot).snapshots) == 1


def test_what_is_written_over_before_it_is_read_back_is_noticed(bucket: Bucket) -> None:
    harm = at_point("upload.end.after", lambda: bucket.put({"a.sql.zst": b"other rows"}, listed=False))
    if bucket.versioned:  # another version lies on top; this one is what it was
        place = upload(small(DUMP), bucket.folder, "a.sql.zst", at=harm)
        assert sha256_of(place) == sha256(DUMP)
        return
    with pytest.raises(Refused, match="has changed since"):
        upload(small(DUMP), bucket.folder, "a.sql.zst", at=harm)


def test_there_is_no_such_bucket(plain: Bucket, tmp_path: Path) -> None:
    gone = replace(plain.folder, bucket=fresh_name())
    with pytest.raises(RestoreError, match="there is no such bucket") as refused:
        kept.keep(made(tmp_path), gone)
    assert "Nothing was changed" in refused.value.message
    assert kept.writable(gone).verdict is Verdict.FAIL


def test_a_bucket_that_may_not_be_written_is_refused_with_what_it_takes(plain: Bucket, tmp_path: Path) -> None:
    with answering(lambda path: refusal(403, "AccessDenied") if "uploads" in path else refusal(404, "NoSuchKey")) as at:
        folder = replace(plain.folder, service=plain.service(at))
        with pytest.raises(RestoreError, match="access is denied") as refused:
            kept.keep(made(tmp_path), folder)
        check = kept.writable(folder)
    assert "s3:PutObject" in refused.value.hint
    assert (check.verdict, "s3:PutObject" in check.hint) == (Verdict.FAIL, True)


def test_a_bucket_that_can_be_written_is_left_as_it_was(bucket: Bucket) -> None:
    check = kept.writable(bucket.folder)
    assert check.verdict is Verdict.OK
    assert keys(bucket) == []
    client = bucket.s3.client()
    found = client.list_object_versions(Bucket=bucket.name)
    client.close()
    assert not found.get("Versions")
    assert not found.get("DeleteMarkers")


# -- broken lines, and kills --------------------------------------------------------------------------------


def test_a_line_that_breaks_costs_a_part_and_no_more(plain: Bucket) -> None:
    with proxied(int(plain.s3.endpoint.rpartition(":")[2])) as proxy:
        place = upload(
            small(LARGE), through(plain, proxy.port), "a", part=PART, at=at_point("upload.part.after", proxy.cut)
        )
    assert sha256_of(replace(place, service=plain.service())) == sha256(LARGE)
    assert unfinished(plain) == []


@pytest.mark.parametrize("other", [False, True], ids=["ours", "another's"])
def test_an_answer_that_is_lost_when_the_parts_become_an_object_costs_nothing(bucket: Bucket, other: bool) -> None:
    """Asked again, the service knows of no such upload: it is done, unless what is there is somebody's."""
    from botocore.exceptions import ClientError

    asked = 0
    with client_of(bucket.service()) as client:
        complete: Any = client.complete_multipart_upload

        def losing(**more: Any) -> Any:  # noqa: ANN401 - as boto3 has it
            nonlocal asked
            asked += 1
            if asked > 1:  # as S3 has it; moto may answer what it answered before
                raise ClientError({"Error": {"Code": "NoSuchUpload", "Message": ""}}, "CompleteMultipartUpload")
            complete(**more)
            if other:
                bucket.put({"a": b"another's"}, listed=False)
            raise TimeoutError

        with patch.object(client, "complete_multipart_upload", losing):
            if other:
                with pytest.raises(RestoreError, match="can't be uploaded: it is not there"):
                    uploading.upload(client, small(DUMP), bucket.folder, "a")
                return
            place = uploading.upload(client, small(DUMP), bucket.folder, "a")
    assert asked == 2
    assert bool(place.version) is bucket.versioned
    assert sha256_of(place) == sha256(DUMP)


def test_a_line_that_stays_broken_leaves_nothing_that_counts_and_the_next_attempt_clears_up(
    plain: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "ATTEMPTS", 2)
    with proxied(int(plain.s3.endpoint.rpartition(":")[2])) as proxy:

        def read(begin: int, end: int) -> bytes:
            if begin:
                proxy.refuse()
                proxy.cut()
            return LARGE[begin:end]

        with pytest.raises(RestoreError, match=r"can't be uploaded: the .*(broke|reached)"):
            upload(Content(len(LARGE), sha256(LARGE), read), through(plain, proxy.port), "a", part=PART)
    assert keys(plain) == []
    assert unfinished(plain) == ["safety/shop/a"]  # the line was gone for taking it back, too
    upload(small(DUMP), plain.folder, "a")
    assert unfinished(plain) == []


def test_a_stop_takes_back_what_was_sent(plain: Bucket) -> None:
    stopped: list[bool] = []
    with pytest.raises(RestoreError, match="Stopped"):
        upload(
            Content(len(LARGE), sha256(LARGE), lambda begin, end: _slowly(stopped, begin, end)),
            plain.folder,
            "a",
            part=PART,
            stop=lambda: bool(stopped),
        )
    assert keys(plain) == []
    assert unfinished(plain) == []


def _slowly(stopped: list[bool], begin: int, end: int) -> bytes:
    stopped.append(True)
    return LARGE[begin:end]


_KEEP = """
import os, signal, sys
from pathlib import Path
from tests.engines.backups.test_kept import made
from engines.backups import kept
from engines.backups.places import BucketFolder, Service
def at(point):
    if point == sys.argv[4]:
        os.kill(os.getpid(), signal.SIGKILL)
folder = BucketFolder(Service(sys.argv[1], "eu-west-3"), sys.argv[2], "safety/shop/")
kept.keep(made(Path(sys.argv[3])), folder, at=at)
"""


@pytest.mark.parametrize("point", ["upload.part.after", "keep.describe.before"])
def test_killed_before_the_description_nothing_counts_and_the_next_attempt_is_whole(
    plain: Bucket, tmp_path: Path, point: str
) -> None:
    asked = (sys.executable, "-c", _KEEP, plain.s3.endpoint, plain.name, str(tmp_path), point)
    ended = subprocess.run(asked, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert kept.listed(plain.folder, Snapshot).snapshots == ()
    assert kept.prune(plain.folder, NOW + timedelta(days=9)) == Pruned(())
    one = kept.keep(made(tmp_path), plain.folder)
    assert kept.listed(plain.folder, Snapshot).snapshots == (one,)
    assert unfinished(plain) == []


# -- pruned ---------------------------------------------------------------------------------------------------


def test_what_is_due_goes_and_nothing_else(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put({"mine.sql": b"mine", "shop-due.sql.zst.old": b"mine"}, listed=False)
    kept.keep(made(tmp_path, "shop-due"), bucket.folder)
    kept.keep(made(tmp_path, "shop-later", NOW + timedelta(seconds=1)), bucket.folder)
    others = {"mine.sql", "shop-due.sql.zst.old"}
    assert kept.prune(bucket.folder, NOW - timedelta(seconds=1)) == Pruned(())
    assert [one.name for one in kept.due(bucket.folder, NOW)] == ["shop-due"]
    removed = kept.prune(bucket.folder, NOW).removed
    assert [one.rpartition("/")[2] for one in removed] == ["shop-due.sql.zst", "binlog.000007", "shop-due.toml"]
    later = {"shop-later.toml", "shop-later.sql.zst", "shop-later.raw/binlog.000007"}
    assert set(keys(bucket)) == others | later
    if bucket.versioned:  # for good, and without a mark in its place
        client = bucket.s3.client()
        found = client.list_object_versions(Bucket=bucket.name)
        client.close()
        assert not found.get("DeleteMarkers")
        assert {one["Key"].removeprefix(bucket.prefix) for one in found["Versions"]} == others | later


def test_an_object_that_is_another_now_stays_with_its_description(bucket: Bucket, tmp_path: Path) -> None:
    kept.keep(made(tmp_path), bucket.folder)
    bucket.put({"shop-night.sql.zst": b"somebody's"}, listed=False)
    removed = kept.prune(bucket.folder, NOW).removed
    if bucket.versioned:  # the version that was kept goes, the one on top of it is somebody's
        assert len(removed) == 3
        assert keys(bucket) == ["shop-night.sql.zst"]
    else:
        assert removed == ()
        assert len(keys(bucket)) == 3


def test_what_can_not_be_removed_keeps_no_other_from_going(bucket: Bucket, tmp_path: Path) -> None:
    """Here the service does not let one object go, and still does the others; then it does not answer any more."""
    for name in ("shop-1", "shop-2", "shop-3"):
        kept.keep(made(tmp_path, name), bucket.folder)
    with patched_removal(lambda place: "shop-1.sql.zst" in place.key) as asked:
        pruned = kept.prune(bucket.folder, NOW)
    assert sorted(one.rpartition("/")[2] for one in pruned.removed if one.endswith(".toml")) == [
        "shop-2.toml",
        "shop-3.toml",
    ]
    (problem,) = pruned.problems
    assert (problem.file, "access is denied" in problem.message) == ("shop-1", True)
    assert "s3:DeleteObject" in problem.hint
    assert "shop-1.toml" in keys(bucket)
    assert len(asked) == len(pruned.removed) + 1
    kept.keep(made(tmp_path, "shop-2"), bucket.folder)
    with patched_removal(lambda _place: True, OSError("gone")) as asked:
        pruned = kept.prune(bucket.folder, NOW)
    assert (pruned.removed, len(pruned.problems), len({place.key for place in asked})) == ((), 1, 1)


@contextmanager
def patched_removal(refuses: Callable[[ObjectAt], bool], error: Exception | None = None) -> Iterator[list[ObjectAt]]:
    """What `refuses` says can't be removed: as Object Lock, or a policy, has it."""
    from botocore.exceptions import ClientError

    asked: list[ObjectAt] = []
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": ""}}, "DeleteObject")

    def remove(client: S3, place: ObjectAt) -> None:
        asked.append(place)
        with asking("it can't be removed", "s3:DeleteObject"):
            if refuses(place):
                raise error or denied
        uploading.remove(client, place)

    with patch.object(kept, "remove", remove):
        yield asked


def test_pruning_that_was_cut_short_is_done_again(plain: Bucket, tmp_path: Path) -> None:
    kept.keep(made(tmp_path), plain.folder)

    def cut() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept.prune(plain.folder, NOW, at=at_point("prune.remove.after", cut))
    assert "shop-night.toml" in keys(plain)
    assert len(kept.prune(plain.folder, NOW).removed) == 2
    assert keys(plain) == []


def test_a_description_that_leads_elsewhere_is_told_and_left(plain: Bucket, tmp_path: Path) -> None:
    kept.keep(made(tmp_path), plain.folder)
    client: Any = plain.s3.client()
    asked = {"Bucket": plain.name, "Key": "safety/shop/shop-night.toml"}
    text = client.get_object(**asked)["Body"].read().decode()
    for was, becomes in (
        ('name = "shop-night"', 'name = "shop-other"'),
        ('file = "shop-night.sql.zst"', 'file = "../nightly/all.sql.zst"'),
        ('raw_folder = "shop-night.raw"', 'raw_folder = "../nightly"'),
        ("keep_until", "kept"),
    ):
        assert was in text
        client.put_object(**asked, Body=text.replace(was, becomes).encode())
        there = kept.listed(plain.folder, Snapshot)
        assert there.snapshots == ()
        assert "not a snapshot's description" in there.damaged[0].message
    assert kept.prune(plain.folder, NOW) == Pruned(())
    client.close()
    assert len(keys(plain)) == 3
