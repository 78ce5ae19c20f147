"""One connection: packets in with a limit and a deadline, bytes out, TLS where asked for. Others may cut it."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Final

from engines.mysql.source.packets import BadPacket, chained

_DROPPED: Final = 64 << 10  # bytes read at once from a receiver that should be silent
_SHORTEST: Final = 0.001  # seconds: a socket takes a timeout of 0 for "do not wait"


class Gone(Exception):
    """The other end has left, or the line was cut, or there was a time limit. Says which."""


class Line:
    """Owned by one thread, which reads and writes. `cut` is for the others."""

    def __init__(self, accepted: socket.socket) -> None:
        self._socket = accepted
        self._cut = threading.Event()
        self._next = 0  # number of the next packet out
        self.encrypted = False

    def secure(self, context: ssl.SSLContext, deadline: float) -> None:
        """The TLS handshake, the source being its server."""
        self._wait_until(deadline)
        try:
            wrapped = context.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
            self._socket = wrapped
            if self._cut.is_set():  # before the new socket was there to be cut
                raise Gone("cut")
            wrapped.do_handshake()
        except OSError as error:
            raise Gone(f"no TLS came about ({_said(error)})") from error
        self.encrypted = True

    def receive(self, limit: int, deadline: float) -> bytes:
        """One packet of at most `limit` bytes, before `deadline` (of time.monotonic). Raises BadPacket, Gone."""
        head = self._exactly(4, deadline)
        size = int.from_bytes(head[:3], "little")
        if size > limit:
            raise BadPacket(f"it sent a packet of {size:,} bytes, and {limit:,} are the most here")
        self._next = head[3] + 1
        return self._exactly(size, deadline)

    def reply(self, payloads: Iterable[bytes], deadline: float) -> None:
        """Short packets, numbered on from what was received last."""
        several = tuple(payloads)
        self._wait_until(deadline)
        self._send(chained(several, self._next))
        self._next += len(several)

    def send(self, framed: bytes | bytearray) -> None:
        """All of it, however long the other end takes: a receiver rests where its disk is full, for one."""
        self._socket.settimeout(None)
        self._send(framed)

    def left(self, seconds: float | None) -> bool:
        """Waits so long (None: without end) for the other end to leave. What it says meanwhile is dropped."""
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        if not waiting.poll(None if seconds is None else max(0.0, seconds) * 1000):
            return self._cut.is_set()
        self._socket.settimeout(0)
        try:
            return not self._socket.recv(_DROPPED)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True

    def cut(self) -> None:
        """From another thread: whoever waits on this line wakes up."""
        self._cut.set()
        with contextlib.suppress(OSError):
            # Not SSLSocket's own: it forgets its keys, and a send under way would go on in plain.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()

    def _exactly(self, size: int, deadline: float) -> bytes:
        have = bytearray()
        while len(have) < size:
            self._wait_until(deadline)
            try:
                piece = self._socket.recv(size - len(have))
            except OSError as error:
                raise Gone(_said(error)) from error
            if not piece:
                raise Gone("it left")
            have += piece
        return bytes(have)

    def _send(self, content: bytes | bytearray) -> None:
        try:
            self._socket.sendall(content)
        except OSError as error:
            raise Gone(_said(error)) from error

    def _wait_until(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise Gone("it took too long")
        self._socket.settimeout(max(left, _SHORTEST))


def _said(error: OSError) -> str:
    return "it took too long" if isinstance(error, TimeoutError) else str(error.strerror or type(error).__name__)
