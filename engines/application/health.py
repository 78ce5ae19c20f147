"""Asks an application's health address, as one of its visitors would."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

from engines import checks
from engines.checks import Check, Panel
from engines.deadline import deadline
from engines.text import drawable

_MOST = 1_000_000  # bytes of an answer that are searched
_SHOWN = 160  # characters of an answer in the evidence
_NAME = "health"
_ODD = re.compile(r"[^\x21-\x7e]")


def request(url: str, timeout: float = 10.0, expect_status: int = 200, expect_text: str | None = None) -> Check:
    """Does `url` answer as it should within `timeout` seconds? One GET; redirects are told, not followed.

    A proxy in the environment is not used. The address's query stays out of the evidence: it may hold a token.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or _ODD.search(url):
        hint = "Write http:// or https://, a host and a path; other characters than ASCII as %XX."
        return _unknown(f"{drawable(url)!r} is no address", hint)
    shown = drawable(f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}")
    connection = (
        http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=timeout)
    )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    begun = time.monotonic()
    late = threading.Event()
    try:
        connection.connect()
        with deadline(connection.sock, timeout - (time.monotonic() - begun)) as late:
            connection.request("GET", target, headers={"Accept": "*/*", "User-Agent": "reinstate"})
            response = connection.getresponse()
            body = response.read(_MOST)
            after = f"{(time.monotonic() - begun) * 1000:.0f} ms"
            if late.is_set():
                raise TimeoutError
        return _judged(shown, response, body.decode(errors="replace"), after, expect_status, expect_text)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _failed(shown, TimeoutError() if late.is_set() else error, timeout)
    finally:
        connection.close()


def _judged(
    shown: str,
    response: http.client.HTTPResponse,
    body: str,
    after: str,
    expect_status: int,
    expect_text: str | None,
) -> Check:
    said = f"{shown} answered {response.status} in {after}"
    if response.status != expect_status:
        to = response.headers.get("Location")
        if to and 300 <= response.status < 400:
            hint = "Configure the address that answers itself; a redirect to a login page proves nothing."
            return _fail(f"{said}, a redirect to {drawable(to.partition('?')[0])[:_SHOWN]}", hint)
        hint = "Is maintenance mode off? Look at the application's log."
        return _fail(f"{said}, expected {expect_status}: {drawable(body[:_SHOWN])}", hint)
    if expect_text is not None and expect_text not in body:
        hint = "Open the address: another application may be answering there."
        return _fail(f"{said}, but without {drawable(expect_text)!r}: {drawable(body[:_SHOWN])}", hint)
    return checks.ok(_NAME, said, Panel.VALIDATION)


def _failed(shown: str, error: Exception, timeout: float) -> Check:
    match error:
        case TimeoutError():
            return _fail(f"{shown} did not answer within {timeout:g} s", "Look at the application and its log.")
        case ssl.SSLCertVerificationError():
            hint = "Renew or install the certificate, or configure the address by the name it is made for."
            return _fail(f"{shown}: its certificate is not valid: {drawable(error.verify_message)}", hint)
        case ssl.SSLError():
            why = drawable(error.reason or str(error))
            return _fail(f"{shown}: no TLS connection: {why}", "Is it http:// instead of https://, or another port?")
        case socket.gaierror():
            hint = "This machine can't find the name: ask from one that can, or configure another address."
            return _unknown(f"{shown}: the name can't be resolved: {error.strerror}", hint)
        case OSError():
            hint = "Is the web server running, and reachable from this machine?"
            return _fail(f"{shown}: no connection: {drawable(error.strerror or str(error))}", hint)
        case _:
            hint = "Is it a web server that listens there?"
            return _fail(f"{shown} gave no answer that is HTTP: {drawable(repr(error))[:_SHOWN]}", hint)


def _fail(evidence: str, hint: str) -> Check:
    return checks.fail(_NAME, evidence, hint, Panel.VALIDATION)


def _unknown(evidence: str, hint: str) -> Check:
    return checks.unknown(_NAME, evidence, hint, Panel.VALIDATION)
