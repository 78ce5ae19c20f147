"""What several tests stand on: folders that others can enter, a terminal, an SSH server, the Laravel application."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from engines.mysql.flavour import Flavour
from tests.servers.databases import FLAVOURS, Build, Server, build_of, running
from tests.servers.laravel import LaravelApp, build
from tests.servers.s3 import S3Server, credentials, s3_server
from tests.servers.sshd import SshServer, ssh_server
from tests.servers.tmux import Terminal


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can enter, www-data for one; pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="reinstate-"))
    folder.chmod(0o755)  # that is what it is for
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def build_laravel(open_folder: Path) -> Iterator[Callable[..., LaravelApp]]:
    """Builds applications as a test asks for them (arguments: servers.laravel.build), and stops what they started."""
    built: list[LaravelApp] = []

    def build_one(**wanted: object) -> LaravelApp:
        built.append(build(open_folder / f"application-{len(built) + 1}", **wanted))  # type: ignore[arg-type]  # build says which
        return built[-1]

    yield build_one
    for app in built:
        app.stop()


@pytest.fixture
def laravel(build_laravel: Callable[..., LaravelApp]) -> LaravelApp:
    """An application with 20 users and 200 transactions; nothing of it runs yet."""
    return build_laravel()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal of 80 columns and 24 rows."""
    with Terminal() as terminal:
        yield terminal


@pytest.fixture
def ssh() -> Iterator[SshServer]:
    """An SSH server that takes its own key."""
    with ssh_server() as server:
        yield server


@pytest.fixture(scope="session")
def _servers() -> Iterator[Callable[[Build], Server]]:
    """One server of each build for all tests of a worker, started when the first test wants it."""
    with ExitStack() as stack:
        started: dict[str, Server] = {}

        def server_of(build: Build) -> Server:
            if build.name not in started:
                started[build.name] = stack.enter_context(running(build))
            return started[build.name]

        yield server_of


def _lent(server: Server) -> Iterator[Server]:
    yield server
    server.tidy()


@pytest.fixture(params=FLAVOURS, ids=lambda build: build.name)
def server(request: pytest.FixtureRequest, _servers: Callable[[Build], Server]) -> Iterator[Server]:
    """Each of the servers in turn. Schemas and accounts that the test made are dropped after it."""
    yield from _lent(_servers(request.param))


@pytest.fixture
def mysql_server(_servers: Callable[[Build], Server]) -> Iterator[Server]:
    yield from _lent(_servers(build_of(Flavour.MYSQL)))


@pytest.fixture
def mariadb_server(_servers: Callable[[Build], Server]) -> Iterator[Server]:
    yield from _lent(_servers(build_of(Flavour.MARIADB)))


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    """Starts servers of the test's own, with options: start_server(build, "--gtid-mode=ON", …)."""
    with ExitStack() as stack:
        yield lambda build, *options: stack.enter_context(running(build, *options))


@pytest.fixture(params=FLAVOURS, ids=lambda build: build.name)
def fresh_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each of the servers in turn, the test's own: it may break it."""
    with running(request.param) as server:
        yield server


@pytest.fixture(scope="session")
def _s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(_s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """An S3 service, and its credentials where boto3 looks for them. Name buckets after the test: they stay."""
    for name, value in credentials(tmp_path).items():
        monkeypatch.setenv(name, value)
    return _s3
