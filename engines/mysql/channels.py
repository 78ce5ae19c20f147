"""What a server says of one channel by which it follows another: one reading of its many spellings. Pure.

Sources: MySQL manual, "SHOW REPLICA STATUS"; MariaDB documentation, "SHOW REPLICA STATUS", "SHOW ALL SLAVES STATUS".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engines.text import drawable

_FILTERS = ("do_db", "ignore_db", "do_table", "ignore_table", "wild_do_table", "wild_ignore_table", "rewrite_db")


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A row of such an answer."""

    source_id: int  # server_id
    file: str  # of the source's binary log: applied up to here
    position: int
    receiving: bool
    applying: bool
    receiver_error: int  # number of the last one, 0: none; its text may hold what is in a row
    applier_error: int
    lag: int | None  # seconds, as the replica counts; None: it can't tell
    delay: int  # seconds that it stays behind on purpose
    filters: tuple[str, ...]  # those that leave something out, or rename, by name

    @property
    def error(self) -> int:
        return self.applier_error or self.receiver_error


def channel_of(row: Mapping[str, Any]) -> Channel:
    """`row`: by the columns' names in small letters."""

    def of(*names: str) -> Any:  # noqa: ANN401 - the server's
        return next((row[name] for name in names if row.get(name) is not None), None)

    lag = of("seconds_behind_source", "seconds_behind_master")
    return Channel(
        source_id=_number(of("source_server_id", "master_server_id")),
        file=drawable(str(of("relay_source_log_file", "relay_master_log_file") or "")),
        position=_number(of("exec_source_log_pos", "exec_master_log_pos")),
        receiving=str(of("replica_io_running", "slave_io_running")).lower() == "yes",
        applying=str(of("replica_sql_running", "slave_sql_running")).lower() == "yes",
        receiver_error=_number(of("last_io_errno")),
        applier_error=_number(of("last_sql_errno")),
        lag=None if lag is None else _number(lag),
        delay=_number(of("sql_delay")),
        filters=tuple(f"replicate_{one}" for one in _FILTERS if of(f"replicate_{one}")),
    )


def _number(value: object) -> int:
    written = str(value)
    return int(written) if written.isdigit() else 0
