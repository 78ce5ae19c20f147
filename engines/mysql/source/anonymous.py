"""A MySQL transaction's first event without its GTID: whoever applies it gives it one, or none. Pure.

What the parallel applier goes by (what was committed before, the order, the times) stays. Sources: MySQL source,
Gtid_event and mysql::serialization.
"""

from __future__ import annotations

from typing import Final

from engines.mysql.binlogs.decoding import (
    COMMITTED,
    FIRST_COMMITTED,
    FIRST_SERVER,
    LAST_COMMITTED,
    LENGTH,
    SEQUENCE,
    SERVER,
    TICKET,
    Malformed,
    tagged_fields,
)

_ID: Final = bytes(24)  # UUID and number of a transaction that has none
_CLOCK: Final = 2  # what follows is a logical clock
_TWO_TIMES: Final = 1 << 55  # the time of the first commit follows
_TWO_SERVERS: Final = 1 << 31  # the version of the first server follows


def untold(body: memoryview) -> bytes:
    """The body of a GTID event as that of an ANONYMOUS_GTID event."""
    return bytes(body[:1]) + _ID + bytes(body[25:])


def untold_tagged(body: memoryview) -> bytes:
    """The same of a GTID_TAGGED event, which is written in another way. Raises what decoding raises."""
    numbers = tagged_fields(body).numbers
    if not {LAST_COMMITTED, SEQUENCE, COMMITTED, LENGTH, SERVER} <= set(numbers):
        raise Malformed("a GTID without what the applier goes by")
    made = bytearray((numbers.get(0, 0) & 0xFF,)) + _ID
    made.append(_CLOCK)
    made += numbers[LAST_COMMITTED].to_bytes(8, "little", signed=True)
    made += numbers[SEQUENCE].to_bytes(8, "little", signed=True)
    _pair(made, numbers[COMMITTED], numbers.get(FIRST_COMMITTED), 7, _TWO_TIMES)
    made += _length(numbers[LENGTH])
    _pair(made, numbers[SERVER], numbers.get(FIRST_SERVER), 4, _TWO_SERVERS)
    if TICKET in numbers:
        made += numbers[TICKET].to_bytes(8, "little")
    return bytes(made)


def _pair(made: bytearray, here: int, first: int | None, size: int, flag: int) -> None:
    """What this server says, and what the first one said where that differs."""
    if first is None or first == here:
        made += here.to_bytes(size, "little")
    else:
        made += (here | flag).to_bytes(size, "little") + first.to_bytes(size, "little")


def _length(number: int) -> bytes:
    if number < 0xFB:
        return bytes((number,))
    for mark, size in ((0xFC, 2), (0xFD, 3), (0xFE, 8)):
        if number < 1 << 8 * size:
            return bytes((mark,)) + number.to_bytes(size, "little")
    raise Malformed("a transaction that is too long")
