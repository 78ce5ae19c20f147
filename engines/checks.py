"""A check: a question with evidence."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"  # gates like FAIL

    @property
    def blocks(self) -> bool:
        return self in (Verdict.FAIL, Verdict.UNKNOWN)


class Panel(StrEnum):
    """Where the console shows a check."""

    SPACE = "space"
    PREREQUISITES = "prerequisites"
    VALIDATION = "validation"


@dataclass(frozen=True, slots=True)
class Check:
    """The answer to one question. A verdict other than OK always carries a hint."""

    name: str
    panel: Panel
    verdict: Verdict
    evidence: str
    hint: str = ""
    needed: int | None = None  # bytes, on the disk-space panel
    free: int | None = None  # bytes
    before: float | None = None  # a metric's value before the incident,
    now: float | None = None  # and when it was asked

    def __post_init__(self) -> None:
        if self.verdict is not Verdict.OK and not self.hint:
            raise ValueError(f"check {self.name!r} is {self.verdict} without a hint")

    @property
    def sha256(self) -> str:
        """Of what it says, verdict and evidence: an override names it, and is for no other answer."""
        return hashlib.sha256(f"{self.verdict}\n{self.evidence}".encode(errors="surrogateescape")).hexdigest()


def ok(name: str, evidence: str, panel: Panel = Panel.PREREQUISITES) -> Check:
    return Check(name, panel, Verdict.OK, evidence)


def warn(name: str, evidence: str, hint: str, panel: Panel = Panel.PREREQUISITES) -> Check:
    return Check(name, panel, Verdict.WARN, evidence, hint)


def fail(name: str, evidence: str, hint: str, panel: Panel = Panel.PREREQUISITES) -> Check:
    return Check(name, panel, Verdict.FAIL, evidence, hint)


def unknown(name: str, evidence: str, hint: str, panel: Panel = Panel.PREREQUISITES) -> Check:
    return Check(name, panel, Verdict.UNKNOWN, evidence, hint)
