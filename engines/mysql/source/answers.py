"""What a receiver asks before it asks for events, and what it is told.

It is told of a server that has no GTIDs, no semi-synchronous replication, and checksums as the events have them.
Source: get_master_version_and_clock and its neighbours in MySQL's sql/rpl_replica.cc (8.0, 8.4, 9.x; 5.7: rpl_slave.cc)
and in MariaDB's sql/slave.cc; plugin/semisync in both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from engines.mysql.flavour import Flavour, Version
from engines.mysql.source.packets import error, ok, rows

FATAL: Final = 1236  # ER_SOURCE_FATAL_ERROR_READING_BINLOG: the receiver stops, and does not ask again
LARGEST_PERIOD: Final = 4_294_967.0  # seconds; MySQL allows no more

_GLOBAL = re.compile(r"select @@global\.(\w+)")
_OWN = re.compile(r"select @(\w+)")
_VARIABLES = re.compile(r"show (?:global |session )?variables like '([^']*)'")
_PERIOD = re.compile(r"@(?:master|source)_heartbeat_period\s*=\s*(\d+)")
_GTID_POSITION = re.compile(r"select binlog_gtid_pos\('[^']*', ?\d+\)")


@dataclass(frozen=True, slots=True)
class Identity:
    """The server that a source says it is."""

    version: Version  # of the server that wrote the logs: MySQL's dialect or MariaDB's
    server_id: int  # nobody else's, and that of each event that is sent
    uuid: str  # nobody else's
    checksums: bool = True  # does each event end in a CRC-32?

    @property
    def told_version(self) -> str:
        """What the greeting says. MariaDB's receivers take the number after 5.5.5- for the real one."""
        numbers = ".".join(map(str, self.version.numbers))
        return f"5.5.5-{numbers}-MariaDB-log" if self.version.flavour is Flavour.MARIADB else numbers


@dataclass(frozen=True, slots=True)
class Answer:
    payloads: tuple[bytes, ...]  # of the packets, in order
    heartbeat: float | None = None  # seconds between two heartbeats, if the statement set it; 0: none are wanted
    unknown: bool = False  # nothing that a receiver is known to ask


def answer(statement: str, identity: Identity, now: int) -> Answer:
    """What a receiver's statement is answered with. `now`: seconds since 1970."""
    asked = " ".join(statement.split()).rstrip("; ").lower()
    if asked == "select unix_timestamp()":
        return _value(asked, str(now))
    if asked.startswith("set @slave_connect_state") or asked.startswith("set @@slave_connect_state"):
        return Answer((error(FATAL, "HY000", "This source knows no GTIDs: connect with MASTER_USE_GTID=no."),))
    if asked.startswith(("set @", "set names ")) and not asked.startswith("set @@global"):
        return Answer((ok(),), heartbeat=_period(asked))
    if found := _GLOBAL.fullmatch(asked):
        value = _globals(identity).get(found[1])
        if value is None:  # semi-synchronous replication asks, and does without on this error
            return Answer((error(1193, "HY000", f"Unknown system variable '{found[1]}'"),))
        return _value(found[0].removeprefix("select "), value)
    if found := _OWN.fullmatch(asked):
        checksum = found[1] in ("master_binlog_checksum", "source_binlog_checksum")
        return _value(f"@{found[1]}", _checksum(identity) if checksum else None)
    if found := _VARIABLES.fullmatch(asked):
        name = found[1].replace("\\_", "_")
        value = _globals(identity).get(name)
        return Answer(rows(("Variable_name", "Value"), ((name, value),) if value is not None else ()))
    if _GTID_POSITION.fullmatch(asked):
        return _value("binlog_gtid_pos", "")
    return Answer(
        (error(1064, "42000", "This is a source of binary logs, and knows no such statement."),), unknown=True
    )


def _globals(identity: Identity) -> dict[str, str]:
    known = {
        "server_id": str(identity.server_id),
        "binlog_checksum": _checksum(identity),
        "version": identity.told_version,
    }
    if identity.version.flavour is Flavour.MARIADB:
        return {**known, "gtid_domain_id": "0"}
    return {**known, "server_uuid": identity.uuid, "gtid_mode": "OFF"}


def _checksum(identity: Identity) -> str:
    return "CRC32" if identity.checksums else "NONE"


def _value(name: str, value: str | None) -> Answer:
    return Answer(rows((name,), ((value,),)))


def _period(asked: str) -> float | None:
    """Receivers count it in nanoseconds."""
    found = _PERIOD.search(asked)
    if found is None:
        return None
    return min(int(found[1][:20]) / 1e9, LARGEST_PERIOD)
