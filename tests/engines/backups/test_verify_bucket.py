"""What the bytes of objects, and what the bucket itself says of them, do to their status."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from engines.backups import bucket as listing
from engines.backups import sources, verify
from engines.backups.catalogue import Backup, Status
from engines.backups.checksums import Digest
from engines.backups.freshness import freshness
from engines.backups.verify import verify_all
from engines.checks import Verdict
from engines.hooks import never, unmeasured
from engines.text import utc_now
from tests.engines.backups.objects import Bucket, sha256
from tests.servers.proxy import proxied
from tests.servers.s3 import S3Server

NIGHT = "shop-2026-11-22T03-00-00Z.sql.gz"
STORED = {"ChecksumAlgorithm": "SHA256"}


def verified(backup: Backup) -> Backup:
    return verify.verify(backup, unmeasured, never)


def in_background(bucket: Bucket) -> Backup:
    (backup,) = verify_all(bucket.read().backups, lambda _backup: None, never)
    return backup


def test_a_backup_that_is_verified_alone_is_read_to_its_end(s3: S3Server) -> None:
    bucket = Bucket(s3, "read-to-its-end")
    content = b"rows" * 700_000
    bucket.put({NIGHT: content})
    told: list[tuple[int, int]] = []
    result = verify.verify(bucket.only(), lambda done, total: told.append((done, total)), never)
    assert result.status is Status.VERIFIED
    assert result.evidence == f"sha256 {sha256(content)[:16]}… equals checksums.txt line 1"
    assert result.actual == Digest("sha256", sha256(content))
    assert told[-1] == (len(content), len(content))
    assert len(told) > 1


def test_other_bytes_are_a_mismatch(s3: S3Server) -> None:
    bucket = Bucket(s3, "other-bytes")
    bucket.put({NIGHT: b"rows"})
    bucket.put({NIGHT: b"rowz"}, listed=False)
    assert verified(bucket.only()).status is Status.MISMATCH


def test_an_md5_that_equals_is_weak(s3: S3Server) -> None:
    bucket = Bucket(s3, "weak-checksum")
    digest = hashlib.md5(b"rows", usedforsecurity=False).hexdigest()
    bucket.put({NIGHT: b"rows", "checksums.txt": f"{digest}  {NIGHT}".encode()}, listed=False)
    assert verified(bucket.only()).status is Status.WEAK


def test_in_the_background_nothing_is_read_and_the_stored_checksum_is_asked_for(s3: S3Server) -> None:
    bucket = Bucket(s3, "stored-equals")
    bucket.put({NIGHT: b"rows"}, more=STORED)
    result = in_background(bucket)
    assert result.status is Status.VERIFIED
    digest = sha256(b"rows")[:16]
    assert result.evidence == (
        f"S3's stored checksum, sha256 {digest}…, equals checksums.txt line 1: S3 compared it on upload; "
        "its bytes were not read"
    )
    assert result.actual is None


def test_a_stored_checksum_that_differs_is_a_mismatch_without_reading(s3: S3Server) -> None:
    bucket = Bucket(s3, "stored-differs", versioned=True)
    bucket.put({NIGHT: b"rows"})
    bucket.put({NIGHT: b"rowz"}, listed=False, more=STORED)
    result = in_background(bucket)
    assert result.status is Status.MISMATCH
    assert result.evidence.endswith("its bytes were not read")


def test_where_nothing_lists_it_the_stored_checksum_is_what_its_bytes_are_compared_with(s3: S3Server) -> None:
    bucket = Bucket(s3, "stored-alone")
    bucket.put({NIGHT: b"rows"}, listed=False, more=STORED)
    result = in_background(bucket)
    assert result.status is Status.UNCHECKED
    assert result.expected == Digest("sha256", sha256(b"rows"))
    assert result.evidence == "Nothing lists it; not compared yet with S3's stored checksum"
    result = verified(bucket.only())
    assert result.status is Status.VERIFIED
    assert result.evidence.endswith("equals S3's stored checksum")


def test_contradicting_witnesses_are_not_settled_by_the_stored_checksum(s3: S3Server) -> None:
    bucket = Bucket(s3, "stored-and-contradiction")
    lines = f"{'1' * 64}  {NIGHT}\n{'2' * 64}  {NIGHT}\n"
    bucket.put({NIGHT: b"rows"}, listed=False, more=STORED)
    bucket.put({"checksums.txt": lines.encode()}, listed=False)
    assert in_background(bucket).status is Status.NOT_LISTED
    assert verified(bucket.only()).expected is None


def upload_in_parts(bucket: Bucket, content: bytes) -> None:
    client = bucket.s3.client()
    key = {"Bucket": bucket.name, "Key": f"nightly/{NIGHT}"}
    upload = client.create_multipart_upload(**key, ChecksumAlgorithm="SHA256")["UploadId"]
    parts = []
    for number in (1, 2):
        done = client.upload_part(**key, UploadId=upload, PartNumber=number, Body=content, ChecksumAlgorithm="SHA256")
        parts.append({"PartNumber": number, "ETag": done["ETag"], "ChecksumSHA256": done["ChecksumSHA256"]})
    client.complete_multipart_upload(**key, UploadId=upload, MultipartUpload={"Parts": parts})
    client.close()


def test_a_checksum_of_checksums_is_evidence_and_no_sha256_of_the_bytes(s3: S3Server) -> None:
    bucket = Bucket(s3, "composite-checksum")
    upload_in_parts(bucket, b"r" * (5 << 20))
    result = in_background(bucket)
    assert result.status is Status.NOT_LISTED
    assert result.expected is None
    assert "checksum of its 2 parts' checksums, no SHA-256 of its bytes" in result.evidence


def test_only_of_the_newest_the_service_is_asked(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "ASKED", 2)
    bucket = Bucket(s3, "newest-asked")
    bucket.put({f"shop-2026-11-2{day}.sql": b"rows" for day in range(4)}, more=STORED)
    told: list[Backup] = []
    results = verify_all(bucket.read().backups, told.append, never)
    assert [one.status for one in results] == [Status.VERIFIED] * 2 + [Status.UNCHECKED] * 2
    assert len(told) == 2


def test_a_sidecar_that_was_not_read_is_read_when_its_backup_is_verified(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SIDECARS_READ", 0)
    bucket = Bucket(s3, "sidecar-on-request")
    bucket.put({NIGHT: b"rows", f"{NIGHT}.sha256": sha256(b"rows").encode()}, listed=False)
    backup = bucket.only()
    assert backup.expected is None
    assert verified(backup).status is Status.VERIFIED
    bucket.put({f"{NIGHT}.sha256": b"1" * 64}, listed=False)
    assert verified(backup).status is Status.MISMATCH


@pytest.mark.parametrize("versioned", [False, True], ids=["plain", "versioned"])
def test_an_object_that_was_replaced_since_it_was_listed(s3: S3Server, versioned: bool) -> None:
    bucket = Bucket(s3, f"replaced-{versioned}".lower(), versioned=versioned)
    bucket.put({NIGHT: b"rows"})
    backup = bucket.only()
    bucket.put({NIGHT: b"rowz"}, listed=False)
    result = verified(backup)
    if versioned:  # the version that was listed is still there, and is the one that is read
        assert result.status is Status.VERIFIED
    else:
        assert result.status is Status.UNREADABLE
        assert "has changed since it was listed" in result.evidence


def test_an_object_that_is_gone_since_is_unreadable(s3: S3Server) -> None:
    bucket = Bucket(s3, "gone-since")
    bucket.put({NIGHT: b"rows"})
    backup = bucket.only()
    bucket.delete(NIGHT)
    result = verified(backup)
    assert result.status is Status.UNREADABLE
    assert "it is not there, or not any more" in result.evidence


def test_what_could_not_be_asked_gets_its_verdict_once_it_can_be(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PAUSE", 0.0)
    bucket = Bucket(s3, "asked-again")
    bucket.put({NIGHT: b"rows"})
    backup = bucket.only()
    away = verified(replace(backup, place=replace(bucket.place(NIGHT), service=bucket.service("http://127.0.0.1:1"))))
    assert away.status is Status.UNREADABLE
    assert "can't be reached" in away.evidence
    assert verified(replace(away, place=backup.place)).status is Status.VERIFIED


def test_a_hostile_name_is_never_asked_for(s3: S3Server) -> None:
    bucket = Bucket(s3, "hostile-verified")
    bucket.put({"a\x1b[2J.sql": b"rows"}, listed=False)
    backup = bucket.only()
    unreachable = replace(
        backup, place=replace(bucket.place(backup.name), service=bucket.service("http://127.0.0.1:1"))
    )
    assert "control characters" in verified(unreachable).evidence


def test_a_line_that_breaks_goes_on_where_it_was(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PAUSE", 0.0)
    bucket = Bucket(s3, "verify-broken-line")
    bucket.put({NIGHT: b"rows" * (1 << 20)})
    with proxied(int(s3.endpoint.rpartition(":")[2])) as proxy:
        backup = replace(bucket.only(), place=bucket.through(bucket.place(NIGHT), proxy.port))
        broken: list[int] = []

        def progress(done: int, _total: int) -> None:
            if not broken:
                broken.append(done)
                proxy.cut()

        result = verify.verify(backup, progress, never)
    assert result.status is Status.VERIFIED
    assert broken


def test_stopping_leaves_it_unchecked(s3: S3Server) -> None:
    bucket = Bucket(s3, "verify-stopped")
    bucket.put({NIGHT: b"rows"})
    assert verify.verify(bucket.only(), unmeasured, lambda: True).status is Status.UNCHECKED


def test_freshness_of_a_bucket_is_judged_without_reading_it(s3: S3Server) -> None:
    bucket = Bucket(s3, "freshness")
    bucket.put({NIGHT: b"rows" * 10, "shop-2026-11-21T03-00-00Z.sql.gz": b"rows" * 10})
    catalogue = bucket.read()
    taken, day = catalogue.backups[0].taken_at, timedelta(days=1)
    check = freshness(catalogue, day, taken + timedelta(hours=5))
    assert check.verdict is Verdict.WARN
    assert "it is in a bucket and was not read" in check.evidence
    assert freshness(catalogue, day, taken + 3 * day).verdict is Verdict.FAIL
    bucket.put({NIGHT: b"r"}, listed=False)
    check = freshness(bucket.read(), day, taken + timedelta(hours=5))
    assert check.verdict is Verdict.FAIL
    assert "cut short" in check.hint


def test_an_empty_listing_is_a_failed_check(s3: S3Server) -> None:
    bucket = Bucket(s3, "empty-listing")
    check = freshness(bucket.read(), timedelta(days=1), utc_now())
    assert check.verdict is Verdict.FAIL
    assert check.evidence == "s3://empty-listing/nightly/ has no backup"
