"""What a login may do, as SHOW GRANTS has it. What it needs is `engines.mysql.privileges`' question.

The password's hash, which MariaDB shows there, is never kept. Privileges on single columns and routines are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.mysql.queries import rows_of

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

ALL = "ALL PRIVILEGES"
_NAME = r"`(?:[^`]|``)*`|'(?:[^'\\]|\\.)*'|\*"
_LINE = re.compile(
    rf"(?P<what>GRANT|REVOKE) (?P<privileges>.+?) ON (?P<kind>TABLE |FUNCTION |PROCEDURE |PACKAGE (?:BODY )?|LIBRARY )?"
    rf"(?P<schema>{_NAME})\.(?P<table>{_NAME}) (?:TO|FROM) (?P<holder>(?:{_NAME})(?:@(?:{_NAME}))?)",
    re.DOTALL,
)
# What versions call the same thing.
_ALIASES = {
    "ALL": ALL,
    "REPLICA MONITOR": "SLAVE MONITOR",
    "REPLICATION REPLICA": "REPLICATION SLAVE",
    "REPLICATION REPLICA ADMIN": "REPLICATION SLAVE ADMIN",
    "DELETE VERSIONING ROWS": "DELETE HISTORY",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """Privileges on everything (`*`), on the schemas of a pattern, or on one table; or their partial revocation."""

    privileges: tuple[str, ...]
    schema: str  # a pattern with _, % and \, unless the server takes names literally; * for all
    table: str  # * for all
    holder: str  # the account or role
    option: bool  # may they be handed on?
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Grants:
    held: tuple[Grant, ...]
    literal: bool  # partial_revokes: a schema's name in a grant is no pattern

    def has(self, privilege: str, schema: str = "*", table: str = "*", *, option: bool = False) -> bool:
        """Does the login have it there: everywhere, on the schema, or on that table of it?"""
        return any(self._covers(grants, privilege, schema, table, option=option) for grants in self._by_holder())

    def _by_holder(self) -> Iterator[tuple[Grant, ...]]:
        for holder in dict.fromkeys(grant.holder for grant in self.held):
            yield tuple(grant for grant in self.held if grant.holder == holder)

    def _covers(self, grants: tuple[Grant, ...], privilege: str, schema: str, table: str, *, option: bool) -> bool:
        everywhere = (one for one in grants if one.schema == "*" and not one.revoked)
        taken = (one for one in grants if one.revoked and schema != "*" and one.schema == schema)
        if any(_gives(one, privilege, option=option) for one in everywhere) and not any(
            privilege in one.privileges or ALL in one.privileges for one in taken
        ):
            return True
        if schema == "*":
            return False
        # Of several patterns that match a schema, a server looks at the most exact one only.
        matching = [one for one in grants if one.table == "*" and not one.revoked and self._matches(one, schema)]
        best = max((_exactness(one.schema) for one in matching), default=None)
        if any(_gives(one, privilege, option=option) for one in matching if _exactness(one.schema) == best):
            return True
        exact = (one for one in grants if one.table == table != "*" and _plain(one.schema) == schema)
        return any(_gives(one, privilege, option=option) for one in exact)

    def _matches(self, grant: Grant, schema: str) -> bool:
        if grant.schema == "*":
            return False
        if self.literal:
            return grant.schema.lower() == schema.lower()
        return re.fullmatch(_regex(grant.schema), schema, re.IGNORECASE | re.DOTALL) is not None


def grants_of(connection: Connection[Cursor], *, literal: bool = False) -> Grants:
    """The login's own, and those of its active roles. Raises NotSaid, RestoreError."""
    return parse((str(row[0]) for row in rows_of(connection, "SHOW GRANTS")), literal=literal)


def parse(lines: Iterable[str], *, literal: bool = False) -> Grants:
    held = []
    for line in lines:
        found = _LINE.match(line)
        if found is None or (found["kind"] and found["kind"] != "TABLE "):
            continue  # a role, a default role, a routine
        written = re.sub(r"\s*\([^)]*\)", "(", found["privileges"])  # SELECT (`id`) is not SELECT
        names = (name.strip().upper() for name in written.split(","))
        privileges = tuple(_ALIASES.get(name, name) for name in names if name and not name.endswith("("))
        held.append(
            Grant(
                privileges,
                _unquoted(found["schema"]),
                _unquoted(found["table"]),
                found["holder"],
                "WITH GRANT OPTION" in line[found.end() :],
                found["what"] == "REVOKE",
            )
        )
    return Grants(tuple(held), literal)


def _gives(grant: Grant, privilege: str, *, option: bool) -> bool:
    # A dynamic privilege of MySQL is never part of ALL on a line: the server lists those by name.
    named = privilege in grant.privileges or ALL in grant.privileges
    return named and (grant.option or not option)


def _unquoted(name: str) -> str:
    if name == "*":
        return name
    quote = name[0]
    return name[1:-1].replace(quote * 2, quote)


def _plain(pattern: str) -> str:
    return re.sub(r"\\(.)", r"\1", pattern)


def _regex(pattern: str) -> str:
    made = ""
    for piece in re.findall(r"\\.|.", pattern, re.DOTALL):
        if piece == "%":
            made += ".*"
        elif piece == "_":
            made += "."
        else:
            made += re.escape(piece[-1])
    return made


def _exactness(pattern: str) -> tuple[bool, int]:
    """Servers sort patterns: without wildcards first, then by how much stands before the first one."""
    bare = re.sub(r"\\.", "x", pattern)
    wild = re.search(r"[%_]", bare)
    return (wild is None, wild.start() if wild else len(bare))
