"""What the restore plan of a MySQL or MariaDB target is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that preparing found, in the plan's words."""

    server: str  # identity of the server: another one is refused
    dump: str  # the staged file
    dump_size: int  # bytes
    sha256: str
    tables: int | None  # None before the dump has been read
    way: str  # "over 2 connections, indexes afterwards": how it is loaded
    logging: str  # what the restore does to the binary log and to replicas
    staged: bool  # beside the live schema, then swapped
    stage: str  # name of the staged schema
    parked: str  # name of the schema that keeps the replaced tables
    readable: bool  # is there a live schema to take a snapshot of?
    rebuilds: bool  # is the live schema emptied first?
    ghosts: tuple[str, ...] = ()  # there now, and not in the dump
    logs_kept: bool = False  # can the server's latest binary logs be fetched?
    replay: tuple[str, ...] = ()  # from where to where, and how; empty: nothing is replayed
    pulls: bool = False  # does the server pull that itself?
    replicated: bool = False
    nodes: Mapping[str, str] = field(default_factory=dict)  # each other node's address, and what happens there
    reaches: datetime | None = None  # the last transaction that comes back
    reach_known: bool = True  # False: how far the replay comes is known once the logs have been read
    estimate: float | None = None  # seconds
    table_names: tuple[str, ...] = ()  # of the dump; none before it has been read
    details: Mapping[str, str] = field(default_factory=dict)
