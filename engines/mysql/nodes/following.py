"""Has another server applied everything that this one had written? Pure.

A member of a Galera cluster is compared by the number of the last write set; a replica by GTIDs, and where there are
none by the place in this server's binary log.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from engines.mysql.binlogs.gtids import GtidSet, MariaPosition
from engines.mysql.binlogs.logs import name_parts
from engines.mysql.channels import Channel
from engines.mysql.nodes.node import Galera, NodeFacts
from engines.text import count

_STOPPED = "START REPLICA (MariaDB: START SLAVE) on it; SHOW REPLICA STATUS there says why it stopped."


class Stand(StrEnum):
    THERE = "there"  # it has everything
    BEHIND = "behind"  # and it is coming
    BROKEN = "broken"  # it will not come by itself
    UNKNOWN = "unknown"  # nothing tells


@dataclass(frozen=True, slots=True)
class Standing:
    stand: Stand
    told: str
    hint: str = ""


def standing(node: NodeFacts, here: NodeFacts) -> Standing:
    """How far `node` is on the way to where `here` stood when it was asked."""
    if node.galera is not None and here.galera is not None:
        return _of_member(node.galera, here.galera)
    if node.channels is None:
        hint = "GRANT REPLICATION CLIENT (MariaDB: SLAVE MONITOR) to the login, as docs/privileges.md has it."
        return Standing(Stand.UNKNOWN, "the login may not see whom it follows", hint)
    ours, theirs = here.server.cluster, node.server.cluster
    group = ours is not None and theirs is not None and ours.kind == theirs.kind
    if not node.channels and not group:
        hint = "Take it out of `nodes`, or make it a replica of this server again."
        return Standing(Stand.BROKEN, "it is no replica, and no member of this server's cluster", hint)
    direct = channel_from(node, here)
    missing = _missing(node, here, direct)
    if missing == "":
        return Standing(Stand.THERE, "it has applied all that this server had written")
    for channel in () if group else (direct,) if direct else node.channels:
        if not channel.applying or not channel.receiving:
            part = "does not apply" if not channel.applying else "does not receive"
            error = f", error {channel.error}" if channel.error else ""
            return Standing(Stand.BROKEN, f"its replication {part}{error}", _STOPPED)
    if missing is None:
        hint = "Turn GTIDs on, or name only replicas that follow this server itself."
        return Standing(Stand.UNKNOWN, "it follows another server, and no GTIDs tell how far it is", hint)
    delay = f"; it stays {direct.delay} s behind on purpose" if direct and direct.delay else ""
    return Standing(Stand.BEHIND, f"{missing}{delay}")


def channel_from(node: NodeFacts, here: NodeFacts) -> Channel | None:
    """The one by which it follows this very server."""
    return next((one for one in node.channels or () if one.source_id == here.server.server_id), None)


def _of_member(node: Galera, here: Galera) -> Standing:
    if node.history != here.history:
        hint = "Is it the right address? Where it is, it has to join the cluster anew."
        return Standing(Stand.BROKEN, "it belongs to another cluster than this server", hint)
    if not node.primary:
        hint = "It takes part again when it reaches the others: look at its error log."
        return Standing(Stand.BROKEN, f"it is {node.state}, outside of the part of the cluster that goes on", hint)
    behind = here.committed - node.committed
    if behind > 0:
        return Standing(Stand.BEHIND, f"{count(behind)} write sets behind, {count(node.waiting)} in its queue")
    return Standing(Stand.THERE, f"{node.state}, all write sets up to {here.committed} are committed")


def _missing(node: NodeFacts, here: NodeFacts, direct: Channel | None) -> str | None:
    """What it still has to apply; empty: nothing; None: nothing tells."""
    if not here.server.mariadb and here.written:
        left = len(GtidSet.parse(here.written) - GtidSet.parse(node.applied))
        return f"{count(left)} transactions behind" if left else ""
    if direct is not None and here.log is not None:
        return _bytes_left(here.log, (direct.file, direct.position))
    if here.server.mariadb and here.written and node.applied:
        wanted, have = MariaPosition.parse(here.written), MariaPosition.parse(node.applied)
        there = all(map(have.has, wanted.domains.values()))
        return "" if there else f"it is at {node.applied}, this server was at {here.written}"
    return None


def _bytes_left(wanted: tuple[str, int], have: tuple[str, int]) -> str | None:
    first, second = name_parts(have[0]), name_parts(wanted[0])
    if first is None or second is None or first[0] != second[0]:
        return None
    if (first[1], have[1]) >= (second[1], wanted[1]):
        return ""
    if first[1] == second[1]:
        return f"{count(wanted[1] - have[1])} bytes of log behind"
    return f"{count(second[1] - first[1])} log files behind"
