"""docs/troubleshooting.md against the program: no message that is not said, none of the gravest left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = (ROOT / "docs/troubleshooting.md").read_text()
REFUSALS = {"RestoreError", "Refused", "OtherBytes", "UsageError"}
HOLE = "\0"  # where a message has something that differs

# What takes a target, replaces it, puts it back or asks for a yes: each refusal of these is explained.
GRAVE = (
    *("session/store.py", "session/client.py", "session/launch.py", "session/authority.py", "session/journal.py"),
    *("recipes/sessions.py", "recipes/sqlite/facts.py", "recipes/sqlite/replacing.py"),
    *("sqlite/lock.py", "sqlite/holders.py", "sqlite/swap.py", "sqlite/undo.py"),
    *("recipes/mysql/loading.py", "recipes/mysql/opened.py", "recipes/mysql/undoing.py"),
    *("mysql/hold.py", "mysql/connect.py", "mysql/sessions.py", "mysql/undo.py", "mysql/stage/steering.py"),
    *("mysql/load/loader.py", "mysql/client_load.py", "mysql/replay/pipeline.py"),
)


def told() -> list[str]:
    """The first column of each row: a message, or a check's name."""
    return re.findall(r"(?m)^\| `([^`]+)` \|", DOCS)


def text_of(node: ast.expr) -> str:
    """A message as the source has it, with a hole for each part that differs."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(text_of(part) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return text_of(left) + text_of(right)
        case _:
            return HOLE


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def refusals(path: Path) -> list[str]:
    """What each refusal of a module says."""
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call) and node.args]
    return [text_of(call.args[0]) for call in calls if isinstance(call.func, ast.Name) and call.func.id in REFUSALS]


def everything_said() -> set[str]:
    """Each text of the program."""
    texts: set[str] = set()
    for folder in ("engines", "screens", "tui"):
        for path in (ROOT / folder).rglob("*.py"):
            nodes = list(ast.walk(tree(path)))
            docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
            texts |= {
                text_of(node).replace("\n", " ")
                for node in nodes
                if isinstance(node, (ast.Constant, ast.JoinedStr)) and id(node) not in docstrings
            }
    return texts


def pattern(message: str) -> re.Pattern[str]:
    """What is told, with … for anything, as the beginning of a text."""
    return re.compile(".+".join(re.escape(part) for part in message.rstrip("…").split("…")))


def is_said(message: str, texts: set[str]) -> bool:
    fixed = max(message.split("…"), key=len)  # a look for it spares most of the matching
    return any(pattern(message).match(text) for text in texts if fixed in text)


def test_what_is_explained_is_said_by_the_program() -> None:
    messages, said = told(), everything_said()
    assert len(messages) > 150
    assert [one for one in messages if not is_said(one, said)] == []


@pytest.mark.parametrize("module", GRAVE)
def test_each_refusal_of_the_gravest_modules_is_explained(module: str) -> None:
    known = [pattern(message) for message in told()]
    said = [text.replace("\n", " ") for text in refusals(ROOT / "engines" / module)]
    assert said
    # A message that is all hole is another module's, passed on.
    own = [text for text in said if text.replace("Nothing was changed.", "").strip(f"{HOLE} .")]
    assert [text for text in own if not any(one.match(text) for one in known)] == []
