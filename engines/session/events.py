"""What can happen in a session. Each event is a fact, written once, in the journal's order.

The database's rows and statements stay out: events carry counts, names, times, digests and what people wrote, the
incident report's own queries among it (docs/record.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import msgspec

from engines.checks import Check
from engines.errors import RestoreError
from engines.people import Role
from engines.session import jsontext
from engines.session.plan import GateKind, Plan, PlanKind
from engines.text import parse_stamp, stamp

JOURNAL_FORMAT = 1


class How(StrEnum):
    """How somebody's name was established, weakest first (docs/security.md says what each proves)."""

    ASSERTED = "asserted"
    PEER = "peer"
    SIGNED = "signed"


class Result(StrEnum):
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"  # probed, never retried blindly


class Filing(StrEnum):
    FILED = "filed"
    NOT_FILED = "not filed"  # and certainly not
    UNKNOWN = "unknown"  # it is looked for before anything is sent again


class Reminder(StrEnum):
    WAITING = "waiting"  # a yes is waited for while the application is down
    KEYBOARD = "keyboard"  # one operator has held it for a whole shift


class Ending(StrEnum):
    SIGNED_OFF = "signed off"
    UNDONE = "undone"
    ABANDONED = "abandoned"
    PROVEN = "proven"  # a drill: its backup restores
    FAILED = "failed"  # a drill: it was not shown that it does


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody at a keyboard: the name given, and the login that the kernel tells of the console's process."""

    name: str
    login: str
    how: How = How.ASSERTED
    console: str = ""  # which console, where one login has several open
    connection: str = ""  # the client's address, over SSH
    sudo: str = ""  # the login behind sudo, as a console run by root tells it: root can tell anything


@dataclass(frozen=True, slots=True)
class Signed:
    """An SSH signature under a yes. What it is over is made again from the event (engines.session.statement)."""

    principal: str  # whose it is, by the file of signers
    key: str  # fingerprint, as SHA256:…
    until: str  # UTC: how long it may be used
    signature: str  # armoured


@dataclass(frozen=True, slots=True)
class StepLog:
    file: str  # name in the session's logs folder
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class GridRow:
    """One line of the validation grid. Counts of rows; `None` where there was nothing to count."""

    table: str
    before: int | None
    expected: str
    restored: int | None
    difference: int | None
    verdict: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionBegun:
    session: str
    target: Mapping[str, object]  # the target as configured
    environment: str
    engine: str
    address: str
    backup: Mapping[str, object]  # the catalogue's entry that was chosen
    incident: Mapping[str, object]
    incident_id: str = ""
    people: tuple[Mapping[str, object], ...]
    approval: Mapping[str, object]
    operator: Actor
    host: str
    tool: str
    drill: bool = False
    decided: Mapping[str, str] = field(default_factory=dict)  # of a drill: what a person would have been asked for
    last_drill: Mapping[str, object] = field(default_factory=dict)  # of the target: what an estimate is made from
    notify: tuple[Mapping[str, object], ...] = ()  # the channels as configured: never a webhook's address
    review: Mapping[str, object] = field(default_factory=dict)  # until when, and which days are no business days
    tickets: Mapping[str, object] = field(default_factory=dict)  # where follow-ups are filed; empty: nowhere
    format: int = JOURNAL_FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerStarted:
    pid: int
    started: int  # clock ticks since boot (proc(5), stat field 22)
    reason: str  # "begin" or "resume"
    versions: Mapping[str, str]
    survives: str  # what ends this runner besides itself
    torn: int = 0  # bytes of a half-written last line that were set aside


@dataclass(frozen=True, slots=True)
class BackupChosen:
    backup: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class KeyboardTaken:
    actor: Actor
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PlanMade:
    plan: Plan
    digest: str


@dataclass(frozen=True, slots=True)
class PlanRefused:
    """No plan could be made."""

    kind_of_plan: PlanKind
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class CheckDone:
    check: Check


@dataclass(frozen=True, slots=True)
class CheckOverridden:
    name: str
    verdict: str
    actor: Actor
    reason: str
    break_glass: str = ""  # the reason again, where an operator overrode alone
    signed: Signed | None = None
    evidence: str = ""  # what the check said besides its verdict,
    seen: str = ""  # and the sha256 of both, as whoever overrode it named it


@dataclass(frozen=True, slots=True)
class CheckAnswered:
    """The application owner has tried something by hand."""

    name: str  # of the check
    passed: bool
    note: str
    actor: Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    digest: str
    actor: Actor
    until: str  # UTC: the restore window's end
    break_glass: str = ""  # the reason, where the operator had to approve alone
    signed: Signed | None = None


