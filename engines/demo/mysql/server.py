"""A throwaway server for the demo: everything of it is in one folder, and nobody but us can log in.

It listens on the loopback interface and on a socket in its own data directory, with a password that is in files of
mode 0600 alone. Where the demo was killed, the next one ends what it left; a system's own server is never touched: a
server is ours by what its environment says.

    python -P -m engines.demo.mysql.server start FOLDER     starts it again on its data; `stop` ends it
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engines.children import Child, alive, end, identified
from engines.demo.mysql.programs import Programs, programs
from engines.errors import RestoreError
from engines.hooks import Say, silent
from engines.mysql.connect import Login, Place, Tls, connected, read_login, write_option_file
from engines.mysql.flavour import Flavour
from engines.text import drawable

# In its environment: its folder, and the process that it is for; none when it was started by hand.
MARK, OWNER = "REINSTATE_DEMO", "REINSTATE_DEMO_OWNER"
SCHEMA = "shop"
ROOT = "root.cnf"  # root's login, for whoever wants to look; the restore has its own
_HOST = "127.0.0.1"
_READY = 90.0  # seconds; a first start on a slow disk
_INITIALISE = 300.0
_OPEN = (("root", _HOST), ("root", "::1"), ("", "localhost"))
_GRACE = 30.0  # seconds between asking it to shut down and ending it
_TRIES = 3  # the port that was free a moment ago may be taken

_SETTINGS = (
    f"--bind-address={_HOST}",
    "--log-bin=binlog",
    "--binlog-format=ROW",
    "--skip-name-resolve",
    "--max-connections=60",
    "--innodb-buffer-pool-size=64M",
    # Nothing here is worth an fsync for each commit.
    "--innodb-flush-log-at-trx-commit=2",
    "--sync-binlog=0",
)
_OWN_SETTINGS = {
    Flavour.MYSQL: (
        "--innodb-redo-log-capacity=64M",
        "--mysqlx=OFF",
        "--secure-file-priv=NULL",
        "--gtid-mode=ON",
        "--enforce-gtid-consistency=ON",
        "--binlog-rows-query-log-events=ON",  # so that the explorer shows statements; MariaDB does it by itself
    ),
    Flavour.MARIADB: ("--innodb-log-file-size=48M", "--plugin-load-add=metadata_lock_info"),
}
# What docs/privileges.md gives to the account of a restore, in place and staged.
_GRANTS = {
    Flavour.MYSQL: (
        "PROCESS, RELOAD, REPLICATION CLIENT, REPLICATION SLAVE ON *.*",
        "SHOW_ROUTINE, SET_ANY_DEFINER, ALLOW_NONEXISTENT_DEFINER ON *.*",
        "CREATE USER, CONNECTION_ADMIN ON *.*",
        "SELECT ON `performance_schema`.*",
        "SELECT ON `mysql`.`user`",
        "SELECT ON `mysql`.`global_grants`",
    ),
    Flavour.MARIADB: (
        "PROCESS, RELOAD, BINLOG MONITOR, SLAVE MONITOR, REPLICATION SLAVE, SET USER ON *.*",
        "SELECT ON `performance_schema`.*",
        "SELECT ON `mysql`.`user`",
        "SELECT ON `mysql`.`proc`",
    ),
}
_HANDED_ON = {
    Flavour.MYSQL: "REPLICATION_APPLIER, SESSION_VARIABLES_ADMIN ON *.*",
    Flavour.MARIADB: "CREATE USER, CONNECTION ADMIN, BINLOG ADMIN, BINLOG REPLAY ON *.*",
}


@dataclass(frozen=True, slots=True)
class Server:
    """The server of one sandbox. Its folder is in the sandbox's own."""

    folder: Path
    programs: Programs

    @property
    def datadir(self) -> Path:
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        return self.datadir / "mysql.sock"

    @property
    def scratch(self) -> Path:
        """For its temporary files."""
        return self.folder / "temporary"

    @property
    def log(self) -> Path:
        return self.folder / "error.log"

    @property
    def root(self) -> Path:
        """Root's option file."""
        return self.folder / ROOT

    @property
    def place(self) -> Place:
        return Place(_HOST, int((self.folder / "port").read_text()))


