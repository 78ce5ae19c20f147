"""Listens where the target can reach it, and keeps the threads: one that accepts, and one for each connection.

Which events are sent is the caller's affair, and what is said to a receiver that of `conversation`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address
from typing import Final

from engines.errors import RestoreError
from engines.hooks import Say
from engines.mysql.source.answers import Identity
from engines.mysql.source.conversation import Conversation, Events
from engines.mysql.source.line import Line
from engines.mysql.source.login import Credentials, made_credentials
from engines.text import drawable

__all__ = ["Credentials", "Events", "Identity", "Source", "made_credentials", "serving"]

_AT_ONCE: Final = 8  # connections; the target needs one, and two for a moment when it comes back
_PAUSE: Final = 0.1  # seconds after an accept that failed: no descriptors are left
_KEPT: Final = 100  # reasons of refusals: the last ones
_ENDING: Final = 1.0  # seconds for all threads
_FORMER: Final = 10.0  # seconds that a receiver waits for the one before it to be gone
_SILENCE: Final = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 6}  # seconds, seconds, times


class Source:
    """What has become of a source so far. Read it from any thread."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # held by the one that is served
        self._served: Line | None = None
        self._sent = 0
        self._asked = 0
        self._refused: deque[str] = deque(maxlen=_KEPT)
        self._failure: Exception | None = None
        self._connected = False

    @property
    def sent(self) -> int:
        """Bytes of events that were handed to the network, of all connections. What is under way counts too."""
        return self._sent

    @property
    def asked(self) -> int:
        """How many times events were asked for: one more at each reconnection."""
        return self._asked

    @property
    def refused(self) -> tuple[str, ...]:
        """Why connections were turned away, the last 100, as `ADDRESS: reason`. They hold no secret."""
        with self._lock:
            return tuple(self._refused)

    @property
    def failure(self) -> Exception | None:
        """Why events came to an end before their end: RestoreError, or another error, which is a mistake of ours."""
        return self._failure

    @property
    def connected(self) -> bool:
        """Is a receiver being served, with events or heartbeats?"""
        return self._connected

    def refuse(self, reason: str) -> None:
        with self._lock:
            self._refused.append(reason)

    def begin(self, line: Line) -> bool:
        """This line's turn to be served. The one before it is cut: its receiver has come back."""
        with self._lock:
            former, self._served = self._served, line
            self._asked += 1
        if former is not None:
            former.cut()
        if not self._turn.acquire(timeout=_FORMER):
            return False
        self._connected = True
        return True

    def end(self, line: Line) -> None:
        with self._lock:
            if self._served is line:
                self._served = None
        self._connected = False
        self._turn.release()

    def add(self, size: int) -> None:
        self._sent += size  # only ever by the one that is served

    def fail(self, error: Exception) -> None:
        self._failure = error


@contextmanager
def serving(
    identity: Identity,
    credentials: Credentials,
    events: Events,
    *,
    bind: str,
    allowed: frozenset[str],
    tls: ssl.SSLContext | None,
    say: Say,
    port: int = 0,
) -> Iterator[Source]:
    """A source that answers as long as this lasts. All its threads end with it.

    `bind`: the IP address to listen on, at `port`, or one that is free; `allowed`: the IP addresses that are answered.
    `tls`: see `certificate` for what it proves; with it, nobody logs in over a plain connection. `events` and `say` are
    called from threads. Raises RestoreError where it can't listen.
    """
    try:
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        listener = socket.create_server((bind, port), family=family, backlog=_AT_ONCE)
    except OSError as error:
        raise RestoreError(
            f"Nothing can listen on {drawable(bind)}, port {port or 'any'}: {error.strerror or error}. "
            "Nothing was changed.",
            "Set replay_address to an address of this machine that the target can reach, replay_port to a free port.",
        ) from error
    source = Source(listener.getsockname()[1])
    people = frozenset(_plain(one) for one in allowed)
    door = _Door(listener, source, people, identity, credentials, events, tls, say)
    door.open()
    try:
        yield source
    finally:
        door.close()


class _Door:
    """Accepts, and ends what it accepted."""

    def __init__(
        self,
        listener: socket.socket,
        source: Source,
        allowed: frozenset[str],
        identity: Identity,
        credentials: Credentials,
        events: Events,
        tls: ssl.SSLContext | None,
        say: Say,
    ) -> None:
        self._listener = listener
        self._source = source
        self._allowed = allowed
        self._about = (identity, credentials, events, tls, source, say)
        self._say = say
        self._lock = threading.Lock()
        self._closed = False
        self._talks: dict[Line, threading.Thread] = {}
        self._accepting = threading.Thread(target=self._accept, name="source", daemon=True)

    def open(self) -> None:
        self._accepting.start()

    def close(self) -> None:
        deadline = time.monotonic() + _ENDING
        with self._lock:
            self._closed = True
            talks = dict(self._talks)
        # accept() is not woken by closing the socket that it waits on.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in talks:
            line.cut()
        for thread in (self._accepting, *talks.values()):
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                self._say("The source has ended, but a thread of it still waits for the logs that it reads.")

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                accepted, address = self._listener.accept()
            except OSError:
                with self._lock:
                    if self._closed:
                        return
                time.sleep(_PAUSE)
                continue
            number += 1
            self._take(accepted, _plain(address[0]), number)

    def _take(self, accepted: socket.socket, peer: str, number: int) -> None:
        if peer not in self._allowed:
            self._turn_away(accepted, f"{peer}: this address is not the target's")
            return
        with contextlib.suppress(OSError):  # it may have left
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _SILENCE.items():
                accepted.setsockopt(socket.IPPROTO_TCP, option, value)
        line = Line(accepted)
        identity, credentials, events, tls, source, say = self._about
        talk = Conversation(line, peer, number, identity, credentials, events, tls, source, say)
        thread = threading.Thread(target=self._hold, args=(line, talk), name=f"source-{number}", daemon=True)
        with self._lock:
            full = len(self._talks) >= _AT_ONCE
            if not full and not self._closed:
                self._talks[line] = thread
                thread.start()
                return
        if full:
            self._turn_away(accepted, f"{peer}: {_AT_ONCE} connections are open already")
        else:
            accepted.close()

    def _hold(self, line: Line, talk: Conversation) -> None:
        try:
            talk.hold()
        finally:
            with self._lock:
                self._talks.pop(line, None)

    def _turn_away(self, accepted: socket.socket, reason: str) -> None:
        accepted.close()
        self._source.refuse(reason)


def _plain(address: str) -> str:
    """One spelling of an IP address: an IPv4 one that comes in IPv6 is that IPv4 one, and has no zone."""
    found = ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)
