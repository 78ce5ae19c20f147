"""The runner's socket: whatever comes in over it, the session goes on unharmed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from engines.errors import Refused, RestoreError, UsageError
from engines.session import client as client_module
from engines.session import commands as c
from engines.session import server as server_module
from engines.session.client import Client, Trouble, connect
from engines.session.events import Actor
from engines.session.server import Server
from engines.session.wire import LOG_PIECE, REQUEST_LIMIT, pack, unpack
from tests.engines.session.examples import begun, lines, runner_started
from tests.engines.session.toy_session import LOGIN, someone_else

Handle = Callable[[dict[str, object], Actor], Awaitable[dict[str, object]]]
LINES = lines(begun(), runner_started())


class Runner:
    """A server on a socket, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "s.sock"
        self.asked: list[tuple[dict[str, object], Actor]] = []
        (folder / "logs").mkdir()
        self.server = Server("s", folder, lambda: list(LINES), self.handle)

    async def handle(self, request: dict[str, object], actor: Actor) -> dict[str, object]:
        self.asked.append((request, actor))
        if request.get("do") == "Undo":
            raise Refused("No. Nothing was changed.", "Do something else.")
        return {"ok": True}

    async def is_unharmed(self) -> bool:
        """A new console is told everything, and can ask."""
        console = await connect(str(self.path), "ana")
        before = len(self.asked)
        await console.do(c.Note("still there"))
        told = console.state.last_seq == len(LINES)
        await console.close()
        return told and len(self.asked) == before + 1


@pytest.fixture
async def runner(open_folder: Path) -> AsyncIterator[Runner]:
    made = Runner(open_folder)
    await made.server.open(made.path)
    yield made
    await made.server.close()


async def raw(runner: Runner) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(str(runner.path))


HELLO = pack({"hello": {"name": "x", "console": "x"}})


async def let_go(reader: asyncio.StreamReader) -> bytes:
    """What was said before the line was cut."""
    async with asyncio.timeout(20):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def test_the_socket_is_its_owners_alone(runner: Runner) -> None:
    assert runner.path.stat().st_mode & 0o777 == 0o600


async def test_a_console_is_told_everything_first_and_who_it_is_comes_from_the_kernel(runner: Runner) -> None:
    console = await connect(str(runner.path), "bob")
    assert console.state.last_seq == 2
    assert console.folder == runner.path.parent
    await console.do(c.Note("hello"))
    request, actor = runner.asked[0]
    assert request["text"] == "hello"
    assert (actor.name, actor.login, actor.console) == ("bob", LOGIN, console.console)
    await console.close()


@pytest.mark.parametrize(
    "first",
    [
        b"\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xff\xfe\x00\n",
        b'{"hello": "me"}\n',
        b'{"hello": []}\n',
        b"[]\n",
        b"[" * 60_000 + b"\n",
        b'{"do":"Undo","reason":"before any hello"}\n',
        b"x" * (REQUEST_LIMIT * 4),
        b"x" * 10_000_000,
    ],
    ids=lambda first: repr(first[:12]),
)
async def test_what_is_no_greeting_is_let_go_and_told_nothing(first: bytes, runner: Runner) -> None:
    reader, writer = await raw(runner)
    try:
        writer.write(first)
        await writer.drain()
    except ConnectionError:
        pass
    assert await let_go(reader) == b""
    await end(writer)
    assert runner.asked == []
    assert await runner.is_unharmed()


@pytest.mark.parametrize("name", [None, 7, {"a": 1}, "x" * 10_000, "\x1b]0;title\x07", "caf\u00e9 \u202e"])
async def test_an_odd_name_is_kept_as_text_of_a_bounded_length(name: object, runner: Runner) -> None:
    reader, writer = await raw(runner)
    writer.write(pack({"hello": {"name": name, "console": name, "connection": name}}) + pack({"id": 1, "do": "Note"}))
    while not unpack(await reader.readline()).get("ok"):
        pass
    assert len(runner.asked[0][1].name) <= 100
    await end(writer)


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"garbage\n",
        b"\xff\xfe\n",
        b"[]\n",
        b"7\n",
        b'{"id": 1, "do": "log"}\n',
        b'{"id": 1, "do": "log", "file": 7}\n',
        b'{"id": 1, "do": "log", "file": "x", "offset": "0"}\n',
        b'{"id": 1, "do": "log", "file": "x", "offset": 1e9}\n',
        b"[" * 60_000 + b"\n",
    ],
)
async def test_an_odd_request_is_answered_with_an_error_and_the_line_stays(line: bytes, runner: Runner) -> None:
    reader, writer = await raw(runner)
    writer.write(HELLO + line)
    while "error" not in (answer := unpack(await reader.readline())):
        pass
    assert answer["hint"]
    writer.write(pack({"id": 2, "do": "Note"}))
    assert unpack(await reader.readline()) == {"id": 2, "ok": True}
    await end(writer)
    assert await runner.is_unharmed()


