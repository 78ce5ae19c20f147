"""Runs the application's commands on the machines that it is on, by ssh, and reads files of theirs.

Nothing is asked at a prompt, a host whose key is not known is refused, and each word reaches the program as it stands
in the configuration. What could not be done there at all (no line, no folder, no leave of sudo's) ends in 255, as ssh's
own failures do, so that it is never taken for the answer of the command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engines import checks
from engines.checks import Check
from engines.errors import RestoreError
from engines.process import Command, Ended, captured
from engines.surroundings import Host
from engines.text import drawable

Ask = Callable[[Command], tuple[Ended, bytes]]

NOT_THERE = 255  # ssh(1): "exits with the exit status of the remote command or with 255 if an error occurred"
_MARK = b"reinstate: here it begins\n"  # a login shell's own greetings come before it
_GRACE = 20.0  # seconds for a short question, beside the time for connecting
_HINTS = {
    "Host key verification failed": "Put its key into known_hosts, once its administrator has confirmed it.",
    "Permission denied": "Put the public key into that account's authorized_keys there, or correct `identity`.",
    "Could not resolve hostname": "Correct `address`, or ask the name service.",
    "Connection refused": "Is its SSH server up, and `port` right?",
    "timed out": "Is the machine up, and does the network let this machine through?",
    "No route to host": "Is the machine up, and does the network let this machine through?",
}


@dataclass(frozen=True, slots=True)
class Possible:
    """What a host has of what was looked for, in the order of the questions."""

    programs: tuple[bool, ...]
    leave: tuple[bool, ...]  # does sudo let the login run it as the application's user?
    files: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a file on a host."""

    content: bytes
    size: int  # bytes, of the whole file
    written: datetime


def on_host(
    host: Host, argv: tuple[str, ...], *, folder: Path | None = None, user: str | None = None, timeout: float = 60.0
) -> Command:
    """`argv` on that host, in its `folder`, as its `user` by `sudo -n` where that is not the login itself."""
    word = shlex.join(argv)
    who = f"sudo -n -u {shlex.quote(user)} -- " if user is not None and user != host.login else ""
    # sudo, asked whether it would: its own no must not look like the command's, which may be 1 too.
    may = f"sudo -n -l -u {shlex.quote(user or '')} -- {word} >/dev/null || exit {NOT_THERE}; " if who else ""
    where = f"cd {shlex.quote(str(folder))} && " if folder else ""
    return script_on(host, f"{_inside(folder)}{may}exec {who}{word}", f"{where}{who}{word}", timeout)


def script_on(host: Host, script: str, told: str, timeout: float) -> Command:
    """A few words of sh on that host; `told` is what is shown of them."""
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(max(1, round(host.connect_timeout.total_seconds()))),
        "StrictHostKeyChecking": "yes",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "4",
        "ControlMaster": "no",
        "ControlPath": "none",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "PermitLocalCommand": "no",
        "RequestTTY": "no",
        "LogLevel": "ERROR",
    }
    if host.identity is not None:
        options["IdentitiesOnly"] = "yes"
    if host.known_hosts is not None:
        # A path with a blank is one file only in quotes: ssh_config(5).
        options |= {"UserKnownHostsFile": f'"{host.known_hosts}"', "GlobalKnownHostsFile": "/dev/null"}
    argv = ["ssh", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]
    if host.identity is not None:
        argv += ["-i", str(host.identity)]
    argv += ["-p", str(host.port), "--", host.address, shlex.join(("sh", "-c", script))]
    port = "" if host.port == 22 else f"-p {host.port} "
    return Command(tuple(argv), timeout=timeout, host=host.name, told=f"ssh {port}{host.address} {shlex.quote(told)}")


def reachable(host: Host, ask: Ask = captured) -> Check:
    """Can it be logged in to, without anybody at a keyboard?"""
    name = f"host {host.name}"
    ended, output = _asked(host, "exit 0", ask)
    if ended is not None and ended.ok:
        return checks.ok(name, f"answers in {ended.seconds:.1f} s")
    why = _last(output) or (ended.reason if ended is not None else "")
    hint = next((hint for said, hint in _HINTS.items() if said in why), "Log in by hand: ssh -v says where it fails.")
    return checks.fail(name, f"can't be reached: {why}", hint)


