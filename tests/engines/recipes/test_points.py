"""A MySQL target's restore points: from a folder or a bucket, through the journal, to the bytes that are staged."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from engines.backups.catalogue import Status
from engines.backups.checksums import Digest
from engines.backups.staging import stage
from engines.backups.verify import verify
from engines.checks import Verdict
from engines.errors import Refused, RestoreError
from engines.hooks import never, unmeasured
from engines.recipes import points, readiness
from engines.targets import Environment, MysqlTarget
from engines.text import utc_now
from tests.engines.backups.folder import fill
from tests.engines.backups.objects import Bucket, fresh_name, sha256
from tests.servers.s3 import REGION, S3Server

NAME = f"shop-{utc_now():%Y-%m-%dT%H-%M-%SZ}.sql.gz"
CONTENT = b"a dump" * 1000


def target(backups: str, endpoint: str | None = None) -> MysqlTarget:
    return MysqlTarget(
        "shop",
        "mysql",
        Environment.STAGING,
        "shop",
        Path("/etc/reinstate/shop.cnf"),
        backups,
        s3_endpoint=endpoint,
        s3_region=REGION,
        snapshots="/nonexistent",
    )


@pytest.fixture(params=["folder", "bucket", "bucket with versions"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> MysqlTarget:
    if request.param == "folder":
        (tmp_path / "dumps").mkdir()
        fill(tmp_path / "dumps", {NAME: CONTENT})
        return target(str(tmp_path / "dumps"))
    s3: S3Server = request.getfixturevalue("s3")
    bucket = Bucket(s3, fresh_name(), versioned=request.param != "bucket")
    bucket.put({NAME: CONTENT})
    return target(f"s3://{bucket.name}/nightly", s3.endpoint)


def test_what_was_chosen_is_what_is_staged(shop: MysqlTarget, tmp_path: Path) -> None:
    chosen = points.find(points.restore_points(shop), NAME)
    table = points.to_table(chosen)
    assert points.place_of(table, shop) == chosen.place
    assert (table["algorithm"], table["digest"]) == ("sha256", sha256(CONTENT))
    expected = Digest("sha256", sha256(CONTENT))
    assert stage(points.place_of(table, shop), tmp_path / "staging", expected).sha256 == sha256(CONTENT)


def test_another_one_in_its_place_is_not_staged(s3: S3Server, tmp_path: Path) -> None:
    bucket = Bucket(s3, fresh_name())
    bucket.put({NAME: CONTENT})
    shop = target(f"s3://{bucket.name}/nightly", s3.endpoint)
    table = points.to_table(points.find(points.restore_points(shop), NAME))
    bucket.put({NAME: CONTENT.swapcase()})
    with pytest.raises(Refused, match="has changed since it was listed"):
        stage(points.place_of(table, shop), tmp_path / "staging", Digest("sha256", sha256(CONTENT)))


def test_the_table_says_where_and_which_version(s3: S3Server) -> None:
    bucket = Bucket(s3, fresh_name(), versioned=True)
    bucket.put({NAME: CONTENT})
    shop = target(f"s3://{bucket.name}/nightly", s3.endpoint)
    (backup,) = points.restore_points(shop).backups
    table, place = points.to_table(backup), bucket.place(NAME)
    assert table["path"] == table["uri"] == f"s3://{bucket.name}/nightly/{NAME}"
    assert (table["version"], table["etag"]) == (place.version, place.etag)
    assert place.version


def test_of_a_chosen_object_that_nothing_lists_the_stored_checksum_is_asked_for(s3: S3Server) -> None:
    bucket = Bucket(s3, fresh_name())
    bucket.put({NAME: CONTENT}, listed=False, more={"ChecksumAlgorithm": "SHA256"})
    found = points.restore_points(target(f"s3://{bucket.name}/nightly", s3.endpoint))
    assert found.backups[0].status is Status.NOT_LISTED
    assert points.find(found, NAME).expected == Digest("sha256", sha256(CONTENT))


def test_a_table_without_a_place_is_refused(shop: MysqlTarget) -> None:
    table = points.to_table(points.restore_points(shop).backups[0])
    for wrong in ({}, {**table, "size": "many"}):
        with pytest.raises(RestoreError, match="does not say where it is"):
            points.place_of(wrong, shop)


def test_an_unknown_name_is_refused_with_the_newest(shop: MysqlTarget) -> None:
    with pytest.raises(RestoreError) as caught:
        points.find(points.restore_points(shop), "nothing.sql")
    assert NAME in caught.value.hint


def test_freshness_reads_a_folders_newest_and_asks_a_bucket(shop: MysqlTarget) -> None:
    def fresh(every: timedelta) -> Verdict:
        return readiness.fresh(lambda: points.backups_of(shop), every, unmeasured, never).verdict

    in_a_folder = not shop.backups.startswith("s3://")
    assert fresh(timedelta(days=1)) is (Verdict.OK if in_a_folder else Verdict.WARN)
    assert fresh(timedelta(microseconds=1)) is Verdict.FAIL


def test_a_service_that_cannot_be_reached_is_a_failed_check() -> None:
    shop = target("s3://some-bucket/nightly", "http://127.0.0.1:1")
    check = readiness.fresh(lambda: points.backups_of(shop), timedelta(days=1), unmeasured, never)
    assert check.verdict is Verdict.FAIL
    assert check.hint


def test_an_empty_bucket_is_a_failed_check(s3: S3Server) -> None:
    shop = target(f"s3://{Bucket(s3, fresh_name()).name}", s3.endpoint)
    check = readiness.fresh(lambda: points.backups_of(shop), timedelta(days=1), unmeasured, never)
    assert check.verdict is Verdict.FAIL
    assert "has no backup" in check.evidence


def test_one_that_is_verified_alone_is_restorable(shop: MysqlTarget) -> None:
    assert verify(points.restore_points(shop).backups[0], unmeasured, never).restorable
