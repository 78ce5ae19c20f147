"""`reinstate restore` line by line, from an answers file: databases and backups as an incident finds them."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pytest

from engines.session import store
from tests.engines.recipes.world import BACKUP, NEW_ROWS, OLD_ROWS, World, build
from tests.servers.waiting import gone, until
from tests.tui.cli_ground import ANSWERS, UNSEEN, Said, is_drawable, is_one_clear_error, typed

DONE, USAGE, WAITS = 0, 2, 3
PLAIN = (sys.executable, "-m", "tui.cli")
GARBAGE = b"\x1b[31mthis was a database once\x00" * 400


def answer(ask: str, do: str, **fields: str) -> str:
    lines = "".join(f'{key} = "{value}"\n' for key, value in fields.items())
    return f'\n[[answer]]\nask = "{ask}"\ndo = "{do}"\n{lines}'


def override(check: str, ask: str = "checks") -> str:
    return answer(ask, "o", check=check, name="ivo", reason="No other backup is left")


@dataclass(frozen=True, slots=True)
class Night:
    """One incident: a world, and the restores that are tried in it."""

    world: World

    def restore(self, *answers: str, operator: str = "ana", commander: str = "ivo") -> Said:
        file = self.world.folder / "answers.toml"
        usual = ANSWERS.replace('"ana"', f'"{operator}"').replace('"ivo"', f'"{commander}"')
        file.write_text(usual + UNSEEN + "".join(answers))
        incident = ("--incident", self.world.folder / "incident.toml")
        said = self.typed("restore", "box", "--backup", BACKUP, *incident, "--answers", file)
        assert is_drawable(said)
        return said

    def typed(self, *words: str | Path, keys: str = "") -> Said:
        return typed("--config", self.world.folder / "reinstate.toml", *words, keys=keys)

    @property
    def session(self) -> Path:
        (newest, *_) = store.known_sessions(self.world.folder / "state")
        return newest.folder

    @property
    def record(self) -> dict[str, Any]:
        return tomllib.loads((self.session / "session.toml").read_text())

    @property
    def overridden(self) -> list[str]:
        """What deviates from the runbook, by the record, apart from processes that an ordinary user can't see."""
        told = [one["what"] for one in self.record.get("deviation", [])]
        return [what for what in told if "Open files can be seen" not in what and "skipped" not in what.lower()]

    def backup_is(self, content: bytes, *, listed: bool) -> None:
        """Replace the backup's bytes, and what the catalogue says of it where it is to say so."""
        backup = self.world.folder / "backups" / BACKUP
        backup.write_bytes(content)
        if listed:
            digest = hashlib.sha256(content).hexdigest()
            (backup.parent / "checksums.txt").write_text(f"{digest}  {BACKUP}\n")

    def configured(self, old: str, new: str) -> None:
        file = self.world.folder / "reinstate.toml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    made = Night(build(tmp_path / "world", "delete"))
    yield made
    for known in store.known_sessions(made.world.folder / "state"):
        mark = store.runner_mark(known.folder)
        if mark is not None and mark.pid:
            runner = psutil.Process(mark.pid)
            runner.send_signal(signal.SIGTERM)
            until(lambda: gone(runner), "the runner has left")  # noqa: B023 - waited for within the loop


def unlisted(night: Night) -> None:
    (night.world.folder / "backups" / "checksums.txt").write_text(f"{'0' * 64}  another.sqlite\n")


def other_bytes(night: Night) -> None:
    backup = night.world.folder / "backups" / BACKUP
    with closing(sqlite3.connect(backup)) as db:
        db.execute("PRAGMA user_version = 7")
        db.commit()


# -- the live database ------------------------------------------------------------------------------------

LIVE: dict[str, Callable[[Path], object]] = {
    "missing": lambda live: live.unlink(),
    "empty": lambda live: live.write_bytes(b""),
    "garbage": lambda live: live.write_bytes(GARBAGE),
}