async def test_a_huge_request_ends_that_console_only(runner: Runner) -> None:
    watcher = await connect(str(runner.path), "watcher")
    reader, writer = await raw(runner)
    writer.write(HELLO)
    await reader.readline()
    try:
        for _ in range(160):
            writer.write(b"x" * 65_536)
            await writer.drain()
    except ConnectionError:
        pass
    await let_go(reader)
    await end(writer)
    assert watcher.alive
    await watcher.close()
    assert await runner.is_unharmed()


async def test_what_is_too_long_to_send_is_refused_before_it_is_sent(runner: Runner) -> None:
    console = await connect(str(runner.path), "ana")
    with pytest.raises(UsageError, match="too long") as error:
        await console.do(c.Note("x" * REQUEST_LIMIT))
    assert "Nothing was sent" in error.value.message
    await console.do(c.Note("x" * 60_000))
    await console.close()


async def test_each_of_many_requests_under_way_gets_its_own_answer(runner: Runner) -> None:
    (runner.path.parent / "logs" / "a.log").write_text("".join(map(chr, range(48, 123))))
    console = await connect(str(runner.path), "ana")
    async with asyncio.timeout(20):
        pieces = await asyncio.gather(*(console.log("a.log", offset) for offset in range(75)))
        refused = await asyncio.gather(*(console.do(c.Undo("x")) for _ in range(5)), return_exceptions=True)
    assert [piece.text[0] for piece in pieces] == [chr(48 + offset) for offset in range(75)]
    assert {type(answer) for answer in refused} == {Refused}
    await console.close()


async def test_a_refusal_comes_back_as_one(runner: Runner) -> None:
    console = await connect(str(runner.path), "ana")
    with pytest.raises(Refused, match="Nothing was changed") as refused:
        await console.do(c.Undo("x"))
    assert refused.value.hint == "Do something else."
    await console.close()


async def test_silent_half_open_and_broken_connections_harm_nobody(runner: Runner) -> None:
    silent = [await raw(runner) for _ in range(60)]
    slow = [await raw(runner) for _ in range(20)]
    for _, writer in slow:
        writer.write(b'{"hel')
    halves = [await raw(runner) for _ in range(20)]
    for _, writer in halves:
        writer.write(HELLO)
        writer.write_eof()
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as gone:
            gone.connect(str(runner.path))
            gone.send(HELLO)
    assert await runner.is_unharmed()
    for _, writer in (*silent, *slow, *halves):
        await end(writer)


