"""Draws backups: one line each, and everything about the selected one."""

from __future__ import annotations

from datetime import datetime

from rich.text import Text

from engines.backups.catalogue import Backup, Status
from engines.backups.checksums import shown
from engines.recipes.drills.outcome import Outcome
from engines.text import both_zones, clock, drawable, size, span
from tui.drilled import told
from tui.theme import BOLD, DIM, PLAIN, style_of
from tui.view import Shelf
from tui.widgets.cells import Line, fit, fit_end

_TAKEN, _AGE, _SIZE, _STATUS = 22, 11, 8, 13


def _name(width: int) -> int:
    return max(width - _TAKEN - _AGE - _SIZE - _STATUS - 4, 0)


def head(width: int) -> Line:
    if width < 72:
        return ((fit("taken (UTC)", 19) + fit("status", _STATUS) + " " + fit("name", width - 33), PLAIN),)
    told = f"{fit('taken', _TAKEN)} {fit('age', _AGE, right=True)} {fit('size', _SIZE, right=True)} "
    return ((told + fit("status", _STATUS) + " " + fit("name", _name(width)), PLAIN),)


def backup_line(backup: Backup, shelf: Shelf, now: datetime, width: int) -> Line:
    word = status_word(backup)
    status = (fit(word, _STATUS), style_of(str(backup.status)))
    name = shown(backup.name) + ("  << chosen" if backup.name == shelf.chosen else "")
    # A backup from after the incident may hold its damage: it stands apart in the list.
    late = " !" if is_late(backup, shelf) else ""
    if width < 72:
        room = width - 33
        taken = fit(f"{backup.taken_at:%Y-%m-%d %H:%M}{late}", 18)
        return ((f"{taken} ", PLAIN), status, (" " + fit(fit_end(name, room), room), PLAIN))
    room = _name(width)
    age = span(max((now - backup.taken_at).total_seconds(), 0))
    taken = fit(clock(backup.taken_at) + late, _TAKEN)
    told = f"{taken} {fit(age, _AGE, right=True)} {fit(_size(backup), _SIZE, right=True)} "
    return ((told, PLAIN), status, (" " + fit(fit_end(name, room), room), PLAIN))


def is_late(backup: Backup, shelf: Shelf) -> bool:
    """Was it taken after the incident began?"""
    return shelf.incident_start is not None and backup.taken_at > shelf.incident_start


def _size(backup: Backup) -> str:
    return "—" if backup.status is Status.MISSING_FILE else size(backup.size)


def status_word(backup: Backup) -> str:
    if backup.status is Status.CHECKING and backup.done is not None:
        return f"CHECKING {int(backup.done * 100)} %"
    return str(backup.status)


def about(backup: Backup | None, shelf: Shelf, now: datetime) -> Text:
    """Name, moment in both zones, what would be lost, and the evidence for the status."""
    if backup is None:
        return Text("")
    text = Text()
    text.append(f"{shown(backup.name)}", BOLD)
    text.append(f"  {backup.kind}, {_size(backup)}\n")
    source = "" if backup.taken_at_from == "name" else " (from its modification time)"
    text.append(f"taken {both_zones(backup.taken_at)}{source}, {span((now - backup.taken_at).total_seconds())} ago\n")
    text.append(f"{lost(backup, shelf, now)}\n")
    text.append(f"{status_word(backup)}: ", style_of(str(backup.status)))
    text.append(drawable(backup.evidence), PLAIN if backup.restorable else BOLD)
    if (proof := shelf.proofs.get(backup.name)) is not None:
        bad = proof.outcome is not Outcome.PROVEN
        text.append(f"\n{drawable(told(proof, now))}", style_of("FAIL") if bad else PLAIN)
    return text


def lost(backup: Backup, shelf: Shelf, now: datetime) -> str:
    """What restoring it would lose, against the incident's start where that is known."""
    alone = "without the logs after it, " if shelf.is_server else ""
    if shelf.incident_start is None:
        age = span((now - backup.taken_at).total_seconds())
        return f"{alone}restoring it loses what was written in the last {age}"
    before = (shelf.incident_start - backup.taken_at).total_seconds()
    if before < 0:
        what = f"TAKEN {span(-before)} AFTER the incident began"
        return f"{what} ({clock(shelf.incident_start)}): it may hold the damage"
    good = f"{span(before)} of good writes before the incident"
    return f"{alone}restoring it loses {good} ({clock(shelf.incident_start)})"


def note(shelf: Shelf) -> Text:
    """What is wrong with the folder as a whole."""
    text = Text("", DIM)
    if shelf.trouble:
        text.append(drawable(shelf.trouble), style_of("FAIL"))
        return text
    check = shelf.freshness
    if check is not None and check.hint:
        text.append(f"{check.verdict} ", style_of(str(check.verdict)))
        text.append(f"{drawable(check.evidence)}. {drawable(check.hint)}")
    problems = shelf.catalogue.problems if shelf.catalogue else ()
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        text.append(("\n" if text.plain else "") + drawable(problems[0]) + more)
    return text