@pytest.mark.parametrize("state", LIVE)
def test_a_live_database_that_is_no_database_is_replaced_once_the_commander_accepts_it(
    night: Night, state: str
) -> None:
    LIVE[state](night.world.live)
    said = night.restore()
    assert said.code == DONE, said.all[-2000:]
    assert night.world.rows() == NEW_ROWS
    accepted = [one for one in night.record["sign_off"] if one["gate"] == "accept"]
    assert [(one["by"], one["step"]) for one in accepted] == [("ivo", "3.7")]
    kept = list((night.world.folder / "state" / "snapshots").rglob("*.raw/live.sqlite"))
    assert [path.read_bytes() for path in kept] == {"missing": [], "empty": [b""], "garbage": [GARBAGE]}[state]
    assert night.typed("verify", "last").code == DONE


def test_without_the_commander_s_acceptance_a_garbage_database_stays_as_it_is(night: Night) -> None:
    night.world.live.write_bytes(GARBAGE)
    said = night.restore(answer("accept", "q", step="3.7"))
    assert said.code == WAITS
    assert night.world.live.read_bytes() == GARBAGE


# -- the backup -------------------------------------------------------------------------------------------


def test_a_backup_that_is_not_listed_is_refused(night: Night) -> None:
    unlisted(night)
    before = night.world.rows()
    said = night.restore()
    assert said.code == WAITS
    assert "backup checksum: no catalogue lists it" in said.out
    assert night.world.rows() == before == OLD_ROWS
    assert not night.world.down.exists()


def test_a_backup_that_is_not_listed_is_restored_when_the_commander_overrides_and_the_record_says_so(
    night: Night,
) -> None:
    unlisted(night)
    said = night.restore(override("newest verified backup"), override("backup checksum"))
    assert said.code == DONE, said.all[-2000:]
    assert night.world.rows() == NEW_ROWS
    (what,) = (what for what in night.overridden if "backup checksum" in what)
    assert [(one["by"], one["reason"]) for one in night.record["deviation"] if one["what"] == what] == [
        ("ivo", "No other backup is left")
    ]


def test_a_backup_with_another_hash_is_refused(night: Night) -> None:
    other_bytes(night)
    said = night.restore()
    assert said.code == WAITS
    assert "is expected of it" in said.out
    assert night.world.rows() == OLD_ROWS


def test_a_backup_with_another_hash_is_restored_when_the_commander_overrides_and_the_record_says_so(
    night: Night,
) -> None:
    other_bytes(night)
    said = night.restore(
        override("backup checksum", ask="choose"), answer("choose", "r"), override("newest verified backup")
    )
    assert said.code == DONE, said.all[-2000:]
    assert night.world.rows() == NEW_ROWS
    assert any("backup checksum" in what for what in night.overridden)
    assert night.record["backup"]["status"] != "VERIFIED"


def test_a_backup_that_was_cut_short_before_it_was_listed_does_not_go_live(night: Night) -> None:
    whole = (night.world.folder / "backups" / BACKUP).read_bytes()
    night.backup_is(whole[:-4096], listed=True)
    said = night.restore()
    assert said.code == WAITS
    assert "FAIL    staged copy is sound" in said.out
    assert night.world.rows() == OLD_ROWS


def test_a_backup_larger_than_the_disk_is_not_even_begun_to_be_copied(night: Night) -> None:
    unlisted(night)  # else its hash would be taken to know how fresh it is: of all these gigabytes of nothing
    backup = night.world.folder / "backups" / BACKUP
    room = os.statvfs(backup.parent)
    os.truncate(backup, room.f_bavail * room.f_frsize + (1 << 30))  # a hole: it takes no room itself
    said = night.restore()
    assert said.code == WAITS
    assert "There is not enough room" in said.out
    assert night.world.rows() == OLD_ROWS
    assert night.world.beside() <= {".live.sqlite.reinstate.lock"}


# -- people -----------------------------------------------------------------------------------------------


PEOPLE = """
[[person]]
name = "ana"
login = "ana"
roles = ["operator", "commander"]
[[person]]
name = "ivo"
login = "ivo"
roles = ["commander"]
[[person]]
name = "olu"
login = "olu"
roles = ["owner"]
"""


def in_production(night: Night, *, break_glass: bool) -> None:
    night.configured('environment = "local"', 'environment = "production"')
    night.configured('self_approval = ["local"]', f"break_glass = {str(break_glass).lower()}\n{PEOPLE}")


