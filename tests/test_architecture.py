"""The house as design.md draws it: what stands where, who may import whom, and that the set-up holds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PACKAGES = ("engines", "screens", "tui")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked(*patterns: str) -> list[Path]:
    """The files that are part of the project, not what lies about beside them."""
    argv = ["git", "ls-files", "-z", "--", *patterns]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([program, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's packages in a folder where they can be spoilt."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_there_are_three_packages_and_the_tests() -> None:
    python = {path.relative_to(ROOT).parts[0] for path in tracked("*.py")}
    assert python == {*PACKAGES, "tests"}


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("engines/text.py", "import rich", "Engines need no terminal"),
        ("engines/session/plan.py", "import engines.sqlite.stage", "put the engines together"),
        ("engines/session/plan.py", "import engines.recipes", "put the engines together"),
        ("engines/backups/catalogue.py", "import engines.application.logs", "put the engines together"),
        ("tui/narration.py", "import engines.sqlite.stage", "use a database engine"),
        ("screens/start.py", "import screens.restore", "Screens do not know one another"),
        ("screens/start.py", "import screens.modals", "Screens do not know one another"),
        ("screens/start.py", "import tui.app", "The shell stands on the screens"),
        ("tui/widgets/__init__.py", "import screens.start", "The shell stands on the screens"),
        ("tui/plain.py", "import tui.app", "The shell stands on the screens"),
    ],
)
def test_an_import_the_wrong_way_breaks_its_contract(copy: Path, module: str, line: str, contract: str) -> None:
    spoilt = copy / module
    spoilt.write_text(f"{spoilt.read_text()}\n{line}\n")
    linted = lint_imports(copy)
    assert linted.returncode != 0
    assert re.search(f"{contract}.* BROKEN", linted.stdout)


def test_every_module_of_the_shell_has_a_place_in_the_layers() -> None:
    layers = " ".join(project()["tool"]["importlinter"]["contracts"][0]["layers"])
    placed = set(re.findall(r"tui\.(\w+)", layers))
    assert {path.stem for path in (ROOT / "tui").glob("*.py")} - {"__init__"} <= placed


def test_every_requirement_is_pinned_for_ci() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    table = project()["project"]
    waiting = [Requirement(line) for line in (*table["dependencies"], *table["optional-dependencies"]["dev"])]
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in seen:
            continue
        seen.add(name)
        assert name in pinned, f"{requirement} has no line in constraints.txt"
        assert requirement.specifier.contains(pinned[name]), f"{requirement} is pinned to {pinned[name]}"
        for line in requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)
            ):
                waiting.append(needed)


def test_ci_does_what_a_developer_does() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-1] == "make test"


def test_a_missing_system_package_is_named_and_nothing_is_installed_without_root(tmp_path: Path) -> None:
    for name, says in (("id", "echo 1000"), ("apt-get", f"touch {tmp_path}/called")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{says}\n")
        (tmp_path / name).chmod(0o755)
    for name in ("bash", "cat"):
        (tmp_path / name).symlink_to(f"/bin/{name}")
    done = subprocess.run(
        [ROOT / "scripts" / "system-packages", "tests"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert re.search(r"^ +apt-get install --no-install-recommends .*\btmux\b.*\bstrace\b", done.stderr, re.MULTILINE)
    assert not (tmp_path / "called").exists()


def test_no_mark_of_a_merge_was_left_in_a_file() -> None:
    mark = re.compile(rb"^(?:<{7} |>{7} )", re.MULTILINE)
    assert [path for path in tracked("*") if path.is_file() and mark.search(path.read_bytes())] == []
