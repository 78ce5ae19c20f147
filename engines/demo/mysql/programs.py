"""Finds the programs of a server that the demo may start, and refuses where they are not there.

Running them is `server`'s work. What is installed is only used: nothing of the system's own server is touched.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.errors import RestoreError, UsageError
from engines.mysql.flavour import Flavour
from engines.mysql.programs import Tool, find
from engines.process import Command, captured

NAMED = "REINSTATE_MYSQL_BIN"  # in the environment: a folder with MySQL's programs
_CHECKOUT = Path(__file__).parents[3] / ".servers/mysql/bin"  # what scripts/mysql-server makes
_SERVERS = ("/usr/sbin", "/usr/local/sbin")  # where servers are, and often not on the PATH of a user
_INSTALL = {
    Flavour.MYSQL: (
        "Install MySQL 8 or later (Ubuntu: apt install mysql-server; in a checkout: scripts/mysql-server), "
        f"or name the folder of its programs in {NAMED}."
    ),
    Flavour.MARIADB: "Install MariaDB (Debian, Ubuntu: apt install mariadb-server).",
}


@dataclass(frozen=True, slots=True)
class Programs:
    """What the demo starts. `folders` go before PATH, so that a restore finds client programs of the server's kind."""

    flavour: Flavour
    server: str
    installer: str  # MariaDB's mariadb-install-db; empty: the server initialises itself
    dump: str
    folders: tuple[str, ...]


def programs(flavour: Flavour) -> Programs:
    """Raises UsageError that says what is missing, and what to install."""
    own = tuple(_own_folders(flavour))
    server = _server(flavour, own)
    installer = ""
    if server and flavour is Flavour.MARIADB:
        beside = Path(server).parent.parent / "bin"
        installer = shutil.which("mariadb-install-db") or shutil.which("mariadb-install-db", path=str(beside)) or ""
    if not server or (flavour is Flavour.MARIADB and not installer):
        name = "mysqld" if flavour is Flavour.MYSQL else "mariadb-install-db" if server else "mariadbd"
        raise UsageError(
            f"The demo needs {flavour.shown}'s server, and {name} is not there. Nothing was started.",
            f"{_INSTALL[flavour]} Or take another: --engine {_other(flavour)}.",
        )
    return Programs(flavour, server, installer, _dump(flavour, own), tuple(str(one) for one in own if one.is_dir()))


def _own_folders(flavour: Flavour) -> Iterator[Path]:
    """Folders that go before PATH."""
    if flavour is Flavour.MYSQL:
        if named := os.environ.get(NAMED):
            yield Path(named).absolute()
        yield _CHECKOUT


def _server(flavour: Flavour, own: Sequence[Path]) -> str:
    """The server's program; empty: there is none. On many machines mysqld is MariaDB's."""
    names = ("mariadbd", "mysqld") if flavour is Flavour.MARIADB else ("mysqld",)
    for folder in (*map(str, own), os.environ.get("PATH", os.defpath), *_SERVERS):
        for name in names:
            found = shutil.which(name, path=folder)
            if found is not None and _flavour_of(found) is flavour:
                return found
    return ""


def _flavour_of(program: str) -> Flavour | None:
    ended, told = captured(Command((program, "--no-defaults", "--version"), timeout=20.0), limit=64_000)
    if not ended.ok:
        return None
    return Flavour.MARIADB if b"mariadb" in told.lower() else Flavour.MYSQL


def _dump(flavour: Flavour, own: Sequence[Path]) -> str:
    """The session needs all of these; without them it would be refused half-way."""
    try:
        found = {tool: find(tool, flavour, own) for tool in (Tool.DUMP, Tool.CLIENT, Tool.BINLOG)}
    except RestoreError as error:
        raise UsageError(
            f"The demo needs {flavour.shown}'s client programs too. {error.message}", _INSTALL[flavour]
        ) from error
    return found[Tool.DUMP].path


def _other(flavour: Flavour) -> str:
    """Which engine the demo can use on this machine."""
    other = Flavour.MARIADB if flavour is Flavour.MYSQL else Flavour.MYSQL
    return other.value if _server(other, tuple(_own_folders(other))) else "sqlite"
