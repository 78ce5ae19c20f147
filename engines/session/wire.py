"""The line protocol between runner and consoles: one JSON object a line, over a local socket.

Runner to console: `{"session", "folder", "you"}` first (`you`: name, login, how they are known), then `{"line"}` for
each journal line from the first, `{"ready": seq}`, then lines as they come and `{"progress"}`. Answers carry the
request's `id`. Console to runner: `{"hello": {"name", "console", "connection", "sudo"}}` first, then commands
(`engines.session.commands`) and `{"do": "log"}`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from engines.errors import RestoreError
from engines.session import jsontext

REQUEST_LIMIT = 64 * 1024  # bytes a console may send as one line
LINE_LIMIT = 16 * 1024 * 1024  # bytes the runner may send as one line
LOG_PIECE = 64 * 1024  # bytes of a log in one answer


def pack(message: Mapping[str, object]) -> bytes:
    return jsontext.encode(message) + b"\n"


def unpack(line: bytes) -> dict[str, object]:
    """The message on a line. Raises RestoreError for what is not one."""
    try:
        return msgspec.json.decode(line, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise RestoreError("That is not a message of this protocol.", "Use the reinstate command.") from error
