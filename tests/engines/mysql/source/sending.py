"""A trivial `Events`: the raw events of log files, with the source's server id and checksums of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from engines.mysql.source.serving import Events

SERVER_ID = 4_000_000_001
_FORMAT, _GTID, _ANONYMOUS_GTID, _PREVIOUS_GTIDS = 15, 33, 34, 35


def sealed(event: bytes | bytearray) -> bytes:
    """An event without its checksum, made the source's own."""
    whole = bytearray(event)
    whole[5:9] = SERVER_ID.to_bytes(4, "little")
    return bytes(whole) + crc32(whole).to_bytes(4, "little")


def rotate(name: str, position: int) -> bytes:
    body = position.to_bytes(8, "little") + name.encode()
    size = 19 + len(body) + 4
    head = bytes(4) + b"\x04" + bytes(4) + size.to_bytes(4, "little") + bytes(4) + b"\x20\0"
    return sealed(head + body)


def raw(path: Path) -> Iterator[tuple[int, bytes]]:
    """Where each event of a file begins, and its bytes."""
    content, at = path.read_bytes(), 4
    while at < len(content):
        size = int.from_bytes(content[at + 9 : at + 13], "little")
        yield at, content[at : at + size]
        at += size


def events_of(folder: Path, asked: list[tuple[str, int]] | None = None) -> Events:
    """Sends the files in `folder` from where the receiver asks."""

    def events(file: str, position: int) -> Iterator[bytes]:
        if asked is not None:
            asked.append((file, position))
        start = position
        for path in sorted(one for one in folder.iterdir() if one.name >= file):
            yield rotate(path.name, start)
            for at, event in raw(path):
                changed = bytearray(event[:-4])
                if changed[4] == _FORMAT:
                    changed[17] &= 0xFE
                    if start > 4:
                        changed[13:17] = bytes(4)  # no position of its own
                        changed[71:75] = bytes(4)  # created
                elif at < start or changed[4] == _PREVIOUS_GTIDS:
                    continue
                elif changed[4] == _GTID:
                    changed[4] = _ANONYMOUS_GTID
                    changed[20:44] = bytes(24)
                yield sealed(changed)
            start = 4

    return events
