"""`reinstate approve` and `reinstate sign-off`, as other logins of the machine type them."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from engines.errors import Refused
from engines.session import commands as c
from engines.session import launch, store
from engines.session.events import How
from engines.session.moves import AskKind
from engines.session.statement import until_of
from engines.text import utc_now
from tests.engines.session.toy_session import (
    LOGIN,
    MODULE,
    ROOT,
    ToySession,
    asks,
    no_runner_left,
    sees,
    toy_session,
    work_through,
)
from tests.servers.logins import Done, Logins, acting_as, made_logins
from tests.tui.cli_ground import typed
from tests.tui.driving import at_the_console
from tests.tui.outsides import World
from tui.app import Opening
from tui.outside import Outside, Runner, connect_to, real

COMMANDER = "incident commander"


@pytest.fixture(scope="module")
def logins() -> Iterator[Logins]:
    with made_logins() as made:
        yield made


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key pairs of their own: boris's, one that is revoked, and one that nobody knows."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("boris", "revoked", "late", "unknown", "owner"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / name], check=True)
    return folder


@pytest.fixture
async def shop(
    open_folder: Path, logins: Logins, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ToySession]:
    """A session of production that waits for its plan's approval; typed names are not enough."""
    async with prepared(open_folder, logins, keys, monkeypatch) as made:
        await sees(made.consoles[0], asks(AskKind.APPROVE))
        yield made


@pytest.fixture
async def blocked_shop(
    open_folder: Path, logins: Logins, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ToySession]:
    """The same, but a check blocks."""
    async with prepared(open_folder, logins, keys, monkeypatch, bad=True) as made:
        await sees(made.consoles[0], asks(AskKind.CHECKS))
        yield made


@asynccontextmanager
async def prepared(
    open_folder: Path, logins: Logins, keys: Path, monkeypatch: pytest.MonkeyPatch, *, bad: bool = False
) -> AsyncIterator[ToySession]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    ground = open_folder / "ground"
    ground.mkdir()
    (ground / "target").write_text("live\n")
    (ground / "backup").write_text("backup\n")
    if bad:
        (ground / "bad-ground").touch()
    made = ToySession(store.new_folder(open_folder / "state", "production", utc_now(), logins.group), ground)
    _allow(open_folder / "signers", keys)
    (open_folder / "revoked").write_text((keys / "revoked.pub").read_text())
    people = (
        {"name": "ana", "login": LOGIN, "roles": ["database operator"]},
        {"name": "Boris", "login": logins.boris, "roles": ["incident commander"], "principal": "boris@shop"},
        {"name": "Olga", "login": logins.olga, "roles": ["application owner"], "principal": "olga@shop"},
    )
    approval = {
        "self_approval": [],
        "window_seconds": 3600,
        "asserted": False,
        "signers": str(open_folder / "signers"),
        "revoked": str(open_folder / "revoked"),
    }
    launch.begin(MODULE, made.folder, made.beginning(environment="production", people=people, approval=approval))
    with no_runner_left(made):
        await made.console()
        yield made
        await made.close()


def _allow(file: Path, keys: Path) -> None:
    def key(name: str) -> str:
        return " ".join((keys / f"{name}.pub").read_text().split()[:2])

    file.write_text(
        f'boris@shop namespaces="reinstate-approval" {key("boris")}\n'
        f"boris@shop {key('revoked')}\n"
        f'boris@shop valid-before="20200101Z" {key("late")}\n'
        f'olga@shop namespaces="reinstate-sign-off" {key("owner")}\n'
    )


async def as_login(logins: Logins, login: str, *words: str, keys: str = "") -> Done:
    """The command in a process of that login's; meanwhile our own consoles go on."""
    return await asyncio.to_thread(logins.reinstate, login, *words, keys=keys)


async def test_a_commander_reads_and_approves_from_their_own_login_without_any_configuration(
    shop: ToySession, logins: Logins
) -> None:
    done = await as_login(logins, logins.boris, "approve", shop.folder.name[-4:], keys="toy\n")
    assert done.code == 0, done.err
    plan = shop.state.plan
    assert plan is not None
    for told in (
        f"You are Boris, by the login {logins.boris} (recorded as peer)",
        f"target    {shop.target}",
        "sha256 " + "0" * 64,
        "cp backup target",
        "OK      ground: good",
        f"sha256    {shop.state.plan_digest}",
        "Approved by Boris (peer), plan",
    ):
        assert told in done.out
    assert "Type the target's name to approve exactly this plan" in done.err
    assert shop.state.approved
    again = await as_login(logins, logins.boris, "approve", keys="toy\n")
    assert again.code == 3
    assert "approved already" in again.err


