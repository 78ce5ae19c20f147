"""A server that speaks the part of GitHub's REST API that Reinstate uses, as docs.github.com describes it.

GitHub itself can't be had for a test. What it can't know of GitHub: how soon its search learns of a new issue.
Failures are given to order: each answers one request, oldest first.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

REPOSITORY = "caope/shop"
TOKEN = "ghp_canary0123456789"  # noqa: S105 - a canary: it must be found nowhere


@dataclass(frozen=True, slots=True)
class Failure:
    """What the next request that fits gets instead of its answer."""

    status: int = 0  # 0: the line is cut
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    method: str = ""  # of the requests that it is for; empty: of all
    after_effect: bool = False  # what was asked is done first
    silent: bool = False  # no answer at all, until the server ends


@dataclass(slots=True)
class FakeGitHub:
    address: str
    state: str = "active"
    stubborn: bool = False  # takes what it is asked and does not do it
    runs: list[dict[str, object]] = field(default_factory=list)
    issues: list[dict[str, object]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)  # METHOD path
    over: threading.Event = field(default_factory=threading.Event)

    def fail(self, *failures: Failure) -> None:
        self.failures.extend(failures)

    def failure_for(self, method: str) -> Failure | None:
        for failure in self.failures:
            if failure.method in ("", method):
                self.failures.remove(failure)
                return failure
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    github: FakeGitHub

    def do_GET(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        github = self.github
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        github.requests.append(f"{self.command} {self.path}")
        failure = github.failure_for(self.command)
        if failure is not None and not failure.after_effect:
            self._fail(failure)
            return
        status, content = self._answer(body)
        if failure is not None:
            self._fail(failure)
        else:
            self._send(status, content)

    def _fail(self, failure: Failure) -> None:
        self.close_connection = True
        if failure.silent:
            self.github.over.wait(30)
        elif failure.status:
            self._send(failure.status, {"message": failure.message}, failure.headers)

    def _answer(self, body: bytes) -> tuple[int, object]:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"message": "Bad credentials"}
        if not self.headers.get("User-Agent"):
            return 403, {"message": "Request forbidden by administrative rules."}
        github, parts = self.github, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = parts.path.removeprefix("/api/v3")
        match self.command, path.removeprefix(f"/repos/{REPOSITORY}"):
            case "GET", "/actions/workflows/deploy.yml":
                return 200, {"id": 161335, "name": "Deploy", "path": ".github/workflows/deploy.yml"} | {
                    "state": github.state
                }
            case "PUT", "/actions/workflows/deploy.yml/disable" | "/actions/workflows/deploy.yml/enable":
                if not github.stubborn:
                    github.state = "active" if path.endswith("enable") else "disabled_manually"
                return 204, None
            case "GET", "/actions/workflows/deploy.yml/runs":
                runs = [run for run in github.runs if query.get("status") in (None, run["status"])]
                return 200, {"total_count": len(runs), "workflow_runs": runs}
            case "GET", "/issues":
                newest = list(reversed(github.issues))[: int(query.get("per_page", "30"))]
                return 200, newest
            case "POST", "/issues":
                return self._file(json.loads(body))
            case "GET", "/search/issues":
                wanted = re.findall(r'"([^"]*)"', query.get("q", ""))[0]
                items = [issue for issue in github.issues if wanted in str(issue["body"])]
                return 200, {"total_count": len(items), "incomplete_results": False, "items": items}
            case _:
                return 404, {"message": "Not Found"}

    def _file(self, given: dict[str, object]) -> tuple[int, object]:
        if not given.get("title"):
            return 422, {"message": "Validation Failed"}
        number = len(self.github.issues) + 1
        issue = {**given, "number": number, "html_url": f"https://github.com/{REPOSITORY}/issues/{number}"}
        self.github.issues.append(issue)
        return 201, issue

    def _send(self, status: int, content: object, headers: Mapping[str, str] = {}) -> None:
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def fake_github() -> Iterator[FakeGitHub]:
    """A server with one repository, its deploy workflow active, no run under way, no issue."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {}))
    server.daemon_threads = True
    github = FakeGitHub(f"http://127.0.0.1:{server.server_port}/api/v3")
    server.RequestHandlerClass.github = github  # type: ignore[attr-defined]  # the class made above
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield github
    finally:
        github.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
