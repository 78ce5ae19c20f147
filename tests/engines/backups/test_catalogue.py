"""What a folder of backups looks like before a byte of it is read."""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from engines.backups.catalogue import Backup, Catalogue, Status, read
from engines.backups.places import FileAt
from engines.errors import RestoreError
from tests.engines.backups.folder import fill, only, without_rights

ONE = "1" * 64
TWO = "2" * 64


def by_name(catalogue: Catalogue) -> dict[str, Backup]:
    return {backup.name: backup for backup in catalogue.backups}


def test_backups_come_newest_first_by_the_time_in_their_names(tmp_path: Path) -> None:
    names = [f"2026-11-22T{hour}-00-00Z.sqlite" for hour in (18, 21, 19, 20)]
    fill(tmp_path, dict.fromkeys(names, b"x"))
    found = read(tmp_path)
    assert [backup.name for backup in found.backups] == sorted(names, reverse=True)
    newest = found.backups[0]
    assert newest.taken_at == datetime(2026, 11, 22, 21, tzinfo=UTC)
    assert newest.taken_at_from == "name"
    assert newest.status is Status.UNCHECKED
    assert newest.evidence == "Not compared yet with checksums.txt line 2"
    assert found.problems == ()
    assert found.folder == str(tmp_path)


def test_facts_are_those_of_the_file(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"12345"})
    backup, facts = only(read(tmp_path)), (tmp_path / "a.sqlite").stat()
    place = FileAt(tmp_path / "a.sqlite", 5, facts.st_mtime_ns, facts.st_ino, facts.st_dev)
    assert (backup.place, backup.size) == (place, 5)
    assert backup.path == tmp_path / "a.sqlite"


def test_a_name_without_a_time_falls_back_to_the_modification_time(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"x"})
    os.utime(tmp_path / "a.sqlite", (1_795_377_600, 1_795_377_600))
    backup = only(read(tmp_path))
    assert backup.taken_at == datetime(2026, 11, 22, 20, tzinfo=UTC)
    assert backup.taken_at_from == "mtime"


def test_a_date_is_made_exact_by_a_modification_time_of_the_same_day_only(tmp_path: Path) -> None:
    fill(tmp_path, {"2026-11-22.sqlite": b"x", "2026-11-01.sqlite": b"x"})
    for file in tmp_path.glob("*.sqlite"):
        os.utime(file, (1_795_377_600, 1_795_377_600))
    found = by_name(read(tmp_path))
    assert found["2026-11-22.sqlite"].taken_at == datetime(2026, 11, 22, 20, tzinfo=UTC)
    assert found["2026-11-22.sqlite"].taken_at_from == "mtime"
    assert found["2026-11-01.sqlite"].taken_at == datetime(2026, 11, 1, tzinfo=UTC)
    assert found["2026-11-01.sqlite"].taken_at_from == "name"


def test_names_are_in_the_configured_zone(tmp_path: Path) -> None:
    fill(tmp_path, {"20261122-210000.sqlite": b"x"})
    backup = only(read(tmp_path, zone=ZoneInfo("Europe/Berlin")))
    assert backup.taken_at == datetime(2026, 11, 22, 20, tzinfo=UTC)


def test_a_modification_time_that_no_calendar_has_is_survived(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"x", "b.sqlite": b"x"})
    os.utime(tmp_path / "a.sqlite", ns=(0, -(10**18)))
    os.utime(tmp_path / "b.sqlite", ns=(0, 9 * 10**18))
    assert len(read(tmp_path).backups) == 2


def test_a_file_that_no_listing_names_is_not_listed(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"x"}, listed=False)
    (tmp_path / "checksums.txt").write_text(f"{ONE}  b.txt\n")
    backup = only(read(tmp_path))
    assert backup.status is Status.NOT_LISTED
    assert backup.status.value == "NOT LISTED"
    assert backup.evidence == "Neither checksums.txt nor a .sha256 file names it"
    assert backup.expected is None


def test_a_listed_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    (tmp_path / "checksums.txt").write_text(f"{ONE}  2026-11-22T20-00-00Z.sqlite\n{ONE}  notes.txt\n")
    backup = only(read(tmp_path))
    assert backup.status is Status.MISSING_FILE
    assert backup.status.value == "MISSING FILE"
    assert backup.evidence == "checksums.txt line 1 lists it, but it is not in the folder"
    assert backup.taken_at == datetime(2026, 11, 22, 20, tzinfo=UTC)
    assert backup.size == 0


