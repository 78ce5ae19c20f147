"""Other logins at the runner's socket and at the session's folder: real accounts, a real group, a real runner."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from engines.errors import Refused, RestoreError
from engines.people import Role
from engines.session import commands as c
from engines.session import launch, store
from engines.session.client import Client, connect
from engines.session.events import Actor, How
from engines.session.journal import read
from engines.session.moves import AskKind, overriding
from engines.session.plan import GateKind
from engines.session.server import MOST_OF_ONE
from engines.session.sharing import barred
from engines.session.sockets import new_socket
from engines.session.statement import stated
from engines.session.verify import verify
from engines.session.wire import LOG_PIECE, pack
from engines.text import stamp, utc_now
from tests.engines.session.toy_session import LOGIN, MODULE, ToySession, asks, no_runner_left, sees, work_through
from tests.servers.logins import Logins, acting_as, gid_of, made_logins
from tests.servers.waiting import until


@pytest.fixture(scope="module")
def logins() -> Iterator[Logins]:
    with made_logins() as made:
        yield made


def people(logins: Logins) -> tuple[dict[str, object], ...]:
    return (
        {"name": "ana", "login": LOGIN, "roles": ["database operator"]},
        {"name": "Boris Iv", "login": logins.boris, "roles": ["incident commander"]},
        {"name": "Olga Ow", "login": logins.olga, "roles": ["application owner", "database operator"]},
    )


@pytest.fixture
async def shared(open_folder: Path, logins: Logins) -> AsyncIterator[ToySession]:
    """A session that the group may watch, and its ground, where others could get to it."""
    ground = open_folder / "ground"
    ground.mkdir()
    (ground / "target").write_text("live\n")
    (ground / "backup").write_text("backup\n")
    made = ToySession(store.new_folder(open_folder / "state", "production", utc_now(), logins.group), ground)
    with no_runner_left(made):
        yield made
        await made.close()


def begin(session: ToySession, logins: Logins, **changed: object) -> None:
    """Production, where a typed name is not enough."""
    approval = {"self_approval": [], "window_seconds": 3600, "asserted": False}
    usual: dict[str, object] = {"environment": "production", "people": people(logins), "approval": approval}
    launch.begin(MODULE, session.folder, session.beginning(**{**usual, **changed}))


async def console(session: ToySession, login: str, name: str = "") -> Client:
    """A console of that login's, found as that login finds it."""
    with acting_as(login):
        socket = store.living_socket(session.folder)
        assert socket
        client = await connect(socket, name)
    session.consoles.append(client)
    return client


async def refused(client: Client, command: c.Command) -> str:
    with pytest.raises(Refused) as error:
        await client.do(command)
    return error.value.message


async def test_a_session_is_the_groups_to_read_and_nobodys_else(shared: ToySession, logins: Logins) -> None:
    before = os.umask(0o077)
    try:
        begin(shared, logins)
    finally:
        os.umask(before)
    mark = shared.mark
    assert mark is not None
    socket, gid = Path(mark.socket), gid_of(logins.group)
    for path, mode in (
        (shared.folder, 0o2750),
        (shared.folder / "logs", 0o2750),
        (shared.folder / "private", 0o700),
        (shared.folder / "journal.jsonl", 0o640),
        (shared.folder / "session.toml", 0o640),
        (shared.folder / "runner.pid", 0o600),
        (socket, 0o660),
        (socket.parent, 0o2750),
    ):
        found = path.stat()
        assert stat.S_IMODE(found.st_mode) == mode, path
        assert path.name == "private" or found.st_gid == gid, path
    with acting_as(logins.wanda):
        assert store.open_session(shared.folder).alive
        with pytest.raises(PermissionError):
            list((shared.folder / "private").iterdir())
        with pytest.raises(PermissionError):
            os.open(shared.folder / "runner.pid", os.O_RDONLY)  # whoever opens it could lock it
        with pytest.raises(PermissionError):
            (shared.folder / "x").touch()
        with pytest.raises(PermissionError):
            (socket.parent / "x").touch()