@dataclass(frozen=True, slots=True)
class GateGiven:
    step: str
    gate: GateKind
    role: Role
    actor: Actor
    text: str = ""  # what was agreed to, or said
    break_glass: str = ""  # the reason, where an operator accepted a risk alone
    signed: Signed | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A command that was refused, kept where the refusal itself matters to the post-mortem."""

    command: str
    actor: Actor
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Reminded:
    """Somebody is waited for, or has worked, for long."""

    about: Reminder
    text: str
    seconds: float  # for how long


@dataclass(frozen=True, slots=True)
class StepStarted:
    step: str
    attempt: int


@dataclass(frozen=True, slots=True)
class ChildStarted:
    step: str
    pid: int
    started: int
    command: str


@dataclass(frozen=True, slots=True)
class ChildEnded:
    step: str
    pid: int
    exit: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class FactFound:
    """Something that a step must not forget if it is killed: journalled before the effect that it describes."""

    step: str
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded:
    step: str
    result: Result
    message: str = ""
    hint: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    log: StepLog | None = None
    seconds: float = 0.0
    refused: bool = False  # it failed before it had changed anything


@dataclass(frozen=True, slots=True)
class StepSkipped:
    step: str
    actor: Actor
    reason: str


@dataclass(frozen=True, slots=True)
class StepRetried:
    step: str
    actor: Actor


@dataclass(frozen=True, slots=True)
class StopAsked:
    step: str
    actor: Actor


@dataclass(frozen=True, slots=True)
class GridMade:
    where: str  # "staged copy" or "live database"
    rows: tuple[GridRow, ...]


@dataclass(frozen=True, slots=True)
class NoteAdded:
    actor: Actor
    text: str


@dataclass(frozen=True, slots=True)
class FollowUpSet:
    """A follow-up was added, or is now this."""

    key: str
    task: str
    owner: str
    due: str  # a date, as 2026-11-27; empty while nobody gave one
    ticket: str
    actor: Actor


@dataclass(frozen=True, slots=True)
class ChecklistEdited:
    """The security checklist says when it was restored. Both digests are the same where nothing had to change."""

    path: str
    line: str  # as it is written there; empty: a date that is not older stands there
    old_sha256: str
    new_sha256: str
    actor: Actor


@dataclass(frozen=True, slots=True)
class NoticeSent:
    """People were told something, or it was tried."""

    notice: int  # number of the line that gave it to be known
    about: str
    channel: str  # its name
    ok: bool
    reason: str  # why it did not arrive
    text: str


@dataclass(frozen=True, slots=True)
class SendingAsked:
    """What did not arrive is tried again."""

    actor: Actor


@dataclass(frozen=True, slots=True)
class TicketsAsked:
    """These follow-ups are to be filed as issues. Written before anything is sent."""

    keys: tuple[str, ...]
    actor: Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketTried:
    """What became of filing a follow-up."""

    key: str
    result: Filing
    number: int = 0
    address: str = ""
    found: bool = False  # it was there already
    reason: str = ""  # why it is not filed, or not known to be
    hint: str = ""
    sent: bool = False  # it was asked for, and no answer came: GitHub may make it later than it is looked for


@dataclass(frozen=True, slots=True)
class UndoAsked:
    actor: Actor
    reason: str


@dataclass(frozen=True, slots=True)
class SessionEnded:
    how: Ending
    reason: str = ""
    left_behind: tuple[str, ...] = ()


Event = (
    SessionBegun
    | RunnerStarted
    | BackupChosen
    | KeyboardTaken
    | PlanMade
    | PlanRefused
    | CheckDone
    | CheckOverridden
    | CheckAnswered
    | Approved
    | GateGiven
    | Rejected
    | Reminded
    | StepStarted
    | ChildStarted
    | ChildEnded
    | FactFound
    | StepEnded
    | StepSkipped
    | StepRetried
    | StopAsked
    | GridMade
    | NoteAdded
    | FollowUpSet
    | ChecklistEdited
    | NoticeSent
    | SendingAsked
    | TicketsAsked
    | TicketTried
    | UndoAsked
    | SessionEnded
)

KINDS: Mapping[str, type[Event]] = {cls.__name__: cls for cls in Event.__args__}


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the journal: an event with its place, time and author."""

    seq: int  # from 1
    at: datetime  # UTC, milliseconds
    by: str
    event: Event
    prev: str  # SHA-256 of the line before, without its line break; 64 zeros for the first


_ENVELOPE = ("seq", "at", "kind", "by", "prev")


def encode(entry: Entry) -> bytes:
    """The journal's line, without its line break."""
    fields: dict[str, object] = {
        "seq": entry.seq,
        "at": stamp(entry.at),
        "kind": type(entry.event).__name__,
        "by": entry.by,
        **msgspec.to_builtins(entry.event, enc_hook=str),
        "prev": entry.prev,
    }
    return jsontext.encode(fields)


def decode(line: bytes) -> Entry:
    """The entry that `encode` wrote. Raises RestoreError for anything else."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, object])
        kind = KINDS[str(fields["kind"])]
        own = {name: value for name, value in fields.items() if name not in _ENVELOPE}
        return Entry(
            seq=msgspec.convert(fields["seq"], int),
            at=parse_stamp(msgspec.convert(fields["at"], str)),
            by=msgspec.convert(fields["by"], str),
            event=msgspec.convert(own, kind),
            prev=msgspec.convert(fields["prev"], str),
        )
    except (msgspec.MsgspecError, KeyError, ValueError, OverflowError, RecursionError) as error:
        raise RestoreError(
            f"This is not a line of a journal: {error}",
            "The journal was damaged or written by another version. Its other lines still hold.",
        ) from error
