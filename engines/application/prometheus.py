"""Asks a Prometheus server for the value of a query at a moment.

Source: Prometheus HTTP API, "Instant queries" (/api/v1/query) and "Expression query result formats".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

import msgspec

from engines.errors import RestoreError
from engines.secret_file import own_text
from engines.text import drawable
from engines.watched import Prometheus
from engines.web import NoReplyError, Reply, call

_SHOWN = 160  # characters of the server's own error


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is no value, and why."""

    why: str


def averaged(query: str, window: timedelta | None) -> str:
    """The query as it is asked: averaged over the window by a subquery of ten points, where there is one."""
    if window is None:
        return query
    seconds = max(int(window.total_seconds()), 1)
    return f"avg_over_time(({query})[{seconds}s:{max(seconds // 10, 1)}s])"


def value(server: Prometheus, query: str, at: datetime) -> float | Nothing:
    """The query's one value at that moment. Never raises for what keeps it from being asked."""
    try:
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded", **_login(server)}
        body = urlencode({"query": query, "time": f"{at.timestamp():.3f}"}).encode()
        reply = call(
            f"{server.url.rstrip('/')}/api/v1/query",
            method="POST",  # a long query does not fit into every server's address
            body=body,
            headers=headers,
            timeout=server.timeout.total_seconds(),
        )
    except (NoReplyError, RestoreError) as error:
        return Nothing(error.message if isinstance(error, RestoreError) else str(error))
    return read(reply)


def _login(server: Prometheus) -> Mapping[str, str]:
    if server.token_file is None:
        return {}
    token = own_text(server.token_file, "The token file", "token_file", "a bearer token on one line").strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise RestoreError("The token file holds no bearer token.", "Write the token alone into it.")
    return {"Authorization": f"Bearer {token}"}


def read(reply: Reply) -> float | Nothing:
    """What the server answered: the one value of a scalar, or of a vector with one series."""
    try:
        told = msgspec.json.decode(reply.body, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError):
        return Nothing(f"it answered {reply.status}, and nothing that Prometheus says")
    if told.get("status") != "success":
        return Nothing(f"it answered {reply.status}: {drawable(str(told.get('error', 'no reason')))[:_SHOWN]}")
    found = told.get("data")
    kind, result = (found.get("resultType"), found.get("result")) if isinstance(found, Mapping) else (None, None)
    if not isinstance(result, list):
        return Nothing("it answered no result")
    if kind == "vector":
        if not result:
            return Nothing("the query finds no series at that time")
        if len(result) > 1:
            return Nothing(f"the query finds {len(result)} series: sum or average them")
        result = result[0].get("value") if isinstance(result[0], Mapping) else None
    elif kind != "scalar":
        return Nothing(f"the query's result is a {drawable(str(kind))[:20]}: it has to be one value")
    return _number(result)


def _number(sample: object) -> float | Nothing:
    """A sample is a time and the value as text."""
    if not isinstance(sample, list) or len(sample) != 2:
        return Nothing("it answered no value")
    return as_number(str(sample[1]))


def as_number(text: str) -> float | Nothing:
    try:
        found = float(text)
    except ValueError:
        return Nothing(f"{drawable(text)[:20]!r} is no number")
    return found if math.isfinite(found) else Nothing(f"the value is {found}")
