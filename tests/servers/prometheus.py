"""A real Prometheus of the tests' own, with a past of their choosing, on the loopback interface."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from tests.servers.waiting import end, until


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    pid: int


@contextmanager
def prometheus(folder: Path, samples: Mapping[str, Mapping[datetime, float]]) -> Iterator[Server]:
    """A server that knows each series (as `errors{code="500"}`) at those moments. It scrapes nothing."""
    for program in ("prometheus", "promtool"):
        if shutil.which(program) is None:
            pytest.fail(f"{program} is missing: scripts/system-packages tests")
    metrics = folder / "metrics.txt"
    metrics.write_text(_open_metrics(samples))
    data = folder / "data"
    made = subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(metrics), str(data)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    (folder / "prometheus.yml").write_text("global: {evaluation_interval: 15s}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={data}",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder)},
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _ready(process, url, folder), "Prometheus is ready")
        yield Server(url, process.pid)
    finally:
        process.terminate()
        end([psutil.Process(process.pid)], grace=5.0)
        process.wait()


def _ready(process: subprocess.Popen[bytes], url: str, folder: Path) -> bool:
    if process.poll() is not None:
        pytest.fail((folder / "log").read_text()[-2000:])
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=2) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except OSError:
        return False


def _open_metrics(samples: Mapping[str, Mapping[datetime, float]]) -> str:
    names = dict.fromkeys(series.partition("{")[0] for series in samples)
    lines: list[str] = []
    for name in names:
        lines.append(f"# TYPE {name} gauge")
        lines += [
            f"{series} {value:g} {at.timestamp():.0f}"
            for series, values in samples.items()
            if series.partition("{")[0] == name
            for at, value in sorted(values.items())
        ]
    return "\n".join([*lines, "# EOF", ""])
