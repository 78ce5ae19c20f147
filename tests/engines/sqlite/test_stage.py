"""Staging: the bytes that were listed arrive beside the live database, or nothing does."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from engines.errors import Refused, RestoreError, UsageError
from engines.sqlite import proof, stage
from engines.sqlite.stage import Staged
from tests.engines.sqlite.ground import AM_ROOT, ROOT, Ground, database, make_ground


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return make_ground(tmp_path)


def left_beside(ground: Ground) -> list[str]:
    return [path.name for path in ground.folder.iterdir() if path != ground.live]


def test_the_copy_is_byte_for_byte_private_and_named_after_the_live_database(ground: Ground) -> None:
    content = ground.backup.read_bytes()
    listed = ("sha256", hashlib.sha256(content).hexdigest())
    seen: list[tuple[int, int]] = []
    staged = stage.stage(
        str(ground.backup), str(ground.live), "t1", listed, progress=lambda done, total: seen.append((done, total))
    )
    assert Path(staged.path).name == ".database.sqlite.reinstate-t1.staged"
    assert Path(staged.path).read_bytes() == content
    assert Path(staged.path).stat().st_mode & 0o777 == 0o600
    assert staged.sha256 == listed[1]
    assert seen[-1] == (len(content), len(content))


def test_the_mode_is_private_whatever_the_umask(ground: Ground) -> None:
    before = os.umask(0)
    try:
        staged = ground.staged()
    finally:
        os.umask(before)
    assert Path(staged.path).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1", "md5"])
def test_any_listed_algorithm_is_compared_in_either_case(algorithm: str, ground: Ground) -> None:
    digest = hashlib.new(algorithm, ground.backup.read_bytes()).hexdigest()
    staged = stage.stage(str(ground.backup), str(ground.live), "t1", (algorithm, digest.upper()))
    assert (algorithm, digest) in staged.digests
    assert staged.sha256 == hashlib.sha256(ground.backup.read_bytes()).hexdigest()


def test_an_unknown_algorithm_is_a_mistake_in_what_was_asked(ground: Ground) -> None:
    with pytest.raises(UsageError, match="crc9"):
        stage.stage(str(ground.backup), str(ground.live), "t1", ("crc9", "00"))


def test_another_digest_is_refused_and_leaves_nothing(ground: Ground) -> None:
    with pytest.raises(Refused, match="0000 is expected of it"):
        stage.stage(str(ground.backup), str(ground.live), "t1", ("sha256", "0000"))
    assert left_beside(ground) == []


def test_a_leftover_of_the_same_session_is_replaced_and_one_of_another_stays(ground: Ground) -> None:
    for name in ("t1", "t2"):
        (ground.folder / f".database.sqlite.reinstate-{name}.staged").write_text("half")
    staged = ground.staged()
    assert Path(staged.path).read_bytes() == ground.backup.read_bytes()
    assert (ground.folder / ".database.sqlite.reinstate-t2.staged").read_text() == "half"


def test_a_link_laid_at_the_name_of_the_copy_is_not_followed(ground: Ground, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (ground.folder / ".database.sqlite.reinstate-t1.staged").symlink_to(victim)
    ground.staged()
    assert victim.read_text() == "untouched"


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("-- MySQL dump\nDROP TABLE users;\n.shell touch PWNED\n" * 10)


def compressed(path: Path) -> None:
    path.write_bytes(b"\x1f\x8b" + bytes(500))


def other_magic(path: Path) -> None:
    path.write_bytes(b"SQLite format 2\x00" + path.read_bytes()[16:])


def short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def link(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to(path.with_name("real"))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("spoil", [empty, text, compressed, other_magic, short, link, pipe, folder, gone])
def test_what_is_no_plain_database_file_is_refused_and_leaves_nothing(
    spoil: Callable[[Path], None], ground: Ground
) -> None:
    spoil(ground.backup)
    with pytest.raises(Refused, match="Nothing was changed"):
        ground.staged()
    assert left_beside(ground) == []


def test_a_device_is_refused(ground: Ground) -> None:
    with pytest.raises(Refused, match="not a regular file"):
        stage.stage("/dev/zero", str(ground.live), "t1")


def test_the_live_database_is_no_backup_of_itself(ground: Ground) -> None:
    with pytest.raises(Refused, match="the live database itself"):
        stage.stage(str(ground.live), str(ground.live), "t1")


def test_a_backup_that_is_still_written_to_is_refused(ground: Ground) -> None:
    def grow(_done: int, _total: int) -> None:
        with ground.backup.open("ab") as file:
            file.write(b"more")

    with pytest.raises(Refused, match="changed while it was read"):
        stage.stage(str(ground.backup), str(ground.live), "t1", progress=grow)
    assert left_beside(ground) == []


def test_a_stop_leaves_nothing(ground: Ground) -> None:
    with pytest.raises(RestoreError, match="on request; nothing was changed"):
        stage.stage(str(ground.backup), str(ground.live), "t1", stop=lambda: True)
    assert left_beside(ground) == []


@pytest.mark.parametrize(
    "name", ["[bold]x.sqlite", "\x1b]0;x\x07.sqlite", "a\nb.sqlite", "-rf $(x) `y`.sqlite", "?#%.sqlite"]
)
def test_a_hostile_name_is_a_name(name: str, ground: Ground, tmp_path: Path) -> None:
    source = tmp_path / name
    database(source, "new", 3)
    live = ground.folder / name
    database(live, "old", 3)
    staged = stage.stage(str(source), str(live), "t1")
    assert proof.prove(staged.path).ok
    empty(source)
    with pytest.raises(Refused) as refusal:
        stage.stage(str(source), str(live), "t1")
    assert "\x1b" not in refusal.value.message
    assert "\n" not in refusal.value.message


def test_a_name_that_is_no_text_is_a_name(ground: Ground, tmp_path: Path) -> None:
    source = tmp_path / os.fsdecode(b"caf\xe9.sqlite")
    ground.backup.rename(source)
    live = ground.folder / os.fsdecode(b"live\xff.sqlite")
    ground.live.rename(live)
    assert proof.prove(stage.stage(str(source), str(live), "t1").path).ok


def test_facts_survive_being_stored(ground: Ground) -> None:
    staged = ground.staged()
    assert msgspec.json.decode(msgspec.json.encode(staged), type=Staged) == staged


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """As on a full disk: writing a file beyond `size` bytes fails (EFBIG)."""
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_when_the_copy_cannot_be_written_the_part_of_it_is_removed(ground: Ground) -> None:
    with files_up_to(20_000), pytest.raises(RestoreError, match=r"File too large.*partial copy was removed"):
        ground.staged()
    assert left_beside(ground) == []


FULL_DISK = """
import sys
from pathlib import Path
from engines.errors import RestoreError
from engines.sqlite import stage
try:
    stage.stage(sys.argv[1], sys.argv[2] + "/live.sqlite", "t1")
except RestoreError as error:
    print(error.message, error.hint, [path.name for path in Path(sys.argv[2]).iterdir()])
"""


def test_a_full_disk_is_said_and_leaves_nothing(ground: Ground, tmp_path: Path) -> None:
    """A real full disk: a tmpfs of 32 kB, mounted in a mount namespace of its own, which needs root."""
    small = tmp_path / "small"
    small.mkdir()
    script = 'mount -t tmpfs -o size=32k none "$2" && exec "$3" -c "$4" "$1" "$2"'
    words = ["sh", "-c", script, "sh", str(ground.backup), str(small), sys.executable, FULL_DISK]
    own_namespace = ["unshare", "--mount"] if AM_ROOT else ["unshare", "--map-root-user", "--mount"]
    ended = subprocess.run([*own_namespace, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "No space left on device" in ended.stdout, ended.stderr
    assert ended.stdout.rstrip().endswith("[]")
