"""The other nodes of a target: who they are, whether they are ready, and that nobody writes through them.

Comparing them once the restored schema is live is `same`'s work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from engines import checks
from engines.checks import Check
from engines.errors import Refused, RestoreError
from engines.mysql import server, sessions
from engines.mysql.connect import Place, connected
from engines.mysql.intent import Intent
from engines.mysql.nodes import node, ready
from engines.mysql.nodes.node import NodeFacts
from engines.mysql.nodes.ready import Silent
from engines.mysql.queries import NotSaid
from engines.mysql.server import ServerFacts
from engines.recipes.mysql import reach
from engines.session.work import Work
from engines.targets import MysqlTarget

_APPLYING = 10.0  # seconds: what a member still has to apply is through by then
_PATIENCE = 30.0  # seconds that a node has for an answer to a small question


@dataclass(frozen=True, slots=True)
class Around:
    """This server and all the others, asked at one time."""

    here: NodeFacts
    known: ready.Known
    nodes: Mapping[Place, NodeFacts | Silent]


def look_around(target: MysqlTarget, also: tuple[Place, ...] = ()) -> Around:
    """Ask every node; `also`: those that a plan names. Raises RestoreError where this server does not answer."""
    here = ask_here(target)
    found = ready.known(here.server, target.nodes)
    places = tuple(dict.fromkeys((*also, *found.places)))
    return Around(here, found, asked(target, places))


def ask_here(target: MysqlTarget) -> NodeFacts:
    """The target's own server."""
    with reach.reached(target) as connection:
        return node.ask(connection, target.database)


def asked(target: MysqlTarget, places: tuple[Place, ...]) -> Mapping[Place, NodeFacts | Silent]:
    if not places:
        return {}
    with ThreadPoolExecutor(max_workers=len(places)) as pool:
        return dict(zip(places, pool.map(lambda place: _ask(target, place), places), strict=True))


def _ask(target: MysqlTarget, place: Place) -> NodeFacts | Silent:
    try:
        with connected(place, reach.login_of(target), timeout=_PATIENCE) as connection:
            return node.ask(connection, target.database)
    except RestoreError as error:
        return Silent(error.message, error.hint)
    except NotSaid as error:
        return Silent(error.why, "See docs/privileges.md for what the login needs, on every node.")


def readiness(target: MysqlTarget, facts: ServerFacts, intent: Intent) -> Iterator[Check]:
    """Whether all are known, and one for each; nothing where the server is alone."""
    found = ready.known(facts, target.nodes)
    if not found.places and not found.unplaced:
        return
    around = look_around(target)
    yield ready.all_known(around.known)
    for place, one in around.nodes.items():
        yield ready.ready(place, one, around.here, intent)


def foretold(target: MysqlTarget, facts: ServerFacts, intent: Intent) -> Mapping[str, str]:
    """For the plan: each node's address, and what the restore does there."""
    if not ready.known(facts, target.nodes).places:
        return {}
    around = look_around(target)
    return {str(place): ready.foretold(place, found, around.here, intent) for place, found in around.nodes.items()}


# -- nobody writes through another member ----------------------------------------------------------------------


def members(target: MysqlTarget, facts: ServerFacts) -> tuple[Place, ...]:
    """Other nodes through which a schema can be written: of a Galera cluster, all of them."""
    if facts.cluster is None or facts.cluster.kind != "Galera":
        return ()
    return ready.known(facts, target.nodes).places


def refuse_used(work: Work, target: MysqlTarget, facts: ServerFacts, timeout: float = _APPLYING) -> None:
    """Wait until nobody uses the schema through another member. Raises Refused, which says through which."""
    for place in members(target, facts):
        try:
            with connected(place, reach.login_of(target)) as connection:
                sessions.wait_until_unused(
                    connection, target.database, timeout=timeout, say=work.say, stop=work.stopped
                )
        except Refused as error:
            raise Refused(f"On {place}: {error.message}", error.hint) from None
        except RestoreError as error:
            if work.stopped():
                raise
            work.say(f"{place} was not asked who uses the schema: {error.message}")


def prove_unused(work: Work, target: MysqlTarget, facts: ServerFacts) -> None:
    """As `refuse_used`; a member that does not answer is a check that blocks, since somebody may write through it."""
    refuse_used(work, target, facts, target.writers_timeout.total_seconds())
    for place in members(target, facts):
        work.check(unused(target, place))


def unused_on(place: Place) -> str:
    """The name of a member's check."""
    return f"Nobody uses the schema on {place}"


def unused(target: MysqlTarget, place: Place) -> Check:
    name = unused_on(place)
    try:
        with connected(place, reach.login_of(target), timeout=_PATIENCE) as connection:
            usage = sessions.users_of(connection, target.database)
    except RestoreError as error:
        hint = "Reach it or shut it down, then check again (r): a member that can't be seen can still be written to."
        return checks.unknown(name, error.message, hint)
    found = sessions.unused(usage)
    return Check(name, found.panel, found.verdict, found.evidence, found.hint)


def check_again(name: str, target: MysqlTarget) -> Check | None:
    """A member's check that nobody uses the schema on it, asked once more; None where it is none of them."""
    if not name.startswith(unused_on(Place("", 0)).removesuffix(":0")):
        return None
    with reach.reached(target) as connection:
        facts = server.look(connection)
    return next((unused(target, place) for place in members(target, facts) if unused_on(place) == name), None)
