"""Which statements are left between what is true now and the old or the new schema. Pure.

Both ways and from anywhere: what is left is worked out from what the server shows, so that a statement that was
executed is not left any more, and one that was not is. Going on after a crash is simply doing what is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from engines.mysql.connect import quoted
from engines.mysql.dumps.code import Kind
from engines.mysql.stage.found import Found
from engines.mysql.stage.names import Names
from engines.mysql.stage.objects import Code
from engines.text import drawable

_RENAME = "rename the tables"
_ENDS = re.compile(r"\b(?:AT|ENDS) '([0-9: -]{19})' ON COMPLETION NOT PRESERVE")
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)")


class Goal(StrEnum):
    OLD = "old"
    NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """A swap as it is planned: what was live, and what is to be. Kept by the caller before anything is done."""

    names: Names
    session: str
    old_tables: tuple[str, ...]  # live at planning
    new_tables: tuple[str, ...]  # staged
    parks: tuple[str, ...]  # those of old_tables that are replaced; the others stay
    old: tuple[Code, ...]
    new: tuple[Code, ...]  # what the live schema has in the end; of what stays too
    create: str  # CREATE DATABASE of the live schema
    existed: bool  # was there a live schema?
    collation: str  # its default
    binary_log: bool = True
    notes: tuple[str, ...] = ()  # what the operator should know
    statements: tuple[str, ...] = ()  # of the way there, as they would be executed now

    def code(self, goal: Goal) -> tuple[Code, ...]:
        return self.old if goal is Goal.OLD else self.new


@dataclass(frozen=True, slots=True)
class Act:
    """One statement."""

    what: str
    sql: str
    code: Code | None = None  # made by objects.make_code
    renames: bool = False


class Tables(StrEnum):
    """Where the tables are."""

    OLD = "old"
    NEW = "new"
    BETWEEN = "between"  # some are moved: no server does that, unless its crash recovery is not atomic
    GONE = "gone"  # stage and parked schema are removed, or about to be


def where(swap: Swap, found: Found) -> Tables:
    if not found.kept:
        return Tables.GONE
    parked = [table for table in swap.parks if table in found.parked]
    staged = [table for table in swap.new_tables if table in found.stage]
    arrived = {*swap.new_tables} - {*swap.old_tables}
    if not parked and not arrived & found.live:
        return Tables.OLD
    if len(parked) == len(swap.parks) and not staged:
        return Tables.NEW
    return Tables.BETWEEN


def astray(swap: Swap, found: Found, goal: Goal) -> tuple[str, ...]:
    """Tables that are where no swap and no undo of ours can have put them, so that `goal` can't be reached whole."""
    wrong = []
    for table in swap.old_tables:
        if table not in found.parked and table not in found.live:
            wrong.append(f"{table} is gone")
    for table in swap.new_tables:
        if table in found.stage and table in found.live and (table in found.parked or table not in swap.parks):
            wrong.append(f"{table} is in {swap.names.live} and in {swap.names.stage}")
        elif goal is Goal.OLD or where(swap, found) is Tables.NEW:
            continue  # what the application dropped since it went live is its own matter
        elif table not in found.stage and (table not in found.live or table in {*swap.parks} - found.parked):
            wrong.append(f"{table} is gone from {swap.names.stage}")
    return tuple(map(drawable, wrong))


def strange(swap: Swap, found: Found) -> tuple[str, ...]:
    """What the live schema has that is neither of the old nor of the new: somebody changed it since the plan."""
    tables = found.live - {*swap.old_tables, *swap.new_tables}
    return (
        *(f"table {drawable(table)}" for table in sorted(tables)),
        *(code.shown for code in found.code if not known(swap, code)),
    )


def known(swap: Swap, code: Code) -> bool:
    """Is it the old schema's or the new one's? A view that the swap has broken shows another text: its name tells."""
    ours = (*swap.old, *swap.new)
    if code.broken:
        return any(code.key == one.key for one in ours)
    return any(_still(code) == _still(one) for one in ours)


def _still(code: Code) -> Code:
    """A trigger's place changes when its neighbours go."""
    return replace(code, order=0)


def moves(swap: Swap, found: Found, goal: Goal) -> tuple[tuple[str, str, str], ...]:
    """(table, from, to), in the order of the RENAME: first away, then in."""
    live, stage, parked = swap.names.live, swap.names.stage, swap.names.parked
    if goal is Goal.NEW:
        away = [(table, live, parked) for table in swap.parks if table not in found.parked]
        return (*away, *((table, stage, live) for table in swap.new_tables if table in found.stage))
    if where(swap, found) is Tables.OLD:
        return ()
    stays = {table for table in swap.old_tables if table not in found.parked}
    # Also tables that were made since: the old schema had none of them.
    away = [(table, live, stage) for table in sorted(found.live - stays)]
    return (*away, *((table, parked, live) for table in swap.parks if table in found.parked))


