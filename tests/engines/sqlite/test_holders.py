"""Who has the database open: found by open file and by mapping, named, waited for."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread

import pytest

from engines.errors import Refused, RestoreError
from engines.sqlite import holders
from engines.text import drawable
from tests.engines.sqlite.ground import AM_ROOT, another_process, idle_connection, make_ground

MAPPED = (
    "import mmap, os, sys\n"
    "handle = os.open(sys.argv[1], os.O_RDONLY)\n"
    "view = mmap.mmap(handle, 0, prot=mmap.PROT_READ)\n"
    "os.close(handle)\n"
    "print('ready', flush=True)\n"
    "sys.stdin.read()\n"
)


def wait(path: Path, timeout: float) -> holders.Holders:
    return holders.wait_until_unused(str(path), timeout, accept_unseen=not AM_ROOT)


def test_a_holder_is_named_with_user_command_and_start(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    with idle_connection(ground.live) as worker:
        found = holders.holders([str(ground.live)]).found
    assert [holder.pid for holder in found] == [worker.pid]
    assert "import sqlite3" in found[0].command
    assert found[0].inode == ground.live.stat().st_ino
    assert found[0].started > 0
    assert found[0].user


def test_the_same_file_is_found_by_another_name_and_by_inode(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(ground.live)
    status = ground.live.stat()
    with idle_connection(link) as worker:
        assert [holder.pid for holder in holders.holders([(status.st_dev, status.st_ino)]).found] == [worker.pid]


def test_a_mapping_without_an_open_file_is_found(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    with another_process(MAPPED, str(ground.live)) as worker:
        assert [holder.pid for holder in holders.holders([str(ground.live)]).found] == [worker.pid]


def test_a_file_that_was_replaced_under_a_process_is_found_by_its_name(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    with idle_connection(ground.live) as worker:
        ground.backup.rename(ground.live)
        found = holders.holders([str(ground.live)]).found
    assert [(holder.pid, holder.path) for holder in found] == [(worker.pid, f"{ground.live} (deleted)")]


def test_the_command_of_a_holder_is_drawable(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    program = "import sys;file=open(sys.argv[2]);print('ready',flush=True);sys.stdin.read()"
    with another_process(program, "[bold]\x1b]0;owned\x07\n", str(ground.live)):
        holder = holders.holders([str(ground.live)]).found[0]
    assert drawable(str(holder)) == str(holder)
    assert "[bold]" in str(holder)


def test_nobody_is_nobody_and_our_own_process_can_be_left_out(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    assert wait(ground.live, 0).found == ()
    with ground.live.open("rb"):
        assert [holder.pid for holder in holders.holders([str(ground.live)]).found] == [os.getpid()]
        assert holders.holders([str(ground.live)], excluding=(os.getpid(),)).found == ()


def test_waiting_ends_when_the_last_holder_goes(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    seen: list[holders.Holders] = []
    lines: list[str] = []
    with idle_connection(ground.live) as worker:

        def let_go(now: holders.Holders) -> None:
            seen.append(now)
            if worker.stdin is not None and not worker.stdin.closed:
                worker.stdin.close()

        result = holders.wait_until_unused(
            str(ground.live), 30, say=lines.append, on_wait=let_go, accept_unseen=not AM_ROOT
        )
    assert result.found == ()
    assert [len(now.found) for now in seen] == [1, 0]
    assert f"waiting: pid {worker.pid}" in lines[0]
    assert "nobody has" in lines[-1]


def test_when_time_is_up_the_holders_are_named_in_the_refusal(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal")
    with idle_connection(ground.live) as worker, pytest.raises(Refused, match=f"still open.*pid {worker.pid}"):
        wait(ground.live, 0.1)


def test_a_holder_of_only_the_log_counts(tmp_path: Path) -> None:
    ground = make_ground(tmp_path, "wal with rows only in the log")
    program = "import sys; file = open(sys.argv[1]); print('ready', flush=True); sys.stdin.read()"
    with another_process(program, f"{ground.live}-wal") as worker, pytest.raises(Refused, match=str(worker.pid)):
        wait(ground.live, 0)


def test_waiting_can_be_stopped(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    with idle_connection(ground.live), pytest.raises(RestoreError, match="on request"):
        holders.wait_until_unused(str(ground.live), 30, stop=lambda: True, accept_unseen=True)


def test_processes_that_cannot_be_seen_are_unknown_and_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ground = make_ground(tmp_path)
    monkeypatch.setattr(holders, "_match", closed_process)
    found = holders.holders([str(ground.live)])
    assert not found.complete
    assert "could not be looked into" in found.why
    with pytest.raises(Refused, match="UNKNOWN"):
        holders.wait_until_unused(str(ground.live), 0)
    assert holders.wait_until_unused(str(ground.live), 0, accept_unseen=True).found == ()


def closed_process(*_: object) -> None:
    raise PermissionError


def test_a_process_that_ends_while_it_is_looked_at_is_no_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = make_ground(tmp_path)
    monkeypatch.setattr(holders, "_match", ended_process)
    assert holders.holders([str(ground.live)]).found == ()


def ended_process(*_: object) -> None:
    raise ProcessLookupError


def test_a_scan_while_processes_come_and_go_does_not_fail(tmp_path: Path) -> None:
    ground = make_ground(tmp_path)
    going = True

    def churn() -> None:
        while going:
            os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)

    thread = Thread(target=churn)
    thread.start()
    try:
        for _ in range(30):
            assert holders.holders([str(ground.live)]).found == ()
    finally:
        going = False
        thread.join()
