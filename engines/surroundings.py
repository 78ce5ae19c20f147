"""What stands around an application, as configured: its machines, the workflow that deploys it, where tickets are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from engines.tables import Fault
from engines.values import WrongValue, positive, url

_ADDRESS = re.compile(r"(?:[A-Za-z_][A-Za-z0-9._-]*@)?[A-Za-z0-9](?:[A-Za-z0-9.:_-]*[A-Za-z0-9])?")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
_WORKFLOW = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _address(written: object) -> None:
    if not _ADDRESS.fullmatch(str(written)):
        raise WrongValue("is no address for ssh.", 'Write "user@host"; the port is a key of its own.')


def _port(number: object) -> None:
    if not isinstance(number, int) or not 1 <= number <= 65535:
        raise WrongValue(f"is {number}.", "A port is between 1 and 65535.")


def _absolute(path: object) -> None:
    if not str(path).startswith("/"):
        raise WrongValue("must be a whole path.", "Write it from / on: it is a file of this machine.")


def _repository(written: object) -> None:
    if not _REPOSITORY.fullmatch(str(written)):
        raise WrongValue("is no repository.", 'Write "owner/name".')


def _workflow(written: object) -> None:
    if not _WORKFLOW.fullmatch(str(written)):
        raise WrongValue("is no workflow.", 'Write its file\'s name without a folder, "deploy.yml", or its number.')


def _variable(written: object) -> None:
    if not _VARIABLE.fullmatch(str(written)):
        raise WrongValue("is no name of a variable.", "Name the variable; the token itself never stands here.")


def _api(written: object) -> None:
    """An address that a token may be sent to: nobody reads along."""
    url(written)
    parts = urlsplit(str(written))
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise WrongValue("is not encrypted, and a token is sent there.", "Write https://.")


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of the application, reached by SSH. Its commands run on each of them, and none here."""

    address: str = field(metadata={"check": _address, "example": '"deploy@web1"'})
    """Where to log in, as user@host. A name of ~/.ssh/config works too."""

    port: int = field(default=22, metadata={"check": _port})
    """The port of its SSH server."""

    identity: Path | None = field(default=None, metadata={"check": _absolute})
    """The private key, without a passphrase: nobody is asked for one. Default: as ssh finds it."""

    known_hosts: Path | None = field(default=None, metadata={"check": _absolute})
    """The file with the host's key. A host that is not in it is refused. Default: as ssh finds it."""

    connect_timeout: timedelta = field(default=timedelta(seconds=10), metadata={"check": positive})
    """How long to wait for a connection."""

    @property
    def login(self) -> str:
        """The user of the address; empty where it names none."""
        return self.address.rpartition("@")[0]

    @property
    def name(self) -> str:
        """What it is called in plan and record."""
        return self.address if self.port == 22 else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class GitHub:
    """The repository on GitHub, its deploy workflow, and the token that may disable it."""

    repository: str = field(metadata={"check": _repository, "example": '"owner/name"'})
    """The repository, as owner/name."""

    workflow: str = field(default="deploy.yml", metadata={"check": _workflow})
    """The workflow that deploys: its file's name, or its number. It is disabled and enabled again by the API."""

    token_file: Path | None = field(default=None, metadata={"check": _absolute})
    """A file of mode 0600 that holds nothing but the token. Without a token the release manager is told instead."""

    token_variable: str | None = field(default=None, metadata={"check": _variable})
    """The environment variable that holds the token, where there is no such file."""

    api: str = field(default="https://api.github.com", metadata={"check": _api})
    """The address of the API. A GitHub Enterprise server's is https://HOST/api/v3."""

    timeout: timedelta = field(default=timedelta(seconds=20), metadata={"check": positive})
    """How long one answer of the API may take."""

    @property
    def has_token(self) -> bool:
        return self.token_file is not None or self.token_variable is not None


def _label(written: object) -> None:
    if not str(written).strip() or "," in str(written) or len(str(written)) > 50:
        raise WrongValue("is no label.", 'Write one like "restore": without a comma, 50 characters at the most.')


@dataclass(frozen=True, slots=True)
class Tickets:
    """The repository on GitHub in which follow-ups are filed as issues, and the token that may file them."""

    repository: str = field(metadata={"check": _repository, "example": '"owner/name"'})
    """The repository, as owner/name. Who can read it can read the follow-ups."""

    token_file: Path | None = field(default=None, metadata={"check": _absolute})
    """A file of mode 0600 that holds nothing but the token."""

    token_variable: str | None = field(default=None, metadata={"check": _variable})
    """The environment variable that holds the token, instead of a file."""

    labels: tuple[str, ...] = field(default=(), metadata={"check": _label, "example": '["restore"]'})
    """The labels that each issue gets. GitHub drops them silently where the token's user may not push."""

    api: str = field(default="https://api.github.com", metadata={"check": _api})
    """The address of the API. A GitHub Enterprise server's is https://HOST/api/v3."""

    timeout: timedelta = field(default=timedelta(seconds=20), metadata={"check": positive})
    """How long one answer of the API may take. Nothing waits for it."""

    def wrong(self) -> Iterator[Fault]:
        if self.token_file is None and self.token_variable is None:
            yield "token_file", "or token_variable must be given.", "Write one of them."
