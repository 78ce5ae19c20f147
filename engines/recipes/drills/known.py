"""The drills that were made: read from their journals, newest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from engines.config import Config
from engines.errors import RestoreError
from engines.recipes.drills.outcome import Drilled, Outcome, drilled, latest
from engines.recipes.drills.place import drills_folder
from engines.session import store
from engines.session.store import Known, known_sessions
from engines.text import stamp

MOST = 120  # drills that a question looks back over: each is a journal to read


def of_target(config: Config, target: str) -> Iterator[Known]:
    """The target's drills, newest first."""
    for known in known_sessions(drills_folder(config)):
        if known.state.begun is not None and known.state.begun.target.get("name") == target:
            yield known


def all_drilled(config: Config, target: str = "", most: int | None = None) -> tuple[Drilled, ...]:
    """What came of each drill, newest first. What can't be read is left out: `reinstate verify` names it."""
    states = (known.state for known in islice(known_sessions(drills_folder(config)), most))
    found = (one for state in states if (one := drilled(state)) is not None)
    return tuple(one for one in found if not target or one.target == target)


def proofs(config: Config, target: str) -> Mapping[str, Drilled]:
    """The last proof of each of the target's backups, by its name."""
    return latest(all_drilled(config, target, MOST))


def last_proven(config: Config, target: str) -> Mapping[str, object]:
    """The target's last drill that proved its backup, as a session takes it along; empty where there is none."""
    one = next((one for one in all_drilled(config, target, MOST) if one.outcome is Outcome.PROVEN), None)
    if one is None or not one.seconds:
        return {}
    return {"session": one.session, "at": stamp(one.at), "backup": one.backup, "size": one.size, "seconds": one.seconds}


def outcome_of(folder: Path) -> Drilled:
    """What came of the drill in `folder`. Raises RestoreError where that can't be read."""
    known = store.open_session(folder)
    found = drilled(known.state)
    if found is None:
        raise RestoreError(f"Drill {folder.name} can't be read. {known.error}", f"reinstate verify {folder}")
    return found
