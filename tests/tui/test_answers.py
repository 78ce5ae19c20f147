"""The answers file of the plain mode: read whole or refused, and never an endless conversation."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from engines.errors import UsageError
from engines.people import Role
from engines.session.moves import Ask, AskKind
from tui.answers import AnswersFile, FromFile, Prepared, read_answers

APPROVE = Ask(AskKind.APPROVE, "approve?", Role.COMMANDER)
CHECKS = Ask(AskKind.CHECKS, "2 checks block", Role.COMMANDER, checks=("Space", "Backups are fresh"))
CONFIRM = Ask(AskKind.CONFIRM, "Enter runs it.", step="3.2")


async def said(answers: FromFile, ask: Ask, field: str = "do") -> str | None:
    return await answers.line("? ", ask, field)


def written(folder: Path, text: str) -> Path:
    path = folder / "answers.toml"
    path.write_text(text)
    return path


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    text = 'operator = "ana"\nconfirm = true\n[[answer]]\nask = "sign-off"\ndo = "n"\nreason = "looked twice"\n'
    assert read_answers(written(tmp_path, text)) == AnswersFile(
        "ana", confirm=True, answer=(Prepared(AskKind.SIGN_OFF, "n", reason="looked twice"),)
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('comander = "ivo"\noperator = "ana"', 'Did you mean "commander"?'),
        ('commander = "ivo"', "operator"),
        ('operator = "ana"\nconfirm = "yes"', "confirm"),
        ('operator = "ana"\n[[answer]]\nask = "perhaps"\ndo = ""', "ask"),
        ('operator = "ana', "is not valid TOML"),
        ("", "is empty"),
    ],
)
def test_what_is_wrong_in_it_is_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_answers(written(tmp_path, text))
    assert problem in refused.value.message
    assert "Nothing was started" in refused.value.message
    assert "docs/plain.md" in refused.value.hint


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_answers(tmp_path / "answers.toml")


async def test_the_usual_answers_are_given_by_name() -> None:
    answers = FromFile(AnswersFile("ana", commander="ivo", confirm=True))
    assert await said(answers, APPROVE) == ""
    assert await said(answers, APPROVE, "name") == "ivo"
    assert await said(answers, CONFIRM) == ""
    assert await said(answers, CHECKS) is None


async def test_nobody_approves_when_no_commander_is_named() -> None:
    assert await said(FromFile(AnswersFile("ana")), APPROVE) is None


async def test_a_prepared_answer_is_used_once_and_only_for_the_check_that_it_names() -> None:
    prepared = Prepared(AskKind.CHECKS, "o", check="Space", reason="made room since")
    other = Ask(AskKind.CHECKS, "1 check blocks", Role.COMMANDER, checks=("Backups are fresh",))
    answers = FromFile(AnswersFile("ana", commander="ivo", answer=(prepared,)))
    assert await said(answers, other) is None
    assert await said(answers, CHECKS) == "o"
    assert await said(answers, CHECKS, "check") == "Space"
    assert await said(answers, CHECKS, "reason") == "made room since"
    assert await said(answers, CHECKS) is None


async def test_a_usual_answer_that_was_refused_is_not_given_for_ever() -> None:
    answers = FromFile(AnswersFile("ana", commander="nobody"))
    assert await said(answers, APPROVE) == ""
    answers.refused()
    assert await said(answers, APPROVE) is None


async def test_after_a_refusal_a_prepared_answer_still_counts_and_later_questions_are_answered() -> None:
    prepared = Prepared(AskKind.APPROVE, "", name="ivo")
    answers = FromFile(AnswersFile("ana", commander="nobody", confirm=True, answer=(prepared,)))
    answers.refused()
    assert await said(answers, APPROVE) == ""
    assert await said(answers, APPROVE, "name") == "ivo"
    assert await said(answers, CONFIRM) == ""


def test_the_documentation_has_every_key_and_every_question() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/plain.md").read_text()
    keys = {field.name for kind in (AnswersFile, Prepared) for field in fields(kind)}
    assert {key for key in keys if f"\n{key} = " not in page and f"[[{key}]]" not in page} == set()
    asked = set(AskKind) - {AskKind.WORKING, AskKind.ENDED}
    assert {str(kind) for kind in asked if f"| `{kind}` |" not in page} == set()


def test_the_documented_example_is_an_answers_file(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/plain.md").read_text()
    example = page.partition("```toml\n")[2].partition("```")[0]
    assert len(read_answers(written(tmp_path, example)).answer) == 5
