"""What a restore is going to ask of a server, as far as checks depend on it. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    schema: str  # the live one
    staged: bool  # loaded into `stage` beside it, then swapped; else in its place
    binary_log: bool  # does the restore go into the server's binary log?
    replays: bool  # are binary logs replayed after the dump?
    stage: str = ""
    parked: str = ""  # keeps the replaced tables
    own_client: bool = True  # our own loader; else the server's client program
    local_infile: bool = False  # may the load turn the server's local_infile on?
    keeps_logs: bool = True  # are the server's latest binary logs fetched?

    @property
    def into(self) -> str:
        """Where the dump is loaded."""
        return self.stage if self.staged else self.schema
