"""What the bytes of a backup earn it, and what is told while they are read."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.backups import verify as module
from engines.backups.catalogue import Backup, Status, read
from engines.backups.reading import not_a_file
from engines.backups.verify import BUFFER, verify, verify_all
from tests.engines.backups.folder import fill, only, verified, without_rights

names = st.text(
    alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters="/"), max_size=30
).map(lambda stem: f"x{stem}.sqlite")


def silent(_done: int, _total: int) -> None:
    """A progress that nobody looks at."""


def never() -> bool:
    return False


def once(act: Callable[[], object]) -> Callable[[int, int], None]:
    """A progress that acts at its first call: something happens to the file while it is read."""
    acts = [act]

    def progress(_done: int, _total: int) -> None:
        if acts:
            acts.pop()()

    return progress


def hours(folder: Path, count: int) -> tuple[Backup, ...]:
    fill(folder, {f"2026-11-22T{hour:02}-00-00Z.sqlite": b"%d" % hour for hour in range(count)})
    return read(folder).backups


def test_a_backup_whose_hash_is_the_listed_one_is_verified(tmp_path: Path) -> None:
    fill(tmp_path, {"b.sqlite": b"other", "a.sqlite": b"rows"})
    (tmp_path / "b.sqlite").unlink()
    backup = next(backup for backup in read(tmp_path).backups if backup.name == "a.sqlite")
    result = verify(backup, silent, never)
    whole = hashlib.sha256(b"rows").hexdigest()
    assert result.status is Status.VERIFIED
    assert result.restorable
    assert result.evidence == f"sha256 {whole[:16]}… equals checksums.txt line 2"
    assert result.actual is not None
    assert result.actual.hex == whole
    assert result == replace(backup, status=result.status, evidence=result.evidence, actual=result.actual)


def test_both_witnesses_are_named_when_they_agree(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"rows"})
    (tmp_path / "a.sqlite.sha256").write_text(hashlib.sha256(b"rows").hexdigest())
    result = verified(tmp_path)
    assert result.status is Status.VERIFIED
    assert result.evidence.endswith("equals checksums.txt line 1 and a.sqlite.sha256")


def test_sha512_is_proof_too(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"rows"}, algorithm="sha512")
    assert verified(tmp_path).status is Status.VERIFIED


@pytest.mark.parametrize("algorithm", ["md5", "sha1"])
def test_a_match_of_a_broken_hash_is_weak_and_not_restorable(tmp_path: Path, algorithm: str) -> None:
    fill(tmp_path, {"a.sqlite": b"rows"}, algorithm=algorithm)
    result = verified(tmp_path)
    assert result.status is Status.WEAK
    assert not result.restorable
    assert result.evidence.startswith(f"{algorithm} {hashlib.new(algorithm, b'rows').hexdigest()[:16]}… equals")
    assert "can be forged" in result.evidence


def test_only_verified_can_be_restored() -> None:
    assert [status for status in Status if status.restorable] == [Status.VERIFIED]


def test_every_flipped_bit_and_every_cut_is_a_mismatch(tmp_path: Path) -> None:
    content = os.urandom(16 * 1024)
    damaged = {}
    for place in range(0, len(content), 1024):
        flipped = bytearray(content)
        flipped[place] ^= 1 << (place // 1024 % 8)
        damaged[f"flip-{place}.sqlite"] = bytes(flipped)
        damaged[f"cut-{place}.sqlite"] = content[:place] or content + b"\0"
    fill(tmp_path, damaged, listed=False)
    whole = hashlib.sha256(content).hexdigest()
    (tmp_path / "checksums.txt").write_text("".join(f"{whole}  {name}\n" for name in damaged))
    results = verify_all(read(tmp_path).backups, lambda _backup: None, never)
    assert {result.status for result in results} == {Status.MISMATCH}
    assert len(results) == 32


def test_a_mismatch_shows_both_hashes(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"rows"})
    (tmp_path / "a.sqlite").write_bytes(b"rowz")
    result = verified(tmp_path)
    found, told = hashlib.sha256(b"rowz").hexdigest(), hashlib.sha256(b"rows").hexdigest()
    assert result.status is Status.MISMATCH
    assert result.evidence == f"sha256 is {found[:16]}…, checksums.txt line 1 says {told[:16]}…"


def test_a_mismatch_that_differs_only_late_is_shown_whole(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"rows"}, listed=False)
    found = hashlib.sha256(b"rows").hexdigest()
    told = found[:-1] + ("0" if found[-1] != "0" else "1")
    (tmp_path / "checksums.txt").write_text(f"{told}  a.sqlite\n")
    assert verified(tmp_path).evidence == f"sha256 is {found}, checksums.txt line 1 says {told}"


def test_one_that_is_not_listed_is_hashed_so_that_it_can_be_compared_by_eye(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"rows"}, listed=False)
    result = verified(tmp_path)
    assert result.status is Status.NOT_LISTED
    assert result.evidence.endswith(f"its sha256 is {hashlib.sha256(b'rows').hexdigest()}")
    assert verify(result, silent, never).evidence == result.evidence


def test_witnesses_that_contradict_each_other_stay_a_mismatch(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"rows"})
    (tmp_path / "a.sqlite.sha256").write_text("1" * 64)
    result = verified(tmp_path)
    assert result.status is Status.MISMATCH
    assert "but a.sqlite.sha256 says" in result.evidence


def test_a_missing_file_stays_missing(tmp_path: Path) -> None:
    (tmp_path / "checksums.txt").write_text(f"{'1' * 64}  a.sqlite\n")
    backup = only(read(tmp_path))
    assert verify(backup, silent, never) == backup


def test_a_file_that_is_gone_since_is_unreadable(tmp_path: Path) -> None:
    (backup,) = hours(tmp_path, 1)
    backup.path.unlink()
    result = verify(backup, silent, never)
    assert result.status is Status.UNREADABLE
    assert result.evidence == "It can't be read: No such file or directory"


def test_a_link_put_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (backup,) = hours(tmp_path, 1)
    backup.path.rename(tmp_path / "moved")
    backup.path.symlink_to("moved")
    result = verify(backup, silent, never)
    assert result.status is Status.UNREADABLE
    assert result.evidence == "It is a symbolic link, no regular file; it was not opened"


def test_a_fifo_put_in_its_place_does_not_block(tmp_path: Path) -> None:
    (backup,) = hours(tmp_path, 1)
    backup.path.unlink()
    os.mkfifo(backup.path)
    assert verify(backup, silent, never).evidence == "It is a FIFO, no regular file; it was not opened"


def test_a_link_put_there_between_the_look_and_the_opening_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (backup,) = hours(tmp_path, 1)
    facts = backup.path.lstat()
    backup.path.rename(tmp_path / "moved")
    backup.path.symlink_to("moved")
    monkeypatch.setattr(os, "lstat", lambda _path: facts)
    result = verify(backup, silent, never)
    assert result.status is Status.UNREADABLE
    assert "symbolic link" in result.evidence


def test_a_file_without_read_permission_is_unreadable(tmp_path: Path) -> None:
    (backup,) = hours(tmp_path, 1)
    backup.path.chmod(0)
    with without_rights():
        result = verify(backup, silent, never)
    assert result.status is Status.UNREADABLE
    assert result.evidence == "It can't be read: Permission denied"


def test_what_could_not_be_read_gets_its_verdict_once_it_can_be(tmp_path: Path) -> None:
    fill(tmp_path, {"a.sqlite": b"rows"}, listed=False)
    backup = replace(only(read(tmp_path)), status=Status.UNREADABLE, evidence="It can't be read: Permission denied")
    result = verify(backup, silent, never)
    assert result.status is Status.NOT_LISTED
    assert result.evidence.startswith("Nothing says what its hash should be; its sha256 is ")


def test_a_disk_that_fails_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (backup,) = hours(tmp_path, 1)

    def fail(_descriptor: int, _buffers: object) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "readv", fail)
    assert verify(backup, silent, never).evidence == "It can't be read: Input/output error"


def test_a_file_that_was_replaced_since_it_was_listed_is_unreadable(tmp_path: Path) -> None:
    (backup,) = hours(tmp_path, 1)
    content = backup.path.read_bytes()
    (tmp_path / "new").write_bytes(content)
    (tmp_path / "new").replace(backup.path)
    result = verify(backup, silent, never)
    assert result.status is Status.UNREADABLE
    assert result.evidence == "It has changed since it was listed; list the folder again"


def large(folder: Path) -> Backup:
    fill(folder, {"2026-11-22T20-00-00Z.sqlite": b"r" * (3 * BUFFER)})
    return only(read(folder))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite_keeping_times(path: Path) -> None:
    facts = path.stat()
    # The kernel's clock for files ticks in milliseconds: write until it has ticked.
    while path.stat().st_ctime_ns == facts.st_ctime_ns:
        with path.open("r+b") as file:
            file.write(b"R")
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def replace_by_rename(path: Path) -> None:
    fresh = path.with_name("fresh")
    fresh.write_bytes(path.read_bytes())
    fresh.replace(path)


@pytest.mark.parametrize(
    "act",
    [append, lambda path: os.truncate(path, BUFFER + 5), rewrite_keeping_times, replace_by_rename],
    ids=["grows", "shrinks", "is rewritten and its time set back", "is replaced"],
)
def test_a_file_that_changes_while_it_is_read_is_unreadable(tmp_path: Path, act: Callable[[Path], object]) -> None:
    backup = large(tmp_path)
    result = verify(backup, once(lambda: act(backup.path)), never)
    assert result.status is Status.UNREADABLE
    assert result.evidence == "It changed while it was read; list the folder again"


def test_a_file_that_grows_for_ever_is_given_up(tmp_path: Path) -> None:
    backup = large(tmp_path)
    seen: list[int] = []

    def progress(done: int, _total: int) -> None:
        seen.append(done)
        with backup.path.open("ab") as file:
            file.write(b"r" * BUFFER)

    assert verify(backup, progress, never).status is Status.UNREADABLE
    assert seen[-1] <= backup.size + BUFFER


def test_a_file_that_is_removed_while_it_is_read_is_unreadable(tmp_path: Path) -> None:
    backup = large(tmp_path)
    assert verify(backup, once(backup.path.unlink), never).status is Status.UNREADABLE


def test_stopping_leaves_it_unchecked_and_says_so(tmp_path: Path) -> None:
    backup = large(tmp_path)
    result = verify(backup, silent, lambda: True)
    assert result.status is Status.UNCHECKED
    assert result.evidence == "Stopped before it was compared with checksums.txt line 1"


def test_progress_tells_bytes_up_to_the_whole(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    backup = large(tmp_path)
    verify(backup, lambda done, total: told.append((done, total)), never)
    assert told == [(BUFFER, backup.size), (2 * BUFFER, backup.size), (3 * BUFFER, backup.size)]


def test_all_are_verified_newest_first_and_come_back_in_order(tmp_path: Path) -> None:
    backups = hours(tmp_path, 5)
    told: list[Backup] = []
    results = verify_all(reversed(backups), told.append, never, workers=1)
    assert [backup.name for backup in told] == [backup.name for backup in backups for _ in range(2)]
    assert [backup.status for backup in told] == [Status.CHECKING, Status.VERIFIED] * 5
    assert [backup.done for backup in told] == [0.0, None] * 5
    assert [result.name for result in results] == [backup.name for backup in reversed(backups)]
    assert {result.status for result in results} == {Status.VERIFIED}


def test_checking_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOLD_EVERY", 0.0)
    told: list[Backup] = []
    verify_all([large(tmp_path)], told.append, never)
    checking = [backup.done for backup in told if backup.status is Status.CHECKING]
    assert checking == [0.0, 1 / 3, 2 / 3]


def test_progress_is_told_at_most_four_times_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, {"2026-11-22T20-00-00Z.sqlite": b"r" * (40 * BUFFER)})
    clock = iter(range(1000))
    monkeypatch.setattr(module, "monotonic", lambda: next(clock) / 20)  # 40 buffers in two seconds
    told: list[Backup] = []
    verify_all(read(tmp_path).backups, told.append, never)
    # The start, seven quarters of a second before the end, and the verdict.
    assert len(told) == 9


def test_what_has_a_verdict_already_is_left_alone(tmp_path: Path) -> None:
    backups = [replace(backup, status=Status.MISMATCH) for backup in hours(tmp_path, 3)]
    told: list[Backup] = []
    assert verify_all(backups, told.append, never) == tuple(backups)
    assert told == []


def test_two_files_are_read_at_once_but_reports_never_overlap(tmp_path: Path) -> None:
    backups = hours(tmp_path, 2)
    both = threading.Barrier(2, timeout=30)
    inside = threading.Lock()
    overlaps: list[str] = []

    def changed(backup: Backup) -> None:
        if not inside.acquire(blocking=False):
            overlaps.append(backup.name)
            return
        inside.release()

    def stop() -> bool:
        if threading.current_thread() not in met:
            met.add(threading.current_thread())
            both.wait()  # gets on only when the other file is being read, too
        return False

    met: set[threading.Thread] = set()
    results = verify_all(backups, changed, stop, workers=2)
    assert {result.status for result in results} == {Status.VERIFIED}
    assert len(met) == 2
    assert overlaps == []


def test_stopping_in_the_middle_leaves_the_rest_as_it_was(tmp_path: Path) -> None:
    backups = hours(tmp_path, 4)
    done: list[Backup] = []

    def changed(backup: Backup) -> None:
        if backup.status is Status.VERIFIED:
            done.append(backup)

    results = verify_all(backups, changed, lambda: len(done) >= 2, workers=1)
    assert [result.status for result in results] == [Status.VERIFIED] * 2 + [Status.UNCHECKED] * 2
    assert results[2:] == backups[2:]


def test_an_error_of_the_listener_ends_the_run_and_leaves_no_thread(tmp_path: Path) -> None:
    backups = hours(tmp_path, 20)
    told: list[Backup] = []

    def changed(backup: Backup) -> None:
        told.append(backup)
        raise RuntimeError("the screen is gone")

    with pytest.raises(RuntimeError, match="the screen is gone"):
        verify_all(backups, changed, never)
    assert len(told) < 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("verify")]


def test_ctrl_c_ends_the_run_and_leaves_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backups = hours(tmp_path, 20)

    def interrupted(_futures: object, return_when: str) -> NoReturn:
        raise KeyboardInterrupt(return_when)

    monkeypatch.setattr(module, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        verify_all(backups, lambda _backup: None, never)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("verify")]


def test_nothing_but_regular_files_is_ever_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, {"a.sqlite": b"rows"})
    (tmp_path / "link.sqlite").symlink_to("a.sqlite")
    (tmp_path / "folder.sqlite").mkdir()
    os.mkfifo(tmp_path / "fifo.sqlite")
    (tmp_path / "bad\nname.sqlite").write_bytes(b"rows")
    opened: list[str] = []
    real = os.open

    def watched(path: Path, flags: int) -> int:
        opened.append(path.name)
        assert flags & os.O_NOFOLLOW
        assert flags & os.O_NONBLOCK
        return real(path, flags)

    monkeypatch.setattr(os, "open", watched)
    results = [verify(backup, silent, never) for backup in read(tmp_path).backups]
    assert opened == ["checksums.txt", "a.sqlite"]
    assert [result.status for result in results].count(Status.UNREADABLE) == 4


def test_devices_are_recognised() -> None:
    assert not_a_file(Path("/dev/null").stat().st_mode) == "a character device"


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(names, st.tuples(st.binary(min_size=1, max_size=50), st.booleans()), min_size=1, max_size=6))
def test_the_verdict_is_always_that_of_sha256sum(files: dict[str, tuple[bytes, bool]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, (content, _) in files.items():
            (folder / name).write_bytes(content)
        listing = subprocess.run(["sha256sum", "--", *files], cwd=place, check=True, capture_output=True).stdout
        (folder / "checksums.txt").write_bytes(listing)
        for name, (content, damaged) in files.items():
            if damaged:
                (folder / name).write_bytes(bytes([content[0] ^ 1]) + content[1:])
        theirs = {
            name: subprocess.run(
                ["sha256sum", "--status", "-c", "-"], cwd=place, input=line + b"\n", check=False
            ).returncode
            == 0
            for name, line in zip(files, listing.splitlines(), strict=True)
        }
        ours = verify_all(read(folder).backups, lambda _backup: None, never)
    assert {backup.name: backup.restorable for backup in ours} == theirs
