"""What a session has found out about its SQLite target, read back from the journal."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from engines.errors import RestoreError
from engines.recipes.recalling import recall, token
from engines.session.state import SessionState
from engines.sqlite.inspect import Live, look
from engines.sqlite.proof import Proof
from engines.sqlite.stage import Staged
from engines.sqlite.swap import Swap, prepare
from engines.targets import JournalMode, SqliteTarget
from engines.text import count, size


@dataclass(frozen=True, slots=True)
class Found:
    """What the restore plan is made from."""

    swap: Swap
    kind: str  # of the live database: database, missing, empty, unreadable
    live_size: int
    rate: float | None  # bytes per second, as staging measured it
    details: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[str, ...] = ()  # of the staged copy
    user: str | None = None  # who the application runs as, where that is configured

    @property
    def owner(self) -> str:
        """user:group of the new file."""
        return f"{_user(self.swap.uid)}:{_group(self.swap.gid)}"

    @property
    def path(self) -> str:
        return self.swap.live

    @property
    def kept(self) -> str:
        return self.swap.kept

    @property
    def mode(self) -> int:
        return self.swap.mode

    @property
    def journal_mode(self) -> str:
        return self.swap.journal_mode

    @property
    def readable(self) -> bool:
        """Can a consistent snapshot of the live database be taken?"""
        return self.kind == "database"


def planned_swap(state: SessionState) -> Swap:
    """The swap as the approved plan has it, or as it was when it was carried out."""
    for known in reversed(state.steps):
        if "swap" in known.step.params:
            return msgspec.convert(known.step.params["swap"], Swap)
    raise RestoreError("No plan of this session replaces a database.", "reinstate show says where it stands.")


def account(target: SqliteTarget, live: Live) -> tuple[int | None, int | None]:
    """The configured owner and group as numbers; None keeps what the live file has. Raises RestoreError."""
    try:
        uid = pwd.getpwnam(target.owner).pw_uid if target.owner else None
        gid = grp.getgrnam(target.group).gr_gid if target.group else None
    except KeyError as error:
        raise RestoreError(
            f"{error.args[0]}. Nothing was changed.", "Correct `owner` and `group` of the target in the configuration."
        ) from None
    if uid is not None and gid is None and live.identity is None:
        gid = pwd.getpwuid(uid).pw_gid
    return uid, gid


def swap_for(target: SqliteTarget, live: Live, staged: Staged, name: str) -> Swap:
    """The replacement of `live` by `staged`, with what the configuration says of owner, mode and journal mode."""
    uid, gid = account(target, live)
    mode = None if target.journal_mode is JournalMode.KEEP else str(target.journal_mode)
    return prepare(live, staged, name, uid=uid, gid=gid, mode=target.mode, journal_mode=mode)


def find_out(state: SessionState, target: SqliteTarget) -> Found:
    """Everything that preparing found. Raises RestoreError where something is missing."""
    live = recall(state, "look", "live", Live)
    staged = recall(state, "stage", "staged", Staged)
    now = look(str(target.database))
    if (now.kind, now.identity and now.identity.inode) != (live.kind, live.identity and live.identity.inode):
        raise RestoreError(
            f"The live database has changed since it was looked at ({live.kind}, now {now.kind}). Nothing was changed.",
            "Somebody else is working on it. Find out who, then choose the backup again.",
        )
    swap = swap_for(target, live, staged, token(state))
    rate = state.facts("stage").get("rate")
    return Found(
        swap=swap,
        kind=live.kind,
        live_size=live.identity.size if live.identity else 0,
        rate=float(rate) if isinstance(rate, int | float) and rate > 0 else None,
        details=describe(live),
        tables=tuple(table.table for table in recall(state, "prove", "proof", Proof).tables),
        user=target.application.user,
    )


def describe(live: Live) -> Mapping[str, str]:
    """The target's identity card."""
    told = {"state": f"{live.kind}: {live.why}"}
    if live.identity is not None:
        who = live.identity
        told |= {
            "file": f"device {who.device}, inode {who.inode}, {size(who.size)}, on {who.filesystem}",
            "owner": f"{_user(who.uid)}:{_group(who.gid)}, mode {who.mode:04o}",
        }
    if live.journal_mode:
        told["journal mode"] = live.journal_mode
    if live.sidecars:
        told["sidecars"] = ", ".join(f"{beside.path} ({size(beside.size)})" for beside in live.sidecars)
    return told


def rows(proof: Proof) -> Mapping[str, int | None]:
    return {table.table: table.rows for table in proof.tables}


def told_rows(counts: Mapping[str, int | None]) -> str:
    """`users 120 · transactions 48 210`, the most rows first."""
    known = sorted(((rows or 0, table) for table, rows in counts.items()), reverse=True)
    more = f" and {len(known) - 4} more" if len(known) > 4 else ""
    return " · ".join(f"{table} {count(number)}" for number, table in known[:4]) + more


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
