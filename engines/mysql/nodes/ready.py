"""Is another server ready to take a restore from this one? Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engines.checks import Check, fail, ok, unknown, warn
from engines.mysql.connect import Place
from engines.mysql.intent import Intent
from engines.mysql.nodes.following import Stand, channel_from, standing
from engines.mysql.nodes.node import NodeFacts
from engines.mysql.server import ServerFacts, identity
from engines.text import count, drawable

OTHERS = "Other nodes"
_LAG = 30  # seconds that a replica may be behind before it is worth a word
_TOLD = 5


@dataclass(frozen=True, slots=True)
class Silent:
    """A node that could not be asked, and why."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Known:
    """Which other servers there are: where they are, and what is missing of that."""

    places: tuple[Place, ...]
    configured: bool
    unplaced: tuple[str, ...] = ()  # what the server knows of, and nobody says where it is


def known(server: ServerFacts, configured: Sequence[str]) -> Known:
    """The configured ones; else those that the server tells of itself."""
    members = server.cluster.others if server.cluster else ()
    replicas = server.replicas or ()
    if configured:
        more = len(members) + len(replicas) - len(configured)
        missing = (f"the server knows {len(members) + len(replicas)}, `nodes` names {len(configured)}",)
        return Known(tuple(map(place_of, configured)), configured=True, unplaced=missing if more > 0 else ())
    addresses = (*members, *(one.address for one in replicas))
    hidden = sum(not one for one in members)
    unplaced = (
        *((f"{hidden} members of the cluster",) if hidden else ()),
        *(f"replica {one}" for one in replicas if not one.address),
    )
    return Known(tuple(map(place_of, filter(None, dict.fromkeys(addresses)))), configured=False, unplaced=unplaced)


def place_of(written: str) -> Place:
    host, _, port = written.rpartition(":")
    return Place(host.strip("[]"), int(port) if port.isdigit() else 3306)


def named(place: Place) -> str:
    return f"Node {place}"


def all_known(found: Known) -> Check:
    """Is there none that the restore reaches and nobody looks at?"""
    if found.unplaced:
        hint = 'Name all in the target\'s nodes = ["host:port"], or set report_host on the replicas.'
        return unknown(OTHERS, f"where they are is not known: {'; '.join(map(drawable, found.unplaced))}", hint)
    if not found.places:
        return ok(OTHERS, "none: the server is alone")
    how = "configured" if found.configured else "told by the server"
    return ok(OTHERS, f"{', '.join(map(str, found.places))} ({how})")


def ready(place: Place, node: NodeFacts | Silent, here: NodeFacts, intent: Intent) -> Check:
    """One node: reached, following, with the same tables, and nothing on it that keeps the restore out."""
    name = named(place)
    if isinstance(node, Silent):
        return unknown(name, node.message, node.hint)
    if identity(node.server) == identity(here.server):
        return fail(name, "it is the server itself, by another address", "Take it out of `nodes`.")
    found = standing(node, here)
    told = f"{kind_of(node, here)}, {node.server.version}: {found.told}"
    if found.stand is Stand.BROKEN:
        return fail(name, told, found.hint)
    if found.stand is Stand.UNKNOWN:
        return unknown(name, told, found.hint)
    channel = channel_from(node, here)
    if channel is not None and channel.filters:
        kept_out = f"{told}; it leaves things out: {', '.join(channel.filters)}"
        if intent.staged:
            hint = f'It may not get {drawable(intent.stage)}, and then breaks at the swap: method = "in-place".'
            return fail(name, kept_out, hint)
        return warn(name, kept_out, "See that it lets all tables of the schema through.")
    differ = _differ(node, here)
    if differ and found.stand is Stand.BEHIND:
        hint = "Check again (r) once it has caught up: what is on its way may be the difference."
        return unknown(name, f"{told}; its tables differ: {differ}", hint)
    if differ:
        hint = "Mend it or make it anew first: dropping or renaming a table that it lacks ends its replication."
        return fail(name, f"{told}; its tables differ already: {differ}", hint)
    late = channel.delay or channel.lag or 0 if channel else 0
    if late > _LAG:
        hint = "It is compared only once it has caught up. Look at what holds it up (SHOW REPLICA STATUS there)."
        return warn(name, f"{told}; {count(late)} s behind", hint)
    return ok(name, f"{told}; {len(node.tables)} tables, as here")


def kind_of(node: NodeFacts, here: NodeFacts) -> str:
    cluster = node.server.cluster
    if cluster is not None and here.server.cluster is not None and cluster.kind == here.server.cluster.kind:
        return f"member of the {cluster.kind} cluster"
    return "replica"


def foretold(place: Place, node: NodeFacts | Silent, here: NodeFacts, intent: Intent) -> str:
    """One line for the plan: what the restore does there."""
    if isinstance(node, Silent):
        return f"{place}: could not be reached; what the restore does there is not known"
    kind = kind_of(node, here)
    if node.galera is not None and here.galera is not None:
        return (
            f"{place} ({kind}): takes each statement as this server does; tables made or renamed stop it for that time"
        )
    if not intent.binary_log:
        return f"{place} ({kind}): keeps the old data, since the restore is left out of the binary log"
    return f"{place} ({kind}): applies the whole restore after this server, and has older data until it has"


def _differ(node: NodeFacts, here: NodeFacts) -> str:
    lacks, has = sorted(here.tables - node.tables), sorted(node.tables - here.tables)
    told = [f"lacks {_several(lacks)}"] if lacks else []
    return "; ".join(told + ([f"has {_several(has)} besides"] if has else []))


def _several(names: Sequence[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(map(drawable, names[:_TOLD])) + more
