"""A deploy workflow is disabled, enabled and asked about; whatever goes wrong is told with what to do about it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from engines.application.github import (
    NotDone,
    Token,
    switch,
    token_of,
    under_way,
    workflow,
)
from engines.errors import Refused, RestoreError
from engines.surroundings import GitHub
from engines.text import utc_now
from tests.servers.fake_github import REPOSITORY, TOKEN, Failure, FakeGitHub, fake_github

KEY = Token(TOKEN)


@pytest.fixture
def server() -> Iterator[FakeGitHub]:
    with fake_github() as server:
        yield server


def asked(server: FakeGitHub, **changed: object) -> GitHub:
    return replace(GitHub(REPOSITORY, api=server.address), **changed)  # type: ignore[arg-type]  # the test says what


def test_a_workflow_is_disabled_and_enabled_and_each_is_proven_by_asking(server: FakeGitHub) -> None:
    github = asked(server)
    assert workflow(github, KEY).state == "active"
    assert switch(github, KEY, on=False).disabled
    assert server.state == "disabled_manually"
    assert switch(github, KEY, on=False).disabled, "twice is once"
    assert not switch(github, KEY, on=True).disabled
    assert server.state == "active"
    assert server.requests[1:3] == [
        f"PUT /api/v3/repos/{REPOSITORY}/actions/workflows/deploy.yml/disable",
        f"GET /api/v3/repos/{REPOSITORY}/actions/workflows/deploy.yml",
    ]


def test_taken_is_not_done(server: FakeGitHub) -> None:
    server.stubborn = True
    with pytest.raises(NotDone, match="says that it is active") as refusal:
        switch(asked(server), KEY, on=False)
    assert not refusal.value.known


def test_runs_that_have_not_ended_are_named(server: FakeGitHub) -> None:
    assert under_way(asked(server), KEY) == ()
    for number, status in enumerate(("completed", "in_progress", "queued", "pending"), start=1):
        server.runs.append({"id": number, "status": status, "head_branch": "main", "html_url": f"https://run/{number}"})
    found = under_way(asked(server), KEY)
    assert [str(run) for run in found] == [
        "run 2 of main is in_progress (https://run/2)",
        "run 3 of main is queued (https://run/3)",
        "run 4 of main is pending (https://run/4)",
    ]


SOON = str(int(utc_now().timestamp()) + 600)


@pytest.mark.parametrize(
    ("failure", "says", "hint"),
    [
        (Failure(401, message="Bad credentials"), "does not know the token", "put another"),
        (
            Failure(403, {"X-Accepted-GitHub-Permissions": "actions=write"}, "Resource not accessible"),
            "does not let this token",
            "actions=write",
        ),
        (Failure(403, {"Retry-After": "60"}, "secondary rate limit"), "limits how often", " UTC, in "),
        (Failure(429, {"Retry-After": "7"}), "limits how often", "Try again (r) at"),
        (
            Failure(403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": SOON}, "API rate limit exceeded"),
            "limits how often",
            "Try again (r) at",
        ),
        (Failure(429), "limits how often", "Try again (r) at"),
        (Failure(404, message="Not Found"), "or does not show it to this token", "Correct repository"),
        (Failure(422, message="Validation Failed"), "does not take the request: Validation Failed", "by hand"),
        (Failure(301, {"Location": "https://elsewhere/"}), "has moved", "renamed"),
        (Failure(418, message="teapot"), "refuses: teapot", "Try again"),
    ],
)
def test_a_refusal_says_why_what_to_do_and_that_nothing_was_changed(
    server: FakeGitHub, failure: Failure, says: str, hint: str
) -> None:
    server.fail(failure)
    with pytest.raises(NotDone) as refusal:
        switch(asked(server), KEY, on=False)
    assert says in refusal.value.message
    assert "Nothing was changed" in refusal.value.message
    assert hint in refusal.value.hint
    assert refusal.value.known
    assert refusal.value.status == failure.status
    assert len(server.requests) == 1, "nothing is tried again by itself, and no redirect is followed"
    assert switch(asked(server), KEY, on=False).disabled, "asked again, it is done"


def test_a_fault_of_githubs_own_is_not_taken_for_an_answer(server: FakeGitHub) -> None:
    server.fail(Failure(502, method="PUT"), Failure(503, method="GET"))
    with pytest.raises(NotDone, match="Whether it was done is not known") as refusal:
        switch(asked(server), KEY, on=False)
    assert not refusal.value.known
    server.fail(Failure(502, method="PUT", after_effect=True))
    assert switch(asked(server), KEY, on=False).disabled, "it was done before the fault, which asking shows"


def test_a_line_that_breaks_or_stays_silent_leaves_nothing_guessed(server: FakeGitHub) -> None:
    github = asked(server, timeout=timedelta(seconds=0.3))
    server.fail(Failure(method="PUT", after_effect=True))
    assert switch(github, KEY, on=False).disabled
    server.fail(Failure(method="PUT", silent=True), Failure(method="GET", silent=True))
    with pytest.raises(NotDone, match=r"did not answer within 0.3 s. Whether it was done is not known"):
        switch(github, KEY, on=True)
    server.fail(Failure(method="GET"))
    with pytest.raises(NotDone, match="Nothing was changed"):
        workflow(github, KEY)
    with pytest.raises(NotDone, match="can't be reached"):
        workflow(replace(github, api="http://127.0.0.1:1"), KEY)


@pytest.mark.parametrize("said", [b"", b"<html>", b"[]", b'{"state": 3}', b"[" * 100_000])
def test_an_answer_that_is_not_as_documented_is_refused(
    server: FakeGitHub, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.servers.fake_github.json.dumps", lambda _content: said.decode())
    with pytest.raises(NotDone, match="not the one that its documentation describes"):
        workflow(asked(server), KEY)


def test_the_token_comes_from_a_file_of_ones_own_or_a_variable(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    github = GitHub(REPOSITORY, token_file=path)
    assert token_of(github).secret == TOKEN
    path.chmod(0o640)
    with pytest.raises(Refused, match="can be read by others"):
        token_of(github)
    with pytest.raises(RestoreError, match="can't be opened"):
        token_of(replace(github, token_file=tmp_path / "gone"))
    with pytest.raises(RestoreError, match="can't be read"):
        token_of(replace(github, token_file=_closed(tmp_path / "folder")))
    by_variable = GitHub(REPOSITORY, token_variable="GH_TOKEN")  # noqa: S106 - a name
    assert token_of(by_variable, {"GH_TOKEN": TOKEN}).secret == TOKEN
    for wrong, why in (({}, "not set"), ({"GH_TOKEN": f"{TOKEN}\r\nHost: x"}, "no token")):
        with pytest.raises(RestoreError, match=why) as refusal:
            token_of(by_variable, wrong)
        assert TOKEN not in refusal.value.message + refusal.value.hint


def _closed(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder


def test_the_token_is_in_no_message_and_no_traceback(server: FakeGitHub) -> None:
    said = [repr(KEY), str(KEY)]
    github = asked(server, timeout=timedelta(seconds=0.3))
    for failure in (Failure(401), Failure(), Failure(500), Failure(silent=True)):
        server.fail(failure, replace(failure, method="GET"))
        try:
            switch(github, KEY, on=False)
        except NotDone as error:
            said += [error.message, error.hint, "".join(traceback.format_exception(error))]
        server.failures.clear()
    assert len(said) == 2 + 4 * 3
    assert not [text for text in said if TOKEN in text]
