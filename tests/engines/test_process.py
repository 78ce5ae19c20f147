"""Real processes: what is started is journalled first, and what is ended is gone with everything it started."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines.children import identified
from engines.errors import Refused, RestoreError
from engines.process import Child, Command, Ended, alive, captured, end, run, shown


class Log:
    """A step's log file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def text(self) -> str:
        return self.path.read_text()

    def says(self, words: str) -> Callable[[], bool]:
        return lambda: words in self.text()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "step.log")
    yield log
    os.close(log.fd)


def shell(script: str, timeout: float = 30.0) -> Command:
    return Command(("sh", "-c", script), timeout=timeout)


def python(script: str, *arguments: str, timeout: float = 30.0) -> Command:
    return Command((sys.executable, "-c", script, *arguments), timeout=timeout)


def run_to_end(command: Command, log: Log, *, stop: Callable[[], bool] = lambda: False, **more: float) -> Ended:
    limit = int(more.pop("limit", 1_000_000))
    return run(command, log.fd, started=lambda child: None, stop=stop, limit=limit, **more)


def eventually(fact: Callable[[], bool], seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_output_and_errors_go_to_the_log_after_what_was_there(log: Log) -> None:
    os.write(log.fd, b"before\n")
    ended = run_to_end(shell("echo out; echo err >&2"), log)
    assert (ended.exit, ended.signal, ended.ok, ended.reason) == (0, None, True, "exit 0")
    assert log.text() == "before\nout\nerr\n"


def test_the_child_has_done_nothing_when_it_is_journalled(log: Log, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    seen: list[tuple[Child, bool]] = []
    run(
        shell(f"touch {trace}"),
        log.fd,
        started=lambda child: seen.append((child, trace.exists())),
        stop=lambda: False,
    )
    [(child, had_run)] = seen
    assert child.started > 0
    assert not had_run
    assert trace.exists()


RUNNER = """
import os, signal, sys
from pathlib import Path
from engines.process import Command, run
note, log, when, *argv = sys.argv[1:]
def started(child):
    Path(note + ".new").write_text(f"{child.pid} {child.started}")
    Path(note + ".new").rename(note)
    if when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
def stop():
    if when == "during" and "working" in Path(log).read_text():
        os.kill(os.getpid(), signal.SIGKILL)
    return False
run(Command(tuple(argv)), os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND), started=started, stop=stop)
"""


def killed_runner(tmp_path: Path, when: str, script: str) -> Child:
    """A runner that is killed -9 before or while its child runs; returns the child it had journalled."""
    note, log = tmp_path / "child", tmp_path / "runner.log"
    dead = subprocess.run(
        [sys.executable, "-c", RUNNER, str(note), str(log), when, "sh", "-c", script],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
    )
    assert dead.returncode == -signal.SIGKILL
    pid, started = map(int, note.read_text().split())
    return Child(pid, started)


def test_a_runner_killed_before_the_word_to_go_leaves_a_child_that_does_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    child = killed_runner(tmp_path, "before", f"touch {trace}")
    assert eventually(lambda: not alive(child))
    assert not trace.exists()


def test_a_child_outlives_its_killed_runner_and_is_ended_with_what_it_started(tmp_path: Path) -> None:
    grandchild = tmp_path / "grandchild"
    script = f"sleep 1000 & echo $! > {grandchild}; echo working; wait"
    child = killed_runner(tmp_path, "during", script)
    assert alive(child)
    assert is_running(int(grandchild.read_text()))
    assert end(child) == ()
    assert not alive(child)
    assert not is_running(int(grandchild.read_text()))


def test_what_a_dead_child_left_running_is_found_and_ended(tmp_path: Path) -> None:
    script = "sleep 1000 & echo $! > " + str(tmp_path / "left") + "; echo working; read -r x < /dev/zero"
    child = killed_runner(tmp_path, "during", script)
    left = int((tmp_path / "left").read_text())
    os.kill(child.pid, signal.SIGKILL)
    assert eventually(lambda: not is_running(child.pid))
    assert alive(child)
    assert end(child) == ()
    assert not is_running(left)


def test_a_later_process_with_the_same_number_is_not_touched() -> None:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as stranger:
        child = Child(stranger.pid, identified(stranger.pid).started - 1)
        assert not alive(child)
        assert end(child) == ()
        assert stranger.poll() is None
        stranger.kill()


def test_a_strangers_daemon_in_a_session_with_the_same_number_is_not_touched() -> None:
    with subprocess.Popen(
        ["sh", "-c", "sleep 1000 >/dev/null & echo $!"], start_new_session=True, stdout=subprocess.PIPE
    ) as leader:
        child = Child(leader.pid, identified(leader.pid).started)
        daemon = int(leader.communicate()[0])
    assert not alive(child)
    assert end(child) == ()
    assert is_running(daemon)
    os.kill(daemon, signal.SIGKILL)


def test_a_journal_that_cannot_be_written_means_the_command_is_never_run(log: Log, tmp_path: Path) -> None:
    seen: list[Child] = []

    def full(child: Child) -> None:
        seen.append(child)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run(shell(f"touch {tmp_path / 'trace'}"), log.fd, started=full, stop=lambda: False)
    assert not Path(f"/proc/{seen[0].pid}").exists()
    assert not (tmp_path / "trace").exists()


def test_a_command_out_of_time_is_ended_with_its_grandchildren(log: Log) -> None:
    ended = run_to_end(shell("sleep 1000 & echo $!; wait", timeout=0.3), log)
    assert ended.timed_out
    assert not ended.ok
    assert ended.signal == signal.SIGTERM
    assert ended.reason == "out of time after 0:00, ended by SIGTERM"
    assert not is_running(int(log.text()))


def test_a_command_that_ignores_the_request_to_end_is_killed(log: Log) -> None:
    script = (
        "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(99)"
    )
    ended = run_to_end(python(script), log, stop=log.says("deaf"), grace=0.1)
    assert (ended.stopped, ended.signal, ended.survivors) == (True, signal.SIGKILL, ())


def test_a_grandchild_in_a_process_group_of_its_own_is_ended_too(log: Log) -> None:
    script = (
        "import os, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '1000'], process_group=0)\n"
        "print('pid', child.pid, flush=True)\n"
        "time.sleep(99)"
    )
    ended = run_to_end(python(script), log, stop=log.says("pid"))
    assert ended.stopped
    assert not is_running(int(log.text().split()[1]))


def test_a_command_may_tidy_up_when_it_is_stopped(log: Log) -> None:
    ended = run_to_end(
        shell("trap 'echo tidied; exit 3' TERM; echo ready; while :; do sleep 0.01; done"),
        log,
        stop=log.says("ready"),
    )
    assert (ended.stopped, ended.exit) == (True, 3)
    assert "tidied" in log.text()
    assert ended.reason == "stopped on request after 0:00, exit 3"


def test_a_worker_that_the_command_started_on_purpose_is_left_alone(log: Log) -> None:
    ended = run_to_end(shell("sleep 1000 & echo $!"), log)
    worker = int(log.text())
    assert ended.ok
    assert is_running(worker)
    os.kill(worker, signal.SIGKILL)


def test_a_command_killed_by_a_signal_says_which(log: Log) -> None:
    ended = run_to_end(shell("kill -SEGV $$"), log)
    assert (ended.exit, ended.signal, ended.reason) == (None, signal.SIGSEGV, "ended by SIGSEGV")


def test_a_command_that_floods_its_log_is_ended(log: Log) -> None:
    ended = run_to_end(Command(("yes",)), log, limit=100_000)
    assert (ended.flooded, ended.ok, ended.signal) == (True, False, signal.SIGTERM)
    assert "too much output" in ended.reason


def test_an_error_in_the_runner_ends_the_child(log: Log) -> None:
    seen: list[Child] = []

    def interrupted() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Command(("sleep", "1000")), log.fd, started=seen.append, stop=interrupted)
    assert not Path(f"/proc/{seen[0].pid}").exists()


def test_nothing_is_left_behind_no_descriptor_and_no_zombie(log: Log) -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    pids: list[int] = []
    for command in [shell("true"), shell("exit 7"), shell("kill -9 $$"), shell("sleep 9", timeout=0.01)] * 5:
        run(command, log.fd, started=lambda child: pids.append(child.pid), stop=lambda: False)
    with pytest.raises(RestoreError):
        captured(Command(("no-such-program",)))
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []


def test_the_command_has_no_other_file_of_the_runner_open(log: Log) -> None:
    run_to_end(Command(("ls", "-l", "/proc/self/fd")), log)
    files = [line.rpartition(" -> ")[2] for line in log.text().splitlines() if " -> " in line]
    listing = [file for file in files if file.endswith("/fd")]
    assert len(listing) == 1
    assert set(files) - set(listing) == {"/dev/null", str(log.path)}


def test_arguments_arrive_as_they_are(log: Log) -> None:
    odd = ["", " ", "-n", "$HOME", "*", "a'b\"c", "two\nlines", "é", "--", "; rm -rf x"]
    run_to_end(python("import sys; print(sys.argv[1:])", *odd), log)
    assert log.text() == f"{odd}\n"


def test_connections_in_the_runners_own_environment_do_not_reach_the_command(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "DB_PASSWORD", "MYSQL_PWD", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD"):
        monkeypatch.setenv(name, "production")
    monkeypatch.setenv("TZ", "Europe/Lisbon")
    run_to_end(Command(("env",), env={"APP_ENV": "local"}), log)
    settings = dict(line.split("=", 1) for line in log.text().splitlines())
    assert "production" not in settings.values()
    assert (settings["TZ"], settings["TERM"], settings["APP_ENV"]) == ("Europe/Lisbon", "dumb", "local")
    assert set(settings) - {"PWD", "OLDPWD", "SHLVL", "_"} == {
        "PATH", "HOME", "LANG", "TZ", "TERM", "APP_ENV", "REINSTATE_CHILD",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["DATABASE_URL", "DB_HOST", "db_password", "MYSQL_PWD", "AWS_PROFILE"])
def test_a_connection_in_a_commands_environment_is_refused(name: str) -> None:
    with pytest.raises(Refused, match=f"{name}.*Nothing was run"):
        captured(Command(("env",), env={name: "x"}))


def test_a_command_runs_as_its_user_with_that_users_groups_and_home() -> None:
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    ended, output = captured(Command(("sh", "-c", "id -u; id -g; id -G; echo $HOME"), user=account.pw_name))
    assert ended.ok
    user, group, groups, home = output.decode().splitlines()
    assert (int(user), int(group)) == (account.pw_uid, account.pw_gid)
    assert set(map(int, groups.split())) == set(os.getgrouplist(account.pw_name, account.pw_gid))
    assert home == account.pw_dir


def test_only_root_can_run_a_command_as_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(Refused, match="only root") as refused:
        captured(Command(("id",), user="nobody"))
    assert "sudo -n -u nobody" in refused.value.hint


def test_an_unknown_user_is_named() -> None:
    with pytest.raises(RestoreError, match="no user 'no-such-login'"):
        captured(Command(("id",), user="no-such-login"))


def written(path: Path, text: str, mode: int = 0o755) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_program_that_cannot_be_run_is_named_before_anything_is_started(tmp_path: Path) -> None:
    flat = written(tmp_path / "flat", "#!/bin/sh\n", 0o644)
    orphan = written(tmp_path / "orphan", "#!/no/such/interpreter -x\n")
    windows = written(tmp_path / "windows", "#!/bin/sh\r\necho hi\r\n")
    for argv, words in {
        ("php-0.1",): "was not found in PATH",
        ("./artisan",): "does not exist",
        (str(tmp_path),): "does not exist or is not a file",
        (flat,): "is not executable",
        (orphan,): "needs '/no/such/interpreter'",
        (windows,): r"needs '/bin/sh\\r'",
        (): "without a program",
        ("",): "without a program",
        ("echo", "a\0b"): "could not be started",
    }.items():
        with pytest.raises(RestoreError, match=words) as error:
            captured(Command(argv, cwd=tmp_path))
        assert error.value.hint


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RestoreError, match=r"gone is not a folder.*Nothing was run"):
        captured(Command(("true",), cwd=tmp_path / "gone"))


def test_a_relative_program_is_found_in_the_commands_own_folder(tmp_path: Path) -> None:
    written(tmp_path / "artisan", "#!/bin/sh\npwd\n")
    ended, output = captured(Command(("./artisan",), cwd=tmp_path))
    assert ended.ok
    assert output.decode().strip() == str(tmp_path)


def test_a_log_that_is_not_appended_to_is_a_mistake_of_ours(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file, pytest.raises(ValueError, match="O_APPEND"):
        run(shell("true"), file.fileno(), started=lambda child: None, stop=lambda: False)


def test_a_command_is_shown_as_it_could_be_typed() -> None:
    command = Command(
        ("php", "artisan", "down", "--render=errors::503 x"), Path("/srv/shop"), "www-data", env={"A": "b c"}
    )
    assert shown(command) == "A='b c' php artisan down '--render=errors::503 x'  (in /srv/shop, as www-data)"
    assert shown(Command(("true",))) == "true"
