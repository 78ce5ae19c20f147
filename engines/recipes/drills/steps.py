"""The steps of a drill that are the same for every engine: its scratch folder, the checklist, the heartbeat.

Nothing here knows the live target: a drill's own target is another one, in its scratch place.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from engines import checklist, checks
from engines.checks import Panel
from engines.errors import Refused, RestoreError
from engines.recipes.report import target_of
from engines.secret_file import own_text
from engines.session.events import Actor, ChecklistEdited
from engines.session.followups import checklist_line, checklist_path
from engines.session.plan import Step
from engines.session.state import SessionState
from engines.session.work import Work
from engines.sqlite.files import sync_folder
from engines.web import NoReplyError, call

HEARTBEAT = "heartbeat"
CHECKLIST = "security checklist"


def make_folder(folder: Path) -> Step:
    return Step(
        id="1.1",
        title="Make the scratch folder",
        action="make-scratch",
        shows=(f"mkdir {folder}, mode 0700: it is new, and the drill's own",),
        undo=f"remove {folder}",
    )


def clear_folder(folder: Path, *more: str, title: str = "Remove the scratch folder") -> Step:
    """`more`: what else it removes, in words."""
    return Step(
        id="5.1",
        title=title,
        action="clear-scratch",
        shows=(*more, f"remove {folder} with everything in it"),
        params={"puts_right": "make-scratch load-staged"},
    )


def telling(state: SessionState) -> tuple[Step, ...]:
    """What is told of a drill that proved its backup. It changes nothing about that."""
    drill = target_of(state).drill
    path = checklist_path(state)
    return (
        Step(
            id="5.2",
            title="Enter the drill in the security checklist",
            action="note-checklist",
            shows=(f"the drill's line in {path}",) if path else ("not configured",),
            configured=bool(path),
        ),
        Step(
            id="5.3",
            title="Send the heartbeat",
            action="heartbeat",
            shows=("GET the address in the heartbeat file",) if drill.heartbeat_file else ("not configured",),
            configured=drill.heartbeat_file is not None,
        ),
    )


def kept(steps: Iterable[Step], titles: Mapping[str, str], left: Collection[str] = ()) -> tuple[Step, ...]:
    """Those steps of a restore that a drill carries out: nobody is asked, and there is nothing to take back.

    `titles`: by their action, what they are called in a drill; empty where that is no other. `left`: actions whose undo
    stays named, should it have to be done by hand.
    """
    return tuple(
        replace(
            step,
            title=titles[step.action] or step.title,
            gates=(),
            undo=step.undo if step.action in left else "",
            note="",
            optional=False,
        )
        for step in steps
        if step.action in titles
    )


def _make(work: Work, folder: Path) -> Mapping[str, object]:
    work.found(scratch=str(folder))
    try:
        # The folders above it stay: only the last one is the drill's own.
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
        sync_folder(str(folder))
    except OSError as error:
        raise Refused(
            f"The scratch folder {folder} can't be made: {error.strerror}. Nothing was restored.",
            "Set `scratch` in the target's drill section to a folder that you may write to.",
        ) from error
    return {"message": str(folder)}


def remove(folder: Path, session: str) -> tuple[str, ...]:
    """Remove the drill's own folder, and say so. Only one that has the session's name is its own."""
    if folder.name != session or not folder.is_dir() or folder.is_symlink():
        return ()
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise RestoreError(
            f"The scratch folder {folder} can't be removed: {error.strerror}.", f"Remove it by hand: rm -r {folder}"
        ) from error
    return (str(folder),)


def _clear(work: Work, folder: Path) -> Mapping[str, object]:
    removed = remove(folder, work.state.id)
    return {"removed": list(removed), "message": f"removed {', '.join(removed) or 'nothing: it was not there'}"}


def _enter(work: Work, _folder: Path) -> Mapping[str, object]:
    """The line that a restore shows and has confirmed. That it is written here is configured."""
    path, line = Path(checklist_path(work.state)), checklist_line(work.state)
    try:
        edit = checklist.proposed(path, line)
        checklist.write(path, line, edit.old_sha256, edit.new_sha256)
    except RestoreError as error:
        check = work.check(checks.warn(CHECKLIST, error.message, error.hint, Panel.VALIDATION))
        return {"message": f"not entered: {check.evidence}"}
    actor = Actor("the configuration", "runner")
    work.emit(ChecklistEdited(str(path), edit.line, edit.old_sha256, edit.new_sha256, actor))
    return {"message": "it has the line already" if edit.old_sha256 == edit.new_sha256 else line.told()}


def _beat(work: Work, _folder: Path) -> Mapping[str, object]:
    """Its failure is a warning: what was proven is proven, and whoever waits for the heartbeat raises the alarm."""
    drill = target_of(work.state).drill
    told = ""
    try:
        if drill.heartbeat_file is not None:
            form = "the address that is asked, on one line"
            address = own_text(drill.heartbeat_file, "The heartbeat file", "heartbeat_file", form).strip()
            reply = call(address, timeout=drill.heartbeat_timeout.total_seconds())
            told = "" if 200 <= reply.status < 300 else f"it answered {reply.status}"
    except RestoreError as error:
        told = error.message
    except NoReplyError as error:
        told = str(error)
    if told:
        hint = "Look at the address in heartbeat_file; the next drill sends another."
        work.check(checks.warn(HEARTBEAT, f"not sent: {told}", hint, Panel.VALIDATION))
        return {"message": f"not sent: {told}"}
    work.check(checks.ok(HEARTBEAT, "sent", Panel.VALIDATION))
    return {"message": "sent"}


ACTIONS: Mapping[str, Callable[[Work, Path], Mapping[str, object]]] = {
    "make-scratch": _make,
    "clear-scratch": _clear,
    "note-checklist": _enter,
    "heartbeat": _beat,
}
