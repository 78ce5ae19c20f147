"""Listens for the target, lets it in, and gives it the events that it asks for, for as long as a replay takes.

One thread listens, one serves each connection; at most one of them sends events: a new request ends the one before,
since a receiver asks again only where its line is gone. What is sent is `stream`'s work. Sources: MySQL source code
documentation, "Replication Protocol"; MariaDB documentation, "Replication Protocol".
"""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from struct import Struct
from typing import Final
from zlib import crc32

from engines.errors import RestoreError
from engines.hooks import Say, silent
from engines.mysql.binlogs.events import HEADER, Kind
from engines.mysql.source import packets
from engines.mysql.source.answers import Identity, Table, answer, heartbeat
from engines.mysql.source.login import Credentials, nonce, plugin_of, proven
from engines.text import drawable

Events = Callable[[str, int], Iterator[bytes]]
"""From a log's name and a byte in it, as COM_BINLOG_DUMP asks: whole events, in order. May raise RestoreError."""

_QUIT: Final = 0x01
_QUERY: Final = 0x03
_PING: Final = 0x0E
_BINLOG_DUMP: Final = 0x12
_REGISTER: Final = 0x15
_BINLOG_DUMP_GTID: Final = 0x1E
_AT_ONCE: Final = 4  # connections
_LOGIN: Final = 10.0  # seconds that a login may take, and bytes below
_BEFORE_LOGIN: Final = 8 << 10
_AFTER_LOGIN: Final = 1 << 20
_IDLE: Final = 120.0  # seconds without a command until a connection is closed
_PIECE: Final = 256 << 10  # bytes that are sent at a time, at least
_HEARTBEAT: Final = 5.0  # seconds of silence, where the receiver says nothing of it
_ENDING: Final = 5.0  # seconds that a thread may take to end
_KEPT: Final = 20  # reasons for refusals
_header: Final = Struct("<IBIIIH")


class _Closed(Exception):
    """The other side has gone, or is not to be spoken with any more."""


@dataclass(slots=True)
class Source:
    """What happens there. Written by its threads, looked at by others."""

    port: int = 0
    sent: int = 0  # bytes of events
    asked: int = 0  # requests for events
    connected: bool = False  # is a receiver being served?
    refused: tuple[str, ...] = ()
    failure: RestoreError | None = None  # why no more events can be given


@dataclass(slots=True)
class _Line:
    """One connection, and the sequence number of the next packet."""

    socket: socket.socket
    number: int = 0

    def read(self, most: int) -> bytes:
        """The next packet's payload. Raises _Closed at the end, and for what is longer."""
        head = self._exactly(4)
        size = int.from_bytes(head[:3], "little")
        if size > most:
            raise _Closed(f"a packet of {size} bytes")
        self.number = (head[3] + 1) & 0xFF
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            piece = self.socket.recv(min(size - len(found), 1 << 16))
            if not piece:
                raise _Closed("it went away")
            found += piece
        return bytes(found)

    def write(self, *payloads: bytes) -> None:
        made = bytearray()
        for payload in payloads:
            made += packets.frame(self.number, payload)
            self.number = (self.number + packets.packets_of(len(payload))) & 0xFF
        self.socket.sendall(made)


@dataclass(slots=True)
class _Place:
    """Where in the stream a receiver is: heartbeats say it."""

    file: str = ""
    position: int = 0


@contextmanager
def serving(
    identity: Identity,
    credentials: Credentials,
    events: Events,
    *,
    bind: str,
    allowed: frozenset[str],
    tls: ssl.SSLContext | None,
    port: int = 0,
    say: Say = silent,
) -> Iterator[Source]:
    """Serve on the address `bind`, to `allowed` addresses alone, until the block ends. `port` 0: a free one.

    With `tls`, nobody is let in without it. Raises RestoreError where it can't listen there.
    """
    try:
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        listener = socket.create_server((bind, port), family=family, backlog=_AT_ONCE)
    except OSError as error:
        raise RestoreError(
            f"Nobody can listen on {drawable(bind)}:{port}: {error.strerror or error}. Nothing was replayed.",
            "Set replay_address to an address of this machine that the target reaches, and replay_port to a free port.",
        ) from error
    served = _Serving(identity, credentials, events, allowed, tls, say, listener)
    served.source.port = listener.getsockname()[1]
    thread = threading.Thread(target=served.listen, name="replay-source", daemon=True)
    thread.start()
    try:
        yield served.source
    finally:
        served.end()
        thread.join(_ENDING)


