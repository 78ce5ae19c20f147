"""One request over HTTP, with a deadline for the whole of it. What is asked, and what the answer means, is decided
elsewhere.

The address may be a secret in itself, as a webhook's is: no message here holds any part of it.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from engines.deadline import deadline

_MOST = 4_000_000  # bytes of an answer that are read
_ODD = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes


class NoReplyError(Exception):
    """There was no answer; the text says why, without the address."""


def call(
    url: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,
) -> Reply:
    """Ask once and return what was answered, whatever its status. Redirects are not followed, proxies not used.

    `timeout`: seconds for everything after the name is resolved. Raises NoReplyError.
    """
    import http.client  # here: it brings the whole of email along, and most who import this never call

    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or _ODD.search(url):
        raise NoReplyError("that is no address")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = (
        http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=timeout)
    )
    begun, late = time.monotonic(), threading.Event()
    try:
        connection.connect()
        with deadline(connection.sock, timeout - (time.monotonic() - begun)) as late:
            connection.request(method, target, body, {"User-Agent": "reinstate", **(headers or {})})
            response = connection.getresponse()
            content = response.read(_MOST)
        if late.is_set():
            raise NoReplyError(_slow(timeout))  # cut short: what was read is not the whole
        return Reply(response.status, content)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoReplyError(_slow(timeout) if late.is_set() else _why(error, timeout)) from None
    finally:
        connection.close()


def _slow(timeout: float) -> str:
    return f"no answer within {timeout:g} s"


def _why(error: Exception, timeout: float) -> str:
    match error:
        case TimeoutError():
            return _slow(timeout)
        case ssl.SSLCertVerificationError():
            return "the certificate is not valid"
        case ssl.SSLError():
            return "no TLS connection"
        case socket.gaierror():
            return "the name can't be resolved"
        case OSError():
            return f"no connection: {error.strerror}" if error.strerror else "no connection"
        case _:
            return "what answered does not speak HTTP"
