"""Finds the moment that a backup's file name tells.

A name survives copying, which a modification time often does not. Where a name tells nothing, the catalogue
says that it fell back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_CALENDAR = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<dash>[-_.]?)(?P<month>\d\d)(?P=dash)(?P<day>\d\d)"
    r"(?:(?P<between>[T_\-. @]?)"
    r"(?P<hour>\d\d)(?P<colon>[-:_.]?)(?P<minute>\d\d)(?:(?P=colon)(?P<second>\d\d)(?:[.,]\d{1,9})?)?"
    r" ?(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?)?"
    r"(?!\d)",
    re.ASCII,
)
_EPOCH = re.compile(r"(?<!\d)(\d{10})(?:\d{3})?(?!\d)", re.ASCII)
# 2001-09-09 and 2033-05-18: ten digits outside of these are more likely a serial number or a date and hour.
_EPOCH_RANGE = range(1_000_000_000, 2_000_000_000)
_FURTHEST_ZONE = timedelta(hours=14)


@dataclass(frozen=True, slots=True)
class Named:
    """What a name tells about when."""

    at: datetime  # UTC; midnight of the name's day in the given zone when there is only a date
    has_time: bool


def named(name: str, zone: tzinfo = UTC) -> Named | None:
    """The first moment in `name`, or None. A time without a zone of its own is taken to be in `zone`.

    A local time that a clock shows twice (end of summer time) is taken as the earlier: a backup believed
    older than it is makes the estimated loss larger, never smaller.
    """
    only_date: datetime | None = None
    position = 0
    while match := _CALENDAR.search(name, position):
        if match["hour"] is not None and (moment := _moment(match, zone)):
            return Named(moment, has_time=True)
        if only_date is None:
            only_date = _midnight(match, zone)
        position = match.start() + 1  # digits that are no date may have swallowed the beginning of one
    if only_date is not None:
        return Named(only_date, has_time=False)
    for match in _EPOCH.finditer(name):
        if int(match[1]) in _EPOCH_RANGE:
            return Named(datetime.fromtimestamp(int(match[1]), UTC), has_time=True)
    return None


def _moment(match: re.Match[str], zone: tzinfo) -> datetime | None:
    try:
        local = datetime(
            int(match["year"]),
            int(match["month"]),
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            int(match["second"] or 0),
            tzinfo=_own_zone(match) or zone,
        )
    except ValueError:
        return None
    return local.astimezone(UTC)


def _midnight(match: re.Match[str], zone: tzinfo) -> datetime | None:
    try:
        return datetime(int(match["year"]), int(match["month"]), int(match["day"]), tzinfo=zone).astimezone(UTC)
    except ValueError:
        return None


def _own_zone(match: re.Match[str]) -> tzinfo | None:
    text = match["zone"]
    if text is None:
        return None
    if text in ("Z", "UTC"):
        return UTC
    # `20261122-200000-0100` ends in a serial number more likely than in a zone; after a T it is ISO 8601.
    if ":" not in text and text.startswith("-") and match["between"] != "T":
        return None
    ahead = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    if ahead > _FURTHEST_ZONE:
        return None
    return timezone(-ahead if text.startswith("-") else ahead)