def test_in_production_the_operator_does_not_approve_their_own_plan(night: Night) -> None:
    in_production(night, break_glass=False)
    said = night.restore(commander="ana")
    assert said.code == WAITS
    assert "the operator does not approve their own plan" in said.out
    assert night.world.rows() == OLD_ROWS
    rejected = json.loads(night.typed("show", "--json").out)["rejected"]
    assert [one["command"] for one in rejected] == ["Approve"]


def test_break_glass_needs_a_reason_and_is_the_first_thing_in_the_record(night: Night) -> None:
    in_production(night, break_glass=True)
    reason = "Nobody answers the pager"
    said = night.restore(answer("approve", "", name="ana", reason=reason), commander="ana")
    assert said.code == DONE, said.all[-2000:]
    lines = (night.session / "session.toml").read_text().splitlines()
    told = [line for line in lines if line and not line.startswith("#")]
    assert f'break_glass = "{reason}"' in told[:2]
    assert night.world.rows() == NEW_ROWS


def test_break_glass_without_a_reason_is_refused(night: Night) -> None:
    in_production(night, break_glass=True)
    said = night.restore(commander="ana")
    assert said.code == WAITS
    assert "needs a reason" in said.out
    assert night.world.rows() == OLD_ROWS


def test_an_operator_s_own_override_in_production_is_refused(night: Night) -> None:
    unlisted(night)
    in_production(night, break_glass=False)
    reason = "This file is known"
    override = answer("checks", "o", check="newest verified backup", name="ana", reason=reason)
    said = night.restore(override)
    assert said.code == WAITS
    assert "the operator does not override a check of their own restore" in said.out
    assert night.record["rejected"][0]["command"] == "Override"


# -- the data ---------------------------------------------------------------------------------------------


def expecting_more(night: Night) -> None:
    incident = night.world.folder / "incident.toml"
    incident.write_text(incident.read_text().replace("rows = 200", "rows = 201"))


def test_a_staged_copy_with_other_counts_than_the_report_expects_does_not_go_live(night: Night) -> None:
    expecting_more(night)
    said = night.restore()
    assert said.code == WAITS
    assert "users MISMATCH (200 for 201)" in said.out
    assert night.world.rows() == OLD_ROWS


def test_other_counts_go_live_when_the_commander_overrides_them_and_the_record_says_so(night: Night) -> None:
    expecting_more(night)
    said = night.restore(override("staged copy: counts"), override("live database: counts"))
    assert said.code == DONE, said.all[-2000:]
    assert night.world.rows() == NEW_ROWS
    assert len(night.overridden) == 2
    assert {row["verdict"] for row in night.record["validation"]} == {"MISMATCH"}


# -- more than one session, and people who leave ------------------------------------------------------------


def test_a_second_restore_of_the_same_target_is_refused_and_names_the_first(night: Night) -> None:
    assert night.restore(answer("approve", "q")).code == WAITS
    first = night.session.name
    said = night.restore()
    assert said.code == WAITS
    assert f"Session {first} of box is unfinished" in said.err
    assert len(list(store.known_sessions(night.world.folder / "state"))) == 1


def test_at_the_end_of_the_input_the_session_waits_and_can_be_taken_up_and_abandoned(night: Night) -> None:
    said = night.typed("restore", "box", "--backup", BACKUP, "--plain")
    assert said.code == WAITS
    config = night.world.folder / "reinstate.toml"
    assert f"The session waits. Go on with: reinstate --config {config} attach {night.session.name}" in said.out
    assert night.typed("attach", "--plain", keys="n\nlooked at\nq\n").code == WAITS
    left = night.typed("abandon", "--reason", "a rehearsal")
    assert left.code == DONE, left.all
    assert night.record["session"]["state"] == "abandoned"
    assert "looked at" in {note["text"] for note in night.record["note"]}
    assert night.world.rows() == OLD_ROWS
    assert "safety snapshot" not in night.typed("attach", "--plain").err  # it ended before there was one


