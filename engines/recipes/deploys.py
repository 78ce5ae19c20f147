"""Deploys are kept from starting, and let start again: by a command, by GitHub's API, or by a word to whoever releases.

A deploy in the middle of a restore brings migrations and workers of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum, auto

from engines import checks
from engines.application import github
from engines.application.github import NotDone
from engines.checks import Check, Panel
from engines.errors import RestoreError
from engines.people import Role
from engines.recipes import used
from engines.session.plan import Gate, GateKind
from engines.session.work import Work
from engines.surroundings import GitHub
from engines.targets import Application
from engines.text import drawable

READY = "deploy workflow"
FROZEN, THAWED = "deploys are frozen", "deploys may start again"
UNDER_WAY = "no deploy is under way"
_LET_IT_END = "Let it end, or cancel it on its page, then check again (r); or the incident commander overrides by name."
_HINT = "Look at the workflow's page, see to it by hand, and check again."


class Way(Enum):
    COMMAND = auto()
    WORKFLOW = auto()
    NOTICE = auto()  # nothing can be done from here: the release manager is told, and whom is typed
    NONE = auto()


def way_of(application: Application) -> Way:
    if application.freeze_deploys:
        return Way.COMMAND
    if application.github is not None and application.github.has_token:
        return Way.WORKFLOW
    if application.github is not None or application.release_manager is not None:
        return Way.NOTICE
    return Way.NONE


def shows(application: Application, *, off: bool) -> tuple[str, ...]:
    """What its step does, where that is no command."""
    conf = application.github
    if way_of(application) is Way.NOTICE:
        return (f"tell {_manager(application)} that {'no deploy may start' if off else THAWED}; type whom you told",)
    if conf is None:
        return ()
    where = f"{conf.api.rstrip('/')}/repos/{conf.repository}/actions/workflows/{conf.workflow}"
    asked = "ask whether it is disabled, and which of its runs are under way" if off else "ask whether it is active"
    return f"PUT {where}/{'disable' if off else 'enable'}", asked


def notice(application: Application, *, off: bool) -> Gate:
    """Somebody is told, and the operator types whom."""
    what = "no deploy may start until the restore is over" if off else THAWED
    return Gate(GateKind.TOLD, Role.OPERATOR, f"Tell {_manager(application)} that {what}.")


def turn(work: Work, application: Application, *, off: bool) -> Mapping[str, object]:
    """Freeze or thaw by the API, or keep whom was told. Raises RestoreError, with what to do."""
    conf = application.github
    if way_of(application) is Way.NOTICE:
        given = [gate.text for known in work.state.steps if known.id == work.step.id for gate in known.gates]
        told = given[-1] if given else ""
        work.say(f"told: {told}")
        return {"told": told, "message": f"told: {told}"}
    if conf is None:
        raise RestoreError(f"{work.step.title} is not configured.", "Skip it, with a reason.")
    token = github.token_of(conf)
    work.found(credentials=used.of_github(conf))
    before = github.workflow(conf, token)
    was = work.state.facts(work.step.action).get("was")
    if was is None:  # what an earlier attempt found is how it really was
        work.found(was=before.state)
    work.say(f"{conf.workflow} ({drawable(before.name)}) is {drawable(before.state)}")
    now = github.switch(conf, token, on=not off)
    check = work.check(_standing(conf, now.state, off=off))
    if off:
        work.check(_quiet(conf, token))
    already = off and was is None and before.disabled
    return {"message": f"{check.evidence}{': it was so before this session' if already else ''}"}


def standing(application: Application, *, off: bool) -> Check | None:
    """Is the workflow really disabled, or active again? None where nothing can tell."""
    conf = application.github
    if conf is None or way_of(application) is not Way.WORKFLOW:
        return None
    try:
        state = github.workflow(conf, github.token_of(conf)).state
    except RestoreError as error:
        return checks.unknown(FROZEN if off else THAWED, error.message, error.hint, Panel.VALIDATION)
    return _standing(conf, state, off=off)


def ready(application: Application) -> Iterator[Check]:
    """Before the approval: can the workflow be asked, and is a deploy under way?"""
    conf = application.github
    match way_of(application):
        case Way.NOTICE if conf is not None:
            told = f"no token for {conf.repository}: {_manager(application)} is told, and whom is typed"
            yield checks.warn(READY, told, "With token_file or token_variable the workflow is disabled by itself.")
        case Way.WORKFLOW if conf is not None:
            yield _ready(conf)


def check_again(name: str, application: Application) -> Check | None:
    conf = application.github
    if name == READY:
        return next(ready(application), None)
    if name != UNDER_WAY or conf is None:
        return None
    try:
        return _quiet(conf, github.token_of(conf))
    except RestoreError as error:
        return checks.unknown(UNDER_WAY, error.message, error.hint)


def _ready(conf: GitHub) -> Check:
    try:
        token = github.token_of(conf)
        found, runs = github.workflow(conf, token), github.under_way(conf, token)
    except NotDone as error:
        answer = checks.unknown if error.passing else checks.fail
        return answer(READY, error.message, error.hint)
    except RestoreError as error:
        return checks.fail(READY, error.message, error.hint)
    told = f"{conf.workflow} of {conf.repository} is {drawable(found.state)}"
    if runs:
        return checks.warn(READY, f"{told}; {_told(runs)}", "Let it end, or cancel it, before the application is down.")
    if found.state != github.ACTIVE:
        hint = "Find out who disabled it, and why: it is enabled again at the end of the restore."
        return checks.warn(READY, f"{told}; nothing is under way", hint)
    return checks.ok(READY, f"{told}; nothing is under way")


def _standing(conf: GitHub, state: str, *, off: bool) -> Check:
    told = f"{conf.workflow} is {drawable(state)}"
    right = state.startswith("disabled") if off else state == github.ACTIVE
    name = FROZEN if off else THAWED
    return checks.ok(name, told, Panel.VALIDATION) if right else checks.fail(name, told, _HINT, Panel.VALIDATION)


def _quiet(conf: GitHub, token: github.Token) -> Check:
    """Blocks going live, and nothing before it: a deploy may still end meanwhile."""
    try:
        runs = github.under_way(conf, token)
    except NotDone as error:
        return checks.unknown(UNDER_WAY, error.message, error.hint)
    if runs:
        return checks.fail(UNDER_WAY, _told(runs), _LET_IT_END)
    return checks.ok(UNDER_WAY, f"no run of {conf.workflow} is under way")


def _told(runs: tuple[github.Run, ...]) -> str:
    more = f" and {len(runs) - 2} more" if len(runs) > 2 else ""
    return "; ".join(map(str, runs[:2])) + more


def _manager(application: Application) -> str:
    return drawable(application.release_manager or "the release manager")
