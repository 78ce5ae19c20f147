"""`reinstate prune`: what is past its date, listed; removed only with --yes."""

from __future__ import annotations

import argparse

from engines.config import Config
from engines.errors import RestoreError, UsageError
from engines.recipes import old_sessions, sessions, snapshots
from engines.recipes.drills.place import drills_folder
from engines.session import expiry
from engines.targets import Target
from engines.text import both_zones, drawable, parse_stamp, size, utc_now
from tui.output import out, tell
from tui.pasting import pasted
from tui.steering import configuration, privileged


def prune(arguments: argparse.Namespace) -> int:
    config, _path = configuration(arguments)
    if arguments.sessions:
        return _sessions(config, arguments)
    if arguments.records is not None:
        raise UsageError("--records keeps records of sessions. Nothing was removed.", "Give --sessions too.")
    return _snapshots(config, arguments)


def _snapshots(config: Config, arguments: argparse.Namespace) -> int:
    due = failed = False
    for target in _targets(config, arguments.target):
        try:
            if arguments.yes:
                pruned = snapshots.prune(target, utc_now())
                for name in pruned.removed:
                    out(f"removed {drawable(name)}")
                for one in pruned.problems:
                    failed = True
                    tell(drawable(f"{target.name}: {one.message} {one.hint}"))
                continue
            for shot in snapshots.due(target, utc_now()):
                due = True
                out(drawable(f"due since {both_zones(parse_stamp(shot.keep_until))}: {shot.name}, {size(shot.size)}"))
        except RestoreError as error:  # a bucket that does not answer keeps no other target's from going
            failed = True
            tell(drawable(f"{target.name}: {error.message} {error.hint}"))
    if failed:
        return RestoreError.exit_code
    if not arguments.yes:
        hint = "`reinstate prune --yes` removes what is listed." if due else "No safety snapshot is past its date."
        out(f"Nothing was removed. {pasted(hint, getattr(arguments, 'config', None))}")
    return 0


def _sessions(config: Config, arguments: argparse.Namespace) -> int:
    now, root = utc_now(), privileged()
    name = sessions.target_named(config, arguments.target).name if arguments.target else None
    found = old_sessions.fates(config, name, now, privileged=root)
    going, failed = [fate for fate in found if not fate.kept], False
    for fate in found:
        if fate.kept:
            out(drawable(f"kept   {fate.known.id}: {fate.kept}"))
        elif not arguments.yes:
            state = fate.known.state
            over = f"{state.ended.how} {both_zones(state.ended_at)}" if state.ended and state.ended_at else ""
            out(drawable(f"to go  {fate.known.id}: {over}"))
    if not arguments.yes:
        hint = "`reinstate prune --sessions --yes` removes what is to go." if going else "No session is past its time."
        out(f"Nothing was removed. {pasted(hint, getattr(arguments, 'config', None))}")
        return 0
    for folder in (config.state, drills_folder(config)):
        expiry.sweep(folder)
    for fate in going:
        try:
            where = old_sessions.remove(config, fate, now, arguments.records, privileged=root)
            out(drawable(f"removed {fate.known.id}" + (f", its record is in {where}" if where else "")))
        except RestoreError as error:  # one that does not go keeps no other from going
            failed = True
            tell(drawable(f"{error.message} {error.hint}"))
    if not going:
        out("Nothing was removed. No session is past its time.")
    return RestoreError.exit_code if failed else 0


def _targets(config: Config, name: str | None) -> tuple[Target, ...]:
    return (sessions.target_named(config, name),) if name else tuple(config.targets.values())


COMMANDS = {"prune": prune}
