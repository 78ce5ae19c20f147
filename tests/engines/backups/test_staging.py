"""What is staged is what was listed, whatever the line, the bucket, the disk or a kill does meanwhile."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from engines.backups import catalogue, parts, sources, staging
from engines.backups.checksums import Digest
from engines.backups.places import FileAt, ObjectAt, Place
from engines.backups.receiving import Receiving
from engines.backups.staging import Staged, part_for, stage
from engines.errors import Refused, RestoreError, UsageError
from tests.engines.backups.folder import fill, only
from tests.engines.backups.objects import Bucket, fresh_name, sha256
from tests.servers.proxy import Proxy, proxied
from tests.servers.s3 import SECRET, Answer, S3Server, answering

ROOT = Path(__file__).parents[3]
NIGHT = "shop-2026-11-22T03-00-00Z.sql.gz"
SMALL = 1 << 18  # bytes in a part
CONTENT = random.Random(8).randbytes(5 * SMALL + 1234)  # noqa: S311 - the same bytes each time
DIGEST = Digest("sha256", sha256(CONTENT), "checksums.txt line 1")


@dataclass(frozen=True)
class Source:
    """A backup in a bucket or in a folder, and how somebody else writes other bytes in its place."""

    place: Place
    overwrite: Callable[[bytes], None]


@pytest.fixture(params=["object", "version", "file"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    if request.param == "file":
        folder = tmp_path / "dumps"
        folder.mkdir()
        fill(folder, {NIGHT: CONTENT})
        return Source(only(catalogue.read(folder, "*.sql*")).place, lambda other: overwrite(folder / NIGHT, other))
    s3: S3Server = request.getfixturevalue("s3")
    bucket = Bucket(s3, fresh_name(), versioned=request.param == "version")
    bucket.put({NIGHT: CONTENT})
    return Source(bucket.place(NIGHT), lambda other: bucket.put({NIGHT: other}, listed=False))


def overwrite(path: Path, content: bytes) -> None:
    fresh = path.with_name("fresh")
    fresh.write_bytes(content)
    fresh.replace(path)


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    made = Bucket(s3, fresh_name())
    made.put({NIGHT: CONTENT})
    return made


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[Proxy]:
    with proxied(int(s3.endpoint.rpartition(":")[2])) as made:
        yield made


def assert_staged(staged: Staged, into: Path) -> None:
    path = Path(staged.path)
    assert path == into / NIGHT
    assert path.read_bytes() == CONTENT
    assert (staged.size, staged.sha256) == (len(CONTENT), DIGEST.hex)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(into.stat().st_mode) == 0o700
    assert not (into / parts.part_of(NIGHT)).exists()


def test_the_listed_bytes_come_and_are_compared(source: Source, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    into = tmp_path / "staging"
    staged = stage(source.place, into, DIGEST, part=SMALL, progress=lambda done, total: told.append((done, total)))
    assert_staged(staged, into)
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert staged.source == str(source.place)
    assert staged.version == getattr(source.place, "version", "")
    assert staged.digests == (("sha256", DIGEST.hex),)


def test_one_part_is_enough_for_a_small_one(source: Source, tmp_path: Path) -> None:
    assert_staged(stage(source.place, tmp_path / "staging", DIGEST), tmp_path / "staging")


def test_without_a_listing_it_is_staged_and_its_hash_told(source: Source, tmp_path: Path) -> None:
    assert stage(source.place, tmp_path / "staging", part=SMALL).sha256 == DIGEST.hex


@pytest.mark.parametrize("algorithm", ["sha512", "sha1", "md5"])
def test_the_listed_algorithm_is_computed_too(source: Source, tmp_path: Path, algorithm: str) -> None:
    found = hashlib.new(algorithm, CONTENT, usedforsecurity=False).hexdigest()
    staged = stage(source.place, tmp_path / "staging", Digest(algorithm, found.upper()), part=SMALL)
    assert staged.digests == (("sha256", DIGEST.hex), (algorithm, found))


def test_an_unknown_algorithm_is_refused(source: Source, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no checksum that can be computed"):
        stage(source.place, tmp_path / "staging", Digest("crc5\x1b", "0"))


def test_other_bytes_than_listed_are_refused_and_not_kept(source: Source, tmp_path: Path) -> None:
    into = tmp_path / "staging"
    with pytest.raises(Refused, match=r"checksums\.txt line 1 says 0000.*Nothing live was changed"):
        stage(source.place, into, Digest("sha256", "0" * 64, "checksums.txt line 1"), part=SMALL)
    assert list(into.iterdir()) == []


def test_one_that_was_replaced_between_listing_and_staging(source: Source, tmp_path: Path) -> None:
    source.overwrite(bytes(len(CONTENT)))
    if getattr(source.place, "version", ""):  # the listed version is still there, and is what comes
        assert_staged(stage(source.place, tmp_path / "staging", DIGEST, part=SMALL), tmp_path / "staging")
        return
    with pytest.raises(Refused, match="has changed since it was listed") as caught:
        stage(source.place, tmp_path / "staging", DIGEST, part=SMALL)
    assert "choose anew" in caught.value.hint
    assert list((tmp_path / "staging").iterdir()) == []


def test_one_that_is_replaced_while_it_is_staged(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "staging"
    replaced = threading.Event()
    fetch = Receiving._fetch

    def fetch_later(receiving: Receiving, one: int, number: int) -> bool:
        """The parts after the first, which are asked for ahead, only once the file is another."""
        assert number == 0 or replaced.wait(20)
        return fetch(receiving, one, number)

    def at(point: str) -> None:
        if point == "stage.part.after" and not replaced.is_set():
            source.overwrite(bytes(len(CONTENT)))
            replaced.set()

    monkeypatch.setattr(Receiving, "_fetch", fetch_later)

    if getattr(source.place, "version", ""):
        assert_staged(stage(source.place, into, DIGEST, part=SMALL, connections=1, at=at), into)
        return
    with pytest.raises(Refused, match="has changed since it was listed"):
        stage(source.place, into, DIGEST, part=SMALL, connections=1, at=at)
    assert list(into.iterdir()) == []


def test_where_the_time_went_is_told_last(source: Source, tmp_path: Path) -> None:
    lines: list[str] = []
    stage(source.place, tmp_path / "staging", DIGEST, part=SMALL, say=lines.append)
    parts_of_it = lines[-1].removeprefix("time: ").split(", ")
    assert [part.split()[0] for part in parts_of_it] == ["download", "hash", "disk"]


@pytest.mark.parametrize(
    ("size", "part"),
    [(1, 2 << 20), (160 << 20, 2 << 20), ((160 << 20) + 1, 3 << 20), (320 << 20, 4 << 20), (1 << 40, 16 << 20)],
)
def test_each_connection_has_several_parts_where_there_is_enough(size: int, part: int) -> None:
    assert part_for(size) == part


def test_a_finished_copy_is_hashed_and_used_again(source: Source, tmp_path: Path) -> None:
    into = tmp_path / "staging"
    first = stage(source.place, into, DIGEST, part=SMALL)
    before = Path(first.path).stat().st_ino
    assert stage(source.place, into, DIGEST, part=SMALL) == first
    assert Path(first.path).stat().st_ino == before


def test_a_finished_copy_that_was_changed_is_fetched_again(source: Source, tmp_path: Path) -> None:
    into = tmp_path / "staging"
    first = Path(stage(source.place, into, DIGEST, part=SMALL).path)
    first.write_bytes(bytes(len(CONTENT)))
    assert_staged(stage(source.place, into, DIGEST, part=SMALL), into)


def test_a_copy_of_another_version_does_not_stay_under_its_name(source: Source, tmp_path: Path) -> None:
    into = tmp_path / "staging"
    stage(source.place, into, DIGEST, part=SMALL)
    with pytest.raises(RestoreError, match="Stopped"):  # another part size, as in another version of Reinstate
        stage(source.place, into, DIGEST, part=2 * SMALL, stop=lambda: True)
    assert not (into / NIGHT).exists()


def test_stopping_keeps_what_is_whole_and_says_so(source: Source, tmp_path: Path) -> None:
    into = tmp_path / "staging"
    seen: list[str] = []
    with pytest.raises(RestoreError, match="Nothing live was changed") as caught:
        stage(
            source.place,
            into,
            DIGEST,
            part=SMALL,
            connections=1,
            at=seen.append,
            stop=lambda: seen.count("stage.part.after") == 2,
        )
    assert "goes on where it was" in caught.value.hint
    lines: list[str] = []
    assert_staged(stage(source.place, into, DIGEST, part=SMALL, say=lines.append), into)
    assert "parts are here from an earlier run" in lines[0]


def test_what_was_begun_of_another_version_is_not_kept(source: Source, tmp_path: Path) -> None:
    into = tmp_path / "staging"
    seen: list[str] = []
    with pytest.raises(RestoreError):
        stage(source.place, into, DIGEST, part=SMALL, at=seen.append, stop=lambda: "stage.part.after" in seen)
    state = into / f".{NIGHT}.state"
    state.write_text(state.read_text().replace('"size"', '"sizes"'))  # as one of another version of Reinstate
    lines: list[str] = []
    assert_staged(stage(source.place, into, DIGEST, part=SMALL, say=lines.append), into)
    assert [line for line in lines if not line.startswith("time: ")] == []


def test_a_line_that_breaks_goes_on_where_it_was(bucket: Bucket, proxy: Proxy, tmp_path: Path) -> None:
    proxy.cut_after(3 * SMALL + 999)
    place = bucket.through(bucket.place(NIGHT), proxy.port)
    assert_staged(stage(place, tmp_path / "staging", DIGEST, part=SMALL), tmp_path / "staging")


def test_a_line_that_stays_broken_is_given_up_and_the_next_run_goes_on(
    bucket: Bucket, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "PAUSE", 0.0)
    place, into = bucket.through(bucket.place(NIGHT), proxy.port), tmp_path / "staging"

    def at(point: str) -> None:
        if point == "stage.part.after":
            proxy.refuse()
            proxy.cut()

    with pytest.raises(RestoreError, match=r"the line|can't be reached") as caught:
        stage(place, into, DIGEST, part=SMALL, connections=2, at=at)
    assert not isinstance(caught.value, Refused)
    assert SECRET not in caught.value.message + caught.value.hint
    proxy.refuse(False)
    lines: list[str] = []
    assert_staged(stage(place, into, DIGEST, part=SMALL, say=lines.append), into)
    assert "parts are here from an earlier run" in lines[0]


def run_to(number: int, source: Source, into: Path) -> list[str]:
    """The points that a run in a process of its own passes; it dies at this one (0: never)."""
    place = source.place
    endpoint = place.service.endpoint if isinstance(place, ObjectAt) else ""
    words = (str(place).removesuffix(NIGHT), endpoint, NIGHT, str(into), str(number))
    command = [sys.executable, "-m", "tests.engines.backups.staged", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == (-signal.SIGKILL if number else 0), ended.stderr
    return [line for line in ended.stdout.splitlines() if line.startswith("stage.")]


def assert_survives(number: int, source: Source, into: Path) -> None:
    """A run dies at this point; the next one comes out as if nothing had been."""
    run_to(number, source, into)
    if (into / NIGHT).exists():  # never under its name before it is whole and compared
        assert (into / NIGHT).read_bytes() == CONTENT
    assert_staged(stage(source.place, into, DIGEST, part=SMALL), into)


@pytest.mark.parametrize("source", ["file"], indirect=True)
def test_killed_at_each_kind_of_point_it_is_begun_again_and_comes_out_the_same(source: Source, tmp_path: Path) -> None:
    passed = run_to(0, source, tmp_path / "to-the-end")
    kinds = list(dict.fromkeys(passed))
    assert len(kinds) >= 9
    for kind in kinds:
        last = len(passed) - passed[::-1].index(kind)
        assert_survives(last, source, tmp_path / kind)


@pytest.mark.torture
def test_killed_at_any_point_it_is_begun_again_and_comes_out_the_same(source: Source, tmp_path: Path) -> None:
    # Parts that become whole together are written down together: the last ones may come in fewer points.
    for number in range(1, len(run_to(0, source, tmp_path / "to-the-end")) - 6):
        assert_survives(number, source, tmp_path / str(number))


@pytest.mark.parametrize("source", ["object"], indirect=True)
def test_parts_that_a_killed_run_left_are_not_fetched_again(source: Source, tmp_path: Path) -> None:
    into = tmp_path / "staging"
    run_to(12, source, into)
    kept = parts.known(folder := parts.Folder(into), NIGHT)
    folder.close()
    assert kept is not None
    assert 0 < len(kept.parts) < kept.count
    fetched: list[tuple[int, int]] = []
    real = sources._Object.pieces

    def pieces(self: sources._Object, begin: int, end: int) -> sources.Pieces:
        fetched.append((begin, end))
        return real(self, begin, end)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources._Object, "pieces", pieces)
        assert_staged(stage(source.place, into, DIGEST, part=SMALL), into)
    assert sorted(fetched) == [kept.bounds(number) for number in range(kept.count) if number not in kept.parts]


def test_too_little_room_is_refused_before_a_byte_is_copied(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts.Folder, "free", lambda _folder: staging.SPARE + 5)
    with pytest.raises(Refused, match=r"needs 1\.3 MB more .*, and 16\.8 MB are free\. Nothing was copied"):
        stage(source.place, tmp_path / "staging", DIGEST)
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_disk_that_fills_up_keeps_what_is_whole(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = os.pwrite, [3]

    def pwrite(descriptor: int, content: memoryview, position: int) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return real(descriptor, content, position)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(RestoreError, match="No space left on device") as caught:
        stage(source.place, tmp_path / "staging", DIGEST, part=SMALL, connections=1)
    assert "Make room" in caught.value.hint
    monkeypatch.setattr(os, "pwrite", real)
    lines: list[str] = []
    assert_staged(stage(source.place, tmp_path / "staging", DIGEST, part=SMALL, say=lines.append), tmp_path / "staging")


def test_a_folder_that_others_can_write_to_is_refused(source: Source, tmp_path: Path) -> None:
    into = tmp_path / "staging"
    into.mkdir()
    into.chmod(0o770)
    with pytest.raises(Refused, match="Others can write to"):
        stage(source.place, into, DIGEST)
    assert list(into.iterdir()) == []


@pytest.mark.parametrize("name", [NIGHT, f".{NIGHT}.part", f".{NIGHT}.state", f".{NIGHT}.state.new"])
def test_links_that_lie_in_wait_are_not_followed(source: Source, tmp_path: Path, name: str) -> None:
    victim, into = tmp_path / "victim", tmp_path / "staging"
    victim.write_text("precious")
    into.mkdir(mode=0o700)
    (into / name).symlink_to(victim)
    assert_staged(stage(source.place, into, DIGEST, part=SMALL), into)
    assert victim.read_text() == "precious"


def test_a_folder_in_the_copys_place_is_said(source: Source, tmp_path: Path) -> None:
    (tmp_path / "staging").mkdir(mode=0o700)
    (tmp_path / "staging" / NIGHT).mkdir()
    with pytest.raises(RestoreError, match="can't be written to"):
        stage(source.place, tmp_path / "staging", DIGEST)


@pytest.mark.parametrize("name", ["a\x1b[2J.sql", "..", "c" * 201])
def test_a_name_that_no_file_can_have_is_refused(name: str, tmp_path: Path, s3: S3Server) -> None:
    place = ObjectAt(Bucket(s3, fresh_name()).service(), "b", f"nightly/{name}", 1, "", "1")
    with pytest.raises(Refused, match="no name that a file can have"):
        stage(place, tmp_path / "staging")
    assert not (tmp_path / "staging").exists()


def test_an_empty_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sql").touch()
    with pytest.raises(Refused, match="is empty"):
        stage(FileAt(tmp_path / "a.sql"), tmp_path / "staging")


def test_an_object_that_is_gone_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    place = bucket.place(NIGHT)
    bucket.delete(NIGHT)
    with pytest.raises(Refused, match="it is not there, or not any more"):
        stage(place, tmp_path / "staging", DIGEST)


def test_a_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real.sql").write_bytes(b"rows")
    (tmp_path / "a.sql").symlink_to("real.sql")
    with pytest.raises(Refused, match="can't be read"):
        stage(FileAt(tmp_path / "a.sql", 4), tmp_path / "staging")


def test_a_service_that_knows_nothing_of_conditions_is_noticed(bucket: Bucket, tmp_path: Path) -> None:
    place = bucket.place(NIGHT)

    def whole(etag: str) -> Answer:
        return Answer(200, "x" * 100, (("ETag", f'"{etag}"'),))

    with answering(lambda _path: whole("another")) as endpoint:
        elsewhere = replace(place, service=bucket.service(endpoint))
        with pytest.raises(Refused, match="has changed since it was listed"):
            stage(elsewhere, tmp_path / "staging", DIGEST, part=SMALL)
    with answering(lambda _path: whole(place.etag)) as endpoint:
        elsewhere = replace(place, service=bucket.service(endpoint))
        with pytest.raises(RestoreError, match="sends others"):
            stage(elsewhere, tmp_path / "staging", DIGEST, part=SMALL)
