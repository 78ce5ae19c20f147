"""Whatever is wrong with a file that a command is given: one clear error, the documented exit code, nothing changed.

Each row of `CASES` is a file, what was done to it, what was typed, the exit code, and words of the answer.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.recipes.world import BACKUP, World, build
from tests.tui.cli_ground import (
    AS_ANYBODY,
    EVERY_DAMAGE,
    Damage,
    Said,
    a_folder,
    a_loop,
    a_pipe,
    binary,
    cut_short,
    empty,
    is_drawable,
    is_one_clear_error,
    markup,
    missing,
    run,
    runner_has_left,
    sequences,
    ten_megabytes,
    tree,
    typed,
    unreadable,
    with_papers,
)

DONE, FAILED, USAGE, REFUSED = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Case:
    """`file` has `damage`; then `words` are typed (after --config); the command ends with `code`, saying `says`."""

    file: str
    damage: Damage
    words: tuple[str, ...]
    code: int
    says: str

    def __str__(self) -> str:
        return f"{self.file} {self.damage.__name__}: {self.words[0]}"


BACKUPS = ("backups",)
PLAN = ("plan", "--backup", BACKUP)
CHECK = ("check",)
INCIDENT = ("check", "--incident", "incident.toml")
REPORT = ("check", "--incident", "report.md")
ANSWERS = ("restore", "box", "--backup", BACKUP, "--answers", "answers.toml")

# A file that people write: what is wrong with it, in its own words.
WRITTEN: dict[Damage, str] = {
    missing: "does not exist",
    unreadable: "can't be opened: Permission denied",
    a_folder: "is not a regular file",
    a_pipe: "is not a regular file",
    a_loop: "symbolic links",
    empty: "is empty",
    cut_short: "is not valid TOML",
    binary: "is not UTF-8",
    sequences: "is not valid TOML",
    markup: "'[/x][link=file:///etc/passwd]': unknown key",
    ten_megabytes: "is 10.5 MB",
}
IN_MARKDOWN = {
    cut_short: "is not a time",
    sequences: "names no incident",
    markup: "names no incident",
}
LISTING: dict[Damage, str] = {
    missing: "checksums.txt is missing",
    unreadable: "checksums.txt can't be used: Permission denied",
    a_folder: "checksums.txt can't be used: is a folder",
    a_pipe: "checksums.txt can't be used: is a FIFO",
    a_loop: "checksums.txt can't be used: is a symbolic link",
    empty: "checksums.txt lists no file",
    cut_short: "checksums.txt line 1: is neither",
    binary: "holds NUL bytes; this is no text",
    sequences: "checksums.txt line 1: is neither",
    markup: "checksums.txt line 1: is neither",
    ten_megabytes: "is none of md5, sha1, sha256, sha512",
}
COPY: dict[Damage, str] = {
    missing: "MISSING FILE",
    unreadable: "It can't be read: Permission denied",
    a_folder: "It is a folder",
    a_pipe: "It is a FIFO",
    a_loop: "It is a symbolic link",
    empty: "It is empty",
    cut_short: "MISMATCH",
    binary: "MISMATCH",
    sequences: "MISMATCH",
    markup: "MISMATCH",
    ten_megabytes: "MISMATCH",
}
FOLDER: dict[Damage, str] = {
    missing: "does not exist",
    unreadable: "can't be read by this user",
    a_pipe: "is not a folder",
    a_loop: "can't be read: Too many levels",
}
# A live database may be in any state: that is why it is restored. Only what is no file can't be replaced.
LIVE: dict[Damage, tuple[int, str]] = {
    missing: (DONE, "state: missing"),
    empty: (DONE, "state: empty"),
    cut_short: (DONE, "state: unreadable"),
    binary: (DONE, "state: unreadable"),
    sequences: (DONE, "state: unreadable"),
    markup: (DONE, "state: unreadable"),
    ten_megabytes: (DONE, "state: unreadable"),
    a_pipe: (REFUSED, "is not a regular file"),
    a_loop: (REFUSED, "is not a regular file"),
    a_folder: (REFUSED, "Nothing was changed"),
}

CASES = (
    *(Case("reinstate.toml", damage, CHECK, USAGE, says) for damage, says in WRITTEN.items()),
    *(Case("incident.toml", damage, INCIDENT, USAGE, says) for damage, says in WRITTEN.items()),
    *(Case("report.md", damage, REPORT, USAGE, says) for damage, says in (WRITTEN | IN_MARKDOWN).items()),
    *(Case("answers.toml", damage, ANSWERS, USAGE, says) for damage, says in WRITTEN.items()),
    *(Case("backups/checksums.txt", damage, BACKUPS, FAILED, says) for damage, says in LISTING.items()),
    *(Case("backups/checksums.txt", damage, PLAN, REFUSED, "backup checksum") for damage in LISTING),
    *(Case(f"backups/{BACKUP}", damage, BACKUPS, FAILED, says) for damage, says in COPY.items()),
    *(Case(f"backups/{BACKUP}", damage, PLAN, REFUSED, says) for damage, says in COPY.items()),
    *(Case("backups", damage, BACKUPS, FAILED, says) for damage, says in FOLDER.items()),
    *(Case("backups", damage, PLAN, FAILED, says) for damage, says in FOLDER.items()),
    *(Case("db/live.sqlite", damage, PLAN, code, says) for damage, (code, says) in LIVE.items()),
)


def told(world: World, words: tuple[str, ...], damage: Damage) -> Said:
    """What the command says. Where a mode is what is wrong, it runs as somebody whom modes hold."""
    folder = world.folder
    placed = [str(folder / word) if word.endswith((".toml", ".md")) else word for word in words]
    command = ["--config", str(folder / "reinstate.toml"), *placed]
    return run(*command, before=AS_ANYBODY) if damage is unreadable else typed(*command)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_input_is_one_clear_error_and_changes_nothing(case: Case, tmp_path: Path) -> None:
    world = with_papers(build(tmp_path / "world", "delete"))
    case.damage(world.folder / case.file)
    before = tree(world.folder)
    said = told(world, case.words, case.damage)
    assert said.code == case.code, said.all
    assert case.says in said.all
    if case.code == DONE:
        assert is_drawable(said)
    else:
        is_one_clear_error(said, case.code)
    assert tree(world.folder) == before


def test_every_damage_is_tried_on_every_file() -> None:
    for table in (WRITTEN, LISTING, COPY):
        assert set(table) == set(EVERY_DAMAGE)


# -- session folders --------------------------------------------------------------------------------------

# What a session's folder, its journal or its record has suffered, and how show, verify and resume end then. Where the
# journal is whole it is attach instead of resume, which makes a damaged record of a session that is over anew.
SESSIONS: tuple[tuple[str, Damage, tuple[int, int, int]], ...] = (
    (".", missing, (USAGE, USAGE, USAGE)),
    (".", a_loop, (USAGE, USAGE, USAGE)),
    (".", unreadable, (FAILED, FAILED, FAILED)),
    (".", a_folder, (FAILED, FAILED, FAILED)),
    (".", a_pipe, (FAILED, FAILED, FAILED)),
    ("journal.jsonl", missing, (FAILED, DONE, FAILED)),
    ("journal.jsonl", unreadable, (FAILED, FAILED, FAILED)),
    ("journal.jsonl", a_folder, (FAILED, FAILED, FAILED)),
    ("journal.jsonl", a_pipe, (FAILED, FAILED, FAILED)),
    ("journal.jsonl", a_loop, (FAILED, DONE, FAILED)),
    ("journal.jsonl", empty, (FAILED, FAILED, FAILED)),
    ("journal.jsonl", cut_short, (DONE, FAILED, REFUSED)),
    ("journal.jsonl", binary, (FAILED, FAILED, FAILED)),
    ("journal.jsonl", sequences, (FAILED, FAILED, FAILED)),
    ("journal.jsonl", ten_megabytes, (FAILED, FAILED, FAILED)),
    ("session.toml", missing, (DONE, FAILED, REFUSED)),
    ("session.toml", unreadable, (DONE, FAILED, REFUSED)),
    ("session.toml", a_folder, (DONE, FAILED, REFUSED)),
    ("session.toml", a_pipe, (DONE, FAILED, REFUSED)),
    ("session.toml", a_loop, (DONE, FAILED, REFUSED)),
    ("session.toml", empty, (DONE, FAILED, REFUSED)),
    ("session.toml", cut_short, (DONE, FAILED, REFUSED)),
    ("session.toml", binary, (DONE, FAILED, REFUSED)),
    ("session.toml", sequences, (DONE, FAILED, REFUSED)),
    ("session.toml", ten_megabytes, (DONE, FAILED, REFUSED)),
)


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """A world with a session that was signed off, and a copy of its folder."""
    world = with_papers(build(tmp_path_factory.mktemp("over") / "world", "delete"))
    said = told(world, ("restore", "box", "--backup", BACKUP, *INCIDENT[1:], "--answers", "answers.toml"), missing)
    assert said.code == DONE, said.all
    (line,) = [line for line in said.out.splitlines() if line.startswith("Record: ")]
    session = Path(line.removeprefix("Record: ")).parent
    runner_has_left(session)
    shutil.copytree(session, world.folder.parent / session.name)
    return world, world.folder.parent / session.name


@pytest.mark.parametrize(("file", "damage", "codes"), SESSIONS, ids=lambda one: getattr(one, "__name__", str(one)))
def test_a_damaged_session_is_one_clear_error_and_does_not_hide_the_others(
    over: tuple[World, Path], tmp_path: Path, file: str, damage: Damage, codes: tuple[int, int, int]
) -> None:
    world, kept = over
    root = tmp_path / "state" / "sessions"
    (good := root / kept.name.replace("-local-", "-staging-")).parent.mkdir(parents=True)
    shutil.copytree(kept, good)
    bad = root / kept.name
    shutil.copytree(kept, bad)
    damage(bad / file)
    config = tmp_path / "reinstate.toml"
    state = world.folder / "state"
    config.write_text((world.folder / "reinstate.toml").read_text().replace(str(state), str(root.parent)))
    before = tree(root)
    prefix = ("--config", str(config))
    third = "attach" if file == "session.toml" else "resume"
    for words, code in zip(("show", "verify", third), codes, strict=True):
        command = (*prefix, words, bad.name)
        said = run(*command, before=AS_ANYBODY) if damage is unreadable else typed(*command)
        if code == DONE:
            assert (said.code, is_drawable(said)) == (DONE, True), said.all
        else:
            is_one_clear_error(said, code)
    listed = (
        run(*prefix, "sessions", "--json", before=AS_ANYBODY)
        if damage is unreadable
        else typed(*prefix, "sessions", "--json")
    )
    assert listed.code == DONE, listed.all
    assert {row["session"]: row["state"] for row in json.loads(listed.out)}[good.name] == "signed off"
    assert tree(root) == before
    if bad.is_dir() and not bad.is_symlink():
        bad.chmod(0o700)