def make(folder: Path, found: Programs, logins: dict[str, Path], say: Say = silent) -> Server:
    """A new server in `folder`, running, with the schema and an account for each of `logins` (user -> option file).

    Raises RestoreError; nothing of it runs then.
    """
    server = Server(folder, found)
    for place in (folder, server.scratch):
        place.mkdir(mode=0o700)
    say(f"initialising {drawable(found.server)}")
    _initialise(server)
    first = folder / "first.sql"
    passwords = {user: secrets.token_urlsafe(24) for user in ("root", *logins)}
    _write(first, "".join(f"{statement};\n" for statement in _accounts(found.flavour, passwords)))
    try:
        start(server, (f"--init-file={first}",), (server.root, passwords["root"]))
    finally:
        first.unlink()
    for user, path in logins.items():
        login = Login(user, passwords[user], Tls.PREFERRED)
        write_option_file(path, server.place, login, mariadb=found.flavour is Flavour.MARIADB)
    return server


def _initialise(server: Server) -> None:
    found = server.programs
    if found.installer:
        more: tuple[str, ...] = ("--auth-root-authentication-method=normal", "--skip-test-db")
        argv = (found.installer, "--no-defaults", f"--datadir={server.datadir}", *_as_root(), *more)
    else:
        argv = (found.server, "--no-defaults", "--initialize-insecure", f"--datadir={server.datadir}", *_as_root())
    own = [option for option in _OWN_SETTINGS[found.flavour] if option.startswith("--innodb")]
    with server.log.open("ab") as log:
        done = subprocess.run(
            (*argv, *own, f"--tmpdir={server.scratch}"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=_INITIALISE,
            check=False,
            env=_environment(server.folder),
        )
    if done.returncode:
        raise _failed(server, "could not be initialised")


def _as_root() -> tuple[str, ...]:
    """A server that root starts has to be told to stay root's. Its folder is closed to everybody else."""
    return ("--user=root",) if os.geteuid() == 0 else ()


def _accounts(flavour: Flavour, passwords: dict[str, str]) -> Iterator[str]:
    """What makes the server ours. The passwords are of letters that need no quoting."""
    yield f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{passwords['root']}'"
    # MariaDB makes these, without a password.
    yield "DROP USER IF EXISTS " + ", ".join(f"'{user}'@'{host}'" for user, host in _OPEN)
    yield f"CREATE USER 'root'@'{_HOST}' IDENTIFIED BY '{passwords['root']}'"
    yield f"GRANT ALL PRIVILEGES ON *.* TO 'root'@'{_HOST}' WITH GRANT OPTION"
    yield f"CREATE DATABASE {SCHEMA} DEFAULT CHARACTER SET utf8mb4"
    for user, password in passwords.items():
        if user == "root":
            continue
        account = f"'{user}'@'{_HOST}'"
        yield f"CREATE USER {account} IDENTIFIED BY '{password}'"
        yield f"GRANT ALL PRIVILEGES ON `{SCHEMA}`.* TO {account}"
        if user == SCHEMA:
            continue
        yield f"GRANT ALL PRIVILEGES ON `{SCHEMA}\\_r%`.* TO {account} WITH GRANT OPTION"
        yield f"GRANT {_HANDED_ON[flavour]} TO {account} WITH GRANT OPTION"
        for grant in _GRANTS[flavour]:
            yield f"GRANT {grant} TO {account}"


def start(
    server: Server, options: Sequence[str] = (), root: tuple[Path, str] | None = None, *, by_hand: bool = False
) -> Child:
    """Start it and wait until it answers. `root`: the option file to write, and the password, at the first start.

    `by_hand`: it outlives this process, and no other demo ends it.

    Started again it has the same port, since that is in everybody's papers. Raises RestoreError, and nothing of it
    runs then.
    """
    running_now = running(server.folder)
    if running_now is not None:
        return running_now
    for _attempt in range(_TRIES if root else 1):
        if root:
            _write(server.folder / "port", f"{_free_port()}\n")
            login = Login("root", root[1], Tls.PREFERRED)
            write_option_file(root[0], server.place, login, mariadb=server.programs.flavour is Flavour.MARIADB)
        process, child = _spawn(server, server.place.port, options, by_hand=by_hand)
        try:
            if _answers(server, process, root[1] if root else read_login(server.root).password):
                return child
        except BaseException:
            end(child, _GRACE)
            raise
        if not _port_was_taken(server):
            break
    raise _failed(server, "did not start")


def _spawn(
    server: Server, port: int, options: Sequence[str], *, by_hand: bool
) -> tuple[subprocess.Popen[bytes], Child]:
    argv = (
        server.programs.server,
        "--no-defaults",
        f"--datadir={server.datadir}",
        *_as_root(),
        *_SETTINGS,
        *_OWN_SETTINGS[server.programs.flavour],
        f"--socket={server.socket.name}",  # in the data directory, where it stands: a socket's path is short
        f"--port={port}",
        f"--server-id={port}",
        f"--pid-file={server.folder}/server.pid",
        f"--tmpdir={server.scratch}",
        *options,
    )
    with server.log.open("ab") as log:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=server.folder,
            env=_environment(server.folder, by_hand=by_hand),
            start_new_session=True,  # Ctrl-C is for the console
        )
    child = identified(process.pid)
    _write(server.folder / "process", f"{child.pid} {child.started}\n")
    return process, child


