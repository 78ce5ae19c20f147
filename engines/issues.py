"""Looks for an issue on GitHub, and files one. It is known again by a comment in its body.

Source: docs.github.com/rest, version 2022-11-28: "Issues", "Search".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec

from engines.github_api import Advice, Answer, Repository, Token, ask, read

_PAGE = 100  # as many as GitHub gives at once


@dataclass(frozen=True, slots=True)
class Issue:
    number: int
    address: str
    made: bool  # False: it was there already


@dataclass(frozen=True, slots=True)
class _Issue:
    number: int
    html_url: str
    body: str | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    items: list[_Issue]


def find_issue(github: Repository, token: Token, *, marker: str) -> Issue | None:
    """The issue with `marker` in its body, open or closed; None where there is none. Raises NotDone.

    The newest hundred are looked through, for GitHub's search learns of an issue only after a while; then the search
    is asked.
    """
    query = urlencode({"state": "all", "sort": "created", "direction": "desc", "per_page": _PAGE})
    newest = read(_ask(github, token, "GET", f"/repos/{github.repository}/issues?{query}"), list[_Issue])
    found = _marked(newest, marker)
    if found is not None or len(newest) < _PAGE:  # fewer: these were all
        return found
    query = urlencode({"q": f'"{_told(marker)}" in:body is:issue repo:{github.repository}', "per_page": 20})
    return _marked(read(_ask(github, token, "GET", f"/search/issues?{query}"), _Found).items, marker)


def make_issue(
    github: Repository, token: Token, title: str, body: str, labels: Sequence[str] = (), *, marker: str
) -> Issue:
    """Make an issue, with `marker` in its body. Look for it first: asked for twice, GitHub makes two.

    `marker`: a word of letters, digits, dots and dashes that no other issue has. Raises NotDone: with `known` false
    where it can't be told whether the issue was made.
    """
    content = {"title": title, "body": f"{body.rstrip()}\n\n{_mark(marker)}\n", "labels": list(labels)}
    answer = _ask(github, token, "POST", f"/repos/{github.repository}/issues", msgspec.json.encode(content))
    made = read(answer, _Issue)
    return Issue(made.number, made.html_url, made=True)


def _marked(issues: Sequence[_Issue], marker: str) -> Issue | None:
    mark = _mark(marker)
    return next((Issue(one.number, one.html_url, made=False) for one in issues if mark in (one.body or "")), None)


def _told(marker: str) -> str:
    return f"reinstate-{marker}"


def _mark(marker: str) -> str:
    return f"<!-- {_told(marker)} -->"


def _ask(github: Repository, token: Token, method: str, path: str, body: bytes | None = None) -> Answer:
    advice = Advice(
        again="File it again",
        by_hand="Or file it by hand, and type its number.",
        permission="Issues: write",
        missing=f"repository {github.repository}",
        correct="Correct `repository` under [tickets]",
        invalid="File it by hand, and type its number. Are there such labels as configured?",
        off="Let the repository have issues, or name another one; or file it elsewhere, and type its number.",
    )
    return ask(github, token, advice, method, path, body)
