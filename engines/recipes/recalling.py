"""What earlier steps of a session found, read back from the journal."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from engines.errors import RestoreError
from engines.session.state import SessionState

T = TypeVar("T")


def recall(state: SessionState, action: str, name: str, kind: type[T]) -> T:
    """A fact that an earlier step journalled. Raises RestoreError where that step has not been done."""
    value = state.facts(action).get(name)
    if value is None:
        raise RestoreError(f"What {action!r} found is not in the journal.", "Do that step again (r).")
    return msgspec.convert(value, kind)


def token(state: SessionState) -> str:
    """What names what is only this session's: files, schemas, accounts."""
    return state.id[-4:]
