"""Cuts a connection after a time: a socket's own timeout starts again with each byte that drips in."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deadline(sock: socket.socket, seconds: float) -> Iterator[threading.Event]:
    """For the block's time at most `seconds`, then the socket is shut; the event says whether that was so."""
    late = threading.Event()

    def cut() -> None:
        late.set()
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # already closed

    timer = threading.Timer(max(seconds, 0.0), cut)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        timer.join()
