"""What comes along with an import, seen in fresh processes: engines need no terminal, --help next to nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Each costs a quarter of a second or more, and a terminal library has no business in an engine.
HEAVY = ("textual", "rich", "boto3", "botocore")

_IMPORT_ONE_BY_ONE = """
import importlib, json, sys
heavy, names = json.loads(sys.argv[1]), json.loads(sys.argv[2])
brought = {}
for name in names:
    before = set(sys.modules)
    importlib.import_module(name)
    came = sorted(set(heavy) & (set(sys.modules) - before))
    if came:
        brought[name] = came
print(json.dumps(brought))
"""

_RUN_COMMAND = """
import json, sys
from tui.cli import main
heavy, sys.argv = json.loads(sys.argv[1]), ["reinstate", *json.loads(sys.argv[2])]
try:
    status = main()
except SystemExit as ended:
    status = ended.code
print(json.dumps({"status": status or 0, "heavy": sorted(set(heavy) & set(sys.modules))}), file=sys.stderr)
"""


def modules_of(package: str) -> list[str]:
    """Every module below a package, by its files."""
    names = []
    for file in sorted((ROOT / package).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def fresh(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", code, *(json.dumps(argument) for argument in arguments)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def brought_by(names: list[str], heavy: tuple[str, ...] = HEAVY) -> dict[str, list[str]]:
    """Which module brings which heavy package along."""
    done = fresh(_IMPORT_ONE_BY_ONE, heavy, names)
    assert done.returncode == 0, done.stderr
    brought: dict[str, list[str]] = json.loads(done.stdout)
    return brought


def test_no_engine_brings_a_terminal_library_or_boto3_along() -> None:
    names = modules_of("engines")
    assert "engines.session.runner" in names
    assert brought_by(names) == {}


def test_the_plain_mode_works_without_textual() -> None:
    assert brought_by(["tui.plain", "tui.steering", "tui.reading"]) == {}


def test_a_heavy_import_would_be_seen() -> None:
    assert brought_by(["engines.errors", "screens.start"])["screens.start"] == ["rich", "textual"]


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_import_no_heavy_package(argument: str) -> None:
    done = fresh(_RUN_COMMAND, (*HEAVY, "pymysql", "asyncio", "sqlite3", "msgspec"), [argument])
    assert json.loads(done.stderr.splitlines()[-1]) == {"status": 0, "heavy": []}
    assert done.stdout.strip()
