"""A console's end of the control socket: folds what the runner says, and asks.

Keeps no truth of its own: `state` is the fold of the lines received, made with the same function as the record.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engines.errors import Refused, RestoreError, UsageError
from engines.session import commands as c
from engines.session.events import Actor, Entry, How, decode
from engines.session.state import SessionState, after
from engines.session.wire import LINE_LIMIT, REQUEST_LIMIT, pack, unpack
from engines.session.work import Progress

ANSWER_WITHIN = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class LogPiece:
    """A window on a step's log."""

    text: str
    offset: int
    next: int
    size: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something the runner could not do that is not part of the session's state."""

    text: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The line to the runner is cut: the session ended, or its runner died."""


Said = Entry | Progress | Trouble | Gone


class Client:
    """One connection to a runner. Make it with `connect`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, console: str) -> None:
        self._reader = reader
        self._writer = writer
        self._answers: dict[int, asyncio.Future[dict[str, object]]] = {}
        self._said: asyncio.Queue[Said] = asyncio.Queue()
        self._ready = asyncio.Event()
        self._number = 0
        self._listener = asyncio.create_task(self._listen())
        self.console = console
        self.state = SessionState()
        self.session = ""
        self.folder = Path()
        self.me = Actor("", "", console=console)  # as the runner knows us
        self.alive = True

    async def close(self) -> None:
        self._listener.cancel()
        await asyncio.wait((self._listener,))  # whoever awaits it can't tell its cancellation from their own (Ctrl-C)
        if not self._listener.cancelled():
            self._listener.result()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def ready(self) -> None:
        """Wait until everything that happened so far has been folded."""
        await asyncio.wait_for(self._ready.wait(), ANSWER_WITHIN)

    @property
    def quiet(self) -> bool:
        """Has everything that was said been taken?"""
        return self._said.empty()

    async def said(self) -> AsyncIterator[Said]:
        """What the runner says from now on, in order; `state` has each entry folded in already. Ends after Gone."""
        while True:
            item = await self._said.get()
            yield item
            if isinstance(item, Gone):
                return

    async def do(self, command: c.Command) -> None:
        """Ask for `command`. Raises what the runner answers when it is refused."""
        await self._ask(c.to_wire(command))

    async def log(self, file: str, offset: int) -> LogPiece:
        """A piece of a step's log from `offset`; a negative one counts from the end."""
        answer = await self._ask({"do": "log", "file": file, "offset": offset})
        return msgspec.convert({key: answer.get(key) for key in ("text", "offset", "next", "size")}, LogPiece)

    async def _ask(self, request: dict[str, object]) -> dict[str, object]:
        if not self.alive:
            raise _gone()
        self._number += 1
        number = self._number  # several may be under way at once
        packed = pack({"id": number, **request})
        if len(packed) > REQUEST_LIMIT:
            raise UsageError(
                f"That is too long: {len(packed):,} bytes. Nothing was sent.",
                f"At most {REQUEST_LIMIT:,}: shorten it, or keep it in a file and name that.",
            )
        answer: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            self._writer.write(packed)
            await self._writer.drain()
            reply = await asyncio.wait_for(answer, ANSWER_WITHIN)
        except TimeoutError as error:
            raise RestoreError(
                "The runner did not answer. Whether it did what was asked is not known.",
                "Look at the steps; attach again: reinstate attach.",
            ) from error
        except ConnectionError as error:
            raise _gone() from error
        finally:
            self._answers.pop(number, None)
        if "error" in reply:
            kinds = {cls.exit_code: cls for cls in (RestoreError, UsageError, Refused)}
            kind = kinds.get(msgspec.convert(reply.get("code", 1), int), RestoreError)
            raise kind(str(reply["error"]), str(reply.get("hint", "")))
        return reply

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                self._take(unpack(line))
        except (ConnectionError, ValueError, asyncio.IncompleteReadError, RestoreError) as error:
            self._said.put_nowait(Trouble(f"The line to the runner broke: {error}"))
        finally:
            self.alive = False
            self._ready.set()
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionResetError("the runner is gone"))
            self._said.put_nowait(Gone())

    def _take(self, message: dict[str, object]) -> None:
        match message:
            case {"line": str(line)}:
                entry = decode(line.encode())
                if entry.seq == self.state.last_seq + 1:
                    self.state = after(self.state, entry)
                    if self._ready.is_set():
                        self._said.put_nowait(entry)
            case {"progress": dict(progress)}:
                self._said.put_nowait(msgspec.convert(progress, Progress))
            case {"trouble": str(text)}:
                self._said.put_nowait(Trouble(text))
            case {"id": int(number)}:
                answer = self._answers.get(number)
                if answer is not None and not answer.done():
                    answer.set_result(message)
            case {"folder": str(folder)}:
                self.folder = Path(folder)
                self.session = str(message.get("session", ""))
                you = msgspec.convert(message.get("you", {}), dict[str, str])
                how = How(you.get("how", How.ASSERTED))
                self.me = Actor(you.get("name", ""), you.get("login", ""), how, self.console)
            case {"ready": int()}:
                self._ready.set()


def _gone() -> RestoreError:
    return RestoreError(
        "The runner is gone. Nothing new was begun.",
        "See what is true, then go on or undo: reinstate resume.",
    )


def _ssh_address() -> str:
    return os.environ.get("SSH_CONNECTION", "").partition(" ")[0]


def behind_sudo() -> str:
    """The login that became root here, as sudo says; empty where we are not root. Root could say anything."""
    return os.environ.get("SUDO_USER", "") if os.geteuid() == 0 else ""


async def connect(socket: str, name: str) -> Client:
    """Connect to a runner as `name`, and fold what happened so far.

    The name counts only where the runner knows no better: for its own account, and for root.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(socket, limit=LINE_LIMIT)
    except OSError as error:
        raise RestoreError(
            f"The runner's socket {socket} does not answer: {error.strerror}.",
            "Its runner may have died: reinstate resume. Or it belongs to another login.",
        ) from error
    console = secrets.token_hex(2)
    said = {"name": name, "console": console, "connection": _ssh_address(), "sudo": behind_sudo()}
    writer.write(pack({"hello": said}))
    client = Client(reader, writer, console)
    try:
        await client.ready()
    except TimeoutError as error:
        await client.close()
        raise RestoreError(
            f"Something holds the runner's socket {socket} but says nothing.",
            "Look whether its runner is stopped or stuck (ps); attach again: reinstate attach.",
        ) from error
    if not client.alive:
        await client.close()
        raise Refused(
            "The runner let this console go.",
            "It serves the login that started it, root, and the group `watchers`, a few consoles of each.",
        )
    return client