@dataclass(slots=True)
class _Serving:
    identity: Identity
    credentials: Credentials
    events: Events
    allowed: frozenset[str]
    tls: ssl.SSLContext | None
    say: Say
    listener: socket.socket
    source: Source = field(default_factory=Source)
    _over: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: dict[threading.Thread, socket.socket] = field(default_factory=dict)
    _sender: threading.Thread | None = None
    _connections: int = 0

    def listen(self) -> None:
        while not self._over:
            try:
                line, (address, *_) = self.listener.accept()
            except OSError:
                return  # it was closed, since it is over
            if address.removeprefix("::ffff:") not in self.allowed:
                self._refuse(f"{drawable(address)} is not the target's address")
                line.close()
                continue
            with self._lock:
                if len(self._open) >= _AT_ONCE or self._over:
                    line.close()
                    continue
                self._connections += 1
                thread = threading.Thread(
                    target=self._serve, args=(line, self._connections), name="replay-receiver", daemon=True
                )
                self._open[thread] = line
            thread.start()

    def end(self) -> None:
        with self._lock:
            self._over = True
            open_now = dict(self._open)
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for line in open_now.values():
            _hang_up(line)
        for thread in open_now:
            thread.join(_ENDING)

    def _refuse(self, why: str) -> None:
        self.source.refused = (*self.source.refused, why)[-_KEPT:]
        self.say(f"refused: {why}")

    def _serve(self, line: socket.socket, number: int) -> None:
        me = threading.current_thread()
        try:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line.settimeout(_LOGIN)
            ours = self._let_in(_Line(line), number)
            if ours is not None:
                self._open[me] = ours.socket
                ours.socket.settimeout(_IDLE)
                self._converse(ours)
        except (_Closed, OSError, packets.Malformed):
            pass  # this connection is over; the receiver makes another one
        finally:
            with self._lock:
                last = self._open.pop(me, line)
                if self._sender is me:
                    self._sender = None
                    self.source.connected = False
            _hang_up(last)
            last.close()

    # -- login ----------------------------------------------------------------------------------------------

    def _let_in(self, line: _Line, number: int) -> _Line | None:
        """The line to go on with, encrypted where that is wanted; None for somebody who may not."""
        flavour = self.identity.version.flavour
        plugin, once = plugin_of(flavour), nonce()
        line.write(packets.greeting(self.identity.greets, number, once, plugin, tls=self.tls is not None))
        said = packets.response(line.read(_BEFORE_LOGIN))
        encrypted = False
        if said.wants_tls and self.tls is not None:
            line = _Line(self.tls.wrap_socket(line.socket, server_side=True), line.number)
            encrypted = True
            said = packets.response(line.read(_BEFORE_LOGIN))
        if self.tls is not None and not encrypted:
            self._refuse("the line is not encrypted")
            line.write(packets.error(3159, "HY000", "Connections using insecure transport are prohibited"))
            return None
        answered = said.scramble
        if said.plugin != plugin:
            line.write(packets.switch(plugin, once))
            answered = line.read(_BEFORE_LOGIN)
        if not proven(flavour, self.credentials, said.user, answered, once):
            self._refuse("wrong user or password")
            line.write(packets.error(1045, "28000", "Access denied"))
            return None
        if plugin == "caching_sha2_password":
            line.write(b"\x01\x03")  # the scramble was enough
        line.write(packets.ok())
        return line

    # -- commands -------------------------------------------------------------------------------------------

    def _converse(self, line: _Line) -> None:
        silence = _HEARTBEAT
        while not self._over:
            payload = line.read(_AFTER_LOGIN)
            command = payload[0] if payload else _QUIT
            if command == _QUIT:
                return
            if command == _QUERY:
                query = payload[1:].decode("utf-8", "replace")
                silence = heartbeat(query) or silence
                self._answer(line, query)
            elif command in (_PING, _REGISTER):
                line.write(packets.ok())
            elif command == _BINLOG_DUMP:
                self._send(line, packets.dump(payload[1:]), silence)
                return
            elif command == _BINLOG_DUMP_GTID:
                line.write(packets.error(1236, "HY000", "This source gives no logs by GTID"))
            else:
                line.write(packets.error(1047, "08S01", "Unknown command"))

    def _answer(self, line: _Line, query: str) -> None:
        match answer(self.identity, query):
            case None:
                line.write(packets.ok())
            case Table(columns, rows):
                line.write(*packets.table(columns, rows))
            case unknown:
                self.say(f"the target asks something unknown: {drawable(unknown)}")
                line.write(packets.error(1193, "HY000", "Unknown system variable"))

    # -- events ---------------------------------------------------------------------------------------------

    def _send(self, line: _Line, wanted: packets.Dump, silence: float) -> None:
        self._alone()
        place = _Place(wanted.file, wanted.position)
        self.say(f"the target asks for {drawable(wanted.file)} from byte {wanted.position} on")
        line.socket.settimeout(None)
        self.source.asked += 1
        self.source.connected = True
        try:
            self._stream(line, wanted, place)
        except RestoreError as error:
            self.source.failure = error
            self.say(f"no more events can be given: {error.message}")
            line.write(packets.error(1236, "HY000", error.message))
            return
        self._stay(line, place, silence)

    def _alone(self) -> None:
        """End whoever is still being sent events: its line is gone, or the receiver would not ask again."""
        with self._lock:
            earlier, self._sender = self._sender, threading.current_thread()
            line = self._open.get(earlier) if earlier else None
        if earlier is not None and line is not None:
            _hang_up(line)
            earlier.join(_ENDING)

    def _stream(self, line: _Line, wanted: packets.Dump, place: _Place) -> None:
        made = bytearray()
        number, rotate = line.number, int(Kind.ROTATE)
        for event in self.events(wanted.file, wanted.position):
            size = len(event) + 1
            if size < packets.LARGEST:
                made += size.to_bytes(3, "little")
                made.append(number)
                made.append(0)
                made += event
                number = (number + 1) & 0xFF
            else:
                made += packets.frame(number, b"\0" + event)
                number = (number + packets.packets_of(size)) & 0xFF
            if event[4] == rotate:
                place.file = event[HEADER + 8 : -4].decode("utf-8", "replace")
                place.position = int.from_bytes(event[HEADER : HEADER + 8], "little")
            elif end := int.from_bytes(event[13:17], "little"):
                place.position = end
            if len(made) >= _PIECE:
                line.socket.sendall(made)
                self.source.sent += len(made)
                made.clear()
        line.socket.sendall(made)
        self.source.sent += len(made)
        line.number = number

    def _stay(self, line: _Line, place: _Place, silence: float) -> None:
        """Nothing is left: say so from time to time, until the receiver goes."""
        with selectors.DefaultSelector() as selector:
            selector.register(line.socket, selectors.EVENT_READ)
            while not self._over:
                if selector.select(silence):
                    line.read(_AFTER_LOGIN)  # it has nothing to say any more but farewell
                    return
                line.write(b"\0" + self._heartbeat(place))

    def _heartbeat(self, place: _Place) -> bytes:
        body = place.file.encode()
        length = HEADER + len(body) + 4
        plain = _header.pack(0, Kind.HEARTBEAT, self.identity.server_id, length, place.position, 0) + body
        return plain + crc32(plain).to_bytes(4, "little")


def _hang_up(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
