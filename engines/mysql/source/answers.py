"""What a receiver asks its source before it asks for a log, and what it is told. Pure.

Sources: MySQL source, rpl_replica.cc, get_master_version_and_clock and what follows it; MariaDB source, slave.cc. Tried
with the servers that the README lists.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from engines.mysql.flavour import Version

_HEARTBEAT = re.compile(r"@(?:master|source)_heartbeat_period\s*=\s*(\d+)", re.IGNORECASE)
_LIKE = re.compile(r"SHOW\s+(?:GLOBAL\s+)?VARIABLES\s+LIKE\s+'([^']*)'", re.IGNORECASE)
_SELECT = re.compile(r"SELECT\s+(.+?)\s*;?\s*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the source says that it is."""

    version: Version  # of the server that wrote the logs
    server_id: int
    uuid: str

    @property
    def greets(self) -> str:
        """As replicas of that flavour recognise it."""
        numbers = ".".join(map(str, self.version.numbers))
        return f"5.5.5-{numbers}-MariaDB-log" if "mariadb" in self.version.flavour else numbers


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]


def answer(identity: Identity, query: str) -> Table | str | None:
    """A table; None for what is simply done; the name of an unknown thing as text."""
    asked = query.strip()
    if asked.upper().startswith("SET "):
        return None
    if found := _LIKE.fullmatch(asked):
        value = _variable(identity, found[1].lower())
        return Table(("Variable_name", "Value"), () if value is None else ((found[1], value),))
    if found := _SELECT.fullmatch(asked):
        what = found[1].lower()
        if what == "unix_timestamp()":
            return Table(("t",), ((str(int(time.time())),),))
        if what.startswith("binlog_gtid_pos("):
            return Table(("p",), (("",),))
        value = _variable(identity, what.removeprefix("@@global.").removeprefix("@@").removeprefix("@"))
        if value is not None:
            return Table((found[1],), ((value,),))
    return asked[:80]


def heartbeat(query: str) -> float | None:
    """Seconds of silence that the receiver bears, where the statement sets them (in nanoseconds)."""
    found = _HEARTBEAT.search(query)
    return int(found[1]) / 1e9 if found and int(found[1]) else None


def _variable(identity: Identity, name: str) -> str | None:
    return {
        "server_id": str(identity.server_id),
        "server_uuid": identity.uuid,
        "gtid_mode": "OFF",
        "gtid_domain_id": "0",
        "source_binlog_checksum": "CRC32",
        "master_binlog_checksum": "CRC32",
        "binlog_checksum": "CRC32",
        "version": identity.greets,
    }.get(name)
