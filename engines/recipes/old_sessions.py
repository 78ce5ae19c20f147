"""The sessions that are past their configured time, and why each of the others is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from engines.config import Config
from engines.errors import Refused, RestoreError
from engines.recipes import snapshots
from engines.recipes.drills.known import last_proven
from engines.recipes.drills.place import drills_folder
from engines.recipes.run import lock_for
from engines.session import expiry, store
from engines.session.store import Known
from engines.targets import Target
from engines.text import drawable
from engines.trusted_file import safe_path


@dataclass(frozen=True, slots=True)
class Fate:
    """One session, and why it is kept; empty when it may go."""

    known: Known
    kept: str


@dataclass(frozen=True, slots=True)
class Leaning:
    """A target's safety snapshots by the session that took them. `unknown` says why that is not the whole list."""

    by_session: Mapping[str, str]
    unknown: str = ""
    drill: str = ""  # the last one that proved its backup


def leaning(target: Target) -> Leaning:
    """Which sessions' snapshots are there. A bucket that does not answer is told, not raised."""
    try:
        found, damaged = snapshots.kept(target)
    except RestoreError as error:
        return Leaning({}, error.message)
    return Leaning({one.session: one.name for one in found}, f"{damaged[0]}" if damaged else "")


def fates(config: Config, target: str | None, now: datetime, *, privileged: bool) -> tuple[Fate, ...]:
    """Every session (of `target`), oldest first. Raises Refused where no time is configured."""
    if config.keep_sessions is None:
        raise Refused(
            "How long sessions are kept is not configured, so they are kept for good. Nothing was removed.",
            'Write keep_sessions = "365d" at the top of the configuration, as long as your post-mortems need them.',
        )
    found = {name: _leaning(config, one) for name, one in config.targets.items()}
    folders = (config.state, drills_folder(config))
    known = [one for folder in folders for one in store.known_sessions(folder)]
    wanted = sorted((one for one in known if target is None or _target_of(one) == target), key=lambda one: one.id)
    return tuple(Fate(one, _kept(one, config, found, now, privileged=privileged)) for one in wanted)


def _leaning(config: Config, target: Target) -> Leaning:
    return replace(leaning(target), drill=str(last_proven(config, target.name).get("session", "")))


def remove(config: Config, fate: Fate, now: datetime, records: Path | None, *, privileged: bool) -> Path | None:
    """Remove a session that may go, looked at anew while no runner can take it, and return where its record is kept.

    Raises Refused, RestoreError.
    """
    if records is not None and privileged and (problems := safe_path(records)):
        raise Refused(f"{problems[0].message} Nothing was removed.", "Name a folder with --records that is root's.")
    with expiry.claimed(fate.known) as known:
        found = {name: _leaning(config, one) for name, one in config.targets.items() if name == _target_of(known)}
        if kept := _kept(known, config, found, now, privileged=privileged):
            raise Refused(
                f"Session {known.id} was not removed: {kept}.", "List them again: reinstate prune --sessions."
            )
        if known.state.begun is not None:  # a lock that names a folder which is gone would bar the target for good
            store.forget_target(lock_for(known.state.begun, known.folder), known.folder)
        where = expiry.keep_record(known.folder, records) if records is not None else None
        expiry.remove(known.folder)
        return where


def _target_of(known: Known) -> str:
    return str(known.state.begun.target.get("name", "")) if known.state.begun else ""


def _kept(known: Known, config: Config, found: Mapping[str, Leaning], now: datetime, *, privileged: bool) -> str:
    assert config.keep_sessions is not None  # noqa: S101 - `fates` refuses without
    return (
        expiry.why_kept(known, config.keep_sessions, now)
        or _leant_on(known, found)
        or _untrusted(known.folder, privileged=privileged)
        or expiry.does_not_hold(known.folder)
    )


def _leant_on(known: Known, found: Mapping[str, Leaning]) -> str:
    """A snapshot is listed with its session: while it can be restored, what is known about it stays too."""
    name, took = _target_of(known), bool(known.state.facts("snapshot"))
    if name not in found:
        return f"its target {name} is not configured, so where its safety snapshot is can't be asked" if took else ""
    if known.id == found[name].drill:
        return "it is the last drill that proved a backup: estimates come from it"
    if known.id in found[name].by_session:
        return f"its safety snapshot {found[name].by_session[known.id]} is still there: reinstate prune, once it is due"
    if took and found[name].unknown:
        return f"whether its safety snapshot is still there is not known: {found[name].unknown}"
    return ""


def _untrusted(folder: Path, *, privileged: bool) -> str:
    try:
        store.refuse_untrusted(folder, privileged=privileged)
    except Refused as error:
        return drawable(error.message)
    return ""
