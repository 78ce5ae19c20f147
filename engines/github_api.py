"""One request to GitHub's REST API and its answer, or why there is none and what to do.

Source: docs.github.com/rest, version 2022-11-28: "Getting started", "Rate limits for the REST API". By `http.client`,
as the health check: no package is needed for one request at a time, a redirect can't take the token to another host,
and nothing is tried again by itself. A proxy in the environment is not used.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from engines.deadline import deadline
from engines.errors import RestoreError
from engines.secret_file import own_text
from engines.text import clock, drawable, span, utc_now

_VERSION = "2022-11-28"
_MOST = 4_000_000  # bytes of an answer
_SHOWN = 200  # characters of what GitHub says in a message
_TOKEN = re.compile(r"[\x21-\x7e]+")
T = TypeVar("T")


class Repository(Protocol):
    """Where it is, and with which token it is asked, as configured."""

    @property
    def repository(self) -> str: ...
    @property
    def token_file(self) -> Path | None: ...
    @property
    def token_variable(self) -> str | None: ...
    @property
    def api(self) -> str: ...
    @property
    def timeout(self) -> timedelta: ...


@dataclass(frozen=True, slots=True)
class Advice:
    """What a refusal tells people to do, which depends on what was asked for."""

    again: str  # "Try again (r)"
    by_hand: str  # ends "…; or"
    permission: str  # what the token needs
    missing: str  # what there is none of, or none that this token sees
    correct: str  # what to correct then
    invalid: str  # where GitHub does not take what was sent
    off: str  # where the repository has it switched off


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
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Said:
    message: str = ""


def token_of(github: Repository, environ: Mapping[str, str] | None = None) -> Token:
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


def ask(github: Repository, token: Token, advice: Advice, method: str, path: str, body: bytes | None = None) -> Answer:
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
        answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)
    except (OSError, http.client.HTTPException) as error:
        # Not `from error`: its traceback would show the headers to whoever prints locals.
        raise _no_answer(github, advice, TimeoutError() if late.is_set() else error, sent=sent) from None
    finally:
        connection.close()
    if 200 <= answer.status < 300:
        return answer
    raise _refused(advice, answer, sent=sent)


def _no_answer(github: Repository, advice: Advice, error: Exception, *, sent: bool) -> NotDone:
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
        f"{advice.again}; githubstatus.com says whether it is down. {advice.by_hand}",
        known=not sent,
        passing=True,
    )


def _refused(advice: Advice, answer: Answer, *, sent: bool) -> NotDone:
    said = _words(answer.body)
    again = _may_try_at(answer)
    if answer.status in (403, 429) and again is not None:
        wait = span(max((again - utc_now()).total_seconds(), 0.0))
        return _not_done(
            answer,
            f"limits how often it is asked{said}",
            f"{advice.again} at {clock(again)}, in {wait}. {advice.by_hand}",
            passing=True,
        )
    match answer.status:
        case 401:
            return _not_done(answer, f"does not know the token{said}", "It has expired or was revoked: put another.")
        case 403:
            wants = answer.headers.get("x-accepted-github-permissions", "")
            need = f" It wants {drawable(wants)}." if wants else f" It wants {advice.permission} (or the scope repo)."
            return _not_done(answer, f"does not let this token do that{said}", f"Give it the permission.{need}")
        case 404:
            return _not_done(
                answer,
                f"knows no {advice.missing}, or does not show it to this token{said}",
                f"{advice.correct}, or let the token see the repository.",
            )
        case 410:
            return _not_done(answer, f"has that switched off there{said}", advice.off)
        case 422:
            return _not_done(answer, f"does not take the request{said}", advice.invalid)
        case status if 300 <= status < 400:
            return _not_done(answer, "says that it has moved", "Correct `repository` or `api`: it was renamed.")
        case status if status >= 500:
            return _not_done(
                answer,
                f"has a fault of its own{said}" + (". Whether it was done is not known" if sent else ""),
                f"{advice.again}; githubstatus.com says whether it is down. {advice.by_hand}",
                known=not sent,
                passing=True,
            )
        case _:
            return _not_done(answer, f"refuses{said}", f"Look at the repository's page on GitHub. {advice.again}.")


def _not_done(answer: Answer, what: str, hint: str, *, known: bool = True, passing: bool = False) -> NotDone:
    tail = " Nothing was changed." if known else ""
    told = f"GitHub {what} (status {answer.status}).{tail}"
    return NotDone(told, hint, status=answer.status, known=known, passing=passing)


def _may_try_at(answer: Answer) -> datetime | None:
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


def read(answer: Answer, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.MsgspecError, RecursionError):
        raise NotDone(
            "GitHub's answer is not the one that its documentation describes.",
            "Is `api` the address of GitHub's API? For GitHub Enterprise it ends in /api/v3.",
            status=answer.status,
            known=answer.status == 200,
        ) from None


def _host(github: Repository) -> str:
    return drawable(urlsplit(github.api).netloc)
