"""Secrets that sing: values to be found nowhere, and eyes on every process and every file while a session runs."""

from __future__ import annotations

import base64
import os
import secrets
import shlex
import shutil
import stat
import tarfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_LOOK = 0.02  # seconds between two looks at /proc


@dataclass(frozen=True, slots=True)
class Canary:
    """One secret. Its middle survives every escaping, so that a search for it can't be fooled by a quoted sign."""

    name: str
    middle: str = field(default_factory=lambda: secrets.token_hex(10))

    @property
    def value(self) -> str:
        return f"p/{self.middle}+&=@ #"

    @property
    def plain(self) -> str:
        """For where those signs would end something, as in an address."""
        return f"p{self.middle}"

    @property
    def forms(self) -> tuple[bytes, ...]:
        """As it is, in hexadecimal, and in base64 wherever in a triple of bytes it begins."""
        middle = self.middle.encode()
        packed = [base64.b64encode(b"\0" * shift + middle)[4:24] for shift in range(3)]
        wide = [self.middle.encode("utf-16-le"), middle[::-1]]
        return (middle, middle.hex().encode(), middle.hex().upper().encode(), *packed, *wide)


class Canaries:
    """All of a session's secrets, each by its name."""

    def __init__(self, *names: str) -> None:
        self._by_name = {name: Canary(name) for name in names}

    def __getitem__(self, name: str) -> Canary:
        return self._by_name[name]

    def in_text(self, content: bytes | str, *, but: Iterable[str] = ()) -> set[str]:
        """The names of those that are found in it."""
        searched = content.encode(errors="surrogateescape") if isinstance(content, str) else content
        wanted = [one for name, one in self._by_name.items() if name not in set(but)]
        return {one.name for one in wanted if any(form in searched for form in one.forms)}

    def in_files(self, folder: Path, *, but: Iterable[str] = (), skip: Iterable[str] = ()) -> set[str]:
        """`secret in file` for each that is found below a folder, in names and contents, packed ones unpacked."""
        found = set()
        for path in _below(folder):
            inside = str(path.relative_to(folder))
            if any(part in skip for part in path.relative_to(folder).parts):
                continue
            found |= {f"{one} in the name of {inside}" for one in self.in_text(inside, but=but)}
            try:
                content = path.read_bytes() if path.is_file() else b""
            except OSError:  # it was there a moment ago
                continue
            found |= {f"{one} in {inside}" for one in self.in_text(content, but=but)}
        return found

    def in_archive(self, path: Path) -> set[str]:
        found = set()
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                content = file.read() if file else b""
                found |= {f"{one} in {member.name} of the export" for one in self.in_text(content)}
        return found


@dataclass
class Watch:
    """What was seen of a session's processes and private files."""

    canaries: Canaries
    roots: set[int]  # the runner and whatever else belongs to the session
    allowed: Mapping[int, frozenset[str]]  # secrets that such a process was given in its environment, by its parent
    state: Path
    kept: frozenset[str]  # secrets of the database itself: staged dumps and snapshots hold them
    waiting: Path  # where programs wait to be looked at, see recorders()
    found: set[str] = field(default_factory=set)
    private: dict[str, str] = field(default_factory=dict)  # name and mode of each private file that holds a secret
    looks: int = 0
    looked_at: set[int] = field(default_factory=set)  # the children, told when it is over

    def look(self) -> None:
        self.looks += 1
        for pid in self._family():
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
                environment = Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:
                continue
            shown = line.replace(b"\0", b" ").decode(errors="replace")
            self.found |= {f"{one} in the arguments of {shown}" for one in self.canaries.in_text(line)}
            but = self.allowed.get(pid, frozenset())
            # Between fork and exec a child is still a copy of its parent, environment and command line as well.
            if pid in self.roots or shown not in {self._line(root) for root in self.roots}:
                told = self.canaries.in_text(environment, but=but)
                self.found |= {f"{one} in the environment of {shown}" for one in told}
            if pid not in self.roots:
                (self.waiting / str(pid)).touch()

    def look_at_files(self) -> None:
        for path in _below(self.state):
            try:
                mode = stat.S_IMODE(path.lstat().st_mode)
                found = self.canaries.in_text(path.read_bytes(), but=self.kept) if path.is_file() else set()
            except OSError:
                continue
            inside = path.relative_to(self.state)
            if not found:
                continue
            if "private" not in inside.parts or mode != 0o600:
                self.found |= {f"{one} in {inside}, mode {mode:o}" for one in found}
            self.private[path.name] = f"{mode:o}"

    def _line(self, pid: int) -> str:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""

    def _family(self) -> set[int]:
        family, new = set(self.roots), list(self.roots)
        while new:
            pid = new.pop()
            for thread in _entries(Path(f"/proc/{pid}/task")):
                try:
                    more = {int(one) for one in (thread / "children").read_text().split()} - family
                except OSError:
                    continue
                family |= more
                new += more
        return family


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # the process has ended
        return []


def _below(folder: Path) -> Iterator[Path]:
    """Everything below a folder in which things come and go: Path.rglob fails where a folder goes while it looks."""
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))


@contextmanager
def watching(watch: Watch) -> Iterator[Watch]:
    """Look again and again until the block ends."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            watch.look()
            if watch.looks % 15 == 0:
                watch.look_at_files()

    watch.waiting.mkdir()
    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
        watch.looked_at = {int(path.name) for path in watch.waiting.iterdir()}
        shutil.rmtree(watch.waiting)


# It goes on once the watch has looked at it, so that no child is too short-lived to be seen. One that is no child of
# the session's would wait for ever: it goes on too.
_RECORDS = """#!/bin/sh
{{ cat /proc/$$/cmdline; echo; cat /proc/$$/environ; echo; }} >> {seen}.$$
left=500
while [ -d {waiting} ] && [ ! -e {waiting}/$$ ] && [ $left -gt 0 ]; do sleep 0.01; left=$((left - 1)); done
exec {program} "$@"
"""


def recorders(folder: Path, programs: Mapping[str, str]) -> Path:
    """A folder to put first in PATH: each program writes down its arguments and environment, then is the real one.

    While somebody is watching, it waits to be looked at before that: for a file in `waiting` with its process's number.
    """
    made, seen, waiting = folder / "recorders", folder / "recorded", folder / "waiting"
    made.mkdir()
    seen.mkdir()
    for name, program in programs.items():
        path = made / name
        quoted = {"seen": seen / name, "waiting": waiting, "program": program}
        path.write_text(_RECORDS.format(**{word: shlex.quote(str(what)) for word, what in quoted.items()}))
        path.chmod(0o755)
    return made


def recorded(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "recorded").iterdir()}
