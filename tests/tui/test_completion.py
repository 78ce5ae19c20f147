"""Completion as a shell does it: a real bash reads the printed script, and is asked what Tab would offer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui.cli_ground import run, typed
from tui.cli import parser
from tui.completion import SHELLS

# What readline does at a Tab: the words, the one under the cursor, the function that `complete` named.
TAB = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
words=$(complete -p reinstate) && [[ $words =~ -F\\ ([^ ]+) ]]
"${BASH_REMATCH[1]}" reinstate "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "reinstate"
    path.write_text(typed("completion", "bash").out)
    return path


def offered(script: Path, *words: str, cwd: Path | None = None) -> set[str]:
    argv = ["bash", "--norc", "--noprofile", "-c", TAB, "bash", str(script), "reinstate", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True, cwd=cwd)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_commands_are_completed(script: Path) -> None:
    assert offered(script, "re") == {"restore", "resume", "report"}
    assert offered(script, "sign") == {"sign-off"}


def test_options_are_completed_with_those_of_the_command(script: Path) -> None:
    assert offered(script, "prune", "--") >= {"--yes", "--sessions", "--records", "--config"}
    assert offered(script, "prune", "--re") == {"--records"}
    assert "--yes" not in offered(script, "restore", "--")
    assert offered(script, "sign-off", "--pl") == {"--plan"}


def test_values_are_completed_where_there_are_few_and_paths_with_files(script: Path, tmp_path: Path) -> None:
    assert offered(script, "demo", "--engine", "m") == {"mysql", "mariadb"}
    (tmp_path / "incident.toml").touch()
    assert offered(script, "restore", "--incident", "inc", cwd=tmp_path) == {"incident.toml"}


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script_with_each_command(shell: str) -> None:
    said = typed("completion", shell)
    assert said.code == 0
    groups = parser()._subparsers
    assert groups is not None
    for action in groups._group_actions:
        assert [name for name in action.choices or () if str(name) not in said.out] == []


def test_the_script_is_only_made_when_it_is_asked_for() -> None:
    code = "import sys; from tui.cli import parser; parser().format_help(); sys.exit('shtab' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0
    assert run("completion", "csh").code == 2
