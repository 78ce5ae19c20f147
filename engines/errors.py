"""The errors an operator sees. Each says what is wrong, what was not changed, and what to do."""

from __future__ import annotations

from dataclasses import dataclass


class RestoreError(Exception):
    """A refusal or failure that the operator can act on."""

    exit_code = 1

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Refused(RestoreError):
    """A gate or a check said no. Nothing was changed."""

    exit_code = 3


class OtherBytes(Refused):
    """A backup does not have the digest that was expected of it."""

    def __init__(self, message: str, hint: str, sha256: str) -> None:
        super().__init__(message, hint)
        self.sha256 = sha256  # of what it has


class UsageError(RestoreError):
    """What was typed or configured can't be used."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file that people write: where, what, and the nearest known key if there is one."""

    file: str
    key: str  # dotted, as target.shop.database; empty for the file as a whole
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{where}: {self.message}" + (f" {self.hint}" if self.hint else "")


class ConfigError(UsageError):
    """Everything that is wrong in a configuration or incident file, reported at once."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        count = len(problems)
        heading = "1 problem" if count == 1 else f"{count} problems"
        super().__init__(
            f"{heading} in the configuration. Nothing was started.\n" + "\n".join(f"  {p}" for p in problems),
            "Mend the keys named above; config.example.toml shows every key.",
        )
