"""Looking into a session's logs from the command line, and answering up to when line by line."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from engines.errors import UsageError
from engines.recipes.mysql.until import Kind, Until
from engines.recipes.mysql.until import typed as meant
from engines.session import commands as c
from engines.session.client import Client
from engines.session.events import encode
from engines.session.journal import FIRST_PREV, line_digest
from engines.session.moves import Ask, AskKind
from tests.tui.cli_ground import Said, is_drawable, is_one_clear_error, typed
from tests.tui.mysql_story import BAD, BEFORE, DB1, ServerStory, logs
from tests.tui.test_explorer import HOSTILE
from tui import steering
from tui.answers import AnswersFile, FromFile, Prepared
from tui.plain import Choosing, _Driver, up_to_when

USAGE, REFUSED = 2, 3
CHOOSE = Ask(AskKind.CHOOSE, "another?")


def session(root: Path, until: Until = BEFORE, statement: str = "DELETE FROM users", *, staged: bool = True) -> Path:
    """A session's folder, as its runner leaves it, with its logs beside it."""
    folder, kept = root / "2026-11-22T20-04-11Z-production-7f3a", root / "logs"
    folder.mkdir()
    kept.mkdir()
    told = ServerStory(logs(kept, statement) if staged else None, until).ready()
    before, lines = FIRST_PREV, []
    for entry in told.entries:
        line = encode(replace(entry, prev=before))
        before = line_digest(line)
        lines.append(line)
    (folder / "journal.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return folder


def transactions(folder: Path, *words: str) -> Said:
    return typed("transactions", folder, *words)


def test_the_transactions_around_the_stop_are_listed_and_nothing_is_written(tmp_path: Path) -> None:
    folder = session(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    said = transactions(folder, "--count", "2")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == f"Restored to just before {BAD}"
    assert [line.split("  ")[1] for line in lines[2:]] == ["replayed"] * 2 + ["after the stop"] * 2
    assert f"{BAD}" in lines[4]
    assert "shop.users -9 000" in lines[4]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_json_has_its_keys(tmp_path: Path) -> None:
    found = json.loads(transactions(session(tmp_path), "--search", "drop", "--json").out)
    assert set(found) == {"until", "stop", "trouble", "more", "transactions"}
    assert found["stop"] == BAD
    (dropped,) = found["transactions"]
    assert dropped["statements"] == ["DROP TABLE `audit_logs`"]
    assert set(dropped) == {
        "position",
        "end",
        "gtid",
        "at",
        "precise",
        "fate",
        "tables",
        "statements",
        "more_statements",
        "size",
    }


def test_a_table_is_searched_for_and_a_moment_looked_at(tmp_path: Path) -> None:
    folder = session(tmp_path)
    assert "DROP TABLE" in transactions(folder, "--table", "shop.audit_logs").out
    assert "None found." in transactions(folder, "--table", "nowhere").out
    assert BAD in transactions(folder, "--around", "2026-11-23T13:00:30+01:00", "--count", "1").out


def test_text_from_the_logs_is_only_ever_text(tmp_path: Path) -> None:
    folder = session(tmp_path, statement=HOSTILE)
    for words in ((), ("--search", "DELETE")):
        said = transactions(folder, *words)
        assert is_drawable(said)
        assert "[/x][red]" in said.out
    assert json.loads(transactions(folder, "--search", "DELETE", "--json").out)["transactions"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--around", "soon"), USAGE),
        (("--around", "end"), USAGE),
        (("--around", "2026-11-23T12:00:30"), USAGE),
        (("--around", "binlog.000009:4"), REFUSED),
        (("--count", "0"), USAGE),
    ],
)
def test_what_can_not_be_looked_at_is_one_clear_error(tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    is_one_clear_error(transactions(session(tmp_path), *words), code)


def test_a_session_without_logs_is_refused(tmp_path: Path) -> None:
    said = transactions(session(tmp_path, Until(), staged=False))
    is_one_clear_error(said, REFUSED)
    assert "has no binary logs staged" in said.err


# -- up to when, line by line ------------------------------------------------------------------------------------


class Lines:
    """Somebody who types these lines."""

    def __init__(self, *lines: str) -> None:
        self.left = list(lines)
        self.prompts: list[str] = []

    async def line(self, prompt: str, ask: Ask, field: str) -> str | None:
        self.prompts.append(prompt)
        return self.left.pop(0) if self.left else None

    def refused(self) -> None:
        """It is asked again."""


def test_it_is_asked_until_the_answer_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    somebody = Lines("2026-11-23T12:00:30", "", "2026-11-23T12:00:30Z", "0-1-7, binlog.000001:410")
    until = asyncio.run(up_to_when(somebody, CHOOSE))
    assert until == meant("2026-11-23T12:00:30Z", ("0-1-7", "binlog.000001:410"))
    said = capsys.readouterr().out
    assert "REFUSED: A time without a zone" in said
    assert "before 2026-11-23 12:00:30 UTC" in said


def test_after_the_dump_alone_nothing_more_is_asked() -> None:
    somebody = Lines("dump")
    assert asyncio.run(up_to_when(somebody, CHOOSE)) == Until()
    assert len(somebody.prompts) == 1


def test_nobody_answering_is_no_answer() -> None:
    assert asyncio.run(up_to_when(Lines(), CHOOSE)) is None


def test_an_answers_file_says_it_once_or_for_one_choice() -> None:
    other = Prepared(AskKind.CHOOSE, "b", until="end", exclude=("0-1-7",), reason="the clean-up")
    answers = FromFile(AnswersFile("ana", until=BAD, answer=(other,)))
    assert asyncio.run(up_to_when(answers, CHOOSE)) == BEFORE

    async def chosen() -> Until | None:
        await answers.line("? ", CHOOSE, "do")
        return await up_to_when(answers, CHOOSE)

    assert asyncio.run(chosen()) == Until(Kind.END, "", ("0-1-7",))


def test_an_answers_file_that_does_not_say_it_leaves_it_unanswered_and_a_wrong_one_is_not_asked_for_ever() -> None:
    assert asyncio.run(up_to_when(FromFile(AnswersFile("ana")), CHOOSE)) is None
    with pytest.raises(UsageError, match="no moment"):
        asyncio.run(up_to_when(FromFile(AnswersFile("ana", until="soon")), CHOOSE))


def test_another_dump_is_chosen_with_its_moment_and_the_reason_for_what_is_left_out() -> None:
    asked: list[tuple[str, Until | None, str]] = []

    def find(name: str, until: Until | None, reason: str) -> dict[str, object]:
        asked.append((name, until, reason))
        return {"name": name}

    choosing = Choosing(find, lambda: ("new.sql.gz",), replays=True)
    somebody = Lines("old.sql.gz", "end", "0-1-7", "the clean-up")
    driver = _Driver(cast(Client, None), somebody, choosing)
    assert asyncio.run(driver._choose(CHOOSE, choosing)) == c.Choose({"name": "old.sql.gz"})
    assert asked == [("old.sql.gz", Until(Kind.END, "", ("0-1-7",)), "the clean-up")]


@pytest.mark.parametrize("plain", [True, False])
def test_a_restore_of_a_dump_without_a_moment_is_not_begun(plain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering, "wants_plain", lambda _arguments: plain)
    arguments = argparse.Namespace(until=None, exclude=[])
    with pytest.raises(UsageError, match="Nothing was started") as refused:
        steering._until(arguments, DB1, Lines())
    assert "--until dump" in refused.value.hint
    assert steering._until(argparse.Namespace(until=BAD, exclude=[]), DB1, Lines()) == BEFORE
    if plain:
        assert steering._until(arguments, DB1, Lines("end", "")) == Until(Kind.END)


def test_what_is_left_out_needs_a_replay() -> None:
    with pytest.raises(UsageError, match="nothing can be left out"):
        steering.until_of(argparse.Namespace(until=None, exclude=[BAD]))
    assert steering.until_of(argparse.Namespace(until=None, exclude=[])) is None
