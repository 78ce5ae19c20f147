"""A rehearsal from end to end: commander, two operators and owner, each at a login and terminal of their own, by SSH.

They approve, restore, lose the operator's line, take over, validate, sign off and close; what the record and the report
say is compared with what they did.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import tomli_w

from engines.mysql.flavour import Flavour
from engines.people import Role
from engines.session import store
from engines.session.events import Ending, How
from engines.session.state import SessionState
from engines.session.verify import verify
from tests.e2e.keyboard import Operator, at_a_terminal
from tests.e2e.recovery import COMMANDER, OPERATOR, OWNER, REINSTATE, Job
from tests.e2e.recovery import TARGET as APPLICATION
from tests.engines.recipes.mysql_world import GOOD, MysqlWorld, build
from tests.engines.recipes.mysql_world import TARGET as SCHEMA
from tests.servers.databases import Server, build_of
from tests.servers.logins import Logins, made_logins
from tests.servers.sshd import SshServer, ssh_server

Prepare = Callable[..., Job]

SECOND = "eva"  # takes over
WHY = "ana has lost her line"
_NEXT = re.compile(r"Next: (\d+\.\d+) ")


@pytest.fixture(scope="module")
def logins() -> Iterator[Logins]:
    with made_logins() as made:
        yield made


@pytest.fixture
def office() -> Iterator[SshServer]:
    """Another line than the operator's, which is dropped."""
    with ssh_server() as server:
        yield server


@pytest.fixture
def world(server: Server, open_folder: Path) -> Iterator[MysqlWorld]:
    made = build(open_folder / "world", server)
    yield made
    for known in store.known_sessions(made.folder / "state"):
        mark = store.runner_mark(known.folder)
        if mark is not None:
            os.kill(mark.pid, 15)


def with_logins(config: Path, logins: Logins) -> None:
    """Production; everybody but the first operator has a login of their own, and a typed name is not enough."""
    told = tomllib.loads(config.read_text())
    told["watchers"] = logins.group
    told["approval"] = {"asserted": False}
    told["person"] = [
        {"name": OPERATOR, "login": "root", "roles": ["operator"]},
        {"name": SECOND, "login": logins.wanda, "roles": ["operator"]},
        {"name": COMMANDER, "login": logins.boris, "roles": ["commander"]},
        {"name": OWNER, "login": logins.olga, "roles": ["owner"]},
    ]
    for target in told["target"].values():
        target["environment"] = "production"
        target["application"]["functional_checks"] = ["payment flow"]
    config.write_text(tomli_w.dumps(told))


def goes_on(operator: Operator, target: str, *, to: str) -> None:
    """Confirms step after step, each when it has been read, until the words are to be seen."""
    while True:
        seen = operator.sees_one_of("Next: ", to)
        if to in seen:
            return
        found = _NEXT.search(seen)
        assert found is not None, seen
        if "asks for the target's name" in operator.sees(f"Next: {found[1]} ", "Enter "):
            operator.goes_live(found[1], target)
            operator.sees_no_more(f"Next: {found[1]} ")
        else:
            operator.confirms(found[1])


def rehearse(
    config: Path, target: str, operator: Operator, ssh: SshServer, office: SshServer, logins: Logins
) -> SessionState:
    """From the plan that waits for its approval, in the operator's terminal, to the end."""

    def console(login: str) -> Operator:
        command = office.command(*logins.console(login, "--config", config, "attach", "last"), terminal=True)
        return opened.enter_context(at_a_terminal(command, config.parent))

    with ExitStack() as opened:
        commander, owner = console(logins.boris), console(logins.olga)
        owner.sees("The incident commander reads the plan and approves it")
        owner.presses("Enter")
        owner.sees("this takes an incident commander")
        commander.sees("Enter shows the plan")
        commander.presses("Enter")
        commander.sees(f"As {COMMANDER}, by your login", "Type the target's name")
        commander.types(target)
        commander.sees("You watch. The session waits for the database operator: 3.")

        found = _NEXT.search(operator.sees("Next: 3."))
        assert found is not None
        operator.confirms(found[1])
        operator.sees("Next: 3.")
        ssh.drop()
        assert operator.terminal.exit_status() == 255

        second = console(logins.wanda)
        second.sees(f"{OPERATOR} HAS THE KEYS", "k takes it over")
        second.presses("k")
        second.sees(f"Take the keyboard from {OPERATOR}?")
        second.types(WHY)
        second.sees_no_more("Take the keyboard")
        owner.sees(f"{SECOND} HAS THE KEYS")
        goes_on(second, target, to="You watch. The session waits for the application owner")
        owner.sees("The application owner tries by hand and answers (f): payment flow")
        owner.presses("f")
        owner.sees("The application owner tried it: payment flow", "Did it pass?")
        owner.terminal.type("yes")
        owner.goes_to_next_box()
        owner.types("a payment of 1 went through")
        owner.sees("The application owner signs off")
        owner.presses("Enter")
        owner.sees(f"As {OWNER}, by your login", "Enter signs off")
        owner.types(target)
        commander.sees("The incident commander signs off")
        commander.presses("Enter")
        commander.sees(f"As {COMMANDER}, by your login", "Enter signs off")
        commander.types(target)
        for person in (commander, owner, second):
            person.sees("The session is over: signed off")
    (known,) = store.known_sessions(config.parent / "state")
    assert not known.error
    return known.state


