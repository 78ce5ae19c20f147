"""A schema on a real server brought back by keys alone, over SSH, to just before the bad transaction; and undone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.mysql.flavour import Flavour
from engines.recipes.mysql.until import Kind, until_of
from engines.session import store
from engines.session.events import Ending
from engines.session.moves import left_behind
from engines.session.plan import PlanKind
from engines.session.state import SessionState
from engines.session.verify import verify
from tests.e2e.keyboard import Operator
from tests.e2e.recovery import COMMANDER, OWNER, REINSTATE
from tests.engines.recipes.mysql_world import GOOD, LATER, TARGET, MysqlWorld, build
from tests.servers.databases import Server, build_of
from tests.servers.sshd import SshServer
from tests.servers.waiting import until

BESIDE = ("3.1", "3.2", "3.3", "3.4")  # while the live schema is untouched
STOPPED = ("3.6", "3.9", "3.10", "3.11")


@pytest.fixture
def world(server: Server, open_folder: Path) -> Iterator[MysqlWorld]:
    made = build(open_folder / "world", server)
    incident = made.folder / "incident.toml"
    incident.write_text(incident.read_text().replace(f"rows = {GOOD}", f"rows = {GOOD + LATER}"))
    yield made
    for known in store.known_sessions(made.folder / "state"):
        mark = store.runner_mark(known.folder)
        if mark is not None and mark.pid:  # a runner that is leaving has none, and 0 is our own process group
            os.kill(mark.pid, 15)


def begins(world: MysqlWorld, ssh: SshServer, operator: Operator) -> None:
    """At the bastion: the server's own client programs first in PATH, as there."""
    path = ":".join((*world.server.build.folders, os.environ["PATH"]))
    command = (
        *("env", f"PATH={path}", REINSTATE, "--config", str(world.folder / "reinstate.toml"), "--name", "ana"),
        *("restore", TARGET, "--incident", str(world.folder / "incident.toml")),
    )
    operator.terminal.start(ssh.command(*command, terminal=True))


def state_of(world: MysqlWorld) -> SessionState:
    (known,) = store.known_sessions(world.folder / "state")
    assert not known.error
    return known.state


def waits_for_approval(world: MysqlWorld) -> bool:
    state = state_of(world)
    plan = state.plan
    return plan is not None and plan.kind is PlanKind.RESTORE and until_of(state).kind is Kind.POSITION


def stops_before_the_first_delete(world: MysqlWorld, operator: Operator) -> None:
    """The dump to the end of the logs; then the explorer finds what went wrong."""
    operator.sees(world.dump, "Enter chooses this dump and asks up to when", "VERIFIED: sha256")
    operator.presses("Enter")
    operator.sees("Up to when?", "to the end of the logs")
    operator.presses("e")
    operator.sees("The incident commander reads the plan and approves it", "OK The dump is whole")
    operator.presses("e")
    operator.sees("Transactions: around the stop", "made_later")
    operator.presses("/")
    operator.sees("Search the logs")
    operator.presses("Enter")
    operator.sees("Transactions: DROP or TRUNCATE or DELETE", f"{world.schema}.orders -{GOOD}")
    operator.presses("Home")
    operator.sees(world.bad, f"{world.schema}.orders: {GOOD} deleted")
    operator.presses("Enter")
    operator.sees("Stop just before this one?", world.bad)
    operator.presses("Enter")
    until(lambda: waits_for_approval(world), "it is prepared again, up to the bad transaction")


@pytest.mark.parametrize("server", [build_of(Flavour.MARIADB)], indirect=True, ids=["mariadb"])
def test_a_schema_comes_back_to_just_before_the_bad_transaction_by_keys_alone(
    world: MysqlWorld, ssh: SshServer, operator: Operator
) -> None:
    deleted = world.content()
    begins(world, ssh, operator)
    stops_before_the_first_delete(world, operator)
    operator.approves(COMMANDER)
    operator.confirms(*BESIDE)
    operator.sees("Next: 3.6 ")
    assert world.content() == deleted, "beside the live schema nothing of it is touched"
    operator.presses("4")
    operator.sees("Validation of the staged copy", "customers", f"{GOOD + LATER}", "MATCH")
    operator.presses("Escape")
    operator.confirms(*STOPPED)
    operator.goes_live("3.12", TARGET)
    operator.confirms("4.1", "4.7", "4.11", "4.12")
    assert world.customers() == GOOD + LATER
    operator.signs_off("application owner", OWNER)
    operator.signs_off("incident commander", COMMANDER)
    operator.sees("The session is over: signed off", "Attach the record")
    operator.presses("q")
    assert operator.terminal.exit_status() == 0

    state = state_of(world)
    assert until_of(state).value == world.bad
    assert not verify(world.folder / "state" / "sessions" / state.id).wrong
    assert world.customers() == GOOD + LATER
    assert not world.server.sql("SHOW TABLES LIKE 'made_later'", database=world.schema)
    assert not [name for name in world.schemas() if name.startswith(f"{world.schema}_r")]
    assert not (world.folder / "app" / "down").exists()


@pytest.mark.parametrize("server", [build_of(Flavour.MYSQL)], indirect=True, ids=["mysql"])
def test_undone_by_keys_the_schema_is_as_before(world: MysqlWorld, ssh: SshServer, operator: Operator) -> None:
    before = world.content()
    begins(world, ssh, operator)
    stops_before_the_first_delete(world, operator)
    operator.approves(COMMANDER)
    operator.confirms(*BESIDE, *STOPPED)
    operator.goes_live("3.12", TARGET)
    operator.confirms("4.1")
    operator.sees("Next: 4.7 ")
    assert world.customers() == GOOD + LATER

    operator.asks_for_undo("The owner misses newer orders")
    operator.approves(COMMANDER)
    operator.confirms("6.5", "6.6")
    operator.goes_live("6.7", TARGET)
    operator.confirms("6.8")
    assert world.content() == before
    operator.confirms("7.7", "7.9")
    operator.sees("The session is over: undone")
    operator.presses("q")
    assert operator.terminal.exit_status() == 0

    state = state_of(world)
    assert state.ended is not None
    assert state.ended.how is Ending.UNDONE
    assert left_behind(state) == ()
    assert not [name for name in world.schemas() if name.startswith(f"{world.schema}_r")]