async def test_a_login_outside_the_group_can_neither_connect_nor_read(shared: ToySession, logins: Logins) -> None:
    begin(shared, logins)
    mark = shared.mark
    assert mark is not None
    with acting_as(logins.mallory):
        with pytest.raises(RestoreError, match="Permission denied"):
            await connect(mark.socket, "mallory")
        for path in (shared.folder, shared.folder / "logs", Path(mark.socket).parent, shared.folder.parent):
            with pytest.raises(PermissionError):
                list(path.iterdir())
        for path in (shared.folder / "journal.jsonl", shared.folder / "session.toml"):
            with pytest.raises(PermissionError):
                path.read_bytes()
        assert store.living_socket(shared.folder) is None
    # Also where the folder's and the socket's modes were loosened by mistake: the runner asks who is calling.
    loosened(Path(mark.socket))
    with acting_as(logins.mallory), pytest.raises(Refused, match="let this console go"):
        await connect(mark.socket, "ana")
    assert await is_unharmed(shared)


def loosened(socket: Path) -> None:
    socket.chmod(0o666)
    socket.parent.chmod(0o2755)


async def is_unharmed(session: ToySession) -> bool:
    client = await session.console()
    seen = client.state.last_seq
    await client.do(c.Note("still there"))
    return client.state.last_seq > seen


async def test_a_watcher_sees_everything_and_can_do_nothing(shared: ToySession, logins: Logins) -> None:
    begin(shared, logins)
    wanda = await console(shared, logins.wanda, "Boris Iv")
    await sees(wanda, asks(AskKind.APPROVE))
    assert wanda.me == Actor(logins.wanda, logins.wanda, How.PEER, wanda.console), "a name that is claimed is none"
    assert (await wanda.log("02-01-look.log", 0)).text.strip()
    commands: tuple[c.Command, ...] = (
        c.Approve(wanda.state.plan_digest, "Boris Iv"),
        c.Override("ground", "Boris Iv", "let it go"),
        c.Note("hello"),
        c.TakeKeyboard("ana", "mine now"),
        c.Undo("mischief"),
        c.Abandon("mischief"),
        c.Choose({}),
        c.Recheck("ground"),
        c.Give("3.1", GateKind.CONFIRM, Role.OPERATOR),
        c.Stop("3.1"),
    )
    for command in commands:
        message = await refused(wanda, command)
        assert "may only watch" in message
        assert "Nothing was changed" in message
    kept = len(shared.state.rejected)
    for _ in range(5):
        await refused(wanda, commands[0])
    assert len(shared.state.rejected) == kept, "the same refusal is in the record once"
    assert not shared.state.approvals
    assert shared.state.keyboard is not None
    assert shared.state.keyboard.login == LOGIN


async def test_each_role_says_its_yes_from_its_own_login_and_nobody_elses(shared: ToySession, logins: Logins) -> None:
    begin(shared, logins)
    ana = await shared.console()
    boris, olga = await console(shared, logins.boris), await console(shared, logins.olga)
    await sees(boris, asks(AskKind.APPROVE))
    digest = boris.state.plan_digest
    assert "typed name is not enough" in await refused(ana, c.Approve(digest, "Boris Iv"))
    assert "takes an incident commander" in await refused(olga, c.Approve(digest, ""))
    assert "names ana" in await refused(boris, c.Approve(digest, "ana"))
    await boris.do(c.Approve(digest, ""))
    assert "approved already" in await refused(boris, c.Approve(digest, ""))
    (approval,) = shared.state.approvals
    assert (approval.actor.name, approval.actor.login, approval.actor.how) == ("Boris Iv", logins.boris, How.PEER)
    await work_through(ana, asks(AskKind.SIGN_OFF))
    sign = c.Give("5.1", GateKind.SIGN_OFF, Role.OWNER, "")
    assert "takes an application owner" in await refused(boris, sign)
    assert "typed name is not enough" in await refused(ana, c.Give("5.1", GateKind.SIGN_OFF, Role.OWNER, "Olga Ow"))
    await olga.do(sign)
    await sees(olga, lambda state: state.ended is not None)
    step = shared.state.step("5.1")
    assert step is not None
    assert [(gate.actor.name, gate.actor.how) for gate in step.gates] == [("Olga Ow", How.PEER)]
    record = (shared.folder / "session.toml").read_text()
    assert record.count('how = "peer"') == 4  # an approval, a sign-off, and two people
    assert 'how = "asserted"' in record  # the operator's, on the account that runs the session


async def test_an_operator_can_not_approve_from_a_second_login_under_the_same_name(
    shared: ToySession, logins: Logins
) -> None:
    both = tuple(
        {**one, "roles": ["incident commander", "database operator"]} if one["login"] == logins.boris else one
        for one in people(logins)
    )
    begin(shared, logins, people=both, operator=Actor("someone", LOGIN, sudo=logins.boris))
    boris = await console(shared, logins.boris)
    await sees(boris, asks(AskKind.APPROVE))
    assert "does not approve their own plan" in await refused(boris, c.Approve(boris.state.plan_digest, ""))


