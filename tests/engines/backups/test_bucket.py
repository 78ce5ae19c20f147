"""What a bucket of backups looks like before a byte of them is read. Against a real S3 API."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from engines.backups import bucket as module
from engines.backups.bucket import read
from engines.backups.catalogue import Status
from engines.backups.checksums import Digest
from engines.backups.places import BucketFolder, ObjectAt, Service, located
from engines.errors import UsageError
from tests.engines.backups.objects import Bucket, sha256
from tests.servers.s3 import REGION, Answer, S3Server, answering

NIGHT = "shop-2026-11-22T03-00-00Z.sql.gz"


def test_a_bucket_is_listed_as_a_folder_is_newest_first_with_what_is_expected(s3: S3Server) -> None:
    bucket = Bucket(s3, "listed-as-a-folder")
    bucket.put({NIGHT: b"newer", "shop-2026-11-21.sql": b"older", "notes.txt": b"no dump"})
    found = bucket.read()
    newest, oldest = found.backups
    assert (newest.name, newest.size, newest.kind) == (NIGHT, 5, "dump")
    assert (newest.taken_at, newest.taken_at_from) == (datetime(2026, 11, 22, 3, tzinfo=UTC), "name")
    assert newest.expected == Digest("sha256", sha256(b"newer"))
    assert newest.status is Status.UNCHECKED
    assert newest.evidence == "Not compared yet with checksums.txt line 1"
    assert newest.where == f"s3://listed-as-a-folder/nightly/{NIGHT}"
    assert newest.place == ObjectAt(
        bucket.service(),
        "listed-as-a-folder",
        f"nightly/{NIGHT}",
        5,
        "",
        hashlib.md5(b"newer", usedforsecurity=False).hexdigest(),
    )
    assert oldest.name == "shop-2026-11-21.sql"
    assert found.folder == "s3://listed-as-a-folder/nightly/"
    assert found.problems == ()


def test_a_name_without_a_time_falls_back_to_the_upload(s3: S3Server) -> None:
    bucket = Bucket(s3, "no-time-in-name")
    bucket.put({"shop.sql": b"rows"})
    backup = bucket.only()
    assert backup.taken_at_from == "mtime"
    assert abs(backup.taken_at - datetime.now(UTC)) < timedelta(minutes=2)


def test_the_whole_bucket_can_be_the_folder(s3: S3Server) -> None:
    bucket = Bucket(s3, "no-prefix-at-all", prefix="")
    bucket.put({NIGHT: b"rows"})
    assert bucket.only().where == f"s3://no-prefix-at-all/{NIGHT}"


def test_a_prefix_is_a_folder_with_or_without_its_slash() -> None:
    service = Service("http://s3")
    expected = BucketFolder(service, "b", "a/nightly/")
    assert located("s3://b/a/nightly", service) == located("s3://b/a/nightly/", service) == expected
    assert located("s3://b", service) == BucketFolder(service, "b", "")
    assert located("/srv/dumps", service) == Path("/srv/dumps")
    with pytest.raises(UsageError, match="names no bucket"):
        located("s3:///nightly", service)


@pytest.mark.parametrize("versioned", [False, True], ids=["plain", "versioned"])
def test_every_page_is_read(s3: S3Server, monkeypatch: pytest.MonkeyPatch, versioned: bool) -> None:
    asked = module._asked
    monkeypatch.setattr(module, "_asked", lambda folder: {**asked(folder), "PaginationConfig": {"PageSize": 4}})
    bucket = Bucket(s3, f"many-pages-{versioned}".lower(), versioned=versioned)
    bucket.put({f"shop-{hour:03}.sql": b"rows" for hour in range(25)})
    assert len(bucket.read().backups) == 25


def test_of_a_versioned_bucket_the_latest_versions_are_listed_and_deleted_objects_are_not(s3: S3Server) -> None:
    bucket = Bucket(s3, "with-versions", versioned=True)
    bucket.put({NIGHT: b"first", "gone.sql": b"x"}, listed=False)
    bucket.put({NIGHT: b"second!"}, listed=False)
    bucket.delete("gone.sql")
    backup = bucket.only()
    assert isinstance(backup.place, ObjectAt)
    client = s3.client()
    assert backup.place.version == client.head_object(Bucket=bucket.name, Key=f"nightly/{NIGHT}")["VersionId"]
    client.close()
    assert backup.size == 7


def test_a_listed_object_that_was_deleted_is_missing(s3: S3Server) -> None:
    bucket = Bucket(s3, "listed-and-deleted", versioned=True)
    bucket.put({NIGHT: b"first"})
    bucket.delete(NIGHT)
    backup = bucket.only()
    assert backup.status is Status.MISSING_FILE
    assert backup.evidence == "checksums.txt line 1 lists it, but it is not in the bucket"


@pytest.mark.parametrize(
    "form",
    ["{digest}  {name}\r\n", "SHA256 ({name}) = {digest}\n", "{upper} *{name}\n", "{digest}\n"],
    ids=["CRLF", "BSD", "upper case and flag", "lone hash"],
)
def test_a_sidecar_says_what_is_expected(s3: S3Server, form: str, request: pytest.FixtureRequest) -> None:
    bucket = Bucket(s3, f"sidecar-{abs(hash(request.node.name))}")
    digest = sha256(b"rows")
    said = form.format(digest=digest, upper=digest.upper(), name=NIGHT)
    bucket.put({NIGHT: b"rows", f"{NIGHT}.sha256": said.encode()}, listed=False)
    backup = bucket.only()
    assert backup.expected == Digest("sha256", digest)
    assert NIGHT in backup.evidence


def test_crlf_and_bsd_listings_are_read(s3: S3Server) -> None:
    bucket = Bucket(s3, "listing-forms")
    listing = f"{sha256(b'a')}  a.sql\r\nSHA512 (b.sql) = {'2' * 128}\r\n"
    bucket.put({"a.sql": b"a", "b.sql": b"b", "checksums.txt": listing.encode()}, listed=False)
    algorithms = {one.name: one.expected.algorithm for one in bucket.read().backups if one.expected}
    assert algorithms == {"a.sql": "sha256", "b.sql": "sha512"}


def test_witnesses_that_contradict_each_other_are_a_mismatch(s3: S3Server) -> None:
    bucket = Bucket(s3, "contradicting-witnesses")
    bucket.put({NIGHT: b"rows"})
    bucket.put({f"{NIGHT}.sha256": b"1" * 64}, listed=False)
    found = bucket.read()
    (backup,) = found.backups
    assert backup.status is Status.MISMATCH
    assert backup.contradicted
    assert found.problems == (f"{NIGHT}: {backup.evidence}",)


def test_sidecars_and_signatures_are_no_backups(s3: S3Server) -> None:
    bucket = Bucket(s3, "sidecars-no-backups")
    bucket.put({"a.sql": b"a", "a.sql.md5": b"x", "a.sql.asc": b"x", "a.sql.sha256": b"1" * 64}, listed=False)
    assert bucket.only().name == "a.sql"


def test_only_the_newest_sidecars_are_read_and_the_rest_is_said(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIDECARS_READ", 2)
    bucket = Bucket(s3, "many-sidecars")
    for hour in range(4):
        name = f"shop-{hour}.sql"
        bucket.put({name: b"rows", f"{name}.sha256": sha256(b"rows").encode()}, listed=False)
    found = bucket.read()
    assert [one.expected is not None for one in found.backups].count(True) == 2
    unread = [one for one in found.backups if one.expected is None]
    assert unread[0].evidence == "Its .sha256 file is read when it is verified"
    assert found.problems[-1] == "2 .sha256 files of older backups are read when one of them is verified"


def test_a_listing_that_is_missing_empty_or_too_large_is_a_problem(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(s3, "listing-problems")
    bucket.put({NIGHT: b"rows"}, listed=False)
    assert bucket.read().problems == ("checksums.txt is missing: only backups with a .sha256 file can be VERIFIED",)
    bucket.put({"checksums.txt": b"# nothing\n"}, listed=False)
    assert bucket.read().problems == ("checksums.txt lists no file",)
    monkeypatch.setattr(module, "LARGEST_LISTING", 5)
    (problem,) = bucket.read().problems
    assert "is larger than 5 B" in problem


HOSTILE = ("a\x1b[2J.sql", "b\u202e.sql", "c" * 201 + ".sql")


def test_hostile_keys_are_rows_that_are_never_read_and_sub_folders_are_left_out(s3: S3Server) -> None:
    bucket = Bucket(s3, "hostile-keys")
    bucket.put({name: b"rows" for name in HOSTILE}, listed=False)
    bucket.put({"": b"", "../up.sql": b"x", "deeper/x.sql": b"x", "sub.sql/": b"", "good.sql": b"x"}, listed=False)
    found = {one.name: one for one in bucket.read("*").backups}
    assert set(found) == {*HOSTILE, "good.sql"}
    assert {found[name].status for name in HOSTILE} == {Status.UNREADABLE}
    assert "control characters" in found[HOSTILE[0]].evidence
    assert "longer than" in found[HOSTILE[2]].evidence


def test_an_object_that_is_called_like_the_folder_above_is_never_read(s3: S3Server) -> None:
    bucket = Bucket(s3, "dots-for-a-name")
    bucket.put({"..": b"rows"}, listed=False)
    (backup,) = bucket.read(".*").backups
    assert (backup.name, backup.status) == ("..", Status.UNREADABLE)


def test_an_empty_object_is_unreadable(s3: S3Server) -> None:
    bucket = Bucket(s3, "empty-object")
    bucket.put({NIGHT: b""})
    assert bucket.only().status is Status.UNREADABLE


def test_folders_below_are_named_where_nothing_else_is_there(s3: S3Server) -> None:
    bucket = Bucket(s3, "only-folders")
    bucket.put({"2026/a.sql": b"x", "2025/a.sql": b"x"}, listed=False)
    assert bucket.read().problems[-1] == "2 folders below it are not read, such as 2025/"


def test_an_archived_object_says_so(s3: S3Server) -> None:
    bucket = Bucket(s3, "archived-object")
    bucket.put({NIGHT: b"rows"}, more={"StorageClass": "DEEP_ARCHIVE"})
    assert bucket.read().backups[0].evidence.endswith("it is in DEEP_ARCHIVE: have it restored first")


_PAGE = """<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<IsTruncated>{more}</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>{objects}</ListBucketResult>"""
_OBJECT = """<Contents><Key>nightly/shop-{n:06}.sql.gz</Key><LastModified>2026-11-22T03:00:00.000Z</LastModified>
<ETag>"{n:032x}"</ETag><Size>1000</Size><StorageClass>STANDARD</StorageClass></Contents>"""


def page(path: str, count: int) -> Answer:
    """What S3 answers when `count` objects are listed, a thousand a page."""
    asked = parse_qs(urlsplit(path).query, keep_blank_values=True)
    if "versioning" in asked:
        return Answer(body="<VersioningConfiguration/>")
    begin = int(asked.get("continuation-token", ["0"])[0])
    end = min(begin + 1000, count)
    objects = "".join(_OBJECT.format(n=n) for n in range(begin, end))
    return Answer(body=_PAGE.format(more=str(end < count).lower(), next=end, objects=objects))


def test_a_long_listing_takes_one_request_a_page(s3: S3Server) -> None:
    requests: list[str] = []

    def answer(path: str) -> Answer:
        requests.append(path)
        return page(path, 10_000)

    with answering(answer) as endpoint:
        found = read(BucketFolder(Service(endpoint, REGION), "large", "nightly/"))
    assert len(found.backups) == 10_000
    assert len(requests) == 11  # is it versioned, and ten pages
