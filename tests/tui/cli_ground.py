"""The command line as it is typed: what comes back, what it left changed, and every way in which a file can be bad."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from engines.session import store
from tests.engines.recipes.world import ROOT, World
from tests.servers.waiting import until
from tui.cli import main

# Root passes over every mode. Without these capabilities it is refused like anybody else.
AS_ANYBODY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
# Everything that a terminal would act on, and the marks that turn text around; line ends are no part of it.
ACTED_ON = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31m[/x][bold red]\u202egood\r"


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return self.out + self.err


def typed(*words: str | Path, keys: str = "") -> Said:
    """Run a command in this process; `keys` is its standard input."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), patch("sys.stdin", io.StringIO(keys)):
        try:
            code = main([str(word) for word in words])
        except SystemExit as left:  # argparse leaves like this
            code = left.code if isinstance(left.code, int) else 1
    return Said(code, out.getvalue(), err.getvalue())


def run(
    *words: str | Path,
    before: Sequence[str] = (),
    keys: str = "",
    environ: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> Said:
    """Run a command in a process of its own."""
    done = subprocess.run(
        [*before, sys.executable, "-m", "tui.cli", *map(str, words)],
        input=keys.encode(),
        capture_output=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env={**os.environ, "TERM": "dumb", "PYTHONPATH": str(ROOT), **(environ or {})},
    )
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def runner_has_left(session: Path) -> None:
    """The record is whole before a command ends; the runner clears up a moment later."""
    until(lambda: store.runner_mark(session) is None, "the runner has left")


def tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a folder: kind, mode, owner, size and content. Equal before and after: nothing was changed."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else _digest(path) if path.is_file() else ""
        found[str(path.relative_to(folder))] = (facts.st_mode, facts.st_uid, facts.st_mtime_ns, content)
    return found


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except PermissionError:
        return f"{path.lstat().st_size} bytes that can't be read"


def is_one_clear_error(said: Said, code: int) -> None:
    """One message and one hint, no traceback, nothing that a terminal acts on."""
    assert said.code == code, said.all
    assert is_drawable(said)
    lines = said.err.splitlines()
    assert lines[0].startswith("reinstate: "), said.err
    assert sum(line.startswith("reinstate: ") for line in lines) == 1, said.err
    assert len(lines) >= 2, said.err
    assert re.fullmatch(r"  \S.*", lines[-1]), said.err
    assert len(said.all) < 9000, len(said.all)


def is_drawable(said: Said) -> bool:
    assert "Traceback" not in said.all, said.all
    assert not ACTED_ON.search(said.all), ascii(said.all)
    return True


# -- what can be wrong with a file ------------------------------------------------------------------------


def missing(path: Path) -> None:
    _away(path)


def unreadable(path: Path) -> None:
    path.chmod(0)


def a_folder(path: Path) -> None:
    _away(path)
    path.mkdir()


def a_pipe(path: Path) -> None:
    _away(path)
    os.mkfifo(path)


def a_loop(path: Path) -> None:
    _away(path)
    path.symlink_to(path.name)


def empty(path: Path) -> None:
    _written(path, b"")


def cut_short(path: Path) -> None:
    content = path.read_bytes()
    _written(path, content[: len(content) // 2 - 1])


def binary(path: Path) -> None:
    _written(path, bytes(range(256)) * 64)


def sequences(path: Path) -> None:
    """Terminal control sequences, markup and a direction mark: as a line, as a key and as a value."""
    _written(path, f'{HOSTILE}\n"{HOSTILE}" = "{HOSTILE}"\n{HOSTILE}  {HOSTILE}\n'.encode() * 40)


def markup(path: Path) -> None:
    _written(path, b'"[/x][link=file:///etc/passwd]" = "[/x]"\n[bold]\nx = 1\n')


def ten_megabytes(path: Path) -> None:
    _written(path, b"0123456789abcdef # \n" * 524_288)


def _away(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _written(path: Path, content: bytes) -> None:
    """In place, so that mode and owner stay."""
    path.write_bytes(content)


Damage = Callable[[Path], None]
EVERY_DAMAGE: tuple[Damage, ...] = (
    missing,
    unreadable,
    a_folder,
    a_pipe,
    a_loop,
    empty,
    cut_short,
    binary,
    sequences,
    markup,
    ten_megabytes,
)


# -- papers that go with a world --------------------------------------------------------------------------

ANSWERS = """operator = "ana"
commander = "ivo"
owner = "olu"
target = "box"
confirm = true
"""
# An ordinary user can't look into the processes of others; the commander says so by name.
UNSEEN = """
[[answer]]
ask = "checks"
do = "o"
check = "Open files can be seen"
reason = "Only this account's processes use the sandbox"
"""
REPORT = """# INC-7: rows were lost

- Incident: INC-7
- Started: 2026-11-22 20:30 UTC

| table | rows |
|---|---|
| users | 200 |
"""


def with_papers(world: World) -> World:
    """The world, with answers for a whole restore and the incident report as people write it."""
    (world.folder / "answers.toml").write_text(ANSWERS + UNSEEN)
    (world.folder / "report.md").write_text(REPORT)
    return world
