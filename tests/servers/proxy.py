"""A small TCP proxy in front of a server: cuts, refuses and delays, as a bad network does."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_PIECE = 64 << 10


class Proxy:
    """Listens on the loopback interface, at `here`, and passes everything on to `host`:`port`."""

    def __init__(self, host: str, port: int, here: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self._to = (host, port)
        self._listener = socket.create_server(here)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._left: int | None = None  # bytes to the client before everything is cut
        self._each: int | None = None  # the same, again and again
        self.cuts = 0  # because of that
        self._pause = 0.0
        self._refusing = False
        self._closed = False
        self._spawn(self._accept)

    def _spawn(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]  # methods of ours
        self._threads.append(thread)
        thread.start()

    def cut(self) -> None:
        """Cut every connection now, without a goodbye. New ones are taken again."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def cut_after(self, size: int) -> None:
        """Cut every connection once `size` more bytes have come from the server."""
        self._left = size

    def cut_each(self, size: int) -> None:
        """Cut every connection each time that `size` more bytes have come from the server."""
        self._left = self._each = size

    def lead_to(self, port: int) -> None:
        """Another server answers from now on; who is connected is cut."""
        self._to = (self._to[0], port)
        self.cut()

    def refuse(self, refusing: bool = True) -> None:
        """Take no new connections, or take them again."""
        self._refusing = refusing

    def delay(self, seconds: float) -> None:
        """Hold each piece back for so long, in both directions."""
        self._pause = seconds

    def close(self) -> None:
        self._closed = True
        # accept() is not woken by closing the socket that it waits on.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _address = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                near.close()
                continue
            try:
                far = socket.create_connection(self._to, 10)
            except OSError:
                near.close()
                continue
            far.settimeout(None)  # a server may be silent for long
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets |= {near, far}
            self._spawn(self._pass_on, near, far, False)
            self._spawn(self._pass_on, far, near, True)

    def _pass_on(self, source: socket.socket, to: socket.socket, from_server: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                if self._pause:
                    time.sleep(self._pause)
                if from_server and self._left is not None:
                    self._left -= len(piece)
                    if self._left <= 0:
                        self._left = self._each
                        self.cuts += 1
                        self.cut()
                        break
                to.sendall(piece)
        for one in (source, to):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        source.close()


@contextmanager
def proxied(port: int, host: str = "127.0.0.1", here: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[Proxy]:
    """A proxy in front of a server, closed at the end."""
    proxy = Proxy(host, port, here)
    try:
        yield proxy
    finally:
        proxy.close()
