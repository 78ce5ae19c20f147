"""A limited line to one object: `python -m tests.bench.limited_bucket ENDPOINT BUCKET KEY BYTES_PER_SECOND each|all`.

An HTTP proxy in front of an S3 server. Listings and heads are the server's own answers; ranges of the one object come
from a copy that is fetched once, with the server's headers: moto copies the whole object for each range, and that would
be measured. What is sent is held back so that each connection, or all of them together, get no more than the limit. A
process of its own, so that what it computes is nobody's who is measured. Its port is on standard output.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.bench.pseudo_terminal import ROOT
from tests.servers.s3 import S3Server

_PIECE = 64 << 10
_BURST = 0.05  # seconds that may be made up for
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_PASSED_ON = ("Host", "Connection", "Accept-Encoding")  # everything but these


class Limit:
    """So many bytes a second, for all that share it."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._due = time.monotonic()
        self._lock = threading.Lock()

    def wait_for(self, size: int) -> None:
        with self._lock:
            self._due = max(self._due, time.monotonic() - _BURST) + size / self._rate
            left = self._due - time.monotonic()
        if left > 0:
            time.sleep(left)


def main(endpoint: str, bucket: str, key: str, rate: int, *, shared: bool) -> None:
    path = f"/{bucket}/{key}"
    client = S3Server(endpoint).client()
    found = client.get_object(Bucket=bucket, Key=key)
    content: bytes = found["Body"].read()
    headers: Mapping[str, str] = found["ResponseMetadata"]["HTTPHeaders"]  # names in small letters
    client.close()
    whole = Limit(rate)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self.limit = whole if shared else Limit(rate)

        def do_GET(self) -> None:
            if self.command != "GET" or self.path.partition("?")[0] != path:
                self._ask()
                return
            if self.headers.get("If-Match", headers["etag"]) != headers["etag"]:
                self.send_error(412)
                return
            asked = _RANGE.fullmatch(self.headers.get("Range") or "")
            begin, last = (int(asked[1]), int(asked[2] or len(content) - 1)) if asked else (0, len(content) - 1)
            self.send_response(206 if asked else 200)
            for name in ("ETag", "Last-Modified", "Content-Type"):
                self.send_header(name, headers[name.lower()])
            self.send_header("Accept-Ranges", "bytes")
            if asked:
                self.send_header("Content-Range", f"bytes {begin}-{last}/{len(content)}")
            self.send_header("Content-Length", str(last + 1 - begin))
            self.end_headers()
            view = memoryview(content)[begin : last + 1]
            while view:
                self.limit.wait_for(len(view[:_PIECE]))
                self.wfile.write(view[:_PIECE])
                view = view[_PIECE:]

        do_HEAD = do_GET

        def _ask(self) -> None:
            sent = {name: value for name, value in self.headers.items() if name not in _PASSED_ON}
            request = urllib.request.Request(endpoint + self.path, headers=sent, method=self.command)  # noqa: S310
            try:
                answer = urllib.request.urlopen(request)  # noqa: S310
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                said = answer.read()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                        self.send_header(name, value)
                length = answer.headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(said))
                self.send_header("Content-Length", length)
                self.end_headers()
                self.wfile.write(said)

        def log_message(self, *_told: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


@contextmanager
def limited(endpoint: str, bucket: str, key: str, rate: int, *, shared: bool) -> Iterator[str]:
    """The endpoint of the server behind such a line."""
    asked = (endpoint, bucket, key, str(rate), "all" if shared else "each")
    command = (sys.executable, "-m", "tests.bench.limited_bucket", *asked)
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), shared=sys.argv[5] == "all")