@pytest.mark.parametrize("words", [("resume", "--plain"), ("undo", "--plain", "--reason", "the wrong night")])
def test_a_session_whose_runner_died_is_taken_up_again(night: Night, words: tuple[str, ...]) -> None:
    assert night.restore(answer("confirm", "q", step="3.3")).code == WAITS
    mark = store.runner_mark(night.session)
    assert mark is not None
    runner = psutil.Process(mark.pid)
    runner.kill()
    until(lambda: gone(runner), "the runner is dead")
    watching = night.typed("attach", "--plain")
    assert watching.code == 1
    assert f"reinstate.toml resume {night.session.name}" in watching.err
    said = night.typed(*words)
    assert said.code == WAITS
    assert "The session waits" in said.out
    assert night.record["session"]["resumes"] == 1
    assert night.record["plan"]["kind"] == ("undo" if words[0] == "undo" else "restore")
    assert night.world.rows() == OLD_ROWS


@pytest.mark.parametrize("command", [("plan",), ("restore", "--plain")], ids=lambda words: words[0])
def test_logs_after_an_sqlite_copy_are_refused_before_anything_is_begun(night: Night, command: tuple[str, ...]) -> None:
    said = night.typed(*command, "box", "--backup", BACKUP, "--until", "end")
    is_one_clear_error(said, USAGE)
    assert "no logs after it" in said.err
    assert not list(store.known_sessions(night.world.folder / "state"))


def test_without_a_backup_the_plan_is_for_the_newest_good_one_from_before_the_incident(night: Night) -> None:
    backups = night.world.folder / "backups"
    for name in ("2026-11-22T20-20-00Z.sqlite", "2026-11-22T21-00-00Z.sqlite"):  # damaged; after the first bad write
        (backups / name).write_bytes((backups / BACKUP).read_bytes())
    listing = backups / "checksums.txt"
    digest = listing.read_text().split()[0]
    lines = f"{'0' * 64}  2026-11-22T20-20-00Z.sqlite\n{digest}  2026-11-22T21-00-00Z.sqlite\n"
    listing.write_text(listing.read_text() + lines)
    said = night.typed("plan", "box", "--incident", night.world.folder / "incident.toml")
    assert f"backup    {BACKUP}" in said.out
    assert "2026-11-22T20-20-00Z.sqlite is MISMATCH" in said.err
    assert "backup    2026-11-22T21-00-00Z.sqlite" in night.typed("plan", "box").out


def test_ctrl_c_leaves_the_session_waiting(night: Night) -> None:
    command = ("restore", "box", "--backup", BACKUP, "--plain")
    with subprocess.Popen(
        # Where the tests themselves run in the background, a shell has it ignored, and so would we.
        ["env", "--default-signal=INT", *PLAIN, "--config", str(night.world.folder / "reinstate.toml"), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as console:
        assert console.stderr is not None
        prompt = ""
        while "] " not in prompt:
            prompt += console.stderr.read(1)
        os.killpg(console.pid, signal.SIGINT)
        out, err = console.communicate(timeout=30)
    assert console.returncode == 130, out + err
    assert "Traceback" not in err
    assert night.typed("show", "--json").code == DONE
    assert store.runner_mark(night.session) is not None
    assert "unfinished" in night.record["session"]["state"]


def test_ctrl_c_while_a_step_is_under_way_asks_and_stops_it(night: Night) -> None:
    night.configured('["touch", "down"]', '["sh", "-c", "touch down; exec sleep 600"]')
    config = str(night.world.folder / "reinstate.toml")
    words = ["--default-signal=INT", *PLAIN, "--config", config, "restore", "box", "--backup", BACKUP, "--plain"]
    with closing(pexpect.spawn("env", words, encoding="utf-8", timeout=40)) as person:
        for prompt, answer in (("[Enter approve", ""), ("Name of the incident commander: ", "ivo")):
            person.expect_exact(prompt)
            person.sendline(answer)
        person.expect_exact("[Enter go on")
        person.sendline("")
        person.expect_exact("3.2 Maintenance mode on …")
        person.sendintr()
        person.expect_exact("is under way, and goes on meanwhile.")
        person.expect_exact("[Enter wait on, s stop it")
        person.sendline("")
        person.expect_exact("Waiting; Ctrl-C asks again.")
        person.sendintr()
        person.expect_exact("[Enter wait on, s stop it")
        person.sendline("s")
        person.expect_exact("[r again, p pass over")
        person.sendline("q")
        person.expect(pexpect.EOF)
    assert person.exitstatus == WAITS
