"""One receiver from its greeting to its last event: login, questions, events, heartbeats.

Whatever it sends that makes no sense ends this conversation, and nothing else.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from engines.errors import RestoreError
from engines.hooks import Say
from engines.mysql.source import login, packets
from engines.mysql.source.answers import FATAL, Answer, Identity, answer
from engines.mysql.source.framing import Framing
from engines.mysql.source.line import Gone, Line
from engines.mysql.source.login import Credentials
from engines.mysql.source.packets import BadPacket, DumpRequest
from engines.text import drawable

LOGIN_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 60.0  # between login and the request for events
_FIRST: Final = 8 << 10  # bytes in a packet before login
_LATER: Final = 64 << 10
_SHORTEST_PERIOD: Final = 0.05  # seconds between heartbeats, whatever is asked for
_REPLY_SECONDS: Final = 10.0

Events = Callable[[str, int], Iterator[bytes]]
"""(log file, position) as COM_BINLOG_DUMP asks -> whole events, header to checksum, in order.

The artificial ROTATE and the format description are among them. An empty one means: nothing yet, and lets a heartbeat
through; give one at least each second where many events are passed over. RestoreError ends the replication.
"""


class Ledger(Protocol):
    """Keeps what became of the conversations. Called from their threads."""

    def refuse(self, reason: str) -> None: ...
    def begin(self, line: Line) -> bool: ...
    def end(self, line: Line) -> None: ...
    def add(self, size: int) -> None: ...
    def fail(self, error: Exception) -> None: ...


@dataclass(frozen=True, slots=True)
class Conversation:
    """With one receiver at `peer`, an IP address."""

    line: Line
    peer: str
    number: int
    identity: Identity
    credentials: Credentials
    events: Events
    tls: ssl.SSLContext | None
    ledger: Ledger
    say: Say

    def hold(self) -> None:
        """Until the receiver leaves, is refused, or the line is cut."""
        try:
            if self._log_in(time.monotonic() + LOGIN_SECONDS):
                self._attend()
        except BadPacket as error:
            self.ledger.refuse(f"{self.peer}: {error}")
        except Gone:
            pass  # receivers come and go: the caller reads from `connected`
        finally:
            self.line.close()

    def _log_in(self, deadline: float) -> bool:
        plugin, nonce = login.plugin_of(self.identity.version.flavour), login.nonce()
        hello = packets.greeting(self.identity.told_version, self.number, nonce, plugin, tls=self.tls is not None)
        self.line.reply((hello,), deadline)
        try:
            given = self._response(deadline)
            if self.tls is not None and not self.line.encrypted:
                return self._turn_away("a plain connection, where TLS is needed", 3159, "HY000", _PLAIN, deadline)
            scramble = given.scramble
            if given.plugin != plugin:  # its first answer was another plugin's: what it proves is not known here
                nonce = login.nonce()
                self.line.reply((packets.auth_switch(plugin, nonce),), deadline)
                scramble = self.line.receive(_FIRST, deadline)
        except Gone as gone:
            self.ledger.refuse(f"{self.peer}: no login ({gone})")
            raise
        if not login.proves(scramble, given.user, self.credentials, plugin, nonce):
            user = drawable(given.user[:64].decode(errors="replace"))
            denied = f"Access denied for user '{user}'@'{self.peer}' (using password: {'YES' if scramble else 'NO'})"
            return self._turn_away("wrong user or password", 1045, "28000", denied, deadline)
        fast = (login.FAST_OK,) if plugin == login.CACHING_SHA2 else ()
        self.line.reply((*fast, packets.ok()), deadline)
        return True

    def _response(self, deadline: float) -> packets.Response:
        first = self.line.receive(_FIRST, deadline)
        if self.tls is not None and packets.wants_tls(first):
            self.line.secure(self.tls, deadline)
            first = self.line.receive(_FIRST, deadline)
        return packets.response(first)

    def _turn_away(self, reason: str, code: int, state: str, message: str, deadline: float) -> bool:
        self.ledger.refuse(f"{self.peer}: {reason}")
        self.line.reply((packets.error(code, state, message),), deadline)
        return False

    def _attend(self) -> None:
        """Answers questions until events are asked for."""
        period = 0.0
        while True:
            payload = self.line.receive(_LATER, time.monotonic() + _IDLE_SECONDS)
            match payload[:1]:
                case b"":
                    raise BadPacket("it sent an empty command")
                case _ if payload[0] == packets.QUIT:
                    return
                case _ if payload[0] == packets.BINLOG_DUMP:
                    self._serve(packets.dump_request(payload), period)
                    return
                case _:
                    found = self._answered(payload)
                    period = period if found.heartbeat is None else found.heartbeat
                    self.line.reply(found.payloads, time.monotonic() + _REPLY_SECONDS)

    def _answered(self, payload: bytes) -> Answer:
        command = payload[0]
        if command == packets.QUERY:
            statement = payload[1:].decode(errors="replace")
            found = answer(statement, self.identity, int(time.time()))
            if found.unknown:
                self.say(f"The receiver asks what is not known here: {drawable(statement)[:200]}")
            return found
        if command in (packets.PING, packets.REGISTER_REPLICA):
            return Answer((packets.ok(),))
        if command == packets.BINLOG_DUMP_GTID:
            return Answer((packets.error(FATAL, "HY000", _NO_GTID),))
        self.say(f"The receiver sends command {command}, which is not known here.")
        return Answer((packets.error(1047, "08S01", "Unknown command"),))

    def _serve(self, request: DumpRequest, period: float) -> None:
        """The events, then heartbeats without end: the receiver leaves, or the line is cut."""
        if not self.ledger.begin(self.line):
            self.line.reply((packets.error(1040, "08004", "Another receiver is still served"),), _soon())
            return
        framing = Framing(self.identity.server_id, self.identity.checksums, request.file, request.position)
        beating = max(period, _SHORTEST_PERIOD) if period else None
        last = time.monotonic()
        try:
            for batch in framing.batches(self.events(request.file, request.position)):
                now = time.monotonic()
                if batch:
                    self.line.send(batch)
                    self.ledger.add(len(batch))
                    last = now
                elif self.line.left(0):
                    return
                elif beating is not None and now - last >= beating:
                    self.line.send(framing.heartbeat())
                    last = now
            while not self.line.left(None if beating is None else last + beating - time.monotonic()):
                if beating is not None and time.monotonic() - last >= beating:
                    self.line.send(framing.heartbeat())
                    last = time.monotonic()
        except Gone:
            raise
        except Exception as error:
            known = _known(error)
            self.ledger.fail(known or error)
            self.line.send(framing.numbered(packets.error(FATAL, "HY000", known.message if known else _BROKE)))
            if known is None:
                raise
        finally:
            self.ledger.end(self.line)


_PLAIN: Final = "Connections using insecure transport are prohibited: connect with TLS"
_NO_GTID: Final = "This source knows no GTIDs: connect with a file and a position, and SOURCE_AUTO_POSITION=0."
_BROKE: Final = "The source broke off"


def _known(error: Exception) -> RestoreError | None:
    """What the operator can act on."""
    if isinstance(error, RestoreError):
        return error
    if isinstance(error, OSError):
        return RestoreError(
            f"The logs can't be read on: {error.strerror or type(error).__name__}. What was sent before stays applied.",
            "See that their files are there and whole, and go on.",
        )
    return None


def _soon() -> float:
    return time.monotonic() + _REPLY_SECONDS