def test_a_listed_file_in_a_subfolder_is_told_and_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "checksums.txt").write_text(f"{ONE}  hourly/a.sqlite\n")
    found = read(tmp_path)
    assert found.backups == ()
    assert found.problems == ("checksums.txt line 1: 'hourly/a.sqlite' is in a sub-folder, which is not read",)


def test_without_a_listing_nothing_can_be_verified_and_that_is_said(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"x"}, listed=False)
    found = read(tmp_path)
    assert only(found).status is Status.NOT_LISTED
    assert found.problems == ("checksums.txt is missing: only backups with a .sha256 file can be VERIFIED",)


def test_a_listing_that_lists_nothing_is_a_problem(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"x"}, listed=False)
    (tmp_path / "checksums.txt").write_text("")
    assert read(tmp_path).problems == ("checksums.txt lists no file",)


def test_a_listing_that_contradicts_itself_does_not_list_the_file(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"x"}, listed=False)
    (tmp_path / "checksums.txt").write_text(f"{ONE}  a.sqlite\n{TWO}  a.sqlite\n")
    backup = only(read(tmp_path))
    assert backup.status is Status.NOT_LISTED
    assert backup.evidence == "checksums.txt contradicts itself: lines 1 and 2 give different sha256 hashes"


def test_a_sidecar_is_enough(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"x"}, listed=False)
    (tmp_path / "a.sqlite.sha256").write_text(ONE)
    backup = only(read(tmp_path))
    assert backup.status is Status.UNCHECKED
    assert backup.evidence == "Not compared yet with a.sqlite.sha256"


def test_a_sidecar_that_agrees_is_named_too(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"x"}, listed=False)
    (tmp_path / "checksums.txt").write_text(f"{ONE}  a.sqlite\n")
    (tmp_path / "a.sqlite.sha256").write_text(f"{ONE}  a.sqlite\n")
    backup = only(read(tmp_path))
    assert backup.evidence == "Not compared yet with checksums.txt line 1 and a.sqlite.sha256 line 1"


def test_a_sidecar_that_disagrees_is_a_mismatch_whatever_the_bytes_are(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"x"})
    (tmp_path / "a.sqlite.sha256").write_text(TWO)
    found = read(tmp_path)
    backup = only(found)
    assert backup.status is Status.MISMATCH
    assert backup.evidence == (
        "checksums.txt line 1 says sha256 2d711642b726b044…, but a.sqlite.sha256 says sha256 2222222222222222…"
    )
    assert found.problems == (f"a.sqlite: {backup.evidence}",)


def test_a_stronger_sidecar_is_preferred_to_an_md5_listing(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"x"}, algorithm="md5")
    (tmp_path / "a.sqlite.sha256").write_text(ONE)
    backup = only(read(tmp_path))
    assert backup.expected is not None
    assert backup.expected.algorithm == "sha256"
    assert "a.sqlite.sha256" in backup.evidence


def test_a_sidecar_that_cannot_be_used_is_a_problem_and_no_permission(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"x"})
    (tmp_path / "a.sqlite.sha256").symlink_to("/etc/hostname")
    found = read(tmp_path)
    assert only(found).status is Status.NOT_LISTED
    assert "a.sqlite.sha256 can't be used: is a symbolic link" in only(found).evidence


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "a symbolic link"),
        (lambda path: path.symlink_to("/nowhere"), "a symbolic link"),
        (lambda path: path.mkdir(), "a folder"),
        (os.mkfifo, "a FIFO"),
        (lambda path: _socket(path), "a socket"),
    ],
    ids=["link", "dangling link", "folder", "FIFO", "socket"],
)
def test_what_is_no_regular_file_is_shown_and_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object, what: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    assert callable(make)
    make(Path("2026-11-22T20-00-00Z.sqlite"))
    backup = only(read(tmp_path))
    assert backup.status is Status.UNREADABLE
    assert backup.evidence == f"It is {what}, no regular file; it was not opened"


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    "name",
    ["a\n.sqlite", "\x1b]0;owned\x07.sqlite", "\u202etiuq.sqlite", "a\rb.sqlite", os.fsdecode(b"\xff.sqlite")],
    ids=repr,
)
def test_a_hostile_name_is_shown_and_never_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    backup = only(read(tmp_path))
    assert backup.name == name
    assert backup.status is Status.UNREADABLE
    assert "control characters or is not UTF-8" in backup.evidence
    assert backup.evidence.isprintable()


