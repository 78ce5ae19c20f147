"""A real OpenSSH server of the tests' own, on the loopback interface, with keys made for it.

The current user logs in with the generated key; nothing of the machine's own SSH set-up is read or changed.
"""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.servers.waiting import end

_READY_SECONDS = 10.0
_CONFIGURATION = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
PrintLastLog no
"""


@dataclass(frozen=True, slots=True)
class SshServer:
    """A running server: how to reach it, and how to cut its connections."""

    folder: Path
    port: int
    login: str
    pid: int

    def command(self, *remote: str, terminal: bool = False) -> tuple[str, ...]:
        """The ssh command line that runs `remote` (a login shell when empty), in a terminal of its own if asked."""
        options = {
            "UserKnownHostsFile": f"{self.folder}/known_hosts",
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        }
        told = (part for name, value in options.items() for part in ("-o", f"{name}={value}"))
        program = ("ssh", "-F", "none", "-i", f"{self.folder}/user_key", "-p", str(self.port), *told)
        line = (shlex.join(remote),) if remote else ()
        return (*program, *(("-tt",) if terminal else ()), f"{self.login}@127.0.0.1", *line)

    def connections(self) -> tuple[psutil.Process, ...]:
        """The server's processes that hold a connection each, those of privilege separation included."""
        below = psutil.Process(self.pid).children(recursive=True)
        return tuple(process for process in below if _name(process).startswith("sshd"))

    def drop(self) -> None:
        """Cuts every connection at once, without a goodbye, as a network that is gone."""
        end(self.connections())

    def log(self) -> str:
        """What the server has said."""
        return (self.folder / "log").read_text(errors="replace")


@contextmanager
def ssh_server() -> Iterator[SshServer]:
    """A server that answers, for as long as the block lasts."""
    program = shutil.which("sshd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
    if program is None or shutil.which("ssh") is None:
        pytest.fail(
            "sshd or ssh is not installed: run `make test` as root, or install openssh-server and openssh-client"
        )
    if os.geteuid() == 0:
        # sshd's empty folder for privilege separation; on a machine with the service running it is there.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="sshd-"))
    # The key is read as the user who logs in.
    folder.chmod(0o755)  # nothing but a throw-away public key is readable to others
    try:
        for name in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        process, port = _start(program, folder)
        server = SshServer(folder, port, getpass.getuser(), process.pid)
        try:
            yield server
        finally:
            held = server.connections()
            process.terminate()
            process.wait(timeout=10)
            end(held)
    finally:
        shutil.rmtree(folder)


def _start(program: str, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Starts the server on a free port; between finding one and taking it somebody else may have: then on the next."""
    host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    for _ in range(5):
        with socket.socket() as looking:
            looking.bind(("127.0.0.1", 0))
            port: int = looking.getsockname()[1]
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
        configuration = folder / "sshd_config"
        configuration.write_text(_CONFIGURATION.format(port=port, folder=folder))
        argv = [program, "-D", "-f", str(configuration), "-E", str(folder / "log")]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + _READY_SECONDS
        while process.poll() is None:
            if _answers(port):
                return process, port
            if time.monotonic() > deadline:
                process.kill()
                process.wait()
                break
            time.sleep(0.02)
    pytest.fail(f"sshd did not start: {(folder / 'log').read_text(errors='replace')}")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return connection.recv(8).startswith(b"SSH-2.0")
    except OSError:
        return False


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""
