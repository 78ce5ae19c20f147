"""The journal: on the disk before it is spoken of, whole or not at all, and never believed when it was changed."""

from __future__ import annotations

import errno
import json
import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines.errors import RestoreError
from engines.session import journal
from engines.session.events import FactFound, NoteAdded, StepEnded
from engines.session.journal import BrokenChain, Writer, keep_reserve, parse, read, replace_file
from tests.engines.session.examples import ANA, begun, content, lines, runner_started


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def note(text: str) -> NoteAdded:
    return NoteAdded(ANA, text)


def test_each_line_follows_from_the_one_before(path: Path) -> None:
    writer = Writer(path)
    for text in ("one", "two", "three"):
        writer.append(note(text), "ana")
    known = read(path)
    assert [entry.seq for entry in known.entries] == [1, 2, 3]
    assert known.entries[0].prev == "0" * 64
    assert known.entries[2].prev == journal.line_digest(known.lines[1])
    assert known.head == writer.head
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_is_on_the_disk_before_append_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(path)
    synced: list[bytes] = []
    fsync = os.fsync

    def watched(fd: int) -> None:
        fsync(fd)
        synced.append(path.read_bytes())

    monkeypatch.setattr(os, "fsync", watched)
    _, line = writer.append(note("one"), "ana")
    assert synced == [line + b"\n"]


def test_the_entry_that_is_folded_is_the_one_that_will_be_read_again(path: Path) -> None:
    facts = {"not a number": float("nan"), "path": Path("/srv"), "pair": (1, 2), 3: "key", "name": "caf\udce9"}
    writer = Writer(path)
    entry, _ = writer.append(FactFound("2.1", facts), "ana")  # type: ignore[arg-type]  # what a careless step may do
    assert read(path).entries == (entry,)
    assert isinstance(entry.event, FactFound)
    assert entry.event.facts["path"] == "/srv"
    assert entry.event.facts["name"] == "caf\\udce9"


def test_what_no_journal_can_hold_is_refused_and_not_written(path: Path) -> None:
    writer = Writer(path)
    with pytest.raises(RestoreError, match="can't be written down"):
        writer.append(StepEnded(step="2.1", result="maybe"), "ana")  # type: ignore[arg-type]  # that is the point
    assert path.read_bytes() == b""
    assert writer.append(note("still works"), "ana")[0].seq == 1


def test_a_last_line_cut_at_any_byte_is_set_aside_and_the_journal_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _fd: None)  # hundreds of journals; what is asked here is not the order
    whole = lines(begun(), runner_started(), note("the last line"))
    kept = content(whole[:-1])
    for cut in range(len(whole[-1]) + 1):
        path.write_bytes(kept + whole[-1][:cut])
        writer = Writer(path)
        assert len(writer.entries) == 2
        assert writer.torn == whole[-1][:cut]
        writer.append(note("after"), "ana")
        writer.close()
        assert len(read(path).entries) == 3
        aside = list(path.parent.glob("journal.jsonl.torn-*"))
        assert [file.read_bytes() for file in aside] == ([whole[-1][:cut]] if cut else [])
        for file in aside:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            file.unlink()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes: writes fail as on a full disk, with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_on_a_full_disk_the_reserve_is_given_up_and_the_event_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_reserve(path.parent)
    assert (path.parent / "reserve").stat().st_blocks * 512 >= journal.RESERVE_SIZE
    writer = Writer(path)
    writer.append(note("before"), "ana")
    write = os.write

    def full(fd: int, text: bytes) -> int:
        if (path.parent / "reserve").exists():
            write(fd, text[:7])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, text)

    monkeypatch.setattr(os, "write", full)
    writer.append(note("kept"), "ana")
    assert not (path.parent / "reserve").exists()
    assert [entry.seq for entry in read(path).entries] == [1, 2]
    assert read(path).torn == b""


def test_when_even_the_reserve_does_not_help_nothing_half_written_stays(path: Path) -> None:
    keep_reserve(path.parent)
    writer = Writer(path)
    writer.append(note("before"), "ana")
    kept = path.read_bytes()
    with file_size_limit(len(kept) + 20), pytest.raises(RestoreError, match="was not begun") as refused:
        writer.append(note("x" * 100), "ana")
    assert "reinstate resume" in refused.value.hint
    assert path.read_bytes() == kept
    assert writer.append(note("after"), "ana")[0].seq == 2
    assert len(read(path).entries) == 2


