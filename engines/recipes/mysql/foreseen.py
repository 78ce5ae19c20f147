"""What a restore plan can say before its dump has been read: for a dry run, which stages and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from engines.backups.catalogue import Backup
from engines.errors import RestoreError
from engines.mysql import server, space
from engines.mysql.binlogs.fetch import listing
from engines.mysql.replication import logging_told
from engines.recipes.mysql import ground, reach
from engines.recipes.mysql.facts import Found
from engines.recipes.mysql.until import Kind, Until, told, until_of
from engines.session.state import SessionState
from engines.targets import Ghosts, Method, MysqlTarget
from engines.text import drawable, parse_stamp

LATER = "known once the dump has been read"


@dataclass(frozen=True, slots=True)
class Foreseen:
    found: Found
    later: tuple[str, ...]  # what only preparing finds out, each in a line


def foresee(state: SessionState, target: MysqlTarget, backup: Backup) -> Foreseen:
    """The server is looked at, the dump is not read. Raises RestoreError where the server does not answer."""
    until = until_of(state)
    with reach.reached(target) as connection:
        now = ground.look(connection, target)
        free = space.free_on_server(connection, reach.place_of(target), now.server, target.space_command)
        try:
            logs = [one.name for one in listing(connection)] if now.server.log_bin else []
        except RestoreError:
            logs = []  # check "privileges" says which right is missing
    staged, why = ground.decide(state, target, now, None, free)
    names = reach.names_of(target, state)
    found = Found(
        server=server.identity(now.server),
        dump=backup.name,
        dump_size=backup.size,
        sha256=_sha256(backup),
        tables=None,
        way=ground.way_of(target),
        logging=logging_told(now.server, ground.intent_of(target, state, staged=staged)),
        staged=staged,
        stage=names.stage,
        parked=names.parked,
        readable=now.readable,
        rebuilds=target.ghosts is Ghosts.REBUILD,
        logs_kept=now.server.log_bin,
        replay=_replay(target, until, logs),
        replicated=now.replicated,
        reaches=parse_stamp(until.value) if until.kind is Kind.TIME else None,
        reach_known=until.kind in (Kind.DUMP, Kind.TIME),
        details={**ground.described(now), "method": _method(target, why, staged=staged)},
    )
    return Foreseen(found, tuple(_later(target, until, staged=staged)))


def _sha256(backup: Backup) -> str:
    """As the bytes have it, else as a catalogue lists it; empty where neither is known."""
    digest = backup.actual or backup.expected
    return digest.hex if digest is not None and digest.algorithm == "sha256" else ""


def _replay(target: MysqlTarget, until: Until, logs: list[str]) -> tuple[str, ...]:
    if not until.replays:
        return ()
    here = f"the server has {drawable(logs[0])} to {drawable(logs[-1])}" if logs else "the server shows none"
    kept = f"{target.binlogs}, and " if target.binlogs else ""
    return (
        f"from the dump's own position {told(until)}",
        f"logs: {kept}{here}; whether they reach back to the dump is {LATER}",
    )


def _method(target: MysqlTarget, why: str, *, staged: bool) -> str:
    if target.method is not Method.AUTO:
        return "staged, as configured" if staged else "in place, as configured"
    return f"staged, unless the dump or the room for it forbids it: {LATER}" if staged else why


def _later(target: MysqlTarget, until: Until, *, staged: bool) -> list[str]:
    ghosts = "removed" if target.ghosts is Ghosts.REBUILD else "left"
    return [
        "tables and rows of the dump, and whether it is whole and for this schema",
        f"tables that are there now and not in the dump: they are {ghosts}",
        *(("whether it can be loaded beside the live schema: else the plan is made in place",)
          if staged and target.method is Method.AUTO else ()),
        *(("the transactions that are replayed, and the exact stop",) if until.replays else ()),
        "how long it takes: this server is measured while preparing",
    ]  # fmt: skip
