"""What a session calls the schemas and the account of a staged restore. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LONGEST = 64  # characters of a schema's name. Source: MySQL manual, "Identifier Length Limits"
_LONGEST_FOLDER = 240  # bytes: a schema is a folder, in which a letter outside of ASCII is written as @ and four digits
_TOKEN = re.compile(r"[0-9a-f]{4,16}")


@dataclass(frozen=True, slots=True)
class Names:
    live: str
    stage: str  # loaded beside it
    parked: str  # keeps the replaced tables; holds the marker from the start
    account: str  # the user who loads the stage
    marker: str  # a table in `parked` whose comment names the session


def names(database: str, token: str) -> Names:
    """The names for one session. `token`: its four hex digits, the same at every attempt."""
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"{token!r} is no session's token")
    return Names(
        live=database,
        stage=_beside(database, f"_r{token}_new"),
        parked=_beside(database, f"_r{token}_old"),
        account=f"reinstate_{token}",
        marker=f"reinstate_marker_{token}",
    )


def _beside(database: str, ending: str) -> str:
    base = database.lower()  # a server with lower_case_table_names would do it itself
    while len(base) + len(ending) > _LONGEST or _folder(base) + len(ending) > _LONGEST_FOLDER:
        base = base[:-1]
    return base + ending


def _folder(name: str) -> int:
    """Bytes of a schema's folder. Source: MySQL manual, "Mapping of Identifiers to File Names"."""
    return sum(1 if re.fullmatch(r"[0-9A-Za-z_]", letter) else 5 * max(1, len(letter.encode("utf-16-le")) // 2)
               for letter in name)  # fmt: skip
