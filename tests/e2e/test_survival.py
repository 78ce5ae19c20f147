"""What is under way outlives the line, the terminal and the console; what the runner left is found out and said."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from engines.session.events import Ending
from engines.session.state import Status
from tests.e2e.keyboard import Operator, at_a_terminal
from tests.e2e.recovery import COMMANDER, OWNER, TARGET, Job
from tests.servers.sshd import SshServer
from tests.servers.waiting import gone, until

Prepare = Callable[..., Job]
Cut = Callable[[SshServer, Operator], None]

GO = "storage/go"
# A step that takes as long as the test wants it to.
UNTIL_TOLD = ["sh", "-c", f"echo waiting; until [ -e {GO} ]; do sleep 0.05; done; echo told"]
LONG_STOP = {
    "application": {"workers_stop": UNTIL_TOLD, "smoke": ["true"], "logs": [], "functional_checks": []},
    "without": ("workers_check", "health_url"),
}


def tell(job: Job) -> None:
    """Lets the long step come to its end."""
    (job.app.folder / GO).touch()


def attach(job: Job, name: str = "ana") -> tuple[str, ...]:
    return job.command("attach", "last", name=name)


def walks_to_the_long_step(operator: Operator, job: Job, ssh: SshServer) -> None:
    """Over SSH, up to the step that stops the workers, which is under way then."""
    restore = job.command("restore", TARGET, "--incident", str(job.report))
    operator.terminal.start(ssh.command(*restore, terminal=True))
    operator.chooses_backup(job.incident.good)
    operator.approves(COMMANDER)
    operator.confirms("3.2", "3.3")
    operator.sees("3.3 Stop the queue workers is under way", "waiting")


def consoles(ssh: SshServer) -> list[psutil.Process]:
    """The consoles that run on the other side of the server's connections."""
    below = psutil.Process(ssh.pid).children(recursive=True)
    return [process for process in below if "".join(_words(process)[1:2]).endswith("/reinstate")]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it ended between the two looks
        return []


def drop_the_line(ssh: SshServer, operator: Operator) -> None:
    ssh.drop()
    assert operator.terminal.exit_status() == 255


def close_the_terminal(_ssh: SshServer, operator: Operator) -> None:
    operator.terminal.hang_up()


def kill_the_console(ssh: SshServer, operator: Operator) -> None:
    for console in consoles(ssh):
        console.kill()
    assert operator.terminal.exit_status() != 0


@pytest.mark.parametrize("cut", [drop_the_line, close_the_terminal, kill_the_console])
def test_the_step_goes_on_and_attach_takes_the_keyboard_again(
    prepare_job: Prepare, ssh: SshServer, operator: Operator, cut: Cut
) -> None:
    job = prepare_job(**LONG_STOP)
    walks_to_the_long_step(operator, job, ssh)
    (console,) = consoles(ssh)
    runner = job.runner()
    cut(ssh, operator)
    until(lambda: gone(console), "the console has ended")
    assert not gone(runner)
    assert job.step("3.3").status is Status.RUNNING
    tell(job)
    until(lambda: job.step("3.3").status is Status.DONE, "the step has ended, with nobody watching")

    with at_a_terminal(ssh.command(*attach(job), terminal=True), job.folder) as again:
        again.confirms("3.4", "3.5", "3.6")
        if cut is drop_the_line:  # once to the very end
            again.goes_live("3.7", TARGET)
            again.confirms("4.1", "4.2", "4.3", "4.4", "4.5", "4.6", "4.7", "4.11", "4.12")
            again.signs_off("application owner", OWNER)
            again.signs_off("incident commander", COMMANDER)
            again.sees("The session is over: signed off")
            assert "CONSISTENT" in job.run("verify", "last").stdout
            assert job.app.counts()["users"] == job.incident.users


def test_a_second_console_watches_until_it_takes_the_keyboard_with_a_reason(
    prepare_job: Prepare, ssh: SshServer, operator: Operator
) -> None:
    job = prepare_job(**LONG_STOP)
    walks_to_the_long_step(operator, job, ssh)
    with at_a_terminal(ssh.command(*attach(job, "eva"), terminal=True), job.folder) as second:
        second.sees("3.3 Stop the queue workers is under way", "waiting")
        tell(job)
        second.sees("Next: 3.4 ")
        second.reads()
        second.presses("Enter")
        second.sees("ana", "holds the keyboard")
        assert job.step("3.4").attempt == 0

        second.presses("k")
        second.sees("Take the keyboard from ana?")
        second.types("")
        second.sees("type it first")
        second.types("ana has to sleep")
        second.sees_no_more("Take the keyboard from ana?")
        second.confirms("3.4")
        operator.sees("Next: 3.5 ", "eva HAS THE KEYS")
        operator.reads()
        operator.presses("Enter")
        operator.sees("eva", "holds the keyboard")
    assert job.state.keyboard is not None
    assert job.state.keyboard.name == "eva"
    assert "ana has to sleep" in (job.session / "session.toml").read_text()


def test_the_runner_is_killed_and_resume_says_what_is_true_and_goes_on(
    prepare_job: Prepare, ssh: SshServer, operator: Operator
) -> None:
    job = prepare_job(**LONG_STOP)
    walks_to_the_long_step(operator, job, ssh)
    runner = job.runner()
    under_way = runner.children(recursive=True)
    assert under_way
    runner.kill()
    operator.sees("GONE", "What it was doing is not known until it is resumed")
    assert job.step("3.3").status is Status.RUNNING

    operator.presses("Enter")
    operator.sees("Resume this session?", "3.3 Stop the queue workers was under way")
    operator.presses("Enter")
    operator.sees("3.3 Stop the queue workers", "not known", "Enter choose")
    assert job.step("3.3").status is Status.UNKNOWN
    assert "The runner died during this step. Probed now" in job.step("3.3").message
    assert all(gone(process) for process in under_way), "what the dead runner had started was ended first"
    tell(job)
    operator.presses("r")
    operator.confirms("3.4")
    assert job.step("3.3").status is Status.DONE
    assert job.step("3.3").attempt == 2


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as database:
        return list(database.iterdump())


def test_the_runner_is_killed_after_going_live_and_undo_puts_everything_back(
    prepare_job: Prepare, ssh: SshServer, operator: Operator
) -> None:
    job = prepare_job(application={"smoke": UNTIL_TOLD}, without=("health_url",))
    before = dump(job.app.database)
    restore = job.command("restore", TARGET, "--incident", str(job.report))
    operator.terminal.start(ssh.command(*restore, terminal=True))
    operator.chooses_backup(job.incident.good)
    operator.approves(COMMANDER)
    operator.confirms("3.2", "3.3", "3.4", "3.5", "3.6")
    operator.goes_live("3.7", TARGET)
    operator.confirms("4.1", "4.2", "4.3", "4.4")
    operator.sees("4.4 Smoke tests is under way", "waiting")
    assert dump(job.app.database) != before
    runner = job.runner()
    runner.send_signal(signal.SIGKILL)
    operator.sees("GONE")
    operator.presses("q")
    operator.terminal.exit_status()

    undo = job.command("undo", "last", "--reason", "the runner died")
    with at_a_terminal(ssh.command(*undo, terminal=True), job.folder) as again:
        again.confirms("6.5", "6.6")
        again.goes_live("6.7", TARGET)
        again.confirms("6.8")
        again.sees("Next: 7.5 ")
        assert dump(job.app.database) == before
        again.confirms("7.5", "7.6", "7.7", "7.9")
        again.sees("The session is over: undone")
    assert job.state.ended is not None
    assert job.state.ended.how is Ending.UNDONE
    assert not job.app.is_down()
