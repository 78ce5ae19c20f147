"""An issue is filed once, however often and however unluckily it is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from engines.github_api import NotDone, Token
from engines.issues import find_issue, make_issue
from engines.surroundings import Tickets
from tests.servers.fake_github import REPOSITORY, TOKEN, Failure, FakeGitHub, fake_github

KEY = Token(TOKEN)


@pytest.fixture
def server() -> Iterator[FakeGitHub]:
    with fake_github() as server:
        yield server


def asked(server: FakeGitHub) -> Tickets:
    return Tickets(REPOSITORY, token_variable="TOKEN", api=server.address)  # noqa: S106 - a variable's name


def test_an_issue_is_made_with_its_labels_and_found_by_its_marker(server: FakeGitHub) -> None:
    made = make_issue(asked(server), KEY, "Automate the freeze", "By hand it was late.", ("restore",), marker="s1-1")
    assert (made.number, made.made) == (1, True)
    assert server.issues[0]["labels"] == ["restore"]
    assert str(server.issues[0]["body"]).startswith("By hand it was late.\n")
    there = find_issue(asked(server), KEY, marker="s1-1")
    assert there == replace(made, made=False)
    assert find_issue(asked(server), KEY, marker="s1-11") is None, "a marker is no beginning of another"
    assert find_issue(asked(server), KEY, marker="s1") is None


def test_an_old_one_is_found_by_the_search(server: FakeGitHub) -> None:
    made = make_issue(asked(server), KEY, "Automate the freeze", "", marker="s1-1")
    for number in range(120):
        server.issues.append({"number": 100 + number, "html_url": "", "body": None})
    assert find_issue(asked(server), KEY, marker="s1-1") == replace(made, made=False)
    assert "/search/issues?" in server.requests[-1]


@pytest.mark.parametrize(
    ("failure", "told", "hint"),
    [
        (Failure(401, message="Bad credentials"), "does not know the token", "put another"),
        (Failure(403, message="Resource not accessible by integration"), "does not let this token", "Issues: write"),
        (Failure(404, message="Not Found"), f"knows no repository {REPOSITORY}", r"\[tickets\]"),
        (Failure(410, message="Issues are disabled for this repo"), "switched off", "Let the repository have issues"),
        (Failure(422, message="Validation Failed"), "does not take the request", "by hand"),
        (
            Failure(403, {"retry-after": "600"}),
            "limits how often",
            "File it again at .*, in (10|9) min",
        ),
    ],
)
def test_what_github_refuses_is_said_with_what_to_do_and_nothing_was_made(
    server: FakeGitHub, failure: Failure, told: str, hint: str
) -> None:
    server.fail(replace(failure, method="POST"))
    with pytest.raises(NotDone, match=told) as refusal:
        make_issue(asked(server), KEY, "x", "", marker="s1-1")
    assert refusal.value.known
    assert server.issues == []
    assert "Nothing was changed" in refusal.value.message
    assert re.search(hint, refusal.value.hint), refusal.value.hint


@pytest.mark.parametrize("status", [0, 502])
def test_where_no_answer_came_it_is_not_known_whether_it_was_made(server: FakeGitHub, status: int) -> None:
    server.fail(Failure(status, method="POST", after_effect=True))
    with pytest.raises(NotDone, match="is not known") as refusal:
        make_issue(asked(server), KEY, "x", "", marker="s1-1")
    assert not refusal.value.known
    assert find_issue(asked(server), KEY, marker="s1-1") is not None, "it was"


def test_one_that_does_not_answer_is_given_up(server: FakeGitHub) -> None:
    server.fail(Failure(silent=True))
    with pytest.raises(NotDone, match=r"did not answer within 0\.2 s\. Nothing was changed"):
        find_issue(replace(asked(server), timeout=timedelta(seconds=0.2)), KEY, marker="s1-1")
