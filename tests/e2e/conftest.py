"""What the end-to-end tests stand on: jobs with their papers, which end what they started."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.keyboard import Operator
from tests.e2e.recovery import Job, prepare
from tests.servers.laravel import LaravelApp
from tests.servers.tmux import Terminal


@pytest.fixture
def prepare_job(build_laravel: Callable[..., LaravelApp], open_folder: Path) -> Iterator[Callable[..., Job]]:
    """Prepares jobs on the application that a test built, or on a new one (arguments: recovery.prepare)."""
    if os.geteuid() != 0:
        pytest.fail("This needs root: without it other users' open files can't be seen, and Readiness rightly blocks.")
    prepared: list[Job] = []

    def prepare_one(app: LaravelApp | None = None, **wanted: object) -> Job:
        folder = open_folder / f"job-{len(prepared) + 1}"
        prepared.append(prepare(app or build_laravel(), folder, **wanted))  # type: ignore[arg-type]  # prepare says which
        return prepared[-1]

    yield prepare_one
    for job in prepared:
        job.stop()


@pytest.fixture
def operator(terminal: Terminal) -> Operator:
    """Somebody at a terminal of 80 columns and 24 rows in which nothing runs yet."""
    return Operator(terminal)
