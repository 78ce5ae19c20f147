"""Proves a session's record against its journal and logs, and names the first thing that does not hold."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path

from engines.errors import RestoreError
from engines.session.defects import defect
from engines.session.events import (
    NoticeSent,
    PlanMade,
    SendingAsked,
    SessionBegun,
    SessionEnded,
    StepEnded,
    StepLog,
    StepStarted,
    TicketsAsked,
    TicketTried,
)
from engines.session.journal import BrokenChain, Journal, line_digest, read
from engines.session.record import plan_as_written, render
from engines.session.report import report
from engines.session.seal import SEAL
from engines.session.ssh_keys import Signers
from engines.session.state import fold
from engines.session.verify_signatures import look, of_lone_record
from engines.text import drawable

_PIECE = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """What holds and what could not be checked. `wrong` is the first thing that does not hold; empty when all does."""

    wrong: str
    holds: tuple[str, ...]
    unchecked: tuple[str, ...]
    authentic: bool = False  # is the record signed by one of the signers that were named?
    signed: bool = False  # is it signed at all, by whichever key?

    @property
    def verdict(self) -> str:
        if self.wrong:
            return "DOES NOT HOLD"
        word = "AUTHENTIC" if self.authentic else "CONSISTENT"
        return f"{word}, IN PART" if self.unchecked else word


def verify(path: Path, signers: Signers | None = None) -> Finding:
    """Check a session folder, or the folder that `path` (a session.toml) stands in.

    `signers` are those that whoever verifies believes; what the session itself names proves nothing.
    Raises RestoreError when there is nothing that could be checked.
    """
    record_path = path / "session.toml" if path.is_dir() else path
    try:
        record = record_path.read_bytes()
    except OSError as error:
        raise RestoreError(
            f"{record_path} can't be read: {error.strerror}.", "Name a session.toml or a session's folder."
        ) from error
    try:
        tables = tomllib.loads(record.decode())
        head = tables["chain_head"]
        entries, digest = head["entries"], head["sha256"]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        return Finding(f"session.toml: it is not a whole record ({error}).", (), ())
    if type(entries) is not int or entries < 1 or not isinstance(digest, str):
        return Finding("session.toml: its chain_head is no number of lines and digest.", (), ())
    journal_path = record_path.parent / "journal.jsonl"
    if not journal_path.exists():
        unchecked = ("journal.jsonl is not beside it: neither the chain nor the record's contents could be checked",)
        looked = of_lone_record(record, record_path.with_name(SEAL), signers)
        holds = (f"session.toml is a record of {entries} entries", *looked.holds)
        return Finding(
            looked.wrong, holds, (*unchecked, "step logs", *looked.unchecked), looked.by_known, looked.signed
        )
    return _with_journal(record, entries, digest, journal_path, signers)


def _with_journal(record: bytes, entries: int, digest: str, path: Path, signers: Signers | None) -> Finding:
    holds: list[str] = []
    unchecked: list[str] = []
    try:
        journal = read(path)
    except BrokenChain as error:
        return Finding(error.message, (), ())
    if not journal.entries or not isinstance(journal.entries[0].event, SessionBegun):
        return Finding("Journal line 1: it does not begin a session.", (), ())
    if len(journal.lines) < entries:
        return Finding(
            f"Journal line {len(journal.lines) + 1}: it is missing; session.toml was made from {entries} lines.",
            (),
            (),
        )
    if line_digest(journal.lines[entries - 1]) != digest:
        return Finding(
            f"Journal line {entries}: it is not the line that the record was made from; one of the two was changed.",
            (),
            (),
        )
    holds.append(f"journal: {len(journal.lines)} lines, each follows from the one before")
    then = Journal(journal.entries[:entries], journal.lines[:entries])
    if render(then) != record:
        return Finding("session.toml: it differs from what the journal says.", tuple(holds), ())
    holds.append("session.toml: the same as made again from the journal")
    newer = len(journal.lines) - entries
    ended = any(isinstance(entry.event, SessionEnded) for entry in journal.entries)
    # The end, and what people were told or was filed after it, may be missing from the record: a kill came between.
    cut_off = all(
        isinstance(entry.event, (SessionEnded, NoticeSent, SendingAsked, TicketsAsked, TicketTried))
        for entry in journal.entries[entries:]
    )
    if newer and ended and not cut_off:
        return Finding(
            f"Journal line {entries + 1}: it is newer than the record of an ended session.", tuple(holds), ()
        )
    if newer:
        unchecked.append(f"{newer} journal lines are newer than the record: the session goes on, or its runner died")
    if journal.torn and ended:
        return Finding(
            f"Journal line {len(journal.lines) + 1}: it is half a line behind the end of the session.", tuple(holds), ()
        )
    if journal.torn:
        unchecked.append(f"the last {len(journal.torn)} bytes of the journal are half a line (a crash or power cut)")
    wrong = _wrong_plan(journal, entries, path.parent, holds, unchecked)
    wrong = wrong or _first_wrong_log(journal, path.parent / "logs", holds, unchecked)
    _look_at_report(then, path.parent / "report.md", holds, unchecked)
    looked = look(journal, record, path.parent, signers)
    return Finding(
        wrong or looked.wrong, (*holds, *looked.holds), (*unchecked, *looked.unchecked), looked.by_known, looked.signed
    )


def _look_at_report(journal: Journal, path: Path, holds: list[str], unchecked: list[str]) -> None:
    """People write on in the report, and another version says things in other words: a difference is no forgery."""
    if not path.exists():
        return
    try:
        same = path.is_file() and path.read_bytes() == report(fold(journal.entries)).encode()
    except Exception as error:  # noqa: BLE001 - a defect in the report is no fault of the record
        unchecked.append(f"report.md could not be compared: {defect(error)}")
        return
    if same:
        holds.append("report.md: the same as made again from the journal")
    else:
        unchecked.append("report.md: not as the journal makes it here: people wrote on in it, or another version did")


def _wrong_plan(journal: Journal, entries: int, folder: Path, holds: list[str], unchecked: list[str]) -> str:
    """plan.toml is made again too. It is written just before the record, so it may be of a line behind that one."""
    path = folder / "plan.toml"
    made = [entry for entry in journal.entries if isinstance(entry.event, PlanMade)]
    before = sum(entry.seq <= entries for entry in made)
    # As the journal's own line has it: another version may know fewer or other fields.
    right = {plan_as_written(journal.lines[entry.seq - 1]) for entry in made[max(before - 1, 0) :]}
    if not path.exists():
        if made:
            unchecked.append("plan.toml is not here; the plan itself is in the journal")
        return ""
    try:
        found = path.read_bytes()
    except OSError as error:
        unchecked.append(f"plan.toml can't be read: {error.strerror}")
        return ""
    if found not in right:
        return "plan.toml: it differs from what the journal says."
    holds.append("plan.toml: the same as made again from the journal")
    return ""


def _first_wrong_log(journal: Journal, logs: Path, holds: list[str], unchecked: list[str]) -> str:
    latest = {
        entry.event.log.file: (entry.event.step, entry.seq, entry.event.log)
        for entry in journal.entries
        if isinstance(entry.event, StepEnded) and entry.event.log is not None
    }
    known = set(latest)
    try:
        others = sorted(path.name for path in logs.iterdir() if path.name not in known) if logs.is_dir() else []
    except OSError as error:
        others = []
        unchecked.append(f"logs can't be listed: {error.strerror}")
    unchecked += [f"logs/{drawable(name)}: no journal line says what it should hold" for name in others]
    if latest and not logs.is_dir():
        unchecked.append(f"{len(latest)} step logs are not here")
        return ""
    begun_again = {entry.event.step: entry.seq for entry in journal.entries if isinstance(entry.event, StepStarted)}
    for step, seq, log in latest.values():
        path = logs / log.file
        if Path(log.file).name != log.file:
            return f"Journal line {seq}: {log.file!r} is not the name of a log."
        if not path.is_file():
            return f"logs/{log.file}: it is missing; journal line {seq} names it."
        try:
            more = _beyond(path, log)
        except OSError as error:
            unchecked.append(f"logs/{log.file} can't be read: {error.strerror}")
            continue
        if more is None:
            return f"logs/{log.file}: it is not what journal line {seq} says."
        # A worker that the step started may still write to it; a step that is being tried again appends to it.
        if more and begun_again.get(step, 0) < seq:
            unchecked.append(f"logs/{log.file}: {more:,} bytes were written after the step had ended")
    if latest:
        holds.append(f"{len(latest)} step logs: sizes and SHA-256 as journalled")
    return ""


def _beyond(path: Path, log: StepLog) -> int | None:
    """How many bytes stand behind those that were journalled; None where these are not as they were."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = log.size  # never a buffer of the journal's word: a forged size would ask for all memory
        while left > 0 and (piece := file.read(min(left, _PIECE))):
            digest.update(piece)
            left -= len(piece)
        more = file.seek(0, 2) - log.size
    return more if left == 0 and digest.hexdigest() == log.sha256 else None
