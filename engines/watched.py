"""The Prometheus server that watched a target before the incident, and what it is asked after the restore."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from engines.expectations import Metric
from engines.tables import Fault
from engines.values import positive, url

_HERE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Prometheus:
    """The server that is asked for metrics: `[target.NAME.prometheus]`."""

    url: str = field(metadata={"check": url})
    """Its address, without /api."""

    token_file: Path | None = None
    """A file, mode 0600, with the bearer token that it wants."""

    timeout: timedelta = field(default=timedelta(seconds=10), metadata={"check": positive})
    """How long one answer may take."""

    metrics: tuple[Metric, ...] = field(default=(), metadata={"key": "metric"})
    """What is compared after each restore of this target, as in an incident report: one `[[metric]]` for each."""

    def wrong(self) -> Iterator[Fault]:
        parts = urlsplit(self.url)
        if self.token_file is not None and parts.scheme == "http" and parts.hostname not in _HERE:
            yield "token_file", "would go unencrypted over the network: the address is http.", "Write https://."
