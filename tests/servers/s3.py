"""A real S3 API over HTTP, on the loopback interface: moto's server in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.servers.waiting import until

ACCESS, SECRET, REGION = "AKIATESTTESTTESTTEST", "canary/s3+secret", "eu-west-3"

# The port is chosen by the kernel and told on standard output; the parent's end ends the server.
_SERVE = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where it listens, and a client for the test's own use."""

    endpoint: str

    def client(self) -> Any:  # noqa: ANN401 - boto3's clients are made at run time and have no type
        import boto3  # here: it takes a while, and most tests do without

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET,
        )

    def bucket(self, name: str, *, versioned: bool = False) -> str:
        client = self.client()
        client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        client.close()
        return name


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service that is not well says to every request."""

    status: int = 200
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


def refusal(status: int, code: str, more: str = "") -> Answer:
    """S3's own error document. Its message quotes what must not get any further."""
    said = f"<Code>{code}</Code><Message>canary-message {SECRET} {ACCESS}</Message>{more}"
    return Answer(status, f"<?xml version='1.0' encoding='UTF-8'?><Error>{said}</Error>")


@contextmanager
def answering(answer: Callable[[str], Answer]) -> Iterator[str]:
    """The endpoint of a service that answers each request's path as `answer` says."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = answer(self.path)
            content = said.body.encode()
            self.send_response(said.status)
            for name, value in said.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, *_told: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    process = subprocess.Popen((sys.executable, "-c", _SERVE), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = process.stdout.readline().strip()
        if not told.isdigit():
            pytest.fail("moto's server does not start: pip install 'moto[server]'", pytrace=False)
        yield S3Server(f"http://127.0.0.1:{told}")
    finally:
        process.communicate()
        until(lambda: process.poll() is not None, "the S3 server has ended")


def credentials(folder: Path) -> dict[str, str]:
    """What boto3 reads them from: files in `folder`, so that nothing of the machine's own is taken."""
    file = folder / "credentials"
    file.write_text(f"[default]\naws_access_key_id = {ACCESS}\naws_secret_access_key = {SECRET}\n")
    (folder / "config").write_text(f"[default]\nregion = {REGION}\n")
    return {
        "AWS_SHARED_CREDENTIALS_FILE": str(file),
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