def _environment(folder: Path, *, by_hand: bool = False) -> dict[str, str]:
    me = identified(os.getpid())
    owner = "" if by_hand else f"{me.pid} {me.started}"
    return {"PATH": os.environ.get("PATH", os.defpath), MARK: str(folder), OWNER: owner}


def _answers(server: Server, process: subprocess.Popen[bytes], password: str) -> bool:
    """Wait for it. False: it has ended."""
    login = Login("root", password, Tls.PREFERRED)
    until = time.monotonic() + _READY
    while time.monotonic() < until:
        if process.poll() is not None:
            return False
        with socket.socket() as probe:
            if probe.connect_ex((_HOST, server.place.port)) == 0:
                with suppress(RestoreError), connected(server.place, login):
                    process.returncode = 0  # it lives on without us; keep Popen from complaining about that
                    return True
        time.sleep(0.05)
    raise _failed(server, f"did not answer within {_READY:.0f} seconds")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _port_was_taken(server: Server) -> bool:
    return "in use" in server.log.read_text(errors="replace")[-4000:]


def _failed(server: Server, what: str) -> RestoreError:
    told = server.log.read_text(errors="replace").strip().splitlines()[-3:] if server.log.exists() else []
    said = drawable(" ".join(told))[-600:]
    return RestoreError(
        f"The demo's server {what}: {said}",
        f"Its log is {drawable(str(server.log))}. Where AppArmor keeps mysqld out of this folder, "
        "try --engine mariadb, or --engine sqlite.",
    )


def _write(path: Path, text: str) -> None:
    """A file that only we can read, made with that mode."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


# -- its end --------------------------------------------------------------------------------------------------


def running(folder: Path) -> Child | None:
    """The server of this folder, None when it does not run."""
    try:
        pid, started = map(int, (folder / "process").read_text().split())
    except (OSError, ValueError):
        return None
    child = Child(pid, started)
    return child if alive(child) else None


def stop(folder: Path) -> None:
    """Shut it down, and wait until it is gone. Its data stays."""
    child = running(folder)
    if child is not None:
        end(child, _GRACE)
    (folder / "data/mysql.sock").unlink(missing_ok=True)
    (folder / "data/mysql.sock.lock").unlink(missing_ok=True)


def left_over() -> Iterator[tuple[Path, Child]]:
    """Servers of demos that were killed: the folder of each, and the process."""
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            if process.stat().st_uid != os.geteuid():
                continue
            child = identified(int(process.name))
            told = dict(line.partition("=")[::2] for line in (process / "environ").read_text().split("\0"))
        except (OSError, ValueError):
            continue  # it has ended, or does not show us
        if MARK in told and _is_over(told.get(OWNER, ""), Path(told[MARK])):
            yield Path(told[MARK]), child


def _is_over(owner: str, folder: Path) -> bool:
    """Has its owner ended, or where it has none, has somebody removed its folder?"""
    if not owner:
        return not folder.exists()
    try:
        pid, started = map(int, owner.split())
        return identified(pid) != Child(pid, started)
    except OSError:
        return True
    except ValueError:
        return False


def sweep(before: Callable[[Path], object]) -> tuple[Path, ...]:
    """End the servers that killed demos left; `before` is given the folder of each one first. Returns the folders."""
    found = list(left_over())
    for folder, child in found:
        if folder.is_dir():
            before(folder)
        end(child, _GRACE)
        if folder.is_dir():
            stop(folder)
    return tuple(folder for folder, _child in found)


# -- by hand, for a session that was left waiting ----------------------------------------------------------------


def main(arguments: list[str]) -> int:
    match arguments:
        case ["start", folder]:
            place = Path(folder).absolute()
            mariadb = (place / "data/aria_log_control").exists()
            start(Server(place, programs(Flavour.MARIADB if mariadb else Flavour.MYSQL)), by_hand=True)
        case ["stop", folder]:
            stop(Path(folder).absolute())
        case _:
            sys.stdout.write("start FOLDER, or stop FOLDER\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
