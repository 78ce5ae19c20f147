"""The command line as other programs rely on it: JSON, exit codes, plain text, and what each command knows."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from engines.recipes import sessions
from tests.engines.recipes.world import BACKUP, NEW_ROWS, ROOT, World, build
from tests.engines.session.examples import begun, runner_started, session_folder
from tests.tui.cli_ground import (
    HOSTILE,
    Said,
    is_drawable,
    is_one_clear_error,
    run,
    runner_has_left,
    tree,
    typed,
    with_papers,
)
from tui import steering
from tui.cli import parser

DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world in which one session was signed off. Tests here only read it."""
    world = with_papers(build(tmp_path_factory.mktemp("over") / "world", "delete"))
    words = ("restore", "box", "--backup", BACKUP, "--answers", world.folder / "answers.toml")
    said = reinstate(world, *words, "--incident", world.folder / "incident.toml")
    assert said.code == DONE, said.all
    assert world.rows() == NEW_ROWS
    runner_has_left(session_of(world))
    return world


def reinstate(world: World, *words: str | Path) -> Said:
    return typed("--config", world.folder / "reinstate.toml", *words)


def session_of(world: World) -> Path:
    (folder,) = (world.folder / "state" / "sessions").iterdir()
    return folder


# -- JSON -------------------------------------------------------------------------------------------------

CHECK = {"name", "verdict", "evidence", "hint", "panel", "needed", "free", "before", "now"}
ROW = {"session", "folder", "target", "environment", "began", "state", "unfinished", "runner_alive", "error"}
BACKUP_ROW = {"name", "kind", "taken_at", "taken_at_from", "size", "status", "evidence", "drill"}
PLAN = {"kind", "revision", "session", "made_at", "target", "backup", "steps", "needs_approval", "loss", "estimate"}
RECORD = {"format", "session", "target", "backup", "plan", "measures", "deviation", "person", "approval", "step"}


def json_of(world: World, *words: str) -> Any:  # noqa: ANN401 - JSON is what it is
    said = reinstate(world, *words, "--json")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", said.out), ascii(said.out)
    return json.loads(said.out)


def test_every_json_has_its_keys(over: World) -> None:
    backups = json_of(over, "backups")
    assert set(backups) == {"folder", "problems", "backups"}
    assert all(set(row) == BACKUP_ROW for row in backups["backups"])
    assert {row["kind"] for row in backups["backups"]} == {"sqlite", "safety snapshot"}
    assert all(set(check) == CHECK for check in json_of(over, "check"))
    plan = json_of(over, "plan", "--backup", BACKUP)
    assert set(plan) == {"sha256", "plan", "checks", "later"}
    assert set(plan["plan"]) >= PLAN
    assert all(set(row) == ROW for row in json_of(over, "sessions"))
    assert set(json_of(over, "show")) >= RECORD
    assert set(json_of(over, "verify", "last")) == {"verdict", "wrong", "holds", "unchecked", "authentic", "signed"}


def test_commands_that_only_read_change_nothing(over: World) -> None:
    before = tree(over.folder)
    for words in (("backups",), ("check",), ("plan",), ("sessions",), ("show",), ("verify", "last"), ("prune",)):
        assert is_drawable(reinstate(over, *words))
    assert tree(over.folder) == before


def test_the_json_is_whole_when_the_answer_is_no(tmp_path: Path) -> None:
    world = build(tmp_path / "world", "delete")
    (world.folder / "backups" / "checksums.txt").unlink()
    for words, code in ((("backups",), FAILED), (("check",), REFUSED), (("plan",), REFUSED)):
        said = reinstate(world, *words, "--json")
        is_one_clear_error(Said(said.code, "", said.err), code)
        assert json.loads(said.out)


# -- text from outside ------------------------------------------------------------------------------------


def test_hostile_names_are_drawn_as_text(tmp_path: Path) -> None:
    world = build(tmp_path / "world", "delete")
    folder = world.folder / "backups"
    (folder / f"{HOSTILE.replace('/', '')}.sqlite").write_bytes(b"x")
    listing = folder / "checksums.txt"
    listing.write_text(listing.read_text() + f"{'0' * 64}  {HOSTILE.replace('/', '')}2.sqlite\n")
    said = reinstate(world, "backups")
    assert is_drawable(said)
    assert "[x][bold red]" in said.out
    for words in (
        ("show", HOSTILE),
        ("check", HOSTILE),
        ("plan", "--backup", HOSTILE),
        ("verify", HOSTILE),
        (HOSTILE,),
    ):
        said = reinstate(world, *words)
        is_one_clear_error(said, said.code)
        assert said.code in (FAILED, USAGE)


# -- sessions that are over, unknown or not there -----------------------------------------------------------

