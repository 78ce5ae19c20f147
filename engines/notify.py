"""Tells people outside what the session is at: a webhook that takes what Slack's takes, or a command.

Source: Slack, "Sending messages using incoming webhooks" and "Formatting text for app surfaces".
A webhook's address lets everybody post who knows it: it is read when it is needed, and no message here holds it.
"""

from __future__ import annotations

import json
import os
import re
import select
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from engines.errors import RestoreError
from engines.process import Command, start_piped
from engines.secret_file import own_text
from engines.tables import Fault
from engines.values import WrongValue, one_line, positive, program
from engines.web import NoReplyError, call

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOOK = 0.05  # seconds between looks at a command that was given its text
_QUIET = 0.2  # seconds that an ended command has to be gone


class About(StrEnum):
    """What people are told of."""

    AUTHORISED = "authorised"
    STARTED = "started"
    DONE = "done"
    FAILED = "failed"
    CLOSED = "closed"
    BREAK_GLASS = "break-glass"


def _variable(name: object) -> None:
    if not _VARIABLE.fullmatch(str(name)):
        raise WrongValue("is no name of an environment variable.", 'Write "INCIDENT_WEBHOOK" for example.')


@dataclass(frozen=True, slots=True)
class Channel:
    """Where people are told what the session is at: one `[[notify]]`."""

    name: str = field(metadata={"check": one_line})
    """What it is called on the screen and in the record."""

    webhook_file: Path | None = None
    """A file, mode 0600, with the address of a webhook that takes `{"text": …}`, as Slack's do. The address is a
    secret: it is in no log and no record."""

    webhook_env: str | None = field(default=None, metadata={"check": _variable})
    """The environment variable that holds such an address, instead of a file."""

    command: tuple[str, ...] = field(
        default=(), metadata={"read": program, "write": list, "example": '["program", "argument"]'}
    )
    """A command that gets the text on its standard input, instead of a webhook."""

    on: tuple[About, ...] = (About.AUTHORISED, About.STARTED, About.DONE, About.FAILED, About.CLOSED)
    """What it is told of: authorised, started, done, failed, closed. Break-glass is always told."""

    targets: tuple[str, ...] = ()
    """The targets for which this holds. Empty: all of them."""

    timeout: timedelta = field(default=timedelta(seconds=10), metadata={"check": positive})
    """How long one delivery may take. The restore does not wait for it."""

    def wrong(self) -> Iterator[Fault]:
        ways = [self.webhook_file is not None, self.webhook_env is not None, bool(self.command)]
        if sum(ways) != 1:
            yield "webhook_file", "or webhook_env or command must be given, and one only.", "Write one of them."


class NotDeliveredError(Exception):
    """Why a text did not arrive, without anything secret."""


def deliver(channel: Channel, text: str) -> None:
    """Send the text once. Raises NotDeliveredError."""
    try:
        if channel.command:
            _run(channel, text)
        else:
            _post(_address(channel), text, channel.timeout.total_seconds())
    except RestoreError as error:
        raise NotDeliveredError(error.message) from None
    except NoReplyError as error:
        raise NotDeliveredError(str(error)) from None


def _address(channel: Channel) -> str:
    if channel.webhook_file is not None:
        form = "the address of a webhook on one line"
        address = own_text(channel.webhook_file, "The webhook file", "webhook_file", form).strip()
    else:
        address = os.environ.get(channel.webhook_env or "", "").strip()
        if not address:
            raise NotDeliveredError(f"the environment variable {channel.webhook_env} is not set")
    return address


def _post(address: str, text: str, timeout: float) -> None:
    # Slack's three control characters: without this, <!channel> in a typed reason would call everybody.
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    body = json.dumps({"text": plain}).encode()
    reply = call(address, method="POST", body=body, headers={"Content-Type": "application/json"}, timeout=timeout)
    if not 200 <= reply.status < 300:
        raise NotDeliveredError(f"the webhook answered {reply.status}")


def _run(channel: Channel, text: str) -> None:
    """Feed the command, within its time. What it says is not kept: it could be anything."""
    until = time.monotonic() + channel.timeout.total_seconds()
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        piped = start_piped(Command(channel.command), stdout=sink, stderr=sink, started=lambda _child: None)
        try:
            with suppress(BrokenPipeError):  # it does not want to read: its exit says whether that is well
                _feed(piped.stdin.fileno(), (text + "\n").encode(), until)
            piped.stdin.close()
            while piped.running() and time.monotonic() < until:
                time.sleep(_LOOK)
            late = piped.running()
        finally:
            ended = piped.ended(_QUIET)
            piped.stdin.close()
    finally:
        os.close(sink)
    if late:
        raise NotDeliveredError(f"the command was still running after {channel.timeout.total_seconds():g} s")
    if not ended.ok:
        raise NotDeliveredError(f"the command failed: {ended.reason}")


def _feed(pipe: int, text: bytes, until: float) -> None:
    """Write without waiting for ever: a command that never reads fills the pipe."""
    os.set_blocking(pipe, False)
    while text and (left := until - time.monotonic()) > 0:
        if select.select([], [pipe], [], left)[1]:
            text = text[os.write(pipe, text) :]