async def test_a_wrong_name_or_nothing_typed_approves_nothing(shop: ToySession, logins: Logins) -> None:
    wrong = await as_login(logins, logins.boris, "approve", keys="shop\n")
    assert (wrong.code, "not the target's name. Nothing was changed" in wrong.err) == (3, True)
    left = await as_login(logins, logins.boris, "approve")
    assert (left.code, "Left as it is" in left.err) == (3, True)
    assert not shop.state.approvals


async def test_who_has_another_role_is_refused_before_anything_is_asked(shop: ToySession, logins: Logins) -> None:
    for login, why in ((logins.olga, "takes an incident commander"), (logins.wanda, "may only watch")):
        done = await as_login(logins, login, "approve", keys="toy\n")
        assert done.code == 3
        assert why in done.err
    outside = await as_login(logins, logins.mallory, "approve", shop.folder.name, keys="toy\n")
    assert outside.code == 2
    assert "answers that this login may reach" in outside.err
    assert not shop.state.approvals


async def test_without_a_person_the_plan_is_named(shop: ToySession, logins: Logins) -> None:
    digest = shop.state.plan_digest
    for words, code, told in (
        (("--yes", "toy"), 2, "--yes needs --plan"),
        (("--yes", "toy", "--plan", "0" * 64), 3, "The plan in force is"),
        (("--yes", "box", "--plan", digest), 3, "not the target's name"),
        (("--yes", "toy", "--plan", digest[:16]), 0, ""),
    ):
        done = await as_login(logins, logins.boris, "approve", *words)
        assert done.code == code, done.err
        assert told in done.err
    assert shop.state.approved


async def test_the_owner_signs_off_from_their_own_login(shop: ToySession, logins: Logins) -> None:
    early = await as_login(logins, logins.olga, "sign-off", keys="toy\n")
    assert (early.code, "does not wait for a sign-off now" in early.err) == (3, True)
    assert (await as_login(logins, logins.boris, "approve", keys="toy\n")).code == 0
    await work_through(shop.consoles[0], asks(AskKind.SIGN_OFF))
    wrong = await as_login(logins, logins.boris, "sign-off", keys="toy\n")
    assert (wrong.code, "takes an application owner" in wrong.err) == (3, True)
    done = await as_login(logins, logins.olga, "sign-off", keys="toy\n")
    assert done.code == 0, done.err
    assert "5.1 sign-off: Olga (peer), application owner" in done.out
    await sees(shop.consoles[0], lambda state: state.ended is not None)


async def test_a_blocking_check_is_overridden_from_the_commanders_own_login_and_recorded(
    blocked_shop: ToySession, logins: Logins
) -> None:
    blocked = await as_login(logins, logins.boris, "approve", keys="toy\n")
    assert (blocked.code, "These checks block: ground" in blocked.err) == (3, True), blocked.err
    without = await as_login(logins, logins.boris, "approve", "--override", "ground", keys="toy\n")
    assert (without.code, "needs a reason" in without.err) == (2, True), without.err
    words = ("approve", "--override", "ground", "--reason", "the ground is known to be bad")
    wrong = await as_login(logins, logins.olga, *words, keys="toy\n")
    assert (wrong.code, "takes an incident commander" in wrong.err) == (3, True), wrong.err
    done = await as_login(logins, logins.boris, *words, keys="toy\n")
    assert done.code == 0, done.err
    assert "Overridden by Boris (peer): ground" in done.out
    (deviation,) = blocked_shop.state.deviations
    assert (deviation.by, deviation.reason) == ("Boris", "the ground is known to be bad")
    assert 'overridden_how = "peer"' in (blocked_shop.folder / "session.toml").read_text()
    assert (await as_login(logins, logins.boris, "approve", keys="toy\n")).code == 0


