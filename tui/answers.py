"""Where the plain mode's answers come from: standard input, or an answers file for rehearsals (docs/plain.md)."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engines import tables
from engines.errors import Problem, UsageError
from engines.people import Role
from engines.session.moves import Ask, AskKind
from engines.text import drawable
from engines.trusted_file import read_text, toml_table


class Answers(Protocol):
    """Answers one question at a time; None when there is no more to be had."""

    async def line(self, prompt: str, ask: Ask, field: str) -> str | None: ...

    def refused(self) -> None:
        """What was answered last was refused; the same question comes again."""


class Typed:
    """From standard input, a line at a time."""

    async def line(self, prompt: str, ask: Ask, field: str) -> str | None:
        sys.stderr.write(prompt)
        sys.stderr.flush()
        text = await asyncio.to_thread(sys.stdin.readline)
        return text.rstrip("\n") if text else None

    def refused(self) -> None:
        """A person reads why, and answers something else."""


def has_passed(typed: str) -> bool:
    """Raises UsageError for what is neither yes nor no."""
    word = typed.strip().casefold()
    if word in ("yes", "y", "passed", "pass", "ok"):
        return True
    if word in ("no", "n", "failed", "fail"):
        return False
    raise UsageError(f"{drawable(typed)!r} is neither yes nor no. Nothing was changed.", "Type yes or no.")


@dataclass(frozen=True, slots=True)
class Prepared:
    """One prepared answer. It is used once, for the first question that it fits."""

    ask: AskKind
    """The kind of question that it answers."""

    do: str
    """The letter, as at the prompt; empty for Enter."""

    step: str = ""
    """Only for the question about this step."""

    check: str = ""
    """Only where this check blocks; it is the one that is checked again or overridden."""

    backup: str = ""
    """The name of the backup to choose."""

    until: str = ""
    """How far to go beyond it, where that is not what the file says at its top: MySQL and MariaDB."""

    exclude: tuple[str, ...] = ()
    """Transactions to leave out before that; `reason` says why."""

    name: str = ""
    """Who says so, where that is not who usually does."""

    reason: str = ""
    """The reason, or the text of the note."""

    passed: bool = True
    """Whether what the application owner tried passed; whether the security checklist is written."""

    follow_up: str = ""
    """The key of the follow-up, as in todo-1. Left out: a new one."""

    due: str = ""
    """Until when it is done, as in 2026-11-27."""


@dataclass(frozen=True, slots=True)
class AnswersFile:
    """Who acts in a rehearsal, and what they say."""

    operator: str
    """The database operator's name."""

    commander: str = ""
    """The incident commander's name: approves, accepts and closes. Left out: nobody does."""

    owner: str = ""
    """The application owner's name: signs off. Left out: nobody does."""

    target: str = ""
    """The target's name, typed where it is asked for. Left out: it is not typed."""

    confirm: bool = False
    """Whether to go on with every step that waits for Enter."""

    until: str = ""
    """How far to go beyond a dump: dump, end, a time with its zone, FILE:POSITION, a GTID. Left out: not answered."""

    exclude: tuple[str, ...] = ()
    """FILE:POSITION or GTID of transactions to leave out before that."""

    answer: tuple[Prepared, ...] = ()
    """Answers to single questions, each used once: one `[[answer]]` for each."""


def read_answers(path: Path) -> AnswersFile:
    """The answers in `path`. Raises UsageError with everything that is wrong in them."""
    problems: list[Problem] = []
    written = read_text(path, problems, privileged=False)
    table = toml_table(written, problems) if written else None
    answers = tables.read(AnswersFile, table, written.name, problems) if written and table is not None else None
    if answers is None or problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise UsageError(
            f"The answers can't be used. Nothing was started.\n{listed}",
            "docs/plain.md shows every key of an answers file.",
        )
    return answers


class FromFile:
    """From an answers file. What it does not answer is not answered."""

    def __init__(self, answers: AnswersFile) -> None:
        self._answers = answers
        self.operator = answers.operator
        self._left = list(answers.answer)
        self._current: Prepared | None = None
        self._was_refused = False

    def refused(self) -> None:
        """The usual answer would be refused for ever: only a prepared one is tried now."""
        self._was_refused = True

    async def line(self, prompt: str, ask: Ask, field: str) -> str | None:
        text = self._do(ask) if field == "do" else self._field(ask, field)
        shown = "(no answer prepared)" if text is None else text or "(Enter)"
        sys.stderr.write(f"{prompt}{shown}\n")
        return text

    def _do(self, ask: Ask) -> str | None:
        self._current = next((item for item in self._left if _fits(item, ask)), None)
        again, self._was_refused = self._was_refused, False
        if self._current is not None:
            self._left.remove(self._current)
            return self._current.do
        usual: Mapping[AskKind, bool] = {
            AskKind.CONFIRM: self._answers.confirm,
            AskKind.TYPED: bool(self._answers.target),
            AskKind.APPROVE: bool(self._answers.commander),
            AskKind.ACCEPT: bool(self._named(ask.role)),
            AskKind.SIGN_OFF: bool(self._named(ask.role)),
        }
        return "" if usual.get(ask.kind) and not again else None

    def _field(self, ask: Ask, field: str) -> str | None:
        prepared = self._current
        if field == "name":
            return (prepared.name if prepared else "") or self._named(ask.role)
        if field == "target":
            return self._answers.target
        if field == "until":
            return (prepared.until if prepared else "") or self._answers.until or None
        if field == "exclude":
            return ", ".join((prepared.exclude if prepared else ()) or self._answers.exclude)
        if prepared is None:
            return ""
        own = {
            "reason": prepared.reason,
            "backup": prepared.backup,
            "check": prepared.check,
            "passed": "yes" if prepared.passed else "no",
            "follow_up": prepared.follow_up,
            "due": prepared.due,
        }
        return own.get(field, "")

    def _named(self, role: Role) -> str:
        by_role = {
            Role.COMMANDER: self._answers.commander,
            Role.OWNER: self._answers.owner,
            Role.OPERATOR: self._answers.operator,
        }
        return by_role[role]


def _fits(prepared: Prepared, ask: Ask) -> bool:
    return (
        prepared.ask is ask.kind
        and (not prepared.step or prepared.step == ask.step)
        and (not prepared.check or prepared.check in ask.checks)
    )
