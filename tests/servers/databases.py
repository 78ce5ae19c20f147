"""Real MariaDB and MySQL servers of the tests' own, on the loopback interface, each with a folder of its own.

`FLAVOURS` is the one list of what is tested: another version is another line. A server that is not there is a
failure that says what to run, never a skip.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from engines.mysql.connect import Login, Place, write_option_file
from engines.mysql.flavour import Flavour
from tests.servers.waiting import until

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".servers"  # made by scripts/mysql-server; not in the repository
PASSWORD = "r0ot'\"#\\;pass word"  # noqa: S105 - of throwaway servers; hostile to option files on purpose
_START_SECONDS = 60.0
_SYSTEM = {"mysql", "sys", "information_schema", "performance_schema"}


@dataclass(frozen=True, slots=True)
class Build:
    """One version of one server: where its programs are, and what it wants to be told."""

    name: str
    flavour: Flavour
    expected: str  # how its version begins
    folders: tuple[str, ...]  # where its programs are looked for
    programs: dict[str, str]  # what the tests call a program -> its name there
    options: tuple[str, ...] = ()

    def program(self, name: str) -> str:
        wanted = self.programs.get(name, name)
        for folder in self.folders:
            path = Path(folder) / wanted
            if path.exists():
                return str(path)
        pytest.fail(
            f"{wanted} of {self.name} is not there. Run scripts/system-packages tests and scripts/mysql-server.",
            pytrace=False,
        )


_BOTH = (
    "--bind-address=127.0.0.1",
    "--innodb-buffer-pool-size=64M",
    "--performance-schema=ON",
    "--log-bin=binlog",
    "--binlog-format=ROW",
    "--max-connections=60",
    "--innodb-flush-method=fsync",
)
_MARIADB = {
    "mysqld": "mariadbd",
    "mysql": "mariadb",
    "mysqldump": "mariadb-dump",
    "mysqlbinlog": "mariadb-binlog",
    "mysqladmin": "mariadb-admin",
    "mysqlcheck": "mariadb-check",
}
FLAVOURS = (
    Build(
        "mariadb-10.11", Flavour.MARIADB, "10.11.", ("/usr/sbin", "/usr/bin"), _MARIADB, ("--innodb-log-file-size=48M",)
    ),
    Build(
        "mysql-9.7",
        Flavour.MYSQL,
        "9.7.",
        (str(HOME / "mysql" / "bin"),),
        {},
        ("--innodb-redo-log-capacity=64M", "--mysqlx=OFF", "--secure-file-priv=NULL"),
    ),
)


@dataclass(slots=True)
class Server:
    """A server that is running, or was. `folder` is its own and goes with it."""

    build: Build
    folder: Path
    port: int
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict)  # what it is told besides

    @property
    def flavour(self) -> Flavour:
        return self.build.flavour

    @property
    def socket(self) -> Path:
        return self.folder / "s"

    @property
    def datadir(self) -> Path:
        return self.folder / "data"

    @property
    def place(self) -> Place:
        return Place("127.0.0.1", self.port)

    @property
    def login(self) -> Login:
        return Login("root", PASSWORD)

    @property
    def option_file(self) -> Path:
        """What client programs get by --defaults-file: the socket and root's password."""
        path = self.folder / "client.cnf"
        if not path.exists():
            write_option_file(path, Place(socket=self.socket), self.login, mariadb=self.flavour is Flavour.MARIADB)
        return path

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def client(self, name: str) -> tuple[str, ...]:
        """The argument list that runs a client program (`mysql`, `mysqldump`, `mysqlbinlog` …) as root."""
        return (self.build.program(name), f"--defaults-file={self.option_file}")

    def sql(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run statements as root, and return the last one's rows."""
        rows: list[tuple[Any, ...]] = []
        connection = self.connection(database)
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                    rows = list(cursor.fetchall())
        finally:
            connection.close()
        return rows

    def connection(self, database: str | None = None) -> Connection[Cursor]:
        return pymysql.connect(
            unix_socket=str(self.socket),
            user="root",
            password=PASSWORD,
            database=database,
            autocommit=True,
            charset="utf8mb4",
            connect_timeout=10,
            ssl_disabled=True,  # it is a socket, and a context costs 25 ms each time
        )

    def script(self, text: str | bytes, database: str | None = None, *arguments: str) -> None:
        """Run a script through the server's own client program, as an operator would."""
        argv = (*self.client("mysql"), *arguments, *((database,) if database else ()))
        given = text.encode() if isinstance(text, str) else text
        ended = subprocess.run(argv, input=given, capture_output=True, check=False, timeout=300)
        assert ended.returncode == 0, ended.stderr.decode(errors="replace")

    def dump(self, *arguments: str) -> bytes:
        """What mysqldump writes."""
        ended = subprocess.run((*self.client("mysqldump"), *arguments), capture_output=True, check=False, timeout=300)
        assert ended.returncode == 0, ended.stderr.decode(errors="replace")
        return ended.stdout

    def new_schema(self, prefix: str = "t") -> str:
        """A fresh schema with a name of its own. The fixture drops it after the test."""
        name = f"{prefix}_{secrets.token_hex(4)}"
        self.sql(f"CREATE DATABASE `{name}`")
        return name

    def log(self) -> str:
        """What the server has said."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self, *options: str) -> None:
        """Start it on its data, with the options that it began with unless others are given."""
        self.begin(*options)
        until(self.answers, f"{self.build.name} answers", _START_SECONDS)

    def begin(self, *options: str) -> None:
        """As `start`, without waiting until it answers."""
        assert self.process is None, "it is running"
        self.options = options or self.options
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                (
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    *_command(self.build, self.datadir),
                    *_BOTH,
                    *self.build.options,
                    f"--socket={self.socket}",
                    f"--port={self.port}",
                    f"--server-id={self.port}",
                    f"--pid-file={self.folder}/pid",
                    f"--tmpdir={self.folder}",  # MariaDB removes others' temporary tables from it when it starts
                    *self.options,
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )

    def answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            pytest.fail(f"{self.build.name} ended while it was starting:\n{self.log()[-3000:]}", pytrace=False)
        with socket.socket(socket.AF_UNIX) as probe:  # PyMySQL leaves its own open when it is refused
            if probe.connect_ex(str(self.socket)) != 0:
                return False
        try:
            self.connection().close()
        except pymysql.err.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut does, as far as the process goes."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def restart(self, *options: str) -> None:
        self.stop()
        self.start(*options)

    def tidy(self) -> None:
        """What a test left behind: its schemas and accounts, and settings that it turned."""
        for (name,) in self.sql("SELECT schema_name FROM information_schema.schemata"):
            if name not in _SYSTEM:
                self.sql(f"DROP DATABASE `{name.replace('`', '``')}`")
        for user, host in self.sql("SELECT user, host FROM mysql.user WHERE user NOT LIKE 'mysql.%'"):
            if user not in ("root", "mariadb.sys"):
                self.sql(f"DROP USER '{user}'@'{host}'")


def _command(build: Build, datadir: Path) -> tuple[str, ...]:
    # Root has to say that it means it. The data is thrown away, and nobody else can reach the port's password.
    as_root = ("--user=root",) if os.geteuid() == 0 else ()
    return (build.program("mysqld"), "--no-defaults", f"--datadir={datadir}", *as_root)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def template(build: Build) -> Path:
    """An initialised data directory, made once for this version and copied for each server."""
    version = subprocess.run(
        (build.program("mysqld"), "--no-defaults", "--version"), capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"\bVer (\d[\d.]*)", version)  # it begins with the program's path, which may have numbers too
    told = found[1] if found else ""
    assert told.startswith(build.expected), f"{build.name} is wanted, and this is there: {version}"
    HOME.mkdir(exist_ok=True)
    made = HOME / f"data-{build.name}-{told}"
    with (HOME / f".{build.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if made.exists():
            return made
        new = Path(tempfile.mkdtemp(prefix="new-", dir=HOME))
        _initialise(build, new)
        new.rename(made)
    return made


def _initialise(build: Build, datadir: Path) -> None:
    if build.flavour is Flavour.MARIADB:
        installer = Path(build.program("mysqld")).parents[1] / "bin" / "mariadb-install-db"
        argv = (
            str(installer),
            "--no-defaults",
            f"--datadir={datadir}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *(("--user=root",) if os.geteuid() == 0 else ()),
            *build.options,
        )
    else:
        argv = (*_command(build, datadir), "--initialize-insecure", *build.options)
    ended = subprocess.run(argv, capture_output=True, check=False, timeout=300)
    assert ended.returncode == 0, (ended.stdout + ended.stderr).decode(errors="replace")[-3000:]
    secret = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
    script = datadir / "first.sql"
    # The server ends itself: nothing but the data directory is needed to make one.
    script.write_text(
        f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{secret}';\n"
        f"CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' IDENTIFIED BY '{secret}';\n"
        "GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n"
        "SHUTDOWN;\n"
    )
    with tempfile.TemporaryDirectory(prefix="rs-") as folder:
        ended = subprocess.run(
            (
                *_command(build, datadir),
                *build.options,
                "--skip-log-bin",
                "--skip-networking",
                f"--init-file={script}",
                f"--socket={folder}/s",
                f"--pid-file={folder}/pid",
            ),
            capture_output=True,
            check=False,
            timeout=300,
        )
    assert ended.returncode == 0, (ended.stdout + ended.stderr).decode(errors="replace")[-3000:]
    script.unlink()


@contextmanager
def made(build: Build, *options: str, place: Path | None = None, data: Path | None = None) -> Iterator[Server]:
    """A server of its own that does not run yet, in a folder in `place`, ended and removed after. `data`: its copy."""
    data = data or template(build)
    folder = Path(tempfile.mkdtemp(prefix="rs-", dir=place))  # short: a socket's path is
    server = Server(build, folder, free_port(), options)
    try:
        subprocess.run(("cp", "-a", "--reflink=auto", str(data), str(server.datadir)), check=True)
        (server.datadir / "auto.cnf").unlink(missing_ok=True)  # a server's UUID is its own
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


@contextmanager
def running(build: Build, *options: str, place: Path | None = None) -> Iterator[Server]:
    """A server of its own, in a folder in `place`, ended and removed after."""
    with made(build, *options, place=place) as server:
        server.start()
        yield server


def build_of(flavour: Flavour, builds: Sequence[Build] = FLAVOURS) -> Build:
    return next(build for build in builds if build.flavour is flavour)
