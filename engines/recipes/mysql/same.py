"""Do the other nodes have the restored data? Waited for, then counted and summed there and here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from engines import checks
from engines.checks import Check, Panel, Verdict
from engines.errors import RestoreError
from engines.hooks import Stop, never
from engines.mysql.connect import Place
from engines.mysql.nodes import comparing, ready
from engines.mysql.nodes.comparing import Survey
from engines.mysql.nodes.following import Stand, Standing, standing
from engines.mysql.nodes.node import NodeFacts
from engines.mysql.nodes.ready import Silent
from engines.recipes.mysql import nodes, reach
from engines.session.plan import Step
from engines.session.state import SessionState
from engines.session.work import Work
from engines.targets import MysqlTarget

KNOWN = "All other nodes are compared"
_SAME = "Same data on "
_PAUSE = 0.2  # seconds between two looks at the nodes that are behind
_ROUNDS = 3  # of comparing, while this server is written to meanwhile
_FEW = 4  # nodes that a message names
_WAITING = "SHOW REPLICA STATUS on the node says what holds it up; in a Galera cluster wsrep_local_recv_queue does"
_AGAIN = "Compare again (r) once it can be reached, or the incident commander overrides with what was found."


def planned(step: Step) -> tuple[Place, ...]:
    """The nodes that a plan's step names."""
    return tuple(map(ready.place_of, str(step.params.get("nodes", "")).split()))


def same_on(place: Place) -> str:
    """The name of a node's check."""
    return f"{_SAME}{place}"


def compare(work: Work, target: MysqlTarget) -> str:
    """A check for each node, and one that none is left out. What came of it, told."""
    found = nodes.look_around(target, planned(work.step))
    work.check(_all(found))
    places = tuple(found.nodes)
    told = _Comparing(target, work).run(places)
    for check in told:
        work.check(check)
    work.found(nodes={str(place): str(check.verdict) for place, check in zip(places, told, strict=True)})
    wrong = [str(place) for place, check in zip(places, told, strict=True) if check.verdict is not Verdict.OK]
    if wrong:
        more = f" and {len(wrong) - _FEW} more" if len(wrong) > _FEW else ""
        return f"not proven to have the same data: {', '.join(wrong[:_FEW])}{more}"
    if not places:
        return "there is no other node"
    return f"{len(places)} other {'nodes have' if len(places) > 1 else 'node has'} the same data"


def check_again(name: str, target: MysqlTarget, state: SessionState) -> Check | None:
    """One of the checks here, asked once more; None where it is none of them."""
    if name == KNOWN:
        return _all(nodes.look_around(target))
    if not name.startswith(_SAME):
        return None
    named = tuple(place for known in state.steps for place in planned(known.step))
    around = nodes.look_around(target, named)
    place = next((one for one in around.nodes if same_on(one) == name), None)
    return None if place is None else _Comparing(target).run((place,))[0]


def _all(found: nodes.Around) -> Check:
    """Is every node that there is compared? A cluster may have grown since the plan was made."""
    told = ready.all_known(found.known)
    return Check(KNOWN, Panel.VALIDATION, told.verdict, told.evidence, told.hint)


