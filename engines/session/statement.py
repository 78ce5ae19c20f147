"""The exact text that an SSH signature under a yes is over. docs/security.md documents it; it never changes silently.

Made from the session, the plan and what is said, so nothing else can be approved with it; `until` bounds its use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from engines.errors import RestoreError, UsageError
from engines.people import Role
from engines.session import commands as c
from engines.session.events import Approved, CheckOverridden, GateGiven, Signed
from engines.session.plan import GateKind
from engines.session.state import SessionState
from engines.text import drawable, parse_stamp, stamp

APPROVAL = "reinstate-approval"  # namespaces, as an allowed_signers file names them
SIGN_OFF = "reinstate-sign-off"
RECORD = "reinstate-record"

_HEAD = "Reinstate says yes, version 1"
_SEEN = re.compile(r", [A-Z]+ ([0-9a-f]{64}): ")
_KEYS = ("session", "target", "plan", "role", "says", "about", "until")


@dataclass(frozen=True, slots=True)
class Statement:
    """One yes. Each of its parts is one line of the text."""

    session: str
    target: str
    plan: str  # SHA-256 of the plan in force
    role: Role
    says: str  # "approve", "accept", "sign off", "override"
    about: str  # the step, or the check, and the reason where one is given
    until: str  # UTC

    @property
    def namespace(self) -> str:
        return SIGN_OFF if self.says == "sign off" else APPROVAL

    @property
    def text(self) -> str:
        values = (self.session, self.target, self.plan, str(self.role), self.says, self.about, self.until)
        lines = (f"{key}: {drawable(value)}".rstrip() for key, value in zip(_KEYS, values, strict=True))
        return "\n".join((_HEAD, *lines)) + "\n"


Signable = c.Approve | c.Give | c.Override


def stated(state: SessionState, command: Signable, until: str) -> Statement:
    """What a signature under this command has to be over."""
    match command:
        case c.Approve(digest=digest):
            return _statement(state, digest, Role.COMMANDER, "approve", "", until)
        case c.Override(check=check, reason=reason, seen=seen):
            about = overridden(check, verdict_of(state, check), seen, reason)
            return _statement(state, state.plan_digest, Role.COMMANDER, "override", about, until)
        case c.Give(step=step, gate=gate, role=role):
            return _statement(state, state.plan_digest, role, _word(gate), step, until)


def restated(state: SessionState, event: Approved | GateGiven | CheckOverridden, signed: Signed) -> Statement:
    """What the signature in the journal has to be over; `state` is as it was just before the event."""
    match event:
        case Approved(digest=digest):
            return _statement(state, digest, Role.COMMANDER, "approve", "", signed.until)
        case CheckOverridden(name=check, verdict=verdict, seen=seen, reason=reason):
            about = overridden(check, verdict, seen, reason)
            return _statement(state, state.plan_digest, Role.COMMANDER, "override", about, signed.until)
        case GateGiven(step=step, gate=gate, role=role):
            return _statement(state, state.plan_digest, role, _word(gate), step, signed.until)


def overridden(check: str, verdict: str, seen: str, reason: str) -> str:
    """What an override is about: this answer of this check, and no other one."""
    return f"{check}, {verdict} {seen}: {reason}" if seen else f"{check}: {reason}"  # as before there were digests


def verdict_of(state: SessionState, check: str) -> str:
    known = state.checks.get(check)
    return str(known.check.verdict) if known is not None else ""


def _statement(state: SessionState, plan: str, role: Role, says: str, about: str, until: str) -> Statement:
    target = str(state.begun.target.get("name", "")) if state.begun else ""
    return Statement(state.id, target, plan, role, says, about, until)


def _word(gate: GateKind) -> str:
    return "sign off" if gate is GateKind.SIGN_OFF else "accept"


def until_of(text: str) -> str:
    """The `until` of a text that was signed elsewhere. Raises UsageError for a text that is not one of ours."""
    lines = text.split("\n")
    found = [line.removeprefix("until: ") for line in lines if line.startswith("until: ")]
    if lines[0] != _HEAD or len(found) != 1 or len(lines) != len(_KEYS) + 2:
        raise UsageError(
            "That is not a text that Reinstate printed to be signed. Nothing was sent.",
            "Print it anew: reinstate approve SESSION --print, then sign exactly that.",
        )
    return found[0]


def seen_in(text: str, check: str) -> str:
    """The sha256 of what the check said, as an override's text that was signed names it; empty where it does not."""
    about = next((line for line in text.split("\n") if line.startswith("about: ")), "")
    found = _SEEN.match(about.removeprefix(f"about: {drawable(check)}"))
    return found[1] if found else ""


def read_until(written: str) -> datetime:
    """Raises RestoreError for what is no time in our form: another form would make another text."""
    try:
        at = parse_stamp(written)
    except (ValueError, OverflowError) as error:
        raise RestoreError(
            "The signature does not say until when it may be used. Nothing was changed.", "Print the text anew."
        ) from error
    if stamp(at) != written:
        raise RestoreError("The signature's time is not written as Reinstate writes it.", "Print the text anew.")
    return at