def remaining(swap: Swap, found: Found, goal: Goal) -> tuple[Act, ...]:
    """What is left to do, in order. Empty: the goal is reached."""
    return tuple(_Way(swap, found, goal).acts())


class _Way:
    def __init__(self, swap: Swap, found: Found, goal: Goal) -> None:
        self.swap, self.found, self.goal = swap, found, goal
        self.live = quoted(swap.names.live)
        self.have = {code.key: code for code in found.code}
        self.want = {code.key: code for code in swap.code(goal)}
        self.moves = moves(swap, found, goal)

    def acts(self) -> Iterator[Act]:
        if not self.swap.existed and self.goal is Goal.OLD:
            yield from self._unmake()
            return
        if not self.found.exists:
            yield Act("make the schema", self.swap.create)
        yield from self._quiet()
        if self.moves:
            yield from self._loosen()
            yield self._rename()
        if self.found.exists and self.found.collation != self.swap.collation:
            yield self._collation(self.swap.collation)
        yield from self._drop()
        yield from self._make()

    def _unmake(self) -> Iterator[Act]:
        """There was no live schema: what came goes back, and the empty schema away."""
        yield from self._loosen()
        if self.moves:
            yield self._rename()
        if self.found.exists and not self.found.live - {table for table, _, _ in self.moves}:
            yield Act("remove the schema, which is empty", f"DROP DATABASE IF EXISTS {self.live}")

    def _rename(self) -> Act:
        pairs = ", ".join(
            f"{quoted(old)}.{quoted(table)} TO {quoted(new)}.{quoted(table)}" for table, old, new in self.moves
        )
        return Act(_RENAME, f"RENAME TABLE {pairs}", renames=True)

    def _quiet(self) -> Iterator[Act]:
        """Events first: they write by themselves. One that is disabled and stays as it is may stay."""
        for key, code in list(self.have.items()):
            if code.kind is not Kind.EVENT:
                continue
            same = self.want.get(key) == code
            if (self.moves and not (same and _is_off(code))) or (not same and self._ours(code)):
                yield self._dropping(code)

    def _loosen(self) -> Iterator[Act]:
        """A table with triggers can't be renamed into another schema; nor one whose name a view has there."""
        moved = {(schema, table) for table, schema, _ in self.moves}
        for trigger in self.found.aside:
            if (trigger.schema, trigger.table) in moved:
                name = f"{quoted(trigger.schema)}.{quoted(trigger.name)}"
                yield Act(
                    f"drop trigger {drawable(trigger.name)} of {trigger.schema}", f"DROP TRIGGER IF EXISTS {name}"
                )
        arriving = {table for table, _, schema in self.moves if schema == self.swap.names.live}
        for code in list(self.have.values()):
            if (code.kind is Kind.TRIGGER and (self.swap.names.live, code.table) in moved) or (
                code.kind is Kind.VIEW and code.name in arriving
            ):
                yield self._dropping(code)

    def _drop(self) -> Iterator[Act]:
        for key, code in list(self.have.items()):
            wanted = self.want.get(key)
            if wanted == code or not self._ours(code):
                continue
            if code.kind is Kind.VIEW and wanted is not None:
                continue  # replaced
            yield self._dropping(code)

    def _ours(self, code: Code) -> bool:
        """May it go? On the way to the new schema only what the plan knows; on the way back all that is not old."""
        if self.goal is Goal.OLD:
            return True
        return known(self.swap, code)

    def _make(self) -> Iterator[Act]:
        default = now = self.swap.collation
        for code in self.want.values():
            present = self.have.get(code.key)
            if present == code or (present is not None and not self._ours(present)) or _is_over(code, self.found):
                continue
            if code.schema_collation not in ("", now):
                now = code.schema_collation
                yield self._collation(now)
            yield Act(f"make {code.shown}", code.text, code)
        if now != default:
            yield self._collation(default)

    def _collation(self, collation: str) -> Act:
        return Act(f"set the schema's default, {collation}", f"ALTER DATABASE {self.live} COLLATE = {collation}")

    def _dropping(self, code: Code) -> Act:
        del self.have[code.key]
        return Act(f"drop {code.shown}", f"DROP {code.kind} IF EXISTS {self.live}.{quoted(code.name)}")


def _is_off(event: Code) -> bool:
    return " ENABLE" not in event.text


def _is_over(event: Code, found: Found) -> bool:
    """Has an event's time passed, so that the server has removed it, and would not make it again?"""
    ends = _ENDS.search(event.text) if event.kind is Kind.EVENT else None
    if ends is None:
        return False
    offset = _OFFSET.fullmatch(event.time_zone)
    if offset is None:  # SYSTEM; a zone with a name is taken for it
        return datetime.fromisoformat(ends[1]) < found.now_there
    shift = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
    return datetime.fromisoformat(ends[1]) < found.now + (-shift if offset[1] == "-" else shift)
