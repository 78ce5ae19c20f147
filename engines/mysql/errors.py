"""What an error of the server means, without the values that its message may hold.

"Duplicate entry 'ana@example.com' for key …" is a row's content, and must not get into a journal or a record.
"""

from __future__ import annotations

from functools import cache

from engines.mysql.connect import code_of

FULL = (3, 1021, 1026, 1114, 1534, 3675)  # a write that failed; most often for want of room
ROOM = "Make room on the server's disk, and where it keeps temporary files: its error log says where."


@cache
def _names() -> dict[int, str]:
    from pymysql.constants import CR, ER

    found = {
        number: name
        for constants in (ER, CR)
        for name, number in vars(constants).items()
        if name.isupper() and isinstance(number, int)
    }
    return {
        **found,
        3: "ERROR_WRITING_FILE",
        3675: "DISK_FULL_NOWAIT",
        3819: "CHECK_CONSTRAINT_VIOLATED",
        4025: "CONSTRAINT_FAILED",
        3948: "CLIENT_LOCAL_FILES_DISABLED",
    }


def meaning(error: BaseException) -> str:
    """The error's number and name: `1062 duplicate entry`."""
    code = code_of(error)
    if code is None:
        return type(error).__name__
    name = _names().get(code, "")
    return f"{code} {name.lower().replace('_', ' ')}".strip()