def is_as_it_was(state: SessionState, folder: Path) -> None:
    """The record and the report against what was done above."""
    assert state.ended is not None
    assert state.ended.how is Ending.SIGNED_OFF
    assert not verify(folder).wrong
    told = tomllib.loads((folder / "session.toml").read_text())
    (approval,) = told["approval"]
    assert (approval["by"], approval["how"]) == (COMMANDER, How.PEER)
    (taken,) = told["handover"]
    assert (taken["to"], taken["reason"]) == (SECOND, WHY)
    people = {(one["role"], one["name"], one["how"]) for one in told["person"]}
    assert {(Role.OPERATOR, OPERATOR, How.ASSERTED), (Role.OPERATOR, SECOND, How.PEER)} <= people
    signed = [(one["role"], one["by"], one["how"]) for one in told["sign_off"]]
    assert signed == [(Role.OWNER, OWNER, How.PEER), (Role.COMMANDER, COMMANDER, How.PEER)]
    (tried,) = told["functional"]
    assert (tried["result"], tried["by"], tried["how"]) == ("passed", OWNER, How.PEER)
    report = (folder / "report.md").read_text()
    for words in (COMMANDER, SECOND, OWNER, WHY, "payment flow"):
        assert words in report
    assert not told.get("deviation")


def test_four_logins_bring_an_application_back(
    prepare_job: Prepare, ssh: SshServer, office: SshServer, operator: Operator, logins: Logins
) -> None:
    job = prepare_job(application={"logs": []}, without=("health_url",))
    with_logins(job.config, logins)
    restore = job.command("restore", APPLICATION, "--incident", str(job.report))
    operator.terminal.start(ssh.command(*restore, terminal=True))
    operator.chooses_backup(job.incident.good)
    operator.sees("The incident commander reads the plan and approves it")
    state = rehearse(job.config, APPLICATION, operator, ssh, office, logins)
    is_as_it_was(state, job.session)
    assert job.app.counts()["users"] == job.incident.users


@pytest.mark.parametrize("server", [build_of(Flavour.MYSQL)], indirect=True, ids=["mysql"])
def test_four_logins_bring_a_schema_back(
    world: MysqlWorld, ssh: SshServer, office: SshServer, operator: Operator, logins: Logins
) -> None:
    config = world.folder / "reinstate.toml"
    with_logins(config, logins)
    path = ":".join((*world.server.build.folders, os.environ["PATH"]))
    restore = ("restore", SCHEMA, "--incident", str(world.folder / "incident.toml"))
    command = ("env", f"PATH={path}", REINSTATE, "--config", str(config), "--name", OPERATOR, *restore)
    operator.terminal.start(ssh.command(*command, terminal=True))
    operator.sees(world.dump, "Enter chooses this dump", "VERIFIED: sha256")
    operator.presses("Enter")
    operator.sees("Up to when?")
    operator.presses("d")
    operator.sees("The incident commander reads the plan and approves it")
    state = rehearse(config, SCHEMA, operator, ssh, office, logins)
    is_as_it_was(state, world.folder / "state" / "sessions" / state.id)
    assert world.customers() == GOOD