UNKNOWN = tuple(
    (command, *more)
    for command, *more in (
        ("show",),
        ("export",),
        ("attach", "--plain"),
        ("resume", "--plain"),
        ("undo", "--plain", "--reason", "why not"),
        ("abandon", "--reason", "why not"),
    )
)


@pytest.mark.parametrize("words", UNKNOWN, ids=lambda words: words[0])
def test_a_session_that_is_not_known_is_a_usage_error(over: World, words: tuple[str, ...]) -> None:
    is_one_clear_error(reinstate(over, words[0], "no-such-session", *words[1:]), USAGE)
    is_one_clear_error(reinstate(over, words[0], "/no/such/folder", *words[1:]), USAGE)
    is_one_clear_error(reinstate(over, words[0], "x" * 300, *words[1:]), USAGE)


def test_the_report_of_a_session_is_printed_for_people_and_for_programs(over: World) -> None:
    said = reinstate(over, "report")
    assert said.code == DONE
    assert is_drawable(said)
    assert said.out.rstrip("\n") == (session_of(over) / "report.md").read_text().rstrip("\n")
    assert "| Outcome | signed off |" in said.out
    assert "ivo approved plan" in said.out
    unnamed = reinstate(over, "report", "--roles").out
    assert "incident commander approved plan" in unnamed
    assert not re.search(r"\b(ana|ivo|olu)\b", unnamed)
    assert json.loads(reinstate(over, "report", "--format", "json").out)["session"]["state"] == "signed off"
    assert '"login"' not in reinstate(over, "report", "--format", "json", "--roles").out


def all_but_derived(world: World) -> dict[str, tuple[object, ...]]:
    """Resume makes record and plan anew from the journal, in case the runner was killed at the very end."""
    derived = ("session.toml", "plan.toml", "runner.log", "runner.pid")
    folder = str(session_of(world).relative_to(world.folder))
    return {name: facts for name, facts in tree(world.folder).items() if not name.endswith(derived) and name != folder}


@pytest.mark.parametrize("words", UNKNOWN[2:], ids=lambda words: words[0])
def test_a_session_that_is_over_is_refused_and_stays_as_it_is(over: World, words: tuple[str, ...]) -> None:
    before = all_but_derived(over)
    said = reinstate(over, *words)
    is_one_clear_error(said, REFUSED)
    assert "is over (signed off)" in said.err
    assert words[0] == "resume" or "Its safety snapshot is still a restore point" in said.err
    assert all_but_derived(over) == before


