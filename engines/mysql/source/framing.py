"""Turns events into the bytes that go over the line, many at a time, and knows where in the logs they have come to.

The events are not looked into beyond their header, but for a ROTATE's file name: a heartbeat has to say it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import Final
from zlib import crc32

from engines.errors import RestoreError
from engines.mysql.binlogs.events import HEADER, Kind
from engines.mysql.source.packets import LARGEST, framed

BATCH: Final = 256 << 10  # bytes that go out in one call
_CHECKSUM: Final = 4
_head: Final = Struct("<IB").pack  # size and number of a packet, and the byte before each event that says: no error
_header: Final = Struct("<IBIIIH").pack
_position: Final = Struct("<Q").unpack_from


@dataclass(slots=True)
class Framing:
    """One answer to COM_BINLOG_DUMP: what was framed so far."""

    server_id: int
    checksums: bool
    file: str
    position: int  # as the last ROTATE said
    _sequence: int = 1
    _last: bytes = field(default=b"", repr=False)

    def batches(self, events: Iterator[bytes]) -> Iterator[bytearray]:
        """The events in packets, about BATCH bytes at a time; each is the same buffer, to be sent before the next.

        An empty event hands over what there is, which may be nothing. What came before a RestoreError goes out
        before it is raised.
        """
        batch, sequence, rotate = bytearray(), self._sequence, int(Kind.ROTATE)
        try:
            for event in events:
                size = len(event) + 1
                if size == 1:
                    self._sequence = sequence
                    yield batch
                    sequence = self._sequence  # a heartbeat may have gone out meanwhile
                    batch.clear()
                    continue
                if event[4] == rotate:
                    self._turn(event)
                else:
                    self._last = event
                if size < LARGEST:
                    batch += _head(size | sequence << 24, 0)
                    batch += event
                    sequence = sequence + 1 & 0xFF
                else:
                    batch += framed(b"\0" + event, sequence)
                    sequence = sequence + size // LARGEST + 1 & 0xFF
                if len(batch) >= BATCH:
                    self._sequence = sequence
                    yield batch
                    sequence = self._sequence
                    batch.clear()
        except (RestoreError, OSError):
            self._sequence = sequence
            yield batch
            raise
        self._sequence = sequence
        yield batch

    def heartbeat(self) -> bytes:
        """An event in its packet that says only: still here, and nothing has come since the last one.

        It names the file and position that the receiver has come to; one that lies before is an error to it.
        """
        name = self.file.encode()
        size = HEADER + len(name) + (_CHECKSUM if self.checksums else 0)
        event = _header(0, Kind.HEARTBEAT, self.server_id, size, self._come_to() & 0xFFFFFFFF, 0) + name
        if self.checksums:
            event += crc32(event).to_bytes(4, "little")
        return self.numbered(b"\0" + event)

    def numbered(self, payload: bytes) -> bytes:
        """A short payload of another kind as the stream's next packet."""
        packet = framed(payload, self._sequence)
        self._sequence = self._sequence + 1 & 0xFF
        return packet

    def _turn(self, event: bytes) -> None:
        end = len(event) - (_CHECKSUM if self.checksums else 0)
        if end > HEADER + 8:
            self.position = _position(event, HEADER)[0]
            self.file = event[HEADER + 8 : end].decode(errors="replace")
            self._last = b""

    def _come_to(self) -> int:
        """Artificial events have no position of their own: 0 there."""
        return int.from_bytes(self._last[13:17], "little") or self.position
