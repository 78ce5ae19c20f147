"""Credentials that are to be rotated: what the incident exposed, and what this session really used. Pure.

Names and where they are kept, never the secret itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engines.session.events import Filing

if TYPE_CHECKING:
    from engines.session.state import SessionState

_USED = "used in this session"


@dataclass(frozen=True, slots=True)
class Credential:
    """One that is to be rotated. Never the secret itself."""

    name: str
    where: str
    owner: str
    why: str

    @property
    def key(self) -> str:
        """Names it among the session's follow-ups: the same however many are found before it later on."""
        return f"credential-{hashlib.sha256(self.name.encode(errors='replace')).hexdigest()[:6]}"


def credentials(state: SessionState) -> tuple[Credential, ...]:
    """What the incident exposed, by its report, then what this session used."""
    found: dict[str, Credential] = {}
    for one in (*_exposed(state), *_of_steps(state), *_of_hosts(state), *_of_channels(state), *_of_tickets(state)):
        found.setdefault(one.name, one)
    return tuple(found.values())


def _exposed(state: SessionState) -> Iterator[Credential]:
    exposure = state.begun.incident.get("exposure") if state.begun else None
    for one in _tables(exposure.get("credential") if isinstance(exposure, Mapping) else None):
        yield Credential(_text(one, "name"), _text(one, "where"), _text(one, "owner"), _text(one, "why") or "exposed")


def _of_steps(state: SessionState) -> Iterator[Credential]:
    for known in state.steps:
        for one in _tables(known.facts.get("credentials")):
            yield Credential(_text(one, "name"), _text(one, "where"), "", _USED)


def _of_hosts(state: SessionState) -> Iterator[Credential]:
    """The keys for the application's machines: each was logged in to when it was looked at."""
    application = state.begun.target.get("application") if state.begun else None
    for host in _tables(application.get("host") if isinstance(application, Mapping) else None):
        address, port = _text(host, "address"), host.get("port", 22)
        name = address if port == 22 else f"{address}:{port}"
        if f"host {name}" in state.checks:
            yield Credential(f"SSH key for {name}", _text(host, "identity") or "as ssh finds it", "", _USED)


def _of_channels(state: SessionState) -> Iterator[Credential]:
    """The addresses of webhooks: they are secrets themselves."""
    told = {channel for notice in state.notices for channel in notice.attempts}
    for channel in state.begun.notify if state.begun else ():
        where = _text(channel, "webhook_file") or _variable(channel, "webhook_env")
        if where and _text(channel, "name") in told:
            yield Credential(f"address of the webhook {_text(channel, 'name')}", where, "", _USED)


def _of_tickets(state: SessionState) -> Iterator[Credential]:
    conf = state.begun.tickets if state.begun else {}
    where = _text(conf, "token_file") or _variable(conf, "token_variable")
    if where and any(one.result in (Filing.FILED, Filing.UNKNOWN) for one in state.tickets.values()):
        yield Credential(f"GitHub token for {_text(conf, 'repository')}", where, "", _USED)


def _tables(found: object) -> Iterator[Mapping[str, object]]:
    return (one for one in (found if isinstance(found, (list, tuple)) else ()) if isinstance(one, Mapping))


def _variable(table: Mapping[str, object], key: str) -> str:
    return f"${table[key]}" if table.get(key) else ""


def _text(table: Mapping[str, object], key: str) -> str:
    return str(table.get(key) or "")
