"""Packets of the client/server protocol as bytes: framed, parsed, built. Nothing is sent or read here.

Every byte that comes from outside is taken for hostile: `BadPacket` is the only thing that parsing raises.
Source: MySQL source code documentation, "MySQL Packets", "Connection Phase Packets", "COM_BINLOG_DUMP";
MariaDB documentation, "Clients & Utilities: Server Protocol".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

LARGEST: Final = 0xFFFFFF  # bytes in one packet; one of just this size says that another follows

CONNECT_WITH_DB: Final = 0x8
SSL: Final = 0x800
PLUGIN_AUTH: Final = 0x80000
CONNECT_ATTRS: Final = 0x100000
LENENC_AUTH: Final = 0x200000
PROTOCOL_41: Final = 0x200
SECURE_CONNECTION: Final = 0x8000
# LONG_PASSWORD (1) is what tells MariaDB's clients that none of MariaDB's further capabilities follow.
_OFFERED: Final = (
    1 | 4 | CONNECT_WITH_DB | PROTOCOL_41 | 0x2000 | SECURE_CONNECTION | PLUGIN_AUTH | CONNECT_ATTRS | LENENC_AUTH
)

QUIT: Final = 0x01
QUERY: Final = 0x03
PING: Final = 0x0E
BINLOG_DUMP: Final = 0x12
REGISTER_REPLICA: Final = 0x15
BINLOG_DUMP_GTID: Final = 0x1E

_AUTOCOMMIT: Final = 2
_UTF8MB4: Final = 45
_TEXT: Final = 0xFD  # VAR_STRING
_response: Final = Struct("<IIB23s")
_dump: Final = Struct("<IHI")


class BadPacket(ValueError):
    """Bytes that are no packet of the kind that was due. The message holds none of them."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a client answers to the greeting."""

    user: bytes
    scramble: bytes = field(repr=False)
    plugin: str  # empty: it named none


@dataclass(frozen=True, slots=True)
class DumpRequest:
    """COM_BINLOG_DUMP: from where on the receiver wants events."""

    file: str  # may be empty: the first one
    position: int  # byte offset in `file`
    server_id: int  # the receiver's own


def framed(payload: bytes, sequence: int) -> bytes:
    """The payload in one packet, or in as many as it needs. `sequence`: the first one's number."""
    whole = bytearray()
    for count, start in enumerate(range(0, len(payload) + 1, LARGEST)):
        piece = payload[start : start + LARGEST]
        whole += (len(piece) | (sequence + count & 0xFF) << 24).to_bytes(4, "little")
        whole += piece
    return bytes(whole)


def chained(payloads: Iterable[bytes], sequence: int) -> bytes:
    """Short payloads one after the other, numbered from `sequence` on."""
    return b"".join(framed(one, sequence + count) for count, one in enumerate(payloads))


def greeting(version: str, connection: int, nonce: bytes, plugin: str, *, tls: bool) -> bytes:
    """Protocol 10's handshake. `nonce`: 20 bytes without a zero."""
    offered = _OFFERED | (SSL if tls else 0)
    return b"".join(
        (
            b"\x0a",
            version.encode() + b"\0",
            (connection & 0xFFFFFFFF).to_bytes(4, "little"),
            nonce[:8] + b"\0",
            (offered & 0xFFFF).to_bytes(2, "little"),
            bytes((_UTF8MB4,)),
            _AUTOCOMMIT.to_bytes(2, "little"),
            (offered >> 16).to_bytes(2, "little"),
            bytes((len(nonce) + 1,)),
            bytes(10),
            nonce[8:] + b"\0",
            plugin.encode() + b"\0",
        )
    )


def wants_tls(payload: bytes) -> bool:
    """Is this the short answer to a greeting that asks for TLS first?"""
    return len(payload) == _response.size and bool(int.from_bytes(payload[:4], "little") & SSL)


