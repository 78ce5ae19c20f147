"""Disables and enables the workflow that deploys an application, and files issues, by GitHub's REST API.

Sources: docs.github.com/rest, version 2022-11-28: "Workflows", "Workflow runs", "Issues", "Rate limits for the REST
API". By `http.client`, as the health check: no package is needed for one request at a time, a redirect can't take the
token to another host, and nothing is tried again by itself. A proxy in the environment is not used.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from engines.deadline import deadline
from engines.errors import RestoreError
from engines.secret_file import own_text
from engines.surroundings import GitHub
from engines.text import clock, drawable, span, utc_now

_VERSION = "2022-11-28"
_MOST = 4_000_000  # bytes of an answer
_SHOWN = 200  # characters of what GitHub says in a message
_TOKEN = re.compile(r"[\x21-\x7e]+")
# Runs that have not ended. A disabled workflow starts no new ones; those that wait already do start.
_UNDER_WAY = ("in_progress", "queued", "waiting", "pending", "requested")
ACTIVE = "active"
T = TypeVar("T")


class NotDone(RestoreError):
    """GitHub did not do or say what it was asked.

    `known`: is it certain that nothing was changed? `passing`: is it an outage or a limit, and no mistake of ours?
    """

    def __init__(self, message: str, hint: str, *, status: int = 0, known: bool = True, passing: bool = False) -> None:
        super().__init__(message, hint)
        self.status = status  # 0: there was no answer
        self.known = known
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Token:
    secret: str = field(repr=False)


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
class Issue:
    number: int
    address: str
    made: bool  # False: it was there already


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


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


@dataclass(frozen=True, slots=True)
class _Issue:
    number: int
    html_url: str
    body: str | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    items: list[_Issue]


@dataclass(frozen=True, slots=True)
class _Said:
    message: str = ""


def token_of(github: GitHub, environ: Mapping[str, str] | None = None) -> Token:
    """The token, read anew each time: it may have been mended since. Raises RestoreError; no message holds it."""
    if github.token_file is not None:
        written = own_text(github.token_file, "The token file", "token_file", "a file with nothing but the token")
        where = str(github.token_file)
    elif github.token_variable is not None:
        written = (os.environ if environ is None else environ).get(github.token_variable, "")
        where = f"The variable {github.token_variable}"
    else:
        raise RestoreError("No token for GitHub is configured.", "Write token_file or token_variable.")
    secret = written.strip()
    if not _TOKEN.fullmatch(secret):
        wrong = "is not set or empty" if not secret else "holds something that is no token"
        hint = "Put the token there, and nothing else. sudo and systemd drop variables: a file is surer."
        raise RestoreError(f"{drawable(where)} {wrong}.", hint)
    return Token(secret)


def workflow(github: GitHub, token: Token) -> Workflow:
    """The deploy workflow as it is now. Raises NotDone."""
    found = _read(_ask(github, token, "GET", _of_workflow(github)), _Workflow)
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
        runs = _read(_ask(github, token, "GET", f"{_of_workflow(github)}/runs?{query}"), _Runs)
        for run in runs.workflow_runs:
            found[run.id] = Run(run.id, run.status or status, run.head_branch or "", run.html_url)
    return tuple(found.values())


def create_issue(
    github: GitHub, token: Token, title: str, body: str, labels: Sequence[str] = (), *, marker: str
) -> Issue:
    """File an issue, unless one with `marker` in its body is there: filed twice, it is one issue.

    `marker`: a word of letters, digits, dots and dashes that no other issue has, the session's name for instance.
    The newest hundred are looked through, for GitHub's search learns of an issue only after a while; then the search
    is asked. Raises NotDone.
    """
    told = f"reinstate-{marker}"
    there = _issue_with(github, token, told)
    if there is not None:
        return Issue(there.number, there.html_url, made=False)
    content = {"title": title, "body": f"{body.rstrip()}\n\n<!-- {told} -->\n", "labels": list(labels)}
    answer = _ask(github, token, "POST", f"/repos/{github.repository}/issues", msgspec.json.encode(content))
    made = _read(answer, _Issue)
    return Issue(made.number, made.html_url, made=True)


def _issue_with(github: GitHub, token: Token, told: str) -> _Issue | None:
    query = urlencode({"state": "all", "sort": "created", "direction": "desc", "per_page": 100})
    newest = _read(_ask(github, token, "GET", f"/repos/{github.repository}/issues?{query}"), list[_Issue])
    mark = f"<!-- {told} -->"
    for one in newest:
        if mark in (one.body or ""):
            return one
    if len(newest) < 100:
        return None  # these were all
    query = urlencode({"q": f'"{told}" in:body is:issue repo:{github.repository}', "per_page": 20})
    found = _read(_ask(github, token, "GET", f"/search/issues?{query}"), _Found)
    return next((one for one in found.items if mark in (one.body or "")), None)


# -- one request ------------------------------------------------------------------------------------------------


def _of_workflow(github: GitHub) -> str:
    return f"/repos/{github.repository}/actions/workflows/{quote(github.workflow, safe='')}"


def _ask(github: GitHub, token: Token, method: str, path: str, body: bytes | None = None) -> _Answer:
    """One request and its answer, of the 2xx. Raises NotDone for everything else, with what to do."""
    parts = urlsplit(github.api)
    seconds = github.timeout.total_seconds()
    host = parts.hostname or ""
    connection = (
        http.client.HTTPSConnection(host, parts.port, timeout=seconds, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=seconds)
    )
    headers = {
        "Accept": "application/vnd.github+json",
        "Authorization": f"Bearer {token.secret}",
        "User-Agent": "reinstate",
        "X-GitHub-Api-Version": _VERSION,
    }
    sent, late = False, threading.Event()
    try:
        connection.connect()
        with deadline(connection.sock, seconds) as late:
            sent = method != "GET"
            connection.request(method, parts.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            content = response.read(_MOST)
            if late.is_set():
                raise TimeoutError
        answer = _Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)
    except (OSError, http.client.HTTPException) as error:
        # Not `from error`: its traceback would show the headers to whoever prints locals.
        raise _no_answer(github, TimeoutError() if late.is_set() else error, sent=sent) from None
    finally:
        connection.close()
    if 200 <= answer.status < 300:
        return answer
    raise _refused(github, answer)


def _no_answer(github: GitHub, error: Exception, *, sent: bool) -> NotDone:
    match error:
        case TimeoutError():
            why = f"did not answer within {github.timeout.total_seconds():g} s"
        case ssl.SSLCertVerificationError():
            why = f"has a certificate that is not valid: {drawable(error.verify_message)}"
        case OSError():
            why = f"can't be reached: {drawable(error.strerror or str(error))}"
        case _:
            why = f"gave no answer that is HTTP: {type(error).__name__}"
    told = "Whether it was done is not known." if sent else "Nothing was changed."
    return NotDone(
        f"GitHub ({_host(github)}) {why}. {told}",
        "Try again (r); githubstatus.com says whether it is down. Or do it by hand, and pass over it (p).",
        known=not sent,
        passing=True,
    )


def _refused(github: GitHub, answer: _Answer) -> NotDone:
    said = _words(answer.body)
    again = _may_try_at(answer)
    if answer.status in (403, 429) and again is not None:
        wait = span(max((again - utc_now()).total_seconds(), 0.0))
        return _not_done(
            answer,
            f"limits how often it is asked{said}",
            f"Try again (r) at {clock(again)}, in {wait}; or do it by hand, and pass over it (p).",
            passing=True,
        )
    match answer.status:
        case 401:
            return _not_done(answer, f"does not know the token{said}", "It has expired or was revoked: put another.")
        case 403:
            wants = answer.headers.get("x-accepted-github-permissions", "")
            need = f" It wants {drawable(wants)}." if wants else " It wants Actions: write (or the scope repo)."
            return _not_done(answer, f"does not let this token do that{said}", f"Give it the permission.{need}")
        case 404:
            return _not_done(
                answer,
                f"knows no {github.repository} with {github.workflow}, or does not show it to this token{said}",
                "Correct repository and workflow, or let the token see the repository.",
            )
        case 410:
            return _not_done(answer, f"has that switched off for {github.repository}{said}", "Do it by hand.")
        case 422:
            return _not_done(answer, f"does not take the request{said}", "Do it by hand on the workflow's page.")
        case status if 300 <= status < 400:
            return _not_done(answer, "says that it has moved", "Correct `repository` or `api`: it was renamed.")
        case status if status >= 500:
            return _not_done(
                answer,
                f"has a fault of its own{said}. Whether it was done is not known",
                "Try again (r); githubstatus.com says whether it is down. Or do it by hand, and pass over it (p).",
                known=False,
                passing=True,
            )
        case _:
            return _not_done(answer, f"refuses{said}", "Look at the repository's page, then try again (r).")


def _not_done(answer: _Answer, what: str, hint: str, *, known: bool = True, passing: bool = False) -> NotDone:
    tail = " Nothing was changed." if known else ""
    told = f"GitHub {what} (status {answer.status}).{tail}"
    return NotDone(told, hint, status=answer.status, known=known, passing=passing)


def _may_try_at(answer: _Answer) -> datetime | None:
    """When a limit is over; None where none was reached. Source: "Rate limits for the REST API", exceeding them."""
    wait = answer.headers.get("retry-after", "")
    if wait.isascii() and wait.isdigit():
        return utc_now() + timedelta(seconds=min(int(wait), 86_400))
    reset = answer.headers.get("x-ratelimit-reset", "")
    if answer.headers.get("x-ratelimit-remaining") == "0" and reset.isascii() and reset.isdigit():
        return datetime.fromtimestamp(min(int(reset), 32_503_680_000), UTC)
    if answer.status == 429 or b"secondary rate limit" in answer.body:
        return utc_now() + timedelta(minutes=1)  # "wait for at least one minute", where nothing is said
    return None


def _words(body: bytes) -> str:
    """What GitHub itself says about a refusal."""
    try:
        said = msgspec.json.decode(body, type=_Said).message
    except msgspec.MsgspecError:
        return ""
    return f": {drawable(said)[:_SHOWN].rstrip('.')}" if said else ""


def _read(answer: _Answer, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.MsgspecError, RecursionError):
        raise NotDone(
            "GitHub's answer is not the one that its documentation describes.",
            "Is `api` the address of GitHub's API? For GitHub Enterprise it ends in /api/v3.",
            status=answer.status,
            known=answer.status == 200,
        ) from None


def _host(github: GitHub) -> str:
    return drawable(urlsplit(github.api).netloc)