@pytest.mark.parametrize("name", ["[bold]x[b.sqlite", "-rf.sqlite", "$(reboot).sqlite", "ä ö.sqlite", "'; --.sqlite"])
def test_an_odd_but_harmless_name_is_a_backup_like_any_other(tmp_path: Path, name: str) -> None:
    fill(tmp_path, {name: b"x"})
    assert only(read(tmp_path)).status is Status.UNCHECKED


def test_an_empty_file_is_no_backup_even_when_its_hash_is_listed(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b""})
    backup = only(read(tmp_path))
    assert backup.status is Status.UNREADABLE
    assert backup.evidence == "It is empty (0 bytes): there is no database in it"


def test_other_files_hidden_files_and_companions_are_no_backups(tmp_path: Path) -> None:
    others = {"README": b"x", ".a.sqlite.part": b"x", ".b.sqlite": b"x", "a.sqlite-shm": b"x"}
    fill(tmp_path, {"a.sqlite": b"x", **others})
    (tmp_path / "a.sqlite.sha256").write_bytes((tmp_path / "checksums.txt").read_bytes())
    assert only(read(tmp_path)).name == "a.sqlite"
    everything = [backup.name for backup in read(tmp_path, pattern="*").backups]
    assert sorted(everything) == ["README", "a.sqlite"]


def test_a_write_ahead_log_beside_a_backup_is_a_warning(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"x", "b.sqlite": b"x"})
    (tmp_path / "a.sqlite-wal").write_bytes(b"rows")
    (tmp_path / "b.sqlite-wal").write_bytes(b"")
    assert read(tmp_path).problems == ("a.sqlite has a -wal file beside it; rows in there are not part of the backup",)


def test_safety_snapshots_say_what_they_are(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"x"})
    assert only(read(tmp_path, kind="safety snapshot")).kind == "safety snapshot"


def test_a_listing_that_is_a_link_or_a_fifo_is_not_followed(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"x"}, listed=False)
    (tmp_path / "checksums.txt").symlink_to("/etc/passwd")
    assert read(tmp_path).problems == ("checksums.txt can't be used: is a symbolic link, no regular file",)
    (tmp_path / "checksums.txt").unlink()
    os.mkfifo(tmp_path / "checksums.txt")
    assert read(tmp_path).problems == ("checksums.txt can't be used: is a FIFO, no regular file",)


def test_a_listing_without_end_is_not_read(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"x"}, listed=False)
    with (tmp_path / "checksums.txt").open("wb") as file:
        file.truncate(1 << 40)
    (problem,) = read(tmp_path).problems
    assert problem == "checksums.txt can't be used: is larger than 16,777,216 bytes"


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RestoreError, match=r"none does not exist\. Nothing was changed\.") as refusal:
        read(tmp_path / "none")
    assert "mounted" in refusal.value.hint


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RestoreError, match=r"is not a folder\. Nothing was changed\.") as refusal:
        read(tmp_path / "file")
    assert "configuration" in refusal.value.hint


def test_a_folder_that_may_not_be_listed_is_refused(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    with without_rights(), pytest.raises(RestoreError, match="can't be read by this user") as refusal:
        read(locked)
    assert "Run as a user" in refusal.value.hint


def test_an_empty_folder_is_an_empty_catalogue(tmp_path: Path) -> None:
    assert read(tmp_path).backups == ()


def test_ten_thousand_backups_list_without_a_stall(tmp_path: Path) -> None:
    names = [
        f"2026-{1 + n // 800:02}-{1 + n % 28:02}T{n % 24:02}-{n % 60:02}-{n % 59:02}Z-{n}.sqlite" for n in range(10_000)
    ]
    fill(tmp_path, dict.fromkeys(names, b"x"))
    began = time.perf_counter()
    found = read(tmp_path)
    seconds = time.perf_counter() - began
    assert len(found.backups) == 10_000
    assert all(backup.status is Status.UNCHECKED for backup in found.backups)
    assert seconds < 3  # measured 0.2 s; the margin is for a busy machine