@pytest.mark.parametrize("command", ["show", "verify", "export", "attach", "resume", "undo", "abandon"])
def test_a_folder_in_the_current_one_is_not_the_session_of_that_name(
    command: str, over: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unpacked export, or what somebody left there for root to resume, is named with a slash."""
    name = session_of(over).name
    made = session_folder(tmp_path, begun(target={"name": "evil"}), runner_started())
    for planted in ("last", name):
        shutil.copytree(made, tmp_path / planted)
    monkeypatch.chdir(tmp_path)
    more = {"undo": ("--plain", "--reason", "why not"), "abandon": ("--reason", "why not")}.get(command, ())
    for wanted in ("last", name):
        to = ("--to", str(tmp_path / f"{wanted}.tar.gz")) if command == "export" else ()
        plain = ("--plain",) if command in ("attach", "resume") else ()
        said = reinstate(over, command, wanted, *more, *plain, *to)
        assert "evil" not in said.all
        if command in ("show", "verify", "export"):
            assert said.code == DONE, said.all
        else:
            assert f"{name} is over (signed off)" in said.err
    if command == "show":
        assert reinstate(over, "show", "./last").out.startswith("last: before its plan")


@pytest.mark.parametrize(
    "words",
    [
        ("attach", "--plain"),
        ("resume", "--plain"),
        ("undo", "--plain", "--reason", "x y"),
        ("abandon", "--reason", "x y"),
    ],
)
def test_as_root_nothing_is_done_with_a_session_that_somebody_else_could_have_written(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = session_folder(tmp_path, begun(), runner_started())
    folder.chmod(0o777)
    before = tree(folder)
    monkeypatch.setattr(steering, "privileged", lambda: True)
    monkeypatch.setattr(sessions, "privileged", lambda: True)
    said = typed(words[0], folder, *words[1:])
    is_one_clear_error(said, REFUSED)
    assert "A privileged run does not act on the session" in said.err
    assert "can be written by everybody" in said.err
    assert tree(folder) == before, "no runner was started"


def test_verify_finds_a_changed_log_and_names_it(over: World, tmp_path: Path) -> None:
    copied = tmp_path / session_of(over).name
    subprocess.run(["cp", "-a", str(session_of(over)), str(copied)], check=True)
    assert typed("verify", copied).code == DONE
    (first, *_) = sorted((copied / "logs").iterdir())
    first.write_text("nothing to see here\n")
    said = typed("verify", copied)
    is_one_clear_error(Said(said.code, "", said.err), FAILED)
    assert f"logs/{first.name}" in said.err


# -- export ------------------------------------------------------------------------------------------------


def test_an_export_never_overwrites_and_never_holds_the_private_folder(over: World, tmp_path: Path) -> None:
    private = session_of(over) / "private" / "env"
    private.write_text("APP_KEY=secret\n")
    archive = tmp_path / "session.tar.gz"
    try:
        assert reinstate(over, "export", "--logs", "--to", archive).code == DONE
    finally:
        private.unlink()
    with tarfile.open(archive) as opened:
        names = opened.getnames()
    assert not [name for name in names if "private" in name]
    assert {Path(name).name for name in names} >= {"session.toml", "journal.jsonl", "plan.toml"}
    kept = archive.read_bytes()
    is_one_clear_error(reinstate(over, "export", "--to", archive), REFUSED)
    assert archive.read_bytes() == kept


# -- terminals, pipes and help ----------------------------------------------------------------------------


def test_a_reader_that_leaves_is_no_error_of_ours(over: World) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nowhere:
        done = subprocess.run(
            [sys.executable, "-m", "tui.cli", "--config", str(over.folder / "reinstate.toml"), "backups"],
            stdout=nowhere,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == FAILED
    assert done.stderr == b""


@pytest.mark.parametrize("words", [(), ("restore", "box")], ids=["console", "restore without a backup"])
def test_without_a_terminal_what_needs_one_says_so(over: World, words: tuple[str, ...]) -> None:
    said = run("--config", over.folder / "reinstate.toml", *words)
    is_one_clear_error(said, USAGE)
    assert "--backup NAME" in said.err


def test_a_privileged_run_that_finds_no_configuration_says_where_it_looked(tmp_path: Path) -> None:
    said = run("sessions", cwd=tmp_path, environ={"HOME": str(tmp_path), "XDG_CONFIG_HOME": "", "REINSTATE_CONFIG": ""})
    is_one_clear_error(said, USAGE)
    assert "Looked at: --config, REINSTATE_CONFIG" in said.err


@pytest.mark.parametrize("command", commands())
def test_every_command_has_help_that_names_its_options(command: str) -> None:
    said = typed(command, "--help")
    assert said.code == DONE
    assert is_drawable(said)
    for option in options_of(commands()[command]):
        assert option in said.out


@pytest.mark.parametrize("words", [("restore", "--no-such-option"), ("nonsense",), ("undo",), ("verify",)])
def test_what_is_typed_wrongly_is_one_clear_error(words: tuple[str, ...]) -> None:
    said = typed(*words)
    is_one_clear_error(said, USAGE)
    assert "--help" in said.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("sessions", "--theme", "dark"), "sessions does not open it"),
        (("--theme", "dark", "verify", "last"), "verify does not open it"),
        (("attach", "--plain", "--theme", "dark"), "with --plain"),
        (("--incident", "incident.toml", "attach"), "--incident has no meaning for attach"),
        (("approve", "--reason", "it is known"), "--reason is an override's"),
        (("approve", "--print", "--yes", "shop"), "--print and --yes"),
        (("sign-off", "--signature", "x.sig", "--print"), "--print and --signature"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_would_do_nothing_is_refused_before_anything_is_looked_at(words: tuple[str, ...], says: str) -> None:
    said = typed(*words)
    is_one_clear_error(said, USAGE)
    assert says in said.err
    assert "Nothing was changed." in said.err


# -- documentation ----------------------------------------------------------------------------------------


def options_of(command: argparse.ArgumentParser) -> set[str]:
    """Its own options, without those that every command has."""
    everywhere = {"-h", "--help", "--config", "--name", "--theme"}
    return {name for action in command._actions for name in action.option_strings} - everywhere


def documented() -> dict[str, set[str]]:
    """Each command of docs/cli.md with the options in its list."""
    page = (ROOT / "docs/cli.md").read_text()
    sections = re.findall(r"^### `([a-z-]+)[^\n]*\n(.*?)(?=^##|\Z)", page, re.DOTALL | re.MULTILINE)
    return {
        name: {
            option for line in text.splitlines() if line.startswith("- ") for option in re.findall(r"`(--[a-z]+)", line)
        }
        for name, text in sections
    }


def test_the_documentation_has_every_command_with_its_options_and_no_others() -> None:
    assert documented() == {name: options_of(command) for name, command in commands().items()}
