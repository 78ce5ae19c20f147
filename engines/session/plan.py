"""The plan: the frozen list of steps for one target, and the digest that gets approved.

A session makes several in turn: one that prepares (harmless: stages, proves, checks), one that restores, and one that
undoes if it comes to that. All are carried out by the same machinery.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from engines.people import Role
from engines.session import jsontext

PLAN_FORMAT = 1


class PlanKind(StrEnum):
    PREPARE = "prepare"
    RESTORE = "restore"
    UNDO = "undo"


class GateKind(StrEnum):
    CONFIRM = "confirm"  # the operator's key
    TYPED = "typed"  # the operator types the target's name
    TOLD = "told"  # the operator types whom they have told
    ACCEPT = "accept"  # a role accepts a stated risk, by name
    SIGN_OFF = "sign-off"  # a role says, by name, that the work is right


@dataclass(frozen=True, slots=True)
class Gate:
    """A yes that must be given before the step may start."""

    kind: GateKind
    role: Role
    text: str  # what is being agreed to


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing done, by one role, shown exactly before it runs."""

    id: str  # "3.4": phase and number
    title: str
    action: str  # name of the work in the recipe
    shows: tuple[str, ...]  # the exact commands, or the action in words
    role: Role = Role.OPERATOR
    undo: str = ""  # how it is undone; empty where there is nothing to undo
    note: str = ""
    gates: tuple[Gate, ...] = ()
    destructive: bool = False  # rule 1 guards it
    halts: bool = False  # takes something out of service: not for data that can't go live
    final: bool = False  # once it is begun there is no undo: everything is signed off
    optional: bool = False  # may be skipped, with a reason
    configured: bool = True  # False: recorded as skipped, never silently dropped
    estimate: float | None = None  # seconds
    params: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TargetIdentity:
    """Who and what is at stake, as found while preparing."""

    name: str
    engine: str
    environment: str
    address: str  # the database's path, or host, port and schema
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BackupIdentity:
    """The exact bytes that the plan restores."""

    name: str
    path: str
    size: int  # bytes
    taken_at: str  # UTC
    sha256: str
    status: str  # checksum status, as in the catalogue
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class LossWindow:
    """What no restore of this backup brings back."""

    start: str  # UTC: the last moment that the backup holds
    end: str  # UTC: when writing stopped, or the incident began
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    kind: PlanKind
    revision: int
    session: str
    made_at: str  # UTC
    target: TargetIdentity
    backup: BackupIdentity | None
    incident: str
    steps: tuple[Step, ...]
    needs_approval: bool
    nonce: str  # makes each plan's digest its own, so that an approval can't be used twice
    loss: LossWindow | None = None
    estimate: float | None = None  # seconds of work, from rates measured while preparing
    objective: float | None = None  # seconds: the incident's recovery time objective
    reason: str = ""
    format: int = PLAN_FORMAT


def digest(plan: Plan) -> str:
    """SHA-256 over the plan's canonical JSON (sorted keys, no blanks): what an approval names."""
    return hashlib.sha256(jsontext.encode(plan, order="deterministic")).hexdigest()


def log_name(step: Step) -> str:
    """The step's log: `03-04-replace-the-database.log`; of step 2.1/r3, `02-01-r3-look-….log`."""
    bare, _, revision = step.id.partition("/")
    phase, _, number = bare.partition(".")
    words = "".join(letter if letter.isalnum() else "-" for letter in step.title.lower())
    title = "-".join(word for word in words.split("-") if word)[:40].rstrip("-")
    again = f"-{revision}" if revision else ""
    return f"{phase.zfill(2)}-{number.zfill(2)}{again}-{title}.log"
