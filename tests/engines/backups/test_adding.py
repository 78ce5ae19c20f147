"""A new backup is among the others: whole, compared, and listed; or nothing is."""

from __future__ import annotations

import hashlib
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engines.backups import catalogue
from engines.backups.adding import add_to_bucket, add_to_folder, added_earlier, name_for
from engines.backups.catalogue import Status
from engines.backups.verify import verify
from engines.errors import Refused, RestoreError
from tests.engines.backups.objects import Bucket, fresh_name
from tests.servers.s3 import S3Server

NIGHT = datetime(2026, 11, 22, 23, 5, 7, tzinfo=UTC)
CONTENT = b"a backup" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "made"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"


@pytest.mark.parametrize(
    ("ending", "pattern", "name"),
    [
        (".sqlite", "*.sqlite", "2026-11-22T23-05-07Z.sqlite"),
        (".sqlite", "shop-*.sqlite", "shop-2026-11-22T23-05-07Z.sqlite"),
        (".sqlite", "nightly_*.sqlite", "nightly_2026-11-22T23-05-07Z.sqlite"),
        (".sql.zst", "*.sql*", "2026-11-22T23-05-07Z.sql.zst"),
        (".sql.zst", "shop-*", "shop-2026-11-22T23-05-07Z.sql.zst"),
    ],
)
def test_the_name_has_the_time_and_fits_the_pattern(ending: str, pattern: str, name: str) -> None:
    assert name_for(NIGHT, ending, "shop", pattern) == name


@pytest.mark.parametrize("pattern", ["*.sql.gz", "dump.sql.gz", "db/[0-9].sqlite"])
def test_where_no_name_fits_ones_own_command_is_asked_for(pattern: str) -> None:
    with pytest.raises(Refused) as refusal:
        name_for(NIGHT, ".sql.zst", "shop", pattern)
    assert "full_backup" in refusal.value.hint


@pytest.mark.parametrize("listing", [None, "", f"{'0' * 64}  other.sqlite\n", f"{'0' * 64}  other.sqlite"])
def test_it_is_listed_whatever_the_listing_was(source: Path, folder: Path, listing: str | None) -> None:
    if listing is not None:
        (folder / "checksums.txt").write_text(listing)
    place = add_to_folder(source, folder, "new.sqlite", SHA256, "checksums.txt")
    assert place.read_bytes() == CONTENT
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    found = {one.name: one for one in catalogue.read(folder).backups}
    assert verify(found["new.sqlite"], lambda _done, _all: None, lambda: False).status is Status.VERIFIED
    assert ("other.sqlite" in found) is bool(listing)
    assert {path.name for path in folder.iterdir()} == {"new.sqlite", "checksums.txt"}


def test_what_can_not_be_added_whole_is_not_added(source: Path, folder: Path) -> None:
    with pytest.raises(RestoreError, match="its hash differs"):
        add_to_folder(source, folder, "new.sqlite", "0" * 64, "checksums.txt")
    with pytest.raises(RestoreError, match="Stopped on request"):
        add_to_folder(source, folder, "new.sqlite", SHA256, "checksums.txt", stop=lambda: True)
    assert list(folder.iterdir()) == []
    (folder / "new.sqlite").write_bytes(b"somebody's")
    with pytest.raises(Refused, match="is there already"):
        add_to_folder(source, folder, "new.sqlite", SHA256, "checksums.txt")
    assert (folder / "new.sqlite").read_bytes() == b"somebody's"
    with pytest.raises(RestoreError, match="can't be kept") as refusal:
        add_to_folder(source, folder / "gone", "new.sqlite", SHA256, "checksums.txt")
    assert "(p)" in refusal.value.hint


def test_what_a_killed_attempt_left_is_taken_for_done_or_taken_away(source: Path, folder: Path) -> None:
    assert not added_earlier(folder, "new.sqlite", SHA256, "checksums.txt")
    place = add_to_folder(source, folder, "new.sqlite", SHA256, "checksums.txt")
    assert added_earlier(folder, "new.sqlite", SHA256, "checksums.txt"), "it was listed: it was whole"
    assert not added_earlier(folder, "new.sqlite", "0" * 64, "checksums.txt")
    assert place.exists(), "other bytes are somebody else's"
    (folder / "checksums.txt").unlink()
    assert not added_earlier(folder, "new.sqlite", SHA256, "checksums.txt")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("versioned", [False, True])
def test_in_a_bucket_its_hash_is_beside_it(s3: S3Server, source: Path, versioned: bool) -> None:
    bucket = Bucket(s3, fresh_name(), versioned=versioned)
    bucket.put({"old.sql": b"older"})
    add_to_bucket(source, bucket.folder, "2026-11-22T23-05-07Z.sql.zst", SHA256)
    found = {one.name: one for one in bucket.read().backups}
    assert set(found) == {"old.sql", "2026-11-22T23-05-07Z.sql.zst"}
    new = found["2026-11-22T23-05-07Z.sql.zst"]
    assert verify(new, lambda _done, _all: None, lambda: False).status is Status.VERIFIED
