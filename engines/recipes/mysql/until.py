"""How far a restore goes beyond its dump: the second half of a restore point."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum

import msgspec

from engines.errors import UsageError
from engines.session.state import SessionState
from engines.text import drawable

_POSITION = re.compile(r"([^/:\s]+\.\d{6,}):(\d+)")
_GTID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}:(?:[a-z_][a-z0-9_]{0,31}:)?\d+|\d+-\d+-\d+")


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
            words = f"up to {until.value}"
        case _:
            words = f"to just before {until.value}"
    left_out = f", without {', '.join(until.exclude)}" if until.exclude else ""
    return words + left_out
