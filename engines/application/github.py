"""Disables and enables the workflow that deploys an application, by GitHub's REST API.

Source: docs.github.com/rest, version 2022-11-28: "Workflows", "Workflow runs".
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from engines.github_api import Advice, Answer, NotDone, Token, ask, read, token_of
from engines.surroundings import GitHub
from engines.text import drawable

__all__ = ["ACTIVE", "NotDone", "Run", "Token", "Workflow", "switch", "token_of", "under_way", "workflow"]

# Runs that have not ended. A disabled workflow starts no new ones; those that wait already do start.
_UNDER_WAY = ("in_progress", "queued", "waiting", "pending", "requested")
ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class Workflow:
    """Source: GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}."""

    name: str
    state: str  # active, disabled_manually, disabled_inactivity, disabled_fork, deleted

    @property
    def disabled(self) -> bool:
        return self.state.startswith("disabled")


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the workflow that has not ended."""

    id: int
    status: str
    branch: str
    address: str

    def __str__(self) -> str:
        branch = f" of {drawable(self.branch)}" if self.branch else ""
        return f"run {self.id}{branch} is {drawable(self.status)} ({drawable(self.address)})"


@dataclass(frozen=True, slots=True)
class _Workflow:
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class _Run:
    id: int
    status: str | None = None
    head_branch: str | None = None
    html_url: str = ""


@dataclass(frozen=True, slots=True)
class _Runs:
    workflow_runs: list[_Run]


def workflow(github: GitHub, token: Token) -> Workflow:
    """The deploy workflow as it is now. Raises NotDone."""
    found = read(_ask(github, token, "GET", _of_workflow(github)), _Workflow)
    return Workflow(found.name, found.state)


def switch(github: GitHub, token: Token, *, on: bool) -> Workflow:
    """Enable or disable the workflow, and ask whether that has come true. Idempotent.

    Raises NotDone: with `known` false where the line broke and it can't be told what became of it.
    """
    word = "enable" if on else "disable"
    try:
        _ask(github, token, "PUT", f"{_of_workflow(github)}/{word}")
    except NotDone as error:
        if error.known:
            raise
        try:  # what is true is asked, not guessed
            now = workflow(github, token)
        except NotDone:
            raise error from None
        if now.disabled is on or (on and now.state != ACTIVE):
            raise
        return now
    now = workflow(github, token)
    if now.disabled if not on else now.state == ACTIVE:
        return now
    raise NotDone(
        f"GitHub took the request to {word} {github.workflow}, and says that it is {drawable(now.state)}.",
        "Look at the workflow's page on GitHub, then try again (r).",
        known=False,
    )


def under_way(github: GitHub, token: Token) -> tuple[Run, ...]:
    """The workflow's runs that have not ended: a deploy that goes on may migrate the database. Raises NotDone."""
    found: dict[int, Run] = {}
    for status in _UNDER_WAY:
        query = urlencode({"status": status, "per_page": 20})
        runs = read(_ask(github, token, "GET", f"{_of_workflow(github)}/runs?{query}"), _Runs)
        for run in runs.workflow_runs:
            found[run.id] = Run(run.id, run.status or status, run.head_branch or "", run.html_url)
    return tuple(found.values())


def _of_workflow(github: GitHub) -> str:
    return f"/repos/{github.repository}/actions/workflows/{quote(github.workflow, safe='')}"


def _ask(github: GitHub, token: Token, method: str, path: str) -> Answer:
    advice = Advice(
        again="Try again (r)",
        by_hand="Or do it by hand, and pass over it (p).",
        permission="Actions: write",
        missing=f"{github.repository} with {github.workflow}",
        correct="Correct repository and workflow",
        invalid="Do it by hand on the workflow's page.",
        off="Do it by hand.",
    )
    return ask(github, token, advice, method, path)
