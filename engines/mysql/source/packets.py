"""The packets of the client/server protocol that a replication source needs: taken apart and put together. Pure.

Sources: MySQL source code documentation, "Client/Server Protocol"; MariaDB documentation, "Clients & Utilities
Protocol". What comes in is taken for hostile: whatever the bytes, it is understood or `Malformed` is raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

LARGEST: Final = 0xFFFFFF  # bytes of one packet; what is longer goes on in the next
SSL: Final = 0x0800
_PLUGIN: Final = 0x0008_0000
_LENENC: Final = 0x0020_0000
_WITH_DATABASE: Final = 0x0008
# Long passwords and columns, protocol 4.1, transactions, the present authentication, its plugins.
_OFFERED: Final = 0x0001 | 0x0004 | 0x0200 | 0x2000 | 0x8000 | _PLUGIN | _LENENC
_UTF8: Final = 45  # utf8mb4_general_ci
_AUTOCOMMIT: Final = 0x0002
_VAR_STRING: Final = 0xFD
_response = Struct("<IIB23x").unpack_from


class Malformed(ValueError):
    """Bytes that make no sense here."""


@dataclass(frozen=True, slots=True)
class Response:
    """How a client answers the greeting."""

    wants_tls: bool
    user: str = ""
    scramble: bytes = b""
    plugin: str = ""


@dataclass(frozen=True, slots=True)
class Dump:
    """COM_BINLOG_DUMP: what a replica asks for."""

    file: str
    position: int
    server_id: int


def frame(number: int, payload: bytes | bytearray) -> bytes:
    """A payload as packets, the first of them with this sequence number."""
    if len(payload) < LARGEST:
        return len(payload).to_bytes(3, "little") + bytes((number & 0xFF,)) + payload
    made = bytearray()
    for start in range(0, len(payload) + 1, LARGEST):
        piece = payload[start : start + LARGEST]
        made += len(piece).to_bytes(3, "little") + bytes((number & 0xFF,)) + piece
        number += 1
    return bytes(made)


def packets_of(size: int) -> int:
    """How many packets a payload of this size takes: one that fills the last is followed by an empty one."""
    return size // LARGEST + 1


def greeting(version: str, connection: int, nonce: bytes, plugin: str, *, tls: bool) -> bytes:
    """HandshakeV10. `nonce`: 20 bytes."""
    offered = _OFFERED | (SSL if tls else 0)
    return b"".join(
        (
            b"\x0a",
            version.encode("ascii"),
            b"\0",
            connection.to_bytes(4, "little"),
            nonce[:8],
            b"\0",
            (offered & 0xFFFF).to_bytes(2, "little"),
            bytes((_UTF8,)),
            _AUTOCOMMIT.to_bytes(2, "little"),
            (offered >> 16).to_bytes(2, "little"),
            bytes((len(nonce) + 1,)),
            bytes(10),
            nonce[8:],
            b"\0",
            plugin.encode("ascii"),
            b"\0",
        )
    )


def response(payload: bytes) -> Response:
    """SSLRequest or HandshakeResponse41. Raises Malformed."""
    if len(payload) < 32:
        raise Malformed("the answer to the greeting is too short")
    offered, _, _ = _response(payload)
    if len(payload) == 32:
        if not offered & SSL:
            raise Malformed("the answer to the greeting names nobody")
        return Response(wants_tls=True)
    user, rest = _until_null(payload[32:])
    if offered & _LENENC:
        scramble, rest = _counted(rest)
    else:
        scramble, rest = _short(rest)
    if offered & _WITH_DATABASE and rest:
        _, rest = _until_null(rest)
    plugin = _until_null(rest)[0] if offered & _PLUGIN and b"\0" in rest else b""
    return Response(False, user.decode("utf-8", "replace"), scramble, plugin.decode("ascii", "replace"))


def _until_null(raw: bytes) -> tuple[bytes, bytes]:
    found, end, rest = raw.partition(b"\0")
    if not end:
        raise Malformed("a name without an end")
    return found, rest


def _short(raw: bytes) -> tuple[bytes, bytes]:
    if not raw or len(raw) < 1 + raw[0]:
        raise Malformed("a text that is shorter than it says")
    return raw[1 : 1 + raw[0]], raw[1 + raw[0] :]


def _counted(raw: bytes) -> tuple[bytes, bytes]:
    if raw and raw[0] >= 0xFB:  # no scramble is that long
        raise Malformed("a scramble that is too long")
    return _short(raw)


def switch(plugin: str, nonce: bytes) -> bytes:
    """AuthSwitchRequest: answer with this plugin."""
    return b"\xfe" + plugin.encode("ascii") + b"\0" + nonce + b"\0"


def dump(payload: bytes) -> Dump:
    """COM_BINLOG_DUMP without its first byte. Raises Malformed."""
    if len(payload) < 10:
        raise Malformed("a request for a log that is too short")
    position, server = int.from_bytes(payload[:4], "little"), int.from_bytes(payload[6:10], "little")
    return Dump(payload[10:].rstrip(b"\0").decode("utf-8", "replace"), position, server)


def ok() -> bytes:
    return b"\0\0\0" + _AUTOCOMMIT.to_bytes(2, "little") + b"\0\0"


def error(code: int, state: str, message: str) -> bytes:
    return b"\xff" + code.to_bytes(2, "little") + b"#" + state.encode("ascii") + message.encode()[:500]


def table(columns: Sequence[str], rows: Sequence[Sequence[str | None]]) -> list[bytes]:
    """A text result set, packet by packet, with the EOF packets of clients that did not give them up."""
    end = b"\xfe\0\0" + _AUTOCOMMIT.to_bytes(2, "little")
    return [bytes((len(columns),)), *map(_column, columns), end, *map(_row, rows), end]


def _column(name: str) -> bytes:
    fixed = (_UTF8).to_bytes(2, "little") + (1024).to_bytes(4, "little") + bytes((_VAR_STRING, 0, 0, 0, 0, 0))
    return b"".join(map(_text, ("def", "", "", "", name, ""))) + b"\x0c" + fixed


def _row(values: Sequence[str | None]) -> bytes:
    return b"".join(b"\xfb" if value is None else _text(value) for value in values)


def _text(value: str) -> bytes:
    raw = value.encode()
    if len(raw) < 0xFB:
        return bytes((len(raw),)) + raw
    return b"\xfc" + len(raw).to_bytes(2, "little") + raw