async def test_who_says_nothing_for_long_is_let_go(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HELLO_WITHIN", 0.05)
    reader, writer = await raw(runner)
    writer.write(b'{"hello"')
    assert await let_go(reader) == b""
    await end(writer)


async def test_consoles_beyond_the_limit_are_let_go_and_there_is_room_again_later(runner: Runner) -> None:
    consoles = [await connect(str(runner.path), f"c{number}") for number in range(server_module.MOST_CLIENTS)]
    with pytest.raises(RestoreError, match="let this console go"):
        await connect(str(runner.path), "one too many")
    await asyncio.gather(*(console.close() for console in consoles))
    async with asyncio.timeout(20):
        while runner.server.consoles():  # noqa: ASYNC110 - the server tells nobody that a console went
            await asyncio.sleep(0.01)
    assert await runner.is_unharmed()


async def test_another_login_is_let_go_even_where_it_can_reach_the_socket(runner: Runner) -> None:
    if os.geteuid() != 0:
        return  # only root can become somebody else
    with someone_else(), pytest.raises(RestoreError, match="does not answer: Permission denied"):
        await connect(str(runner.path), "mallory")
    runner.path.chmod(0o666)
    with someone_else():
        reader, writer = await raw(runner)
    writer.write(HELLO + pack({"id": 1, "do": "Undo", "reason": "mischief"}))
    assert await let_go(reader) == b""
    await end(writer)
    assert runner.asked == []
    assert await runner.is_unharmed()


async def test_a_console_that_does_not_read_is_dropped_and_the_others_are_not(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = await raw(runner)
    writer.write(HELLO)
    await reader.readline()
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
    watcher = await connect(str(runner.path), "watcher")
    heard = asyncio.create_task(_count_trouble(watcher))
    for number in range(server_module.QUEUE + 2000):
        runner.server.send({"trouble": f"{number} " + "x" * 100})
        if number % 500 == 0:
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
    assert "x" not in runner.server.consoles()
    assert watcher.console in runner.server.consoles()
    runner.server.send({"trouble": "the last"})
    assert await asyncio.wait_for(heard, 20) == server_module.QUEUE + 2000
    await watcher.close()
    writer.transport.abort()


async def _count_trouble(watcher: Client) -> int:
    count = 0
    async for said in watcher.said():
        if isinstance(said, Trouble):
            if said.text == "the last":
                break
            count += 1
    return count


async def test_a_stopped_console_does_not_keep_the_end_waiting(runner: Runner) -> None:
    connections = [await raw(runner) for _ in range(10)]
    for number, (reader, writer) in enumerate(connections):
        writer.write(pack({"hello": {"name": "x", "console": str(number)}}))
        await reader.readline()
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
    for _ in range(3000):
        runner.server.send({"trouble": "x" * 1000})
    async with asyncio.timeout(8):
        await runner.server.close()
    for _, writer in connections:
        writer.transport.abort()


async def test_a_session_of_any_length_can_be_attached_to(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "QUEUE", 5)
    many = lines(begun(), *(runner_started() for _ in range(100)))
    monkeypatch.setattr(runner.server, "_lines", lambda: many)
    console = await connect(str(runner.path), "ana")
    assert console.state.last_seq == 101
    await console.close()


LOGS = [
    "../journal.jsonl",
    "../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "",
    "a/../b",
    "x\0y",
    "link",
    "pipe",
    "x" * 300,
]


@pytest.mark.parametrize("name", LOGS)
async def test_nothing_but_a_log_of_the_session_can_be_read(name: str, runner: Runner) -> None:
    logs = runner.path.parent / "logs"
    (runner.path.parent / "journal.jsonl").write_text("secret")
    (logs / "link").symlink_to("/etc/passwd")
    os.mkfifo(logs / "pipe")
    console = await connect(str(runner.path), "ana")
    with pytest.raises(RestoreError, match=r"not a log of this session|can't be read: \w") as error:
        await console.log(name, 0)
    assert error.value.hint
    assert console.alive
    await console.close()


async def test_a_log_is_read_in_pieces_from_any_place_and_no_letter_is_torn(runner: Runner) -> None:
    text = "x" + "€\N{GRINNING FACE}" * 40_000
    (runner.path.parent / "logs" / "a.log").write_text(text)
    size = len(text.encode())
    console = await connect(str(runner.path), "ana")
    read, offset = "", 0
    while offset < size:
        piece = await console.log("a.log", offset)
        assert piece.size == size
        assert offset < piece.next <= offset + LOG_PIECE
        read, offset = read + piece.text, piece.next
    assert read == text
    assert (await console.log("a.log", -4)).text == "\N{GRINNING FACE}"
    assert (await console.log("a.log", -(10**12))).offset == 0
    assert (await console.log("a.log", 10**12)).text == ""
    (runner.path.parent / "logs" / "b.log").write_bytes(b"cut \xe2\x82")
    assert (await console.log("b.log", 0)).next == 6
    await console.close()


async def test_a_socket_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ANSWER_WITHIN", 0.05)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        with pytest.raises(RestoreError, match="says nothing") as error:
            await connect(str(tmp_path / "s"), "ana")
    assert "attach" in error.value.hint


async def test_no_socket_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(RestoreError, match="does not answer") as error:
        await connect(str(tmp_path / "none"), "ana")
    assert "reinstate resume" in error.value.hint


async def test_when_the_runner_goes_a_console_says_so(runner: Runner) -> None:
    console = await connect(str(runner.path), "ana")
    await runner.server.close()
    async for _ in console.said():
        pass
    assert not console.alive
    with pytest.raises(RestoreError, match="runner is gone") as error:
        await console.do(c.Note("hello?"))
    assert "reinstate resume" in error.value.hint
    await console.close()
