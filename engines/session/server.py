"""The runner's control socket: journal lines and telemetry go out, requests come in.

It decides nothing. Who is calling comes from the kernel (SO_PEERCRED, unix(7)); what another login may do to the
runner by connecting, asking or not reading is bounded here, so that the operator always gets through.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from engines.errors import RestoreError
from engines.session.events import Actor
from engines.session.peers import Identify, only_us, trusted_account
from engines.session.sharing import watchers_of
from engines.session.wire import LOG_PIECE, REQUEST_LIMIT, pack, unpack

MOST_CLIENTS = 64
MOST_OF_OTHERS = 32  # of these, consoles of other accounts than the runner's
MOST_OF_ONE = 8  # connections of one other account, also before they have said who they are
HELLO_WITHIN = 5.0  # seconds for a console to say who it is
QUEUE = 20_000  # lines a slow console may be behind before it is let go; it comes back and is told everything
WAITING = 32 << 20  # bytes of that, besides what happened before it came
ANSWERS = 1 << 20  # bytes waiting for a console before its next request is read


@dataclass(eq=False, slots=True)
class _Client:
    actor: Actor
    writer: asyncio.StreamWriter
    ours: bool  # of the runner's account, or root
    outgoing: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    waiting: int = 0  # bytes in `outgoing`


Handle = Callable[[dict[str, object], Actor], Awaitable[dict[str, object]]]


class Server:
    """Serves one session. All methods belong to the event loop's thread."""

    def __init__(
        self,
        session: str,
        folder: Path,
        lines: Callable[[], list[bytes]],
        handle: Handle,
        identify: Identify = only_us,
    ) -> None:
        self._session = session
        self._identify = identify
        self._folder = folder
        self._lines = lines
        self._handle = handle
        self._clients: set[_Client] = set()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._others: Counter[int] = Counter()  # connections of each other account

    async def open(self, path: Path) -> None:
        old = os.umask(0o177)  # the socket is ours alone from its first moment
        try:
            self._server = await asyncio.start_unix_server(self._serve, path, limit=REQUEST_LIMIT)
        finally:
            os.umask(old)
        group = watchers_of(self._folder)
        if group is not None:
            _open_to(path, group)

    async def close(self) -> None:
        """Send what is still queued, then let everybody go."""
        if self._server is not None:
            self._server.close()
        left = tuple(self._clients)
        if left:  # all at once: a stopped console must not keep the others, and the end, waiting
            await asyncio.wait([asyncio.create_task(client.outgoing.join()) for client in left], timeout=2)
        for client in left:
            client.writer.close()
        if self._serving:
            await asyncio.wait(self._serving, timeout=2)

    def consoles(self) -> set[str]:
        """The consoles that are connected now."""
        return {client.actor.console for client in self._clients}

    def send(self, message: Mapping[str, object]) -> None:
        packed = pack(message)
        for client in tuple(self._clients):
            self._queue(client, packed)

    def _queue(self, client: _Client, packed: bytes) -> None:
        try:
            if client.outgoing.qsize() and client.waiting > WAITING:
                raise asyncio.QueueFull  # noqa: TRY301 - full by bytes is full too
            client.outgoing.put_nowait(packed)
            client.waiting += len(packed)
        except asyncio.QueueFull:
            self._clients.discard(client)
            client.writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pump: asyncio.Task[None] | None = None
        client: _Client | None = None
        serving = asyncio.current_task()
        if serving is not None:
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)
        uid = _peer_uid(writer)
        others = not trusted_account(uid)
        self._others[uid] += others
        try:
            actor = await self._welcome(reader, uid)
            if actor is None:
                return
            client = _Client(actor, writer, ours=not others)
            self._queue(client, pack({"session": self._session, "folder": str(self._folder), "you": _told(actor)}))
            known = self._lines()
            # One piece in the queue, however long the session is: its limits are for what comes later.
            self._queue(client, b"".join(pack({"line": line.decode()}) for line in known))
            client.waiting = 0
            self._queue(client, pack({"ready": len(known)}))
            self._clients.add(client)
            pump = asyncio.create_task(self._pump(client))
            while line := await reader.readline():
                self._queue(client, pack(await self._answer(line, actor)))
                if client.waiting > ANSWERS:  # who asks faster than it reads waits
                    sent = asyncio.create_task(client.outgoing.join())
                    await asyncio.wait((sent, pump), return_when=asyncio.FIRST_COMPLETED)
                    sent.cancel()
        except (ConnectionError, ValueError, asyncio.LimitOverrunError, asyncio.IncompleteReadError):
            pass  # a console that broke off, or a line over the limit: it is let go, and nothing else changes
        finally:
            self._others[uid] -= others
            if client is not None:
                self._clients.discard(client)
            if pump is not None:
                pump.cancel()
            writer.close()

    async def _welcome(self, reader: asyncio.StreamReader, uid: int) -> Actor | None:
        if not self._has_room(uid):
            return None
        try:
            hello = unpack(await asyncio.wait_for(reader.readline(), HELLO_WITHIN)).get("hello")
        except (RestoreError, TimeoutError):
            return None
        if not isinstance(hello, dict):
            return None
        said = {key: str(hello.get(key, ""))[:100] for key in ("name", "console", "connection", "sudo")}
        return self._identify(uid, said)

    def _has_room(self, uid: int) -> bool:
        """Other accounts get a part of the places only, each of them a few: the operator's own are kept free."""
        if trusted_account(uid):
            return len(self._clients) < MOST_CLIENTS
        others = sum(not client.ours for client in self._clients)
        return self._others[uid] <= MOST_OF_ONE and others < MOST_OF_OTHERS

    async def _pump(self, client: _Client) -> None:
        with suppress(ConnectionError):
            while True:
                packed = await client.outgoing.get()
                client.writer.write(packed)
                await client.writer.drain()
                client.waiting = max(client.waiting - len(packed), 0)
                client.outgoing.task_done()

    async def _answer(self, line: bytes, actor: Actor) -> dict[str, object]:
        number: object = None
        try:
            request = unpack(line)
            number = request.get("id")
            if request.get("do") == "log":
                return {"id": number, **self._log_piece(request)}
            return {"id": number, **await self._handle(request, actor)}
        except RestoreError as error:
            return {"id": number, "error": error.message, "hint": error.hint, "code": error.exit_code}

    def _log_piece(self, request: dict[str, object]) -> dict[str, object]:
        name, offset = request.get("file"), request.get("offset", 0)
        if not isinstance(name, str) or Path(name).name != name or "\0" in name or not isinstance(offset, int):
            raise RestoreError("That is not a log of this session.", "Choose a step that has one.")
        try:
            fd = os.open(self._folder / "logs" / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(fd, "rb") as file:
                end = file.seek(0, os.SEEK_END)
                start = offset if offset >= 0 else max(end + offset, 0)
                file.seek(min(start, end))
                piece = file.read(LOG_PIECE)
        except OSError as error:
            raise RestoreError(
                f"The log can't be read: {error.strerror or error}.", "It may not have begun yet."
            ) from error
        at = min(start, end)
        # A letter cut by the piece's end belongs to the next piece; one cut by the log's end is shown as it is.
        text, used = codecs.utf_8_decode(piece, "replace", len(piece) < LOG_PIECE)
        return {"text": text, "offset": at, "next": at + used, "size": end}


def _open_to(path: Path, group: int) -> None:
    os.chown(path, -1, group)
    path.chmod(0o660)  # to connect is to write (unix(7))


def _told(actor: Actor) -> dict[str, str]:
    """What a console is told of itself, so that it asks for no name where one is known."""
    return {"name": actor.name, "login": actor.login, "how": actor.how}


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    connection: socket.socket = writer.get_extra_info("socket")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", credentials)
    return int(uid)
