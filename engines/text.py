"""Makes values readable and outside text harmless.

`drawable` is the one owner of rule 7: whatever comes from a file name, a table or a command's output passes
through it before it is drawn.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

# CSI, then OSC/DCS/PM/APC/SOS strings (also unterminated), then two-byte escapes: ECMA-48.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]).*?(?:\x07|\x1b\\|\x9c|$)"
    r"|\x1b[@-Z\\-_]",
    re.DOTALL,
)
# C0 and C1 controls; the marks that turn the direction of text around (Unicode UAX #9); what takes no cell and can't be
# seen, so that two names look alike; and halves of surrogate pairs: a file name's undecodable bytes, which no terminal
# can be sent.
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)
_BLANKS = re.compile(r"[\t\n]")


def drawable(text: str) -> str:
    """`text` on one line, without terminal sequences, control characters or direction marks."""
    plain = _SEQUENCES.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))
    return _BLANKS.sub(" ", _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", plain))


def size(count: int) -> str:
    """Bytes for people: `8.1 GB`. Powers of 1000, as disks and network rates are given."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.95 or unit == "TB":
            return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:.1f} {unit}"
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """Seconds for people: `0:07`, `1:33`, `2:04:11`, `3 d 4 h`."""
    whole = int(seconds + 0.5)
    if whole < 0:
        return "-" + duration(-seconds)
    if whole >= 3 * 86_400:
        return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def span(seconds: float) -> str:
    """How old, or how long lost, for people: `40 s`, `59 min`, `1 h 32 min`, `1 d 22 h`, with nothing below that.

    `duration` measures work, to the second; of an age, its `59:11` is read as hours.
    """
    whole = int(seconds)
    if whole < 0:
        return "-" + span(-seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86_400:
        hours, minutes = whole // 3600, whole % 3600 // 60
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = whole // 86_400, whole % 86_400 // 3600
    return f"{days} d {hours} h" if hours else f"{days} d"


def count(number: int) -> str:
    """`48 210 991`: grouped with narrow gaps that no locale mistakes for a decimal mark."""
    return f"{number:,}".replace(",", " ")


def utc_now() -> datetime:
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as journal and record have it: `2026-11-22T20:04:11.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_stamp(text: str) -> datetime:
    """The moment that `stamp` wrote. Raises ValueError for anything without a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(UTC)


def clock(moment: datetime) -> str:
    """`2026-11-22 20:04 UTC`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def both_zones(moment: datetime) -> str:
    """UTC, and the operator's own zone beside it where that differs."""
    local = moment.astimezone()
    if local.utcoffset() == moment.astimezone(UTC).utcoffset():
        return clock(moment)
    day = "" if local.date() == moment.astimezone(UTC).date() else f"{local:%Y-%m-%d} "
    return f"{clock(moment)} ({day}{local:%H:%M %Z})"


def to_the_second(moment: datetime) -> str:
    """Like `both_zones`, as exactly as the moment is known: `2026-11-22 20:04:11.25 UTC (21:04:11.25 CET)`."""
    zulu, local = moment.astimezone(UTC), moment.astimezone()
    part = f".{zulu.microsecond:06}".rstrip("0") if zulu.microsecond else ""
    told = f"{zulu:%Y-%m-%d %H:%M:%S}{part} UTC"
    if local.utcoffset() == zulu.utcoffset():
        return told
    day = "" if local.date() == zulu.date() else f"{local:%Y-%m-%d} "
    return f"{told} ({day}{local:%H:%M:%S}{part} {local:%Z})"
