"""A stand-in for Slack's incoming webhooks, which can't be had in a test: it speaks their documented protocol.

Source: Slack, "Sending messages using incoming webhooks" (POST of JSON with `text`; `ok`, else 400 invalid_payload,
403 invalid_token, 404 no_service), and "Formatting text" (&, < and > are escaped).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_SECRET = "/services/T000/B000/XCANARYXCANARYXCANARYX"  # noqa: S105 - nobody's: looked for where it must not be


@dataclass
class FakeSlack:
    """`hangs`: answers nothing until `let_go`. `answers`: the status of what comes next."""

    port: int = 0
    answers: int = 200
    hangs: bool = False
    let_go: threading.Event = field(default_factory=threading.Event)
    texts: list[str] = field(default_factory=list)
    asked: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{_SECRET}"

    @property
    def secret(self) -> str:
        """What nobody may find anywhere."""
        return "XCANARYXCANARYXCANARYX"


@contextmanager
def fake_slack() -> Iterator[FakeSlack]:
    slack = FakeSlack()

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            slack.asked += 1
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if slack.hangs:
                slack.let_go.wait(60)
                return
            if self.path != _SECRET:
                self._say(404, "no_service")
            elif slack.answers != 200:
                self._say(slack.answers, "invalid_token")
            else:
                self._take(body)

        def _take(self, body: bytes) -> None:
            try:
                text = json.loads(body)["text"]
            except (ValueError, KeyError, TypeError):
                self._say(400, "invalid_payload")
                return
            slack.texts.append(text)
            self._say(200, "ok")

        def _say(self, status: int, word: str) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(word.encode())

        def log_message(self, *_: object) -> None:
            """Silent: the address is a secret here too."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    slack.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        slack.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()
