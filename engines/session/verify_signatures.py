"""The signatures of a session: under each yes in the journal, and under the record. Part of `verify`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from engines.errors import Refused, RestoreError
from engines.session.events import Approved, CheckOverridden, GateGiven, SessionEnded
from engines.session.journal import Journal
from engines.session.record import render
from engines.session.seal import SEAL
from engines.session.ssh_keys import Signers, is_over, read_signature, signer
from engines.session.state import SessionState, after
from engines.session.statement import RECORD, restated
from engines.text import drawable, utc_now


@dataclass(slots=True)
class Looked:
    """What was found, as it is found. `wrong` is the first thing that does not hold."""

    wrong: str = ""
    holds: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    signed: bool = False  # is there a signature over the record?
    by_known: bool = False  # is the record signed by a key of the signers that were named?


def look(journal: Journal, record: bytes, folder: Path, signers: Signers | None) -> Looked:
    """Check every signature of the session in `folder`. `signers`: those that whoever verifies believes."""
    looked = Looked()
    try:
        looked.wrong = _wrong_yes(journal, signers, looked)
        if not looked.wrong:
            looked.wrong = _wrong_seal(journal, record, folder / SEAL, signers, looked)
    except RestoreError as error:
        looked.unchecked.append(f"signatures could not be checked: {error.message}")
    return looked


def _wrong_yes(journal: Journal, signers: Signers | None, looked: Looked) -> str:
    state, count = SessionState(), 0
    for entry in journal.entries:
        event = entry.event
        if isinstance(event, (Approved, GateGiven, CheckOverridden)) and event.signed is not None:
            signed = event.signed
            statement = restated(state, event, signed)
            text = statement.text.encode()
            where = f"Journal line {entry.seq}"
            try:
                if read_signature(signed.signature).key != signed.key:
                    return f"{where}: its signature is by another key than the line says."
                if not is_over(text, signed.signature, statement.namespace):
                    return f"{where}: its signature is not over what the line says."
                if signers is not None:
                    signer(text, signed.signature, statement.namespace, (signed.principal,), signers, entry.at)
            except Refused as error:
                return f"{where}: {error.message.removesuffix(' Nothing was changed.')}"
            count += 1
        state = after(state, entry)
    if count:
        whose = "by keys that the signers named here have" if signers else "whose keys they are, --signers tells"
        looked.holds.append(f"signatures of {count} approvals and sign-offs: over what the journal says; {whose}")
    return ""


def _wrong_seal(journal: Journal, record: bytes, path: Path, signers: Signers | None, looked: Looked) -> str:
    ended = next((entry.at for entry in journal.entries if isinstance(entry.event, SessionEnded)), None)
    if not path.exists():
        if ended is not None and journal.entries and _was_to_be_signed(journal):
            looked.unchecked.append(f"{SEAL} is not here, and the record was to be signed")
        return ""
    try:
        armoured = path.read_text(errors="replace")
    except OSError as error:
        looked.unchecked.append(f"{SEAL} can't be read: {error.strerror}")
        return ""
    if _is_stale(journal, record, armoured, looked):
        return ""
    return _of_record(record, armoured, ended or utc_now(), signers, looked)


def _is_stale(journal: Journal, record: bytes, armoured: str, looked: Looked) -> bool:
    """Is the signature over the record as it was earlier in its journal? What came after the end was not signed then.

    A kill between writing the record anew and signing it leaves that, and so does a key that could not sign any more.
    """
    try:
        read_signature(armoured)
    except Refused:
        return False
    if is_over(record, armoured, RECORD):
        return False
    end = next((entry.seq for entry in journal.entries if isinstance(entry.event, SessionEnded)), None)
    for count in range(end or len(journal.lines), len(journal.lines)):
        earlier = render(Journal(journal.entries[:count], journal.lines[:count]))
        if is_over(earlier, armoured, RECORD):
            looked.unchecked.append(
                f"{SEAL} is over the record as it was at journal line {count}, and not over what came after that "
                "(a kill, or a key that could not sign, came between). It is signed anew by: reinstate resume"
            )
            return True
    return False


def of_lone_record(record: bytes, path: Path, signers: Signers | None) -> Looked:
    """The signature beside a record whose journal is not there."""
    looked = Looked()
    try:
        if path.exists():
            looked.wrong = _of_record(record, path.read_text(errors="replace"), utc_now(), signers, looked)
    except (RestoreError, OSError) as error:
        looked.unchecked.append(f"{SEAL} could not be checked: {error}")
    return looked


def _of_record(record: bytes, armoured: str, at: datetime, signers: Signers | None, looked: Looked) -> str:
    try:
        read = read_signature(armoured)
        if not is_over(record, armoured, RECORD):
            return f"{SEAL}: it is not a signature over this session.toml."
        looked.signed = True
        if signers is None:
            looked.holds.append(f"{SEAL}: over this record, by key {read.key}; whose that is, --signers tells")
            return ""
        principal, read = signer(record, armoured, RECORD, principals_in(signers.allowed), signers, at)
    except Refused as error:
        return f"{SEAL}: {error.message.removesuffix(' Nothing was changed.')}"
    looked.holds.append(f"{SEAL}: signed by {drawable(principal)} with key {read.key}")
    looked.by_known = True
    return ""


def principals_in(allowed: Path) -> tuple[str, ...]:
    """Everybody named in a file of signers: the first word of each line (ssh-keygen(1), ALLOWED SIGNERS)."""
    try:
        lines = allowed.read_text(errors="replace").splitlines()
    except OSError as error:
        raise Refused(f"{allowed} can't be read: {error.strerror}.", "Name the file of signers.") from error
    named = [line.split()[0] for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return tuple(dict.fromkeys(name.strip('"') for names in named for name in names.split(",")))


def _was_to_be_signed(journal: Journal) -> bool:
    begun = journal.entries[0].event
    return bool(getattr(begun, "approval", {}).get("record_key"))
