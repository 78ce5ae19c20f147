"""A session of the toy recipe with a real runner process, and somebody at its keyboard."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from engines.session import commands as c
from engines.session import launch, store
from engines.session.client import Client, connect
from engines.session.events import Actor, SessionBegun
from engines.session.journal import read
from engines.session.moves import AskKind, Wait, next_move
from engines.session.plan import GateKind
from engines.session.sockets import runtime_folder
from engines.session.state import SessionState, fold
from engines.text import utc_now
from tests.engines.session.examples import begun

MODULE = "tests.engines.session.toy"
ROOT = Path(__file__).parents[3]
LOGIN = pwd.getpwuid(os.geteuid()).pw_name

Condition = Callable[[SessionState], bool]


class RunnerGone(Exception):
    """The runner went before what was waited for came true."""


@dataclass(frozen=True, slots=True)
class ToySession:
    """The session's folder, and the ground it restores on."""

    folder: Path
    ground: Path
    consoles: list[Client] = field(default_factory=list)

    @property
    def target(self) -> Path:
        return self.ground / "target"

    @property
    def state(self) -> SessionState:
        """What the journal says now."""
        return fold(read(self.folder / "journal.jsonl").entries)

    @property
    def mark(self) -> store.RunnerMark | None:
        return store.runner_mark(self.folder)

    def beginning(self, **changed: object) -> SessionBegun:
        usual: dict[str, object] = {
            "session": self.folder.name,
            "target": {"name": "toy"},
            "environment": "local",
            "address": str(self.target),
            "backup": {"name": "b", "path": str(self.ground / "backup")},
            "people": (),
            "operator": Actor("ana", LOGIN),
        }
        return begun(**{**usual, **changed})

    def begin(self, **changed: object) -> store.RunnerMark:
        return launch.begin(MODULE, self.folder, self.beginning(**changed))

    def begin_later(self) -> None:
        """What a console leaves that was killed before it had started a runner."""
        (self.folder / "begin.json").write_bytes(msgspec.json.encode(self.beginning()))

    def resume(self) -> store.RunnerMark:
        return launch.start(MODULE, self.folder)

    async def console(self, name: str = "ana") -> Client:
        mark = self.mark
        if mark is None:
            raise RunnerGone("there is none")
        console = await connect(mark.socket, name)
        self.consoles.append(console)
        return console

    async def close(self) -> None:
        """Close the consoles that a test left open; closing twice is no error."""
        for console in self.consoles:
            await console.close()

    def kill(self) -> None:
        """kill -9 to the runner, and wait until it holds its claim no more."""
        mark = self.mark
        assert mark is not None
        _end(mark.pid)


def _end(pid: int) -> None:
    if pid:  # 0 is everybody in our own process group (kill(2))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        gone(pid)


def has_left(session: ToySession) -> bool:
    """Has its runner gone, or is it about to?"""
    mark = session.mark  # looked at once: the next look may find another
    return mark is None or not mark.pid


def gone(pid: int) -> None:
    """Wait for a process to be gone; ours are reaped."""
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def becomes(pid: int, program: str) -> None:
    """Wait until a started child has been given the word to go, and is the command itself."""
    until = time.monotonic() + 20
    while Path(f"/proc/{pid}/comm").read_text().strip() != program:
        assert time.monotonic() < until
        time.sleep(0.01)


def toy_session(root: Path, name: str = "a", *, state: Path | None = None) -> ToySession:
    """A target that says `live`, a backup that says `backup`, and an empty session folder."""
    ground = root / f"ground-{name}"
    ground.mkdir(parents=True, exist_ok=True)
    (ground / "target").write_text("live\n")
    (ground / "backup").write_text("backup\n")
    return ToySession(store.new_folder(state or root / "state", "local", utc_now()), ground)


@contextmanager
def no_runner_left(*sessions: ToySession) -> Iterator[None]:
    """Ends what a test left running, and removes its socket."""
    try:
        yield
    finally:
        for session in sessions:
            mark = session.mark
            if mark is not None:
                _end(mark.pid)  # of this very mark: a runner that is leaving has one without a pid in the next moment
            for left in runtime_folder().glob(f"{session.folder.name[-4:]}-*.sock"):
                left.unlink(missing_ok=True)


def answer(state: SessionState) -> c.Command | None:
    """What a diligent operator answers; None when the session does not wait for anybody."""
    move = next_move(state, utc_now())
    if not isinstance(move, Wait) or move.ask.kind in (AskKind.WORKING, AskKind.ENDED):
        return None
    ask = move.ask
    match ask.kind:
        case AskKind.APPROVE:
            return c.Approve(state.plan_digest, "ana")
        case AskKind.TYPED:
            return c.Give(ask.step, GateKind.TYPED, ask.role, text="toy")
        case AskKind.CONFIRM | AskKind.ACCEPT | AskKind.SIGN_OFF:
            return c.Give(ask.step, GateKind(ask.kind.value), ask.role, name="omar")
        case AskKind.DECIDE | AskKind.CHOOSE if ask.step:
            return c.Retry(ask.step)
        case _:
            raise AssertionError(f"nobody foresaw {ask}")


async def sees(client: Client, true: Condition, within: float = 20) -> None:
    """Wait until the console's state is as `true` says."""
    async with asyncio.timeout(within):
        if true(client.state):
            return
        async for _ in client.said():
            if true(client.state):
                return
    raise RunnerGone(f"before that; last: {client.state.last_seq}")


async def work_through(client: Client, until: Condition = lambda state: state.ended is not None) -> None:
    """Answer whatever is asked until `until` is true."""
    async with asyncio.timeout(30):
        while not until(client.state):
            command = answer(client.state)
            if command is not None:
                await client.do(command)
            else:
                seen = client.state.last_seq
                await sees(client, lambda state, seen=seen: state.last_seq > seen)  # type: ignore[misc]  # mypy can't type a default in a lambda


def asks(kind: AskKind) -> Condition:
    def asked(state: SessionState) -> bool:
        move = next_move(state, utc_now())
        return isinstance(move, Wait) and move.ask.kind is kind

    return asked


@contextmanager
def someone_else() -> Iterator[None]:
    """Act with the rights of a login that owns nothing here; only root can give its own up."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)