def test_a_failing_fsync_is_not_taken_for_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(path)

    def broken(_fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(RestoreError, match="Input/output error"):
        writer.append(note("lost"), "ana")
    assert path.read_bytes() == b""


def test_a_torn_line_is_set_aside_on_a_full_disk_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_reserve(path.parent)
    path.write_bytes(content(lines(begun())) + b'{"seq": 2')
    opened = os.open

    def full(name: str | Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_EXCL and (path.parent / "reserve").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(name, flags, mode)

    monkeypatch.setattr(os, "open", full)
    writer = Writer(path)
    assert len(writer.entries) == 1
    assert [file.read_bytes() for file in path.parent.glob("*.torn-*")] == [b'{"seq": 2']


def test_a_whole_file_is_replaced_or_left_and_no_half_stays(tmp_path: Path) -> None:
    file = tmp_path / "session.toml"
    replace_file(file, b"old")
    with file_size_limit(50), pytest.raises(OSError, match="File too large"):
        replace_file(file, b"n" * 100)
    assert file.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["session.toml"]


def test_a_whole_file_is_synced_before_it_takes_its_name_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync = os.fsync

    def watched(fd: int) -> None:
        named = (tmp_path / "session.toml").exists()
        done.append(("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file") + (" named" if named else ""))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watched)
    replace_file(tmp_path / "session.toml", b"new")
    assert done == ["file", "folder named"]


def changed_in(line: bytes, **fields: object) -> bytes:
    return json.dumps({**json.loads(line), **fields}, separators=(",", ":")).encode()


def without(line: bytes, field: str) -> bytes:
    return json.dumps({name: value for name, value in json.loads(line).items() if name != field}).encode()


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda line: b"",
    "binary": lambda line: bytes(range(256)).replace(b"\n", b""),
    "not UTF-8": lambda line: line.replace(b"ana", b"\xff\xfe"),
    "UTF-16": lambda line: line.decode().encode("utf-16"),
    "NULs": lambda line: b"\0" * 100,
    "a huge line": lambda line: b"[" + b"1," * 5_000_000 + b"1]",
    "a huge text": lambda line: b'"' + b"x" * 10_000_000 + b'"',
    "deep lists": lambda line: b"[" * 200_000,
    "deep tables": lambda line: b'{"a":' * 200_000,
    "deep inside": lambda line: changed_in(line, target=[]).replace(b"[]", b"[" * 100_000 + b"]" * 100_000),
    "a number": lambda line: b"7",
    "a list": lambda line: b"[]",
    "an empty table": lambda line: b"{}",
    "a lone surrogate": lambda line: line.replace(b'"ana"', b'"\\ud800"'),
    "a huge number": lambda line: changed_in(line, seq=10**400),
    "a number with too many digits": lambda line: line.replace(b'"seq":1', b'"seq":' + b"9" * 10_000),
    "an infinite number": lambda line: line.replace(b'"seq":1', b'"seq":1e999'),
    "an unknown kind": lambda line: changed_in(line, kind="Nuked"),
    "a kind that is a list": lambda line: changed_in(line, kind=["SessionBegun"]),
    "a number that is text": lambda line: changed_in(line, seq="1"),
    "a time without a zone": lambda line: changed_in(line, at="2026-11-22T12:00:00"),
    "a time before all time": lambda line: changed_in(line, at="0001-01-01T00:00:00+23:59"),
    "a time after all time": lambda line: changed_in(line, at="9999-12-31T23:59:59-23:59"),
    "a time that is a number": lambda line: changed_in(line, at=7),
    "a table that is text": lambda line: changed_in(line, target="shop"),
    "nobody": lambda line: changed_in(line, operator=None),
    "a carriage return": lambda line: line + b"\r",
    **{f"no {field}": lambda line, field=field: without(line, field) for field in ("seq", "at", "kind", "by", "prev")},  # type: ignore[misc]  # mypy can't type a default in a lambda
    **{f"no {field}": lambda line, field=field: without(line, field) for field in ("session", "target", "operator")},  # type: ignore[misc]  # as above
}


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("place", [1, 2])
def test_a_hostile_line_is_named_and_never_more_than_that(what: str, place: int) -> None:
    good = lines(begun(), begun())
    written = [*good]
    written[place - 1] = HOSTILE[what](good[place - 1].replace(b'"seq":2', b'"seq":1') if place == 2 else good[0])
    if what == "a carriage return" and place == 1:
        place = 2  # blanks around JSON are no error; the next line shows that this one was changed
        written.append(b"")
    with pytest.raises(BrokenChain) as broken:
        parse(content(written))
    assert broken.value.line == place
    assert f"line {place}" in broken.value.message
    assert len(broken.value.message) < 1000


@pytest.mark.parametrize("make", ["folder", "pipe", "device", "link", "absent"])
def test_something_else_in_the_journals_place_is_refused_at_once(make: str, path: Path) -> None:
    if make == "folder":
        path.mkdir()
    elif make == "pipe":
        os.mkfifo(path)
    elif make == "device":
        path.symlink_to("/dev/zero")
    elif make == "link":
        path.with_name("other").write_bytes(content(lines(begun())))
        path.symlink_to("other")
    with pytest.raises(RestoreError, match="can't be read"):
        read(path)
