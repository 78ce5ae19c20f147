"""What a console may ask of the runner. A command is a request; what became of it comes back as an event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from engines.errors import UsageError
from engines.people import Role
from engines.session.plan import GateKind


@dataclass(frozen=True, slots=True)
class Signature:
    """An SSH signature over the yes that it comes with, and until when it may be used (UTC)."""

    armoured: str
    until: str


@dataclass(frozen=True, slots=True)
class Choose:
    """Restore another backup than the one chosen so far."""

    backup: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Recheck:
    name: str


@dataclass(frozen=True, slots=True)
class Override:
    """The commander lets the restore go on although a check says FAIL or UNKNOWN."""

    check: str
    name: str
    reason: str
    seen: str = ""  # the sha256 of what the check said when it was read: of its verdict and evidence
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The application owner has tried something by hand: did it pass?"""

    check: str
    passed: bool
    name: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Approve:
    digest: str
    name: str
    break_glass: str = ""
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class Give:
    """Give a step's next gate: a key, the typed name, an acceptance, a sign-off."""

    step: str
    gate: GateKind
    role: Role
    name: str = ""
    text: str = ""
    break_glass: str = ""  # the reason, where an operator accepts a risk of their own restore
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    step: str


@dataclass(frozen=True, slots=True)
class Skip:
    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the step under way at the next safe place."""

    step: str


@dataclass(frozen=True, slots=True)
class Note:
    text: str


@dataclass(frozen=True, slots=True)
class FollowUp:
    """Add a follow-up, or say of a known one whose it is and until when."""

    key: str  # empty: a new one
    task: str
    owner: str = ""
    due: str = ""  # 2026-11-27
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class Checklist:
    """Write the line about this session into the security checklist that was shown."""

    old_sha256: str  # of the file as it was shown,
    new_sha256: str  # and as it is to be


@dataclass(frozen=True, slots=True)
class SendAgain:
    """Try again to send what did not arrive."""


@dataclass(frozen=True, slots=True)
class FileTickets:
    """File follow-ups as issues."""

    keys: tuple[str, ...] = ()  # empty: all that have no ticket


@dataclass(frozen=True, slots=True)
class TakeKeyboard:
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Undo:
    reason: str


@dataclass(frozen=True, slots=True)
class Abandon:
    reason: str


Command = (
    Choose
    | Recheck
    | Override
    | Answer
    | Approve
    | Give
    | Retry
    | Skip
    | Stop
    | Note
    | FollowUp
    | Checklist
    | SendAgain
    | FileTickets
    | TakeKeyboard
    | Undo
    | Abandon
)

NAMES: Mapping[str, type[Command]] = {cls.__name__: cls for cls in Command.__args__}


def to_wire(command: Command) -> dict[str, object]:
    return {"do": type(command).__name__, **msgspec.to_builtins(command)}


def from_wire(fields: Mapping[str, object]) -> Command:
    """The command in a request. Raises UsageError for anything else."""
    kind = NAMES.get(str(fields.get("do")))
    if kind is None:
        raise UsageError("The runner does not know this command. Nothing was changed.", f"It knows {', '.join(NAMES)}.")
    own = {name: value for name, value in fields.items() if name not in ("do", "id")}
    try:
        return msgspec.convert(own, kind)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"This {kind.__name__} can't be read: {error}. Nothing was changed.",
            "The console and the runner may be of different versions: reinstate --version.",
        ) from error
