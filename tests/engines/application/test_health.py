"""Real servers, well and ill."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engines.application.health import request
from engines.checks import Panel, Verdict


class Shop(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body, to = {
            "/up": (200, b"all well", ""),
            "/login-needed": (302, b"", "https://shop.example/login?next=secret"),
            "/down": (503, b"<h1>Back \x1b[2Jsoon</h1>", ""),
            "/big": (200, b"x" * 3_000_000, ""),
        }.get(self.path.partition("?")[0], (404, b"no such page", ""))
        self.send_response(status)
        if to:
            self.send_header("Location", to)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the asker had read enough

    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def shop() -> Iterator[str]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Shop)) as address:
        yield f"http://{address}"


@contextmanager
def answering(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that takes one connection and speaks as it likes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as peer:
                try:
                    speak(peer)
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/up"
        thread.join()


def test_an_application_that_answers_is_well(shop: str) -> None:
    check = request(f"{shop}/up?token=secret", expect_text="well")
    assert (check.verdict, check.panel) == (Verdict.OK, Panel.VALIDATION)
    assert "answered 200 in" in check.evidence
    assert "secret" not in check.evidence


def test_a_redirect_is_told_and_not_followed(shop: str) -> None:
    check = request(f"{shop}/login-needed")
    assert check.verdict is Verdict.FAIL
    assert "302" in check.evidence
    assert check.evidence.endswith("a redirect to https://shop.example/login")
    assert request(f"{shop}/login-needed", expect_status=302).verdict is Verdict.OK


def test_the_maintenance_page_is_not_health(shop: str) -> None:
    check = request(f"{shop}/down")
    assert check.verdict is Verdict.FAIL
    assert "503" in check.evidence
    assert "maintenance" in check.hint
    assert "\x1b" not in check.evidence


def test_the_right_status_with_the_wrong_words_is_a_failure(shop: str) -> None:
    check = request(f"{shop}/up", expect_text="orders")
    assert check.verdict is Verdict.FAIL
    assert "without 'orders': all well" in check.evidence


def test_an_endless_page_is_read_in_part_only(shop: str) -> None:
    assert request(f"{shop}/big").verdict is Verdict.OK


def test_nobody_listening_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    check = request(f"http://127.0.0.1:{port}/up")
    assert check.verdict is Verdict.FAIL
    assert "Connection refused" in check.evidence


def test_a_silent_server_is_given_up_on() -> None:
    def listen(peer: socket.socket) -> None:
        while peer.recv(9999):
            continue

    with answering(listen) as url:
        check = request(url, timeout=0.2)
    assert check.verdict is Verdict.FAIL
    assert "did not answer within 0.2 s" in check.evidence


def test_a_dripping_server_is_given_up_on_too() -> None:
    def drip(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            peer.sendall(b"X-Slow: yes\r\n")
            time.sleep(0.02)  # how slow this server is; nothing waits for it

    begun = time.monotonic()
    with answering(drip) as url:
        check = request(url, timeout=0.3)
    assert check.verdict is Verdict.FAIL
    assert "did not answer within" in check.evidence
    assert time.monotonic() - begun < 5


def test_what_is_no_web_server_is_told() -> None:
    with answering(lambda peer: peer.sendall(b"5.5.5-10.11 MariaDB\0\n")) as url:
        check = request(url)
    assert check.verdict is Verdict.FAIL
    assert "no answer that is HTTP" in check.evidence


def test_a_certificate_that_nobody_trusts_is_told(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    making = f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=shop -keyout {key} -out {certificate}"
    subprocess.run(making.split(), check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            return  # the handshake that fails is what the test is about

    server = Quiet(("127.0.0.1", 0), Shop)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server) as address:
        check = request(f"https://{address}/up")
    assert check.verdict is Verdict.FAIL
    assert "certificate is not valid: self-signed certificate" in check.evidence


def test_https_asked_of_a_plain_server_is_told(shop: str) -> None:
    check = request(f"https{shop.removeprefix('http')}/up")
    assert check.verdict is Verdict.FAIL
    assert "no TLS connection" in check.evidence


def test_a_name_that_does_not_exist_is_unknown() -> None:
    assert request("http://no-such-host.invalid/up", timeout=5).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x/y",
        "http://",
        "http://[::1",
        "http://x:99999/",
        "file:///etc/passwd",
        "http://x/up HTTP/1.1\r\nX: y",
        "http://x/é",
    ],
)
def test_what_is_no_address_is_unknown_with_a_hint(url: str) -> None:
    check = request(url)
    assert check.verdict is Verdict.UNKNOWN
    assert check.hint