async def test_where_typed_names_are_enough_the_operator_types_the_commanders(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    session = toy_session(open_folder)
    with no_runner_left(session):
        session.begin(environment="production", people=({"name": "Boris", "login": "b", "roles": [COMMANDER]},))
        console = await session.console()
        await sees(console, asks(AskKind.APPROVE))
        said = await asyncio.to_thread(typed, "approve", f"{session.folder}/", keys="Boris\ntoy\n")
        await console.close()
    assert said.code == 0, said.err
    assert "on the account" in said.out
    assert "Approved by Boris (asserted)" in said.out
    (approval,) = session.state.approvals
    assert (approval.actor.name, approval.actor.how) == ("Boris", How.ASSERTED)


async def test_a_session_is_read_by_those_who_may_watch_and_by_nobody_else(shop: ToySession, logins: Logins) -> None:
    """Without a configuration of their own: the runner's socket says where the session is."""
    for words in (("show",), ("report",), ("verify", f"{shop.folder}/")):
        done = await as_login(logins, logins.wanda, *words)
        assert done.code == 0, done.err
        outside = await as_login(logins, logins.mallory, *words)
        assert outside.code in (1, 2), outside.out
        assert "toy" not in outside.out


# -- in a console that watches ----------------------------------------------------------------------------


class Here(World):
    """A console of the runner's own account."""

    def outside(self) -> Outside:
        return real()


class Watching(World):
    """The console of another login: nothing is faked, and it reaches the runner with that login's rights alone."""

    def __init__(self, login: str) -> None:
        super().__init__()
        self.login_ = login

    def outside(self) -> Outside:
        async def connect(folder: Path, name: str) -> Runner | None:
            with acting_as(self.login_):
                return await connect_to(folder, name)

        return replace(real(), connect=connect)


async def test_a_commander_who_watches_presses_the_key_and_types_no_name(shop: ToySession, logins: Logins) -> None:
    async with at_the_console(Watching(logins.boris), opening=Opening(folder=shop.folder, name="x")) as operator:
        await operator.sees("The incident commander reads the plan and approves it.")
        await operator.sees("ana HAS THE KEYS")
        await operator.press("a")
        await operator.sees("As Boris, by your login. Type the target's name (toy)")
        await operator.types("shop")
        await operator.press("enter")
        await operator.sees("That is not the target's name. Nothing was changed. Type toy exactly.")
        await operator.press(*["backspace"] * 4)
        await operator.types("toy")
        await operator.press("enter")
        await operator.sees("You watch. The session waits for the database operator: 3.1 Stop.")
        await operator.press("u")
        await operator.sees("this takes a database operator")
    (approval,) = shop.state.approvals
    assert (approval.actor.name, approval.actor.how) == ("Boris", How.PEER)


async def test_who_only_watches_is_told_so_at_each_key(shop: ToySession, logins: Logins) -> None:
    async with at_the_console(Watching(logins.wanda), opening=Opening(folder=shop.folder, name="Boris")) as operator:
        await operator.sees("You watch. The session waits for the incident commander:")
        for key in ("a", "n", "k", "u"):
            await operator.press(key)
            await operator.sees("may only watch")
            await operator.press("1", "escape")
    assert not shop.state.approvals


async def test_the_operator_on_the_runners_account_is_told_that_a_name_is_not_enough(shop: ToySession) -> None:
    async with at_the_console(Here(), opening=Opening(folder=shop.folder, name="ana")) as operator:
        await operator.press("a")
        await operator.sees("A typed name is not enough here")


# -- signatures -------------------------------------------------------------------------------------------


async def printed(logins: Logins, login: str, what: str = "approve") -> str:
    done = await as_login(logins, login, what, "--print")
    assert done.code == 0, done.err
    return done.out


def signed(text: str, key: Path, namespace: str = "reinstate-approval") -> str:
    argv = ["ssh-keygen", "-Y", "sign", "-f", str(key), "-n", namespace]
    return subprocess.run(argv, input=text.encode(), capture_output=True, check=True).stdout.decode()


def fingerprint(key: Path) -> str:
    said = subprocess.run(["ssh-keygen", "-lf", str(key)], capture_output=True, check=True).stdout.decode()
    return said.split()[1]


async def bring(logins: Logins, text: str, signature: str, what: str = "approve") -> Done:
    """Paste a text and the signature over it, as somebody who may not approve anything."""
    return await as_login(logins, logins.olga, what, "--signature", "-", keys=text + signature)


async def test_a_signature_made_elsewhere_approves_and_can_be_checked_again_later(
    shop: ToySession, logins: Logins, keys: Path, open_folder: Path
) -> None:
    text = await printed(logins, logins.wanda)
    assert text.splitlines()[1:5] == [
        f"session: {shop.folder.name}",
        "target: toy",
        f"plan: {shop.state.plan_digest}",
        "role: incident commander",
    ]
    done = await bring(logins, text, signed(text, keys / "boris"))
    assert done.code == 0, done.err
    (approval,) = shop.state.approvals
    assert (approval.actor.name, approval.actor.how) == ("Boris", How.SIGNED)
    assert approval.until in text, "no longer than the signature says"
    assert approval.signed is not None
    assert approval.signed.key == fingerprint(keys / "boris.pub")
    assert f'key = "{approval.signed.key}"' in (shop.folder / "session.toml").read_text()
    verified = await as_login(
        logins, logins.wanda, "verify", f"{shop.folder}/", "--signers", str(open_folder / "signers"), "--json"
    )
    found = json.loads(verified.out)
    assert found["wrong"] == ""
    assert "signatures of 1 approvals and sign-offs: over what the journal says" in " ".join(found["holds"])


BAD: dict[str, tuple[str, str, str]] = {
    "unknown": ("unknown", "reinstate-approval", "is not in"),
    "revoked": ("revoked", "reinstate-approval", "its key is revoked"),
    "expired": ("late", "reinstate-approval", "its key has expired"),
    "namespace": ("boris", "file", "was made for 'file'"),
    "somebody else": ("owner", "reinstate-approval", "is by olga@shop"),
}


async def test_a_signature_that_does_not_count_is_refused_with_its_reason(
    shop: ToySession, logins: Logins, keys: Path
) -> None:
    text = await printed(logins, logins.wanda)

    async def refused(text: str, armoured: str) -> str:
        """What the runner says, whoever brings it: here the operator, on its own account."""
        approve = c.Approve(shop.state.plan_digest, "", signature=c.Signature(armoured, until_of(text)))
        with pytest.raises(Refused, match="Nothing was changed") as error:
            await shop.consoles[0].do(approve)
        return error.value.message

    for key, namespace, why in BAD.values():
        assert why in await refused(text, signed(text, keys / key, namespace))
    other = text.replace(shop.state.plan_digest, "0" * 64)
    assert "over another text" in await refused(other, signed(other, keys / "boris"))
    other = text.replace(shop.folder.name, "2026-11-22T20-04-11Z-production-7f3a")
    assert "over another text" in await refused(other, signed(other, keys / "boris"))
    late = with_until(text, timedelta(seconds=-2))
    assert "and that is past" in await refused(late, signed(late, keys / "boris"))
    long = with_until(text, timedelta(days=2))
    assert "longer than an approval may" in await refused(long, signed(long, keys / "boris"))
    nothing = "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"
    for armoured in (nothing, "", "x" * 40_000, nothing.replace("AAAA", "U1NIU0lHAAAA/////w==")):
        assert "not an SSH signature" in await refused(text, armoured)
    assert not shop.state.approvals
    assert {rejected.command for _, rejected in shop.state.rejected} == {"Approve"}


def with_until(text: str, after: timedelta) -> str:
    return re.sub(r"until: .*", f"until: {(utc_now() + after):%Y-%m-%dT%H:%M:%S.000Z}", text)


async def test_what_is_pasted_by_mistake_is_not_sent(shop: ToySession, logins: Logins, keys: Path) -> None:
    text = await printed(logins, logins.wanda)
    armoured = signed(text, keys / "boris")
    for pasted, why in (("", "no SSH signature"), (armoured, "without the text"), ("hello\n" + armoured, "not a text")):
        done = await as_login(logins, logins.olga, "approve", "--signature", "-", keys=pasted)
        assert (done.code, why in done.err) == (2, True), done.err
    assert not shop.state.rejected


async def test_a_used_signature_is_refused_and_so_is_one_for_another_step(
    shop: ToySession, logins: Logins, keys: Path
) -> None:
    text = await printed(logins, logins.wanda)
    armoured = signed(text, keys / "boris")
    assert (await bring(logins, text, armoured)).code == 0
    again = await bring(logins, text, armoured)
    assert (again.code, "used already" in again.err) == (3, True), again.err
    await work_through(shop.consoles[0], asks(AskKind.SIGN_OFF))
    assert "not wait for an approval" in (await bring(logins, text, armoured)).err
    off = await printed(logins, logins.wanda, "sign-off")
    assert "says: sign off\nabout: 5.1\n" in off
    wrong = await bring(logins, text, signed(text, keys / "owner", "reinstate-sign-off"), "sign-off")
    assert (wrong.code, "over another text" in wrong.err) == (3, True), wrong.err
    done = await bring(logins, off, signed(off, keys / "owner", "reinstate-sign-off"), "sign-off")
    assert done.code == 0, done.err
    await sees(shop.consoles[0], lambda state: state.ended is not None)
    assert "Olga (signed)" in done.out
