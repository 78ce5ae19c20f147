"""The plain mode as a person types it: slips on the way, left waiting once, taken up again, signed off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pexpect
import pytest

from engines.session.events import Ending, How
from tests.e2e.recovery import COMMANDER, OWNER, TARGET, Job

Prepare = Callable[..., Job]

# pexpect forks in a process that pytest-xdist has given threads; the child calls exec at once.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

PATIENCE = 40  # seconds for the next line
ENTER = ""
NOTHING_RUNS = {"application": {"logs": []}, "without": ("health_url",)}


class Person:
    """Reads lines and types answers."""

    def __init__(self, dialogue: pexpect.spawn[str]) -> None:
        self._dialogue = dialogue

    def reads(self, *wanted: str) -> None:
        """Waits for each text in its turn."""
        for text in wanted:
            self._dialogue.expect_exact(text)

    def says(self, answer: str, *, to: str) -> None:
        """Answers the prompt."""
        self.reads(to)
        self._dialogue.sendline(answer)

    def approves(self) -> None:
        self.says(ENTER, to="[Enter approve")
        self.says(COMMANDER, to="Name of the incident commander: ")

    def goes_live(self) -> None:
        self.says(ENTER, to="[Enter go on, v plan")
        self.says(TARGET, to="Type the target's name: ")

    def signs_off(self) -> None:
        self.says(ENTER, to="[Enter sign off")
        self.says(OWNER, to="Name of the application owner: ")
        self.says(ENTER, to="[Enter sign off")
        self.says(COMMANDER, to="Name of the incident commander: ")

    def goes_on(self, *steps: str) -> None:
        for step in steps:
            self.reads(f"{step} Enter runs it.")
            self.says(ENTER, to="[Enter go on")

    def exit_status(self) -> int | None:
        self._dialogue.expect(pexpect.EOF)
        self._dialogue.close()
        status: int | None = self._dialogue.exitstatus
        return status


@contextmanager
def at_a_prompt(job: Job, *arguments: str) -> Iterator[Person]:
    program, *rest = job.command(*arguments, "--plain")
    dialogue = pexpect.spawn(program, rest, cwd=str(job.folder), encoding="utf-8", timeout=PATIENCE)
    try:
        yield Person(dialogue)
    finally:
        dialogue.close(force=True)


def test_a_whole_session_is_typed_with_slips_and_taken_up_again(prepare_job: Prepare) -> None:
    job = prepare_job(**NOTHING_RUNS)
    backup = ("--backup", job.incident.good, "--incident", str(job.report))
    with at_a_prompt(job, "restore", TARGET, *backup) as person:
        person.reads("backup checksum: sha256", "Plan 2 to restore shop (PRODUCTION, sqlite)")
        person.says("z", to="[Enter approve")
        person.reads("That is none of the keys. Enter approve, v plan")
        person.says(ENTER, to="[Enter approve")
        person.says(OWNER, to="Name of the incident commander: ")
        person.reads("REFUSED: ", "commander")
        assert not job.state.approved
        person.approves()
        person.reads("Approved by ivo (asserted)")
        person.says("p", to="[Enter go on, p pass over")
        person.says(" ", to="Why is it skipped? ")
        person.reads("REFUSED: ", "reason")
        person.says("n", to="[Enter go on")
        person.says("the channel is told", to="Note: ")
        person.goes_on("3.2", "3.3")
        person.reads("3.4 Enter runs it.")
        person.says("q", to="[Enter go on")
        person.reads("The session waits. Go on with: reinstate --config ")
        assert person.exit_status() == 3
    assert job.app.is_down()
    assert job.step("3.4").attempt == 0

    with at_a_prompt(job, "attach", "last") as person:
        person.goes_on("3.4", "3.5", "3.6")
        person.says(ENTER, to="[Enter go on, v plan")
        person.says("shopp", to="Type the target's name: ")
        person.reads("REFUSED: ", "shop")
        assert not job.state.did_anything_destructive
        person.goes_live()
        person.goes_on("4.1", "4.2", "4.3", "4.4", "4.5", "4.6", "4.7", "4.11", "4.12")
        person.reads("The application owner tries by hand and answers (f): authentication, payment flow")
        for tried in ("authentication", "payment flow", "reporting dashboard"):
            person.says("f", to="[f answer what the owner tried")
            person.says(f"functional: {tried}", to="Which (functional: ")
            person.says("yes", to="Did it pass (yes or no): ")
            person.says(OWNER, to="Name of the application owner: ")
            person.says(ENTER, to="Note: ")
            person.reads(f"functional: {tried}: passed, says olu")
        person.says(ENTER, to="[Enter sign off")
        person.says(ENTER, to="Name of the application owner: ")
        person.reads("REFUSED: ")
        person.signs_off()
        person.reads("Session signed off.", f"Record: {job.session / 'session.toml'}", "Report: ")
        assert person.exit_status() == 0

    ended = job.state.ended
    assert ended is not None
    assert ended.how is Ending.SIGNED_OFF
    assert [note.text for note in job.state.notes] == ["the channel is told"]
    assert job.state.approvals[-1].actor.how is How.ASSERTED
    assert job.app.counts()["users"] == job.incident.users
    assert "CONSISTENT" in job.run("verify", "last").stdout


MENDED = ["test", "-e", "storage/mended"]


def test_checks_that_failed_are_mended_and_asked_again_and_the_incidents_own_errors_do_not_count(
    prepare_job: Prepare,
) -> None:
    job = prepare_job(application={"smoke": MENDED, "health": MENDED, "functional_checks": []})
    job.app.start("web")
    stamp = f"{job.incident.started:%Y-%m-%d %H:%M:%S}"
    job.app.log.write_text(f"[{stamp}] production.ERROR: the incident itself\n")
    with at_a_prompt(job, "restore", TARGET, "--backup", job.incident.good, "--incident", str(job.report)) as person:
        person.approves()
        person.goes_on("3.2", "3.3", "3.4", "3.5", "3.6")
        person.goes_live()
        person.goes_on("4.1", "4.2", "4.3", "4.4")
        person.reads("FAIL    smoke: exit 1")
        person.goes_on("4.5", "4.6", "4.7", "4.9")
        person.reads("FAIL    health: exit 1", "OK      health address: ")
        person.goes_on("4.10")
        person.reads("no unexpected error in 0 entries")
        person.goes_on("4.11", "4.12")
        person.reads("2 checks block: smoke, health.")
        (job.app.folder / "storage" / "mended").touch()
        for name in ("smoke", "health"):
            person.says("r", to="[r check again")
            person.says(name, to="Which check (")
            person.reads(f"OK      {name}: exit 0")
        person.signs_off()
        person.reads("Session signed off.")
        assert person.exit_status() == 0
    assert [check for check in ("smoke", "health") if any(check in said.what for said in job.state.deviations)] == []
