"""How far a restore goes beyond its dump: the second half of a restore point."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

import msgspec

from engines.errors import UsageError
from engines.mysql.replay.plan import ReplayPlan
from engines.session.state import SessionState
from engines.text import drawable, parse_stamp

_POSITION = re.compile(r"([^/:\s]+\.\d{6,}):(\d+)")
_GTID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}:(?:[a-z_][a-z0-9_]{0,31}:)?\d+|\d+-\d+-\d+")
_TICK = timedelta(microseconds=1)


class Kind(StrEnum):
    DUMP = "dump"  # nothing is replayed
    END = "end"  # everything that the logs have
    TIME = "time"
    POSITION = "position"
    GTID = "gtid"


@dataclass(frozen=True, slots=True)
class Until:
    kind: Kind = Kind.DUMP
    value: str = ""  # a time in UTC, FILE:POSITION, or the GTID of the first transaction that is left out
    exclude: tuple[str, ...] = ()  # FILE:POSITION or GTID of transactions that are left out before it

    @property
    def replays(self) -> bool:
        return self.kind is not Kind.DUMP


def parse_until(text: str, exclude: tuple[str, ...] = ()) -> Until:
    """What somebody typed: dump, end, a time with its zone, FILE:POSITION, a GTID. Raises UsageError."""
    for one in exclude:
        if not _POSITION.fullmatch(one) and not _GTID.fullmatch(one):
            raise UsageError(
                f"{drawable(one)!r} names no transaction. Nothing was started.", "FILE:POSITION or a GTID."
            )
    written = text.strip()
    if written in (Kind.DUMP, Kind.END):
        if exclude and written == Kind.DUMP:
            raise UsageError("Without a replay nothing can be left out. Nothing was started.", "Give --until too.")
        return Until(Kind(written), "", exclude)
    if _POSITION.fullmatch(written):
        return Until(Kind.POSITION, written, exclude)
    if _GTID.fullmatch(written) and not _is_date(written):
        return Until(Kind.GTID, written, exclude)
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        hint = "Write dump, end, 2026-11-22T20:04:11Z, binlog.000123:4567, or a GTID."
        raise UsageError(f"{drawable(written)!r} is no moment to restore to. Nothing was started.", hint) from None
    if moment.tzinfo is None:
        hint = f"Write {written}Z for UTC, or its offset, as in {written}+01:00."
        raise UsageError("A time without a zone means another moment on every machine. Nothing was started.", hint)
    return Until(Kind.TIME, moment.astimezone(UTC).isoformat().replace("+00:00", "Z"), exclude)


def typed(text: str, exclude: tuple[str, ...] = ()) -> Until:
    """Like `parse_until`, but a time stops just before it: what was committed then is bad, and so would come back.

    It is what --stop-datetime of mysqlbinlog means, too, and where a log has whole seconds it is a second's difference.
    """
    until = parse_until(text, exclude)
    return just_before(parse_stamp(until.value), exclude) if until.kind is Kind.TIME else until


def just_before(moment: datetime, exclude: tuple[str, ...] = ()) -> Until:
    """Everything committed before `moment`; servers count in microseconds."""
    last = moment.astimezone(UTC) - _TICK
    return Until(Kind.TIME, last.isoformat().replace("+00:00", "Z"), exclude)


def stops_before(until: Until) -> datetime | None:
    """The first moment whose commits are left out; None where no time was chosen."""
    return parse_stamp(until.value) + _TICK if until.kind is Kind.TIME else None


def _is_date(written: str) -> bool:
    """2026-11-22 could be a GTID of MariaDB's too: whoever types it means the day."""
    try:
        date.fromisoformat(written)
    except ValueError:
        return False
    return True


def until_of(state: SessionState) -> Until:
    return from_backup(state.backup)


def from_backup(backup: Mapping[str, object]) -> Until:
    """As it was chosen with the backup."""
    return msgspec.convert(backup.get("until", {}) or {}, Until)


def told(until: Until) -> str:
    match until.kind:
        case Kind.DUMP:
            words = "no further than the dump"
        case Kind.END:
            words = "to the end of the logs"
        case Kind.TIME:
            words = _told_time(until)
        case _:
            words = f"to just before {until.value}"
    left_out = f", without {', '.join(until.exclude)}" if until.exclude else ""
    return words + left_out


def _told_time(until: Until) -> str:
    """A stop that was chosen as "just before" is told so, and not as the last microsecond of the second before."""
    first = stops_before(until)
    if first is None or first.microsecond % 1000:
        return f"up to {until.value}"
    return f"to just before {first.isoformat().replace('+00:00', 'Z')}"


def replay_of(state: SessionState) -> ReplayPlan | None:
    """The replay that preparing planned; None where nothing is replayed."""
    found = state.facts("stage-logs").get("replay")
    return msgspec.convert(found, ReplayPlan) if found and until_of(state).replays else None
