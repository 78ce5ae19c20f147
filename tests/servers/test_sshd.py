"""The SSH server that the other tests trust: it lets in, it can be cut off, and leaves nothing."""

from __future__ import annotations

import subprocess
from subprocess import PIPE

import psutil

from tests.servers.sshd import SshServer, ssh_server
from tests.servers.tmux import Terminal
from tests.servers.waiting import gone


def test_a_command_runs_on_the_other_side_with_its_arguments_whole(ssh: SshServer) -> None:
    done = subprocess.run(ssh.command("printf", "%s|", "two words", "it's"), capture_output=True, text=True, check=True)
    assert done.stdout == "two words|it's|"


def test_the_exit_status_comes_back(ssh: SshServer) -> None:
    assert subprocess.run(ssh.command("sh", "-c", "exit 3"), check=False).returncode == 3


def test_a_dropped_line_ends_the_client_and_not_what_left_the_session(ssh: SshServer, terminal: Terminal) -> None:
    terminal.start(ssh.command("sh", "-c", "setsid sleep 300 & echo child $!; cat", terminal=True))
    shown = terminal.wait_for(lambda screen: "child " in screen)
    child = psutil.Process(int(shown.split("child ")[1].split()[0]))
    try:
        ssh.drop()
        assert terminal.exit_status() == 255
        assert child.is_running()
    finally:
        child.kill()


def test_nothing_is_left_behind() -> None:
    with ssh_server() as server:
        client = subprocess.Popen(server.command("sh", "-c", "echo ready; cat"), stdin=PIPE, stdout=PIPE)
        assert client.stdin is not None
        assert client.stdout is not None
        with client.stdin, client.stdout:
            assert client.stdout.readline() == b"ready\n"
            processes = (psutil.Process(server.pid), *server.connections())
            assert len(processes) > 1
    assert client.wait(timeout=10) == 0 or client.returncode == 255
    assert all(gone(process) for process in processes)
    assert not server.folder.exists()