def response(payload: bytes) -> Response:
    """A client's answer to the greeting. Raises BadPacket."""
    if len(payload) < _response.size:
        raise BadPacket("its answer to the greeting is cut short")
    able = int.from_bytes(payload[:4], "little")
    if not able & PROTOCOL_41 or not able & SECURE_CONNECTION:
        raise BadPacket("it speaks a protocol older than MySQL 4.1's")
    user, at = _until_zero(payload, _response.size)
    if able & LENENC_AUTH:
        size, at = _length(payload, at)
    else:
        size, at = _byte(payload, at), at + 1
    scramble, at = _piece(payload, at, size)
    if able & CONNECT_WITH_DB:
        _schema, at = _until_zero(payload, at)
    plugin = b""
    if able & PLUGIN_AUTH:
        plugin, at = _until_zero(payload, at)
    return Response(user, scramble, plugin.decode("latin-1"))


def auth_switch(plugin: str, nonce: bytes) -> bytes:
    """Log in by this plugin instead, with this nonce."""
    return b"\xfe" + plugin.encode() + b"\0" + nonce + b"\0"


def dump_request(payload: bytes) -> DumpRequest:
    """COM_BINLOG_DUMP, its command byte first. Raises BadPacket."""
    if len(payload) < 1 + _dump.size or payload[0] != BINLOG_DUMP:
        raise BadPacket("its request for events is cut short")
    position, _flags, server_id = _dump.unpack_from(payload, 1)
    try:
        file = payload[1 + _dump.size :].partition(b"\0")[0].decode()
    except UnicodeDecodeError:
        raise BadPacket("the log that it asks for has no name in UTF-8") from None
    return DumpRequest(file, position, server_id)


def ok() -> bytes:
    return b"\0\0\0" + _AUTOCOMMIT.to_bytes(2, "little") + b"\0\0"


def error(code: int, state: str, message: str) -> bytes:
    """An ERR packet. `state`: the five characters of an SQLSTATE."""
    return b"\xff" + code.to_bytes(2, "little") + b"#" + state.encode() + message.encode()[:512]


def rows(columns: tuple[str, ...], values: tuple[tuple[str | None, ...], ...]) -> tuple[bytes, ...]:
    """A result set in the old form, with EOF packets: the payloads, in order."""
    end = b"\xfe\0\0" + _AUTOCOMMIT.to_bytes(2, "little")
    return (
        bytes((len(columns),)),
        *(_column(name) for name in columns),
        end,
        *(b"".join(b"\xfb" if value is None else _text(value.encode()) for value in row) for row in values),
        end,
    )


def _column(name: str) -> bytes:
    about = _UTF8MB4.to_bytes(2, "little") + (1024).to_bytes(4, "little") + bytes((_TEXT, 0, 0, 0, 0, 0))
    return _text(b"def") + _text(b"") * 3 + _text(name.encode()) + _text(b"") + b"\x0c" + about


def _text(value: bytes) -> bytes:
    if len(value) < 0xFB:
        return bytes((len(value),)) + value
    return b"\xfc" + len(value).to_bytes(2, "little") + value  # nothing here is longer


def _byte(payload: bytes, at: int) -> int:
    if at >= len(payload):
        raise BadPacket("its answer to the greeting is cut short")
    return payload[at]


def _length(payload: bytes, at: int) -> tuple[int, int]:
    first = _byte(payload, at)
    if first < 0xFB:
        return first, at + 1
    if first != 0xFC:  # no scramble has 64 KB
        raise BadPacket("its answer to the greeting has a length that can't be")
    piece, at = _piece(payload, at + 1, 2)
    return int.from_bytes(piece, "little"), at


def _piece(payload: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(payload):
        raise BadPacket("its answer to the greeting is cut short")
    return payload[at : at + size], at + size


def _until_zero(payload: bytes, at: int) -> tuple[bytes, int]:
    end = payload.find(b"\0", at)
    if end < 0:
        raise BadPacket("its answer to the greeting is cut short")
    return payload[at:end], end + 1