async def test_another_login_takes_the_keyboard_with_a_reason_and_both_are_recorded(
    shared: ToySession, logins: Logins
) -> None:
    begin(shared, logins)
    ana = await shared.console()
    olga, boris = await console(shared, logins.olga), await console(shared, logins.boris)
    await sees(olga, asks(AskKind.APPROVE))
    assert "takes a database operator" in await refused(boris, c.TakeKeyboard("", "it is late"))
    assert "needs a reason" in await refused(olga, c.TakeKeyboard("", " "))
    await olga.do(c.TakeKeyboard("", "ana has gone to bed"))
    assert "holds the keyboard" in await refused(ana, c.Recheck("ground"))
    await olga.do(c.Recheck("ground"))
    ((_, taken),) = shared.state.handovers
    assert (taken.actor.name, taken.actor.how, taken.reason) == ("Olga Ow", How.PEER, "ana has gone to bed")
    record = (shared.folder / "session.toml").read_text()
    assert 'login = "' + logins.olga in record
    assert 'name = "ana"' in record


# -- hostile input of somebody who may watch --------------------------------------------------------------


async def raw(session: ToySession, login: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    mark = session.mark
    assert mark is not None
    with acting_as(login):
        return await asyncio.open_unix_connection(mark.socket)


HELLO = pack({"hello": {"name": "Boris Iv", "console": "x", "sudo": "boris"}})


async def _last_word(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(1)
    except OSError:  # the listener's queue was full (connect(2), EAGAIN), which asyncio takes for a connection
        return b""


async def test_many_connections_of_a_watcher_leave_room_for_the_operator(shared: ToySession, logins: Logins) -> None:
    begin(shared, logins)
    flood = [await raw(shared, logins.wanda) for _ in range(300)]
    boris = await console(shared, logins.boris)
    assert await is_unharmed(shared)
    for _, writer in flood[: MOST_OF_ONE // 2]:
        writer.write(HELLO)
    ended = await asyncio.wait_for(asyncio.gather(*(_last_word(reader) for reader, _ in flood[MOST_OF_ONE:])), 20)
    assert set(ended) == {b""}, "all but a few are let go at once"
    assert boris.alive
    for _, writer in flood:
        writer.close()


@pytest.mark.parametrize(
    "content",
    [b"garbage\n" * 1000, b"x" * 5_000_000, HELLO + b"\xff\xfe[[[\n" * 500, HELLO + b"x" * 5_000_000],
    ids=["garbage", "oversize", "garbage after a greeting", "oversize after a greeting"],
)
async def test_what_a_watcher_sends_harms_nobody(content: bytes, shared: ToySession, logins: Logins) -> None:
    begin(shared, logins)
    reader, writer = await raw(shared, logins.wanda)
    reading = asyncio.create_task(reader.read())
    try:
        writer.write(content)
        await asyncio.wait_for(writer.drain(), 20)
    except ConnectionError:
        pass
    assert await is_unharmed(shared)
    writer.transport.abort()
    await asyncio.wait((reading,))
    reading.exception()
    assert not any(entry.by == logins.wanda for entry in read(shared.folder / "journal.jsonl").entries)


async def test_a_watcher_who_asks_and_never_reads_costs_the_runner_no_memory(
    shared: ToySession, logins: Logins
) -> None:
    begin(shared, logins)
    first = await shared.console()
    await sees(first, asks(AskKind.APPROVE))
    (shared.folder / "logs" / "02-01-look.log").write_bytes(b"x" * LOG_PIECE)
    mark = shared.mark
    assert mark is not None
    before = memory(mark.pid)
    reader, writer = await raw(shared, logins.wanda)
    writer.write(HELLO)
    await reader.readline()
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
    asked = pack({"id": 1, "do": "log", "file": "02-01-look.log", "offset": 0})
    writer.write(asked * 20_000)  # 1.3 GB of answers
    for _ in range(20):
        assert await is_unharmed(shared)
    assert memory(mark.pid) - before < 100_000
    writer.transport.abort()


def memory(pid: int) -> int:
    """Resident memory, in kB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


async def test_a_watcher_can_not_bar_a_resume(shared: ToySession, logins: Logins) -> None:
    begin(shared, logins)
    shared.kill()
    with acting_as(logins.wanda):
        assert store.living_socket(shared.folder) is None
        fd = os.open(shared.folder / "journal.jsonl", os.O_RDONLY)
    shared.resume()
    os.close(fd)
    until(lambda: shared.mark is not None, "the runner is there")
    assert await is_unharmed(shared)


async def test_a_check_that_blocks_is_overridden_by_signature_and_recorded_as_signed(
    shared: ToySession, logins: Logins, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    keygen("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(key))
    (tmp_path / "signers").write_text(f"{logins.boris} {key.with_suffix('.pub').read_text()}")
    (shared.ground / "bad-ground").touch()
    approval = {"self_approval": [], "asserted": False, "window_seconds": 3600, "signers": str(tmp_path / "signers")}
    begin(shared, logins, approval=approval)
    ana = await shared.console()
    await sees(ana, asks(AskKind.CHECKS))
    override = overriding(ana.state, "ground", "", "known to be bad")
    until_then = stamp((utc_now() + timedelta(minutes=5)).replace(microsecond=0))
    text = stated(ana.state, override, until_then).text
    armoured = keygen("-Y", "sign", "-f", str(key), "-n", "reinstate-approval", content=text)
    other = replace(override, reason="another reason")
    assert "another text" in await refused(ana, replace(other, signature=c.Signature(armoured, until_then)))
    await ana.do(replace(override, signature=c.Signature(armoured, until_then)))
    override_kept = shared.state.checks["ground"].override
    assert override_kept is not None
    assert (override_kept.actor.name, override_kept.actor.how) == ("Boris Iv", How.SIGNED)
    assert verify(shared.folder).wrong == ""
    confirm = c.Give("3.1", GateKind.CONFIRM, Role.OPERATOR, signature=c.Signature(armoured, until_then))
    assert "takes no signature" in await refused(ana, confirm)


def keygen(*words: str, content: str = "") -> str:
    done = subprocess.run(["ssh-keygen", *words], input=content.encode(), capture_output=True, check=True)
    return done.stdout.decode()


# -- a runner of somebody who is not root -----------------------------------------------------------------


def test_who_is_not_root_shares_a_session_from_the_state_folder(open_folder: Path, logins: Logins) -> None:
    state = open_folder / "of-olga"
    state.mkdir()
    shutil.chown(state, logins.olga, logins.olga)
    state.chmod(0o700)
    with acting_as(logins.olga):
        folder = store.new_folder(state, "local", utc_now(), logins.group)
        socket = new_socket(folder)
    assert socket.parent == state / "sockets"
    for path, mode in ((state, 0o710), (state / "sessions", 0o2750), (folder, 0o2750), (socket.parent, 0o2750)):
        assert stat.S_IMODE(path.stat().st_mode) == mode, path
    with acting_as(logins.wanda):
        assert not list(folder.glob("*.toml"))
    with acting_as(logins.mallory), pytest.raises(PermissionError):
        list((state / "sessions").iterdir())


def test_a_group_that_is_not_ours_or_not_there_shares_nothing(open_folder: Path, logins: Logins) -> None:
    open_folder.chmod(0o777)
    with acting_as(logins.mallory), pytest.raises(Refused, match="not in the group"):
        store.new_folder(open_folder / "state", "local", utc_now(), logins.group)
    with pytest.raises(Refused, match="is not known here"):
        store.new_folder(open_folder / "state", "local", utc_now(), "no-such-group")
    assert not (open_folder / "state").exists()


def test_a_folder_that_is_another_groups_already_stays_theirs_and_that_is_said(
    open_folder: Path, logins: Logins
) -> None:
    state = open_folder / "state"
    state.mkdir(mode=0o750)
    folder = store.new_folder(state, "local", utc_now(), logins.group)
    assert stat.S_IMODE(state.stat().st_mode) == 0o750
    assert barred(folder, gid_of(logins.group)) == state


def test_a_socket_whose_path_would_be_too_long_is_refused_with_a_way_out(open_folder: Path, logins: Logins) -> None:
    state = open_folder / ("x" * 90)
    state.mkdir()
    shutil.chown(state, logins.olga, logins.olga)
    with acting_as(logins.olga):
        folder = store.new_folder(state, "local", utc_now(), logins.group)
        with pytest.raises(RestoreError, match="too long") as error:
            new_socket(folder)
    assert "`state`" in error.value.hint