def can_run(
    host: Host, wanted: Sequence[tuple[str, ...]], files: Sequence[Path], folder: Path, user: str | None, ask: Ask
) -> Possible | None:
    """Looks for programs and files in the application's folder, running nothing of them; None: it can't be asked."""
    lines = ["printf '%s\\n' " + shlex.quote(_MARK.decode().strip())]
    for n, argv in enumerate(wanted):
        lines.append(f"command -v -- {shlex.quote(argv[0])} >/dev/null && echo program {n}")
        if user is not None and user != host.login:
            leave = f"sudo -n -l -u {shlex.quote(user)} -- {shlex.join(argv)} >/dev/null 2>&1"
            lines.append(f"{leave} && echo leave {n}")
        else:
            lines.append(f"echo leave {n}")
    lines += [f"test -e {shlex.quote(str(path))} && echo file {n}" for n, path in enumerate(files)]
    ended, output = _asked(host, f"{_inside(folder)}{'; '.join(lines)}; true", ask)
    if ended is None or not ended.ok:
        return None
    said = set(output.partition(_MARK)[2].decode(errors="replace").split("\n"))
    return Possible(
        programs=tuple(f"program {n}" in said for n in range(len(wanted))),
        leave=tuple(f"leave {n}" in said for n in range(len(wanted))),
        files=tuple(f"file {n}" in said for n in range(len(files))),
    )


def read_file(host: Host, path: Path, user: str | None, most: int, ask: Ask = captured) -> bytes:
    """The whole file, at most `most` bytes of it and one more. Raises RestoreError."""
    who = f"sudo -n -u {shlex.quote(user)} -- " if user is not None and user != host.login else ""
    file = shlex.quote(str(path))
    script = f"printf %s {shlex.quote(_MARK.decode())}; exec {who}head -c {most + 1} -- {file} 2>/dev/null"
    ended, output = _asked(host, script, ask)
    if ended is None or not ended.ok or _MARK not in output:
        why = "it can't be reached" if ended is None or ended.exit == NOT_THERE else f"head {ended.reason}"
        raise RestoreError(
            f"{drawable(str(path))} on {host.name} can't be read: {why}. Nothing was changed.",
            f"Is it there, and may {user or 'the login'} read it? Try: ssh {host.address} {who}head {path}",
        )
    return output.partition(_MARK)[2]


def tail(host: Host, path: Path, user: str | None, most: int, ask: Ask = captured) -> Tail | None:
    """The last `most` bytes of a file and when it was written; None where it is not there. Raises RestoreError."""
    who = f"sudo -n -u {shlex.quote(user)} -- " if user is not None and user != host.login else ""
    file = shlex.quote(str(path))
    script = (
        f"{who}test -e {file} || exit 3; printf %s {shlex.quote(_MARK.decode())}; "
        f"{who}stat -L -c '%Y %s' -- {file} && exec {who}tail -c {most} -- {file}"
    )
    ended, output = _asked(host, script, ask)
    facts, newline, content = output.partition(_MARK)[2].partition(b"\n")
    written, _, length = facts.partition(b" ")
    if ended is not None and ended.exit == 3:
        return None
    if ended is None or not ended.ok or not newline or not (written.isdigit() and length.isdigit()):
        raise RestoreError(
            f"{drawable(str(path))} on {host.name} can't be read: {_last(output) or 'no answer'}.",
            f"May {user or 'the login'} read it there? Try: ssh {host.address} {who}tail {path}",
        )
    return Tail(content, int(length), datetime.fromtimestamp(int(written), UTC))


def file_name(host: Host) -> str:
    """The host, as a file's name here."""
    return re.sub(r"[^A-Za-z0-9.@-]", "_", host.name)


def failed_told(command: Command, ended: Ended) -> str:
    """How a command on a host ended that did not succeed, with the host's name first."""
    if ended.exit == NOT_THERE:
        return f"{command.host}: it can't be reached, or nothing can be begun there ({ended.reason})"
    left = "; what it began there may still run" if ended.timed_out or ended.stopped else ""
    return f"{command.host}: {ended.reason}{left}"


def _asked(host: Host, script: str, ask: Ask) -> tuple[Ended | None, bytes]:
    seconds = host.connect_timeout.total_seconds() + _GRACE
    try:
        return ask(script_on(host, script, script, seconds))
    except RestoreError as error:
        return None, error.message.encode()


def _inside(folder: Path | None) -> str:
    return f"cd {shlex.quote(str(folder))} || exit {NOT_THERE}; " if folder else ""


def _last(output: bytes) -> str:
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    return drawable(" / ".join(lines[-2:]))[:240]
