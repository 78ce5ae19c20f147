"""Session folders and the target's lock: one session at a time, whatever was left behind."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines.children import identified
from engines.errors import Refused, RestoreError, UsageError
from engines.session import store
from engines.session.events import Ending, SessionEnded
from tests.engines.session.examples import NOON, begun, content, lines, session_folder
from tests.engines.session.toy_session import someone_else

OVER = SessionEnded(Ending.SIGNED_OFF)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop" / "live.sqlite.reinstate.lock"


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def other_session(tmp_path: Path, *events: object) -> Path:
    return session_folder(tmp_path / "other-state", *events)  # type: ignore[arg-type]  # events, as the caller says


def test_folders_and_files_of_a_session_are_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    with umask(0):
        folder = store.new_folder(tmp_path / "var" / "lib" / "state", "production", NOON)
        os.close(store.claim_runner(folder))
    for made in (folder, folder / "logs", folder / "private", *folder.parents[:4]):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700, made
    assert stat.S_IMODE((folder / "runner.pid").stat().st_mode) == 0o600
    assert folder.name.startswith("2026-11-22T12-00-00Z-production-")
    assert [known.folder for known in store.known_sessions(tmp_path / "var" / "lib" / "state")] == [folder]


@pytest.mark.parametrize("way", ["file", "missing disk"])
def test_a_state_folder_that_can_not_be_made_is_said_to_be_so(way: str, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a folder")
    where = tmp_path / "state" if way == "file" else Path("/proc/no/such/place")
    with pytest.raises(RestoreError, match="Nothing was changed") as error:
        store.new_folder(where, "local", NOON)
    assert "`state`" in error.value.hint


def test_two_sessions_of_one_target_exclude_one_another_whatever_their_state_folders(
    tmp_path: Path, lock: Path
) -> None:
    first = session_folder(tmp_path / "state", begun())
    second = other_session(tmp_path, begun())
    with store.hold_target(lock, first):
        with pytest.raises(Refused, match="is restoring this target now") as refused, store.hold_target(lock, second):
            pass
        assert f"reinstate attach {first}" in refused.value.hint
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600


def test_the_lock_of_a_killed_runner_blocks_others_and_lets_its_own_session_on(tmp_path: Path, lock: Path) -> None:
    first = session_folder(tmp_path / "state", begun())
    second = other_session(tmp_path, begun())
    with store.hold_target(lock, first):
        pass
    assert lock.exists()
    with pytest.raises(Refused, match="is unfinished") as refused, store.hold_target(lock, second):
        pass
    assert f"reinstate resume {first}" in refused.value.hint
    link = tmp_path / "by another name"
    link.symlink_to(first)
    for spelling in (first, link, first / ".." / first.name):
        with store.hold_target(lock, spelling):
            pass


def test_an_ended_session_gives_the_target_free_and_removes_its_lock(tmp_path: Path, lock: Path) -> None:
    first = session_folder(tmp_path / "state", begun())
    with store.hold_target(lock, first):
        (first / "journal.jsonl").write_bytes(content(lines(begun(), OVER)))
    assert not lock.exists()


def test_a_lock_file_that_an_ended_session_left_is_taken_over(tmp_path: Path, lock: Path) -> None:
    first = session_folder(tmp_path / "state", begun())
    with store.hold_target(lock, first):
        pass
    (first / "journal.jsonl").write_bytes(content(lines(begun(), OVER)))
    with store.hold_target(lock, other_session(tmp_path, begun())):
        pass


def test_a_session_whose_journal_is_damaged_may_be_half_way_and_blocks(tmp_path: Path, lock: Path) -> None:
    first = session_folder(tmp_path / "state", begun())
    with store.hold_target(lock, first):
        (first / "journal.jsonl").write_bytes(b"damaged\n")
    assert lock.exists()
    with pytest.raises(Refused, match="may be unfinished") as refused, store.hold_target(lock, tmp_path / "second"):
        pass
    assert f"remove {lock}" in refused.value.hint


@pytest.mark.parametrize("left", [b"", b"garbage", b"\xff\xfe", b"[]", b'{"session": 7, "folder": 8}', b"{" * 5000])
def test_a_lock_file_that_says_nothing_is_taken_over(left: bytes, tmp_path: Path, lock: Path) -> None:
    lock.write_bytes(left)
    with store.hold_target(lock, session_folder(tmp_path / "state", begun())):
        assert b"production-7f3a" in lock.read_bytes()


def test_a_lock_whose_session_can_not_be_found_is_refused_since_its_volume_may_be_missing(
    tmp_path: Path, lock: Path
) -> None:
    lock.write_bytes(b'{"session":"gone","folder":"/no/such/session"}')
    mine = session_folder(tmp_path / "state", begun())
    with pytest.raises(Refused, match="may be unfinished") as refused, store.hold_target(lock, mine):
        pass
    assert str(lock) in refused.value.hint
    lock.unlink()
    with store.hold_target(lock, mine):
        pass


@pytest.mark.parametrize("odd", ["link", "dangling link", "folder", "no folder"])
def test_a_lock_that_is_something_else_is_refused_and_left_alone(odd: str, tmp_path: Path, lock: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    if odd == "link":
        lock.symlink_to(precious)
    elif odd == "dangling link":
        lock.symlink_to(tmp_path / "made by a trick")
    elif odd == "folder":
        lock.mkdir()
    else:
        lock.parent.rmdir()
    with pytest.raises(Refused, match="can't be locked") as refused, store.hold_target(lock, tmp_path / "s"):
        pass
    assert "folder" in refused.value.hint
    assert precious.read_text() == "keep me"
    assert not (tmp_path / "made by a trick").exists()


def test_a_lock_replaced_while_it_was_waited_for_is_taken_anew(
    tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    turns = iter([True, False])

    def slow(fd: int, how: int) -> None:
        flock(fd, how)
        if next(turns, False):
            lock.unlink()  # the session before ended just now

    monkeypatch.setattr(fcntl, "flock", slow)
    with store.hold_target(lock, session_folder(tmp_path / "state", begun())):
        assert lock.exists()


def test_a_session_has_one_runner(tmp_path: Path) -> None:
    folder = session_folder(tmp_path, begun())
    first = store.claim_runner(folder)
    # A runner leads a session of its own; so does this one. Who leads the tests' own session may be out of sight.
    living = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        mark = store.RunnerMark(living.pid, identified(living.pid).started, "/run/x.sock")
        store.write_mark(first, mark)
        assert store.runner_mark(folder) == mark
        with pytest.raises(Refused, match="living runner") as refused:
            store.claim_runner(folder)
        assert "attach" in refused.value.hint
    finally:
        living.kill()
        living.wait()
    os.close(first)
    assert store.runner_mark(folder) is None
    os.close(store.claim_runner(folder))


def test_a_mark_that_the_runner_before_left_is_not_taken_for_the_new_ones(tmp_path: Path) -> None:
    folder = session_folder(tmp_path, begun())
    ended = subprocess.Popen(["true"])
    mark = store.RunnerMark(ended.pid, identified(ended.pid).started, "/run/x.sock")
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    for _ in ("a zombie", "gone"):
        fd = store.claim_runner(folder)
        store.write_mark(fd, mark)  # as a new runner finds it, in the moment before it empties the file
        assert store.runner_mark(folder) == store.RunnerMark(0, 0, "")
        os.close(fd)
        ended.wait()


def test_looking_for_a_runner_never_makes_a_claim_fail(tmp_path: Path) -> None:
    folder = session_folder(tmp_path, begun())
    (folder / "runner.pid").touch()
    look = (
        "import sys; from pathlib import Path; from engines.session.store import runner_mark\n"
        "print('looking', flush=True)\nwhile True: runner_mark(Path(sys.argv[1]))"
    )
    looker = subprocess.Popen([sys.executable, "-c", look, str(folder)], stdout=subprocess.PIPE)
    try:
        assert looker.stdout is not None
        looker.stdout.readline()
        for _ in range(300):
            os.close(store.claim_runner(folder))
    finally:
        looker.kill()
        looker.communicate()


def test_the_socket_of_a_killed_runner_is_removed_by_the_next(tmp_path: Path) -> None:
    folder = session_folder(tmp_path, begun())
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    fd = store.claim_runner(folder)
    store.write_mark(fd, store.RunnerMark(1, 1, str(path)))
    os.close(fd)
    os.close(store.claim_runner(folder))
    assert not path.exists()


def test_what_runner_pid_names_is_removed_only_when_it_is_a_socket(tmp_path: Path) -> None:
    folder = session_folder(tmp_path, begun())
    (tmp_path / "precious").write_text("keep me")
    (folder / "runner.pid").write_text(f'{{"pid":1,"started":1,"socket":"{tmp_path}/precious"}}')
    os.close(store.claim_runner(folder))
    assert (tmp_path / "precious").exists()


def make(root: Path, name: str, journal: bytes | None = None) -> Path:
    folder = root / "sessions" / name
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_bytes(content(lines(begun())) if journal is None else journal)
    return folder


def test_a_session_is_found_by_its_name_its_end_its_beginning_and_as_the_last(tmp_path: Path) -> None:
    old = make(tmp_path, "2026-11-21T10-00-00Z-production-aaaa")
    new = make(tmp_path, "2026-11-22T10-00-00Z-production-bbbb")
    assert store.find(tmp_path, "last").folder == new
    assert store.find(tmp_path, "aaaa").folder == old
    assert store.find(tmp_path, "2026-11-21").folder == old
    assert store.find(tmp_path, old.name).folder == old


def test_what_lies_in_the_current_folder_under_a_sessions_name_is_not_that_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = make(tmp_path, "2026-11-21T10-00-00Z-production-aaaa")
    here = tmp_path / "anywhere"
    for name in ("last", mine.name, "aaaa"):
        (here / name).mkdir(parents=True)
        (here / name / "journal.jsonl").write_bytes(content(lines(begun())))
    monkeypatch.chdir(here)
    for name in ("last", mine.name, "aaaa"):
        assert store.find(tmp_path, name).folder == mine


def test_a_privileged_run_acts_on_no_session_that_others_can_write(tmp_path: Path) -> None:
    folder = make(tmp_path, "2026-11-21T10-00-00Z-production-aaaa")
    store.refuse_untrusted(folder, privileged=True)
    for open_to_others in (folder, folder / "journal.jsonl", folder.parent):
        before = open_to_others.stat().st_mode
        open_to_others.chmod(0o777)
        store.refuse_untrusted(folder, privileged=False)
        with pytest.raises(Refused, match="can be written by everybody") as refused:
            store.refuse_untrusted(folder, privileged=True)
        assert "Nothing was changed" in refused.value.message
        assert refused.value.hint.startswith("chmod")
        open_to_others.chmod(before)


def test_what_names_several_sessions_or_none_is_refused_with_what_to_say(tmp_path: Path) -> None:
    make(tmp_path, "2026-11-22T10-00-00Z-production-aaaa")
    make(tmp_path, "2026-11-22T11-00-00Z-production-aaaa")
    for several in ("aaaa", "2026", ""):
        with pytest.raises(UsageError, match="of 2 sessions") as error:
            store.find(tmp_path, several)
        assert "11-00-00Z-production-aaaa" in error.value.hint
    for none in ("zzzz", "/", "..", "/etc", "x" * 5000, "a\0b"):
        with pytest.raises(UsageError, match="There is no session") as error:
            store.find(tmp_path, none)
        assert "reinstate sessions" in error.value.hint
    with pytest.raises(UsageError, match="There is no session in") as error:
        store.find(tmp_path / "empty", "last")
    assert "reinstate restore" in error.value.hint


def test_garbage_among_the_sessions_is_listed_as_unusable_or_not_at_all(tmp_path: Path) -> None:
    good = make(tmp_path, "2026-11-22T10-00-00Z-production-aaaa")
    make(tmp_path, "2026-11-22T10-00-00Z-production-bbbb", b"\xff\n")
    make(tmp_path, "2026-11-22T10-00-00Z-production-cccc", b"")
    (tmp_path / "sessions" / "2026-11-22T10-00-00Z-production-dddd").mkdir()
    (tmp_path / "sessions" / "2026-11-22T10-00-00Z-production-eeee").symlink_to(good)
    (tmp_path / "sessions" / "2026-11-22T10-00-00Z-production-ffff").write_text("a file")
    pipe = tmp_path / "sessions" / "2026-11-22T10-00-00Z-production-0000"
    pipe.mkdir()
    os.mkfifo(pipe / "journal.jsonl")
    (tmp_path / "sessions" / "lost+found").mkdir()
    (tmp_path / "sessions" / "\udce9").touch()
    listed = {known.id[-4:]: known for known in store.known_sessions(tmp_path)}
    assert set(listed) == {"aaaa", "bbbb", "cccc", "dddd", "ffff", "0000"}
    assert {end for end, known in listed.items() if known.error} == {"bbbb", "dddd", "ffff", "0000"}
    assert {end for end, known in listed.items() if known.unfinished} == {"aaaa"}
    taken = store.unfinished_for(tmp_path, "shop")
    assert taken is not None
    assert taken.folder == good
    assert store.unfinished_for(tmp_path, "another") is None


def test_sessions_that_are_not_ones_own_are_refused_in_a_sentence(open_folder: Path) -> None:
    make(open_folder, "2026-11-22T10-00-00Z-production-aaaa")
    (open_folder / "sessions").chmod(0)
    with someone_else(), pytest.raises(RestoreError, match="can't be listed: Permission denied") as error:
        list(store.known_sessions(open_folder))
    assert "as the user who began them" in error.value.hint


def test_a_target_in_a_folder_that_one_may_not_write_to_is_refused(open_folder: Path) -> None:
    (open_folder / "shop").mkdir(mode=0o555)
    lock = open_folder / "shop" / "live.sqlite.reinstate.lock"
    with someone_else(), pytest.raises(Refused, match="can't be locked"), store.hold_target(lock, open_folder):
        pass
    assert not lock.exists()