@dataclass
class _Comparing:
    """One comparison, with a step's log and stop where there is one."""

    target: MysqlTarget
    work: Work | None = None
    _done: dict[Place, Check] = field(default_factory=dict)
    _pairs: dict[Place, tuple[Survey, Survey]] = field(default_factory=dict)  # this server's tables, and the node's

    def run(self, places: tuple[Place, ...]) -> tuple[Check, ...]:
        """A check for each. While this server is written to, what differs is compared once more, as it is then."""
        left, tables = places, None
        for attempt in range(_ROUNDS):
            here, there = self._caught_up(left)
            differing = self._judged(here, there, tables)
            now = nodes.ask_here(self.target)
            if not differing or attempt + 1 == _ROUNDS or _point(now) == _point(here):
                break
            self._say("this server was written to meanwhile: what differs is compared once more")
            left = tuple(differing)
            tables = tuple(sorted({table for names in differing.values() for table in names}))
        return tuple(self._done[place] for place in places)

    # -- waiting ---------------------------------------------------------------------------------------------

    def _caught_up(self, places: tuple[Place, ...]) -> tuple[NodeFacts, Mapping[Place, NodeFacts]]:
        """This server, and the nodes that have applied all that it had written. The others have their check."""
        here = nodes.ask_here(self.target)
        there: dict[Place, NodeFacts] = {}
        left = places
        while left:
            found = nodes.asked(self.target, left)
            stands = {place: _standing(one, here) for place, one in found.items()}
            for place, one in found.items():
                match stands[place].stand, one:
                    case Stand.THERE, NodeFacts():
                        there[place] = one
                        self._say(f"{place}: {stands[place].told}")
                    case Stand.BEHIND, _:
                        pass
                    case _:
                        self._done[place] = _not_there(place, stands[place])
            left = tuple(place for place in left if stands[place].stand is Stand.BEHIND)
            self._tell(len(places) - len(left), len(places), {place: stands[place].told for place in left})
            self._heed(left, stands)
            if left:
                time.sleep(_PAUSE)
        return here, there

    def _heed(self, left: tuple[Place, ...], stands: Mapping[Place, Standing]) -> None:
        """A stop ends the waiting; what is not known is said to be."""
        if not self._stop():
            return
        if self.work is not None:
            for place in left:
                told = f"waiting for it was stopped: {stands[place].told}"
                self.work.check(checks.unknown(same_on(place), told, _AGAIN, Panel.VALIDATION))
        raise RestoreError("Comparing the nodes was stopped. Nothing was changed.", "Compare them again (r).")

    def _tell(self, done: int, total: int, behind: Mapping[Place, str]) -> None:
        if self.work is not None:
            text = "; ".join(f"{place}: {told}" for place, told in behind.items())
            self.work.progress(done, total, "nodes", text, waiting=_WAITING)

    # -- comparing -------------------------------------------------------------------------------------------

    def _judged(
        self, here: NodeFacts, there: Mapping[Place, NodeFacts], tables: tuple[str, ...] | None
    ) -> Mapping[Place, tuple[str, ...]]:
        """Count and sum on all servers at a time; the tables that differ, by node."""
        if not there:
            return {}
        own = reach.place_of(self.target)
        found = comparing.survey(
            (own, *there), reach.login_of(self.target), self.target.database, tables,
            progress=self._counting, stop=self._stop,
        )  # fmt: skip
        differing: dict[Place, tuple[str, ...]] = {}
        for place, facts in there.items():
            versions = here.server.version, facts.server.version
            before = self._pairs.get(place, (Survey(), Survey()))
            mine, theirs = (
                comparing.newer(before[0], found[own], tables),
                comparing.newer(before[1], found[place], tables),
            )
            self._pairs[place] = mine, theirs
            self._done[place] = comparing.verdict(same_on(place), mine, theirs, versions)
            if not mine.why and not theirs.why:
                names = comparing.differing(mine, theirs, comparable=comparing.comparable(*versions))
                differing |= {place: names} if names else {}
        return differing

    def _counting(self, done: int, total: int) -> None:
        if self.work is not None:
            self.work.progress(done, total, "tables", "counting and summing on every node")

    @property
    def _stop(self) -> Stop:
        return self.work.stopped if self.work is not None else never

    def _say(self, line: str) -> None:
        if self.work is not None:
            self.work.say(line)


def _standing(found: NodeFacts | Silent, here: NodeFacts) -> Standing:
    if isinstance(found, Silent):
        return Standing(Stand.UNKNOWN, found.message, found.hint)
    return standing(found, here)


def _not_there(place: Place, found: Standing) -> Check:
    hint = found.hint or _AGAIN
    if found.stand is Stand.BROKEN:
        return checks.fail(same_on(place), found.told, hint, Panel.VALIDATION)
    return checks.unknown(same_on(place), found.told, hint, Panel.VALIDATION)


def _point(here: NodeFacts) -> tuple[object, ...]:
    """What moves when anything is written to this server."""
    return here.log, here.written, here.galera.committed if here.galera else None
