"""Reads the times that logs carry: Laravel's, PHP's, web servers', syslog's, seconds since 1970."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_EPOCH = re.compile(r"\d{9,10}(?:\.\d+)?")
_NAMED_ZONE = re.compile(r"(?P<time>.*\d) (?P<zone>[A-Za-z_]+(?:/[A-Za-z_+-]+)*)")  # PHP's error_log
_FORMS = (
    "%d/%b/%Y:%H:%M:%S %z",  # Apache and nginx, access log
    "%Y/%m/%d %H:%M:%S",  # nginx, error log
    "%d-%b-%Y %H:%M:%S",  # PHP, error_log
    "%a %b %d %H:%M:%S.%f %Y",  # Apache, error log
    "%a %b %d %H:%M:%S %Y",
)
_LONGEST = 64  # characters; fromisoformat takes any number of digits for fractions of a second
_SYSLOG = "%Y %b %d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Span:
    """A moment in UTC, or the two that a local time means in the hour that a clock goes back."""

    earliest: datetime
    latest: datetime

    def touches(self, since: datetime, until: datetime) -> bool:
        return self.latest >= since and self.earliest <= until


def read_time(text: str, zone: tzinfo, near: datetime) -> Span | None:
    """The moment that `text` names, None if it can't be read.

    A time without a zone is one of `zone`; one without a year lies at most a year before `near`.
    """
    if len(text) > _LONGEST:
        return None
    try:
        return _span(_read(text.strip(), near), zone)
    except (ValueError, OverflowError, OSError, ZoneInfoNotFoundError):
        return None


def _span(moment: datetime, zone: tzinfo) -> Span:
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
        return Span(moment, moment)
    ends = sorted(moment.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return Span(ends[0], ends[1])


def _read(text: str, near: datetime) -> datetime:
    """Naive where the text names no zone. Raises ValueError."""
    if _EPOCH.fullmatch(text):
        return datetime.fromtimestamp(float(text), UTC)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    named = _NAMED_ZONE.fullmatch(text)
    if named:
        moment = _read(named["time"], near)
        return moment.replace(tzinfo=ZoneInfo(named["zone"]))
    for form in _FORMS:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007 - the caller knows the zone
        except ValueError:
            continue
    moment = datetime.strptime(f"{near.year} {text}", _SYSLOG)  # noqa: DTZ007 - as above
    if moment.replace(tzinfo=UTC) > near + timedelta(days=1):
        moment = moment.replace(year=near.year - 1)
    return moment
