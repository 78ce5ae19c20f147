"""Opens the files that people write, carefully: who could have written them, how large they are, what they hold.

A privileged run takes its orders from the configuration and the incident file. So it reads them only from
places that nobody but root and the invoking user can write.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engines.errors import Problem
from engines.text import drawable, size

LIMIT = 1 << 20  # bytes; a configuration is a few kB, and tomllib keeps many times the file's size in memory
# Characters. tomllib takes minutes for one key of 100,000 dots, and seconds for a whole file of lines this long.
LINE = 4000
_LINKS = 40  # as many symbolic links as the kernel follows in one path


@dataclass(frozen=True, slots=True)
class Written:
    """The content of a file, and the digest of exactly these bytes."""

    name: str
    text: str
    sha256: str


def trusted_users(environ: Mapping[str, str] | None = None) -> frozenset[int]:
    """The user ids whose files a privileged run believes: root, and the user behind sudo."""
    behind_sudo = (os.environ if environ is None else environ).get("SUDO_UID", "")
    known = behind_sudo.isascii() and behind_sudo.isdigit()
    return frozenset({0, int(behind_sudo)}) if known else frozenset({0})


def safe_path(path: Path, trusted: frozenset[int] | None = None) -> tuple[Problem, ...]:
    """Every place on the way to `path` that others could change, symbolic links included.

    `trusted` holds user ids; without it, root and the user behind sudo. What does not exist yet is no problem
    here. POSIX access lists need no look of their own: their mask shows as the group's bits.
    """
    users = trusted_users() if trusted is None else trusted
    problems: dict[Path, Problem] = {}
    here = Path("/")
    ahead = list(reversed(Path(path).absolute().parts))
    links = 0
    while ahead:
        part = ahead.pop()
        if part == "..":
            here = here.parent
            continue
        here = here / part  # "/" starts again at the top
        try:
            facts = here.lstat()
        except FileNotFoundError:
            break
        except (OSError, ValueError) as error:
            problems[here] = Problem(drawable(str(path)), "", f"can't be looked at: {_reason(error)}.")
            break
        problem = _changeable(path, here, facts, users)
        if problem is not None:
            problems[here] = problem
        if stat.S_ISLNK(facts.st_mode):
            links += 1
            if links > _LINKS:
                problems[here] = Problem(drawable(str(path)), "", "is a loop of symbolic links.")
                break
            ahead.extend(reversed(here.readlink().parts))
            here = here.parent
    return tuple(problems.values())


def _changeable(path: Path, here: Path, facts: os.stat_result, users: frozenset[int]) -> Problem | None:
    file, place = drawable(str(path)), drawable(str(here))
    if facts.st_uid not in users:
        return Problem(
            file,
            "",
            f"{place} belongs to user {facts.st_uid}, who could change what a privileged run does.",
            f"Move the file, or: chown root {place}",
        )
    if stat.S_ISLNK(facts.st_mode):
        return None  # a link's own mode means nothing
    shared = facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    # In /tmp nobody can rename or remove what belongs to somebody else; the entry itself is looked at next.
    sticky = stat.S_ISDIR(facts.st_mode) and facts.st_mode & stat.S_ISVTX and facts.st_uid == 0
    if shared and not sticky:
        who = "everybody" if shared & stat.S_IWOTH else f"group {facts.st_gid}"
        return Problem(
            file,
            "",
            f"{place} can be written by {who}; a privileged run refuses that.",
            f"chmod go-w {place}",
        )
    return None


def read_text(path: Path, problems: list[Problem], *, privileged: bool) -> Written | None:
    """The whole file as text, or None and the problems. Takes regular files only, of at most LIMIT bytes."""
    unsafe = safe_path(path) if privileged else ()
    result = unsafe or _read(path, drawable(str(path)))
    if isinstance(result, Written):
        return result
    problems.extend(result)
    return None


def _read(path: Path, name: str) -> Written | tuple[Problem]:
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return (Problem(name, "", "does not exist.", "Check the path."),)
    except (OSError, ValueError) as error:
        return (Problem(name, "", f"can't be opened: {_reason(error)}.", "Check the path and its permissions."),)
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode):
        os.close(handle)
        return (Problem(name, "", "is not a regular file.", "Name the file itself."),)
    with os.fdopen(handle, "rb") as file:
        try:
            content = file.read(LIMIT + 1)
        except OSError as error:
            return (Problem(name, "", f"can't be read: {_reason(error)}.", "Check the disk it is on."),)
    if len(content) > LIMIT:
        large = size(max(facts.st_size, len(content)))
        return (Problem(name, "", f"is {large}; at most {size(LIMIT)} is read.", "Is it the file that was meant?"),)
    try:
        text = content.decode("utf-8-sig")  # editors on Windows put a mark first
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return (Problem(name, "", f"is not UTF-8 (line {line}).", "Save it as UTF-8."),)
    if not text.strip():
        return (Problem(name, "", "is empty.", "Was it cut short? Fetch or write it again."),)
    return Written(name, text, hashlib.sha256(content).hexdigest())


def toml_table(written: Written, problems: list[Problem]) -> dict[str, object] | None:
    """The TOML document, or None and one problem that names line and column."""
    for number, line in enumerate(written.text.split("\n"), start=1):
        if len(line) > LINE:
            message = f"has {len(line)} characters in line {number}; at most {LINE} are read."
            problems.append(Problem(written.name, "", message, "Break it up: a list may span several lines."))
            return None
    try:
        return tomllib.loads(written.text)
    except tomllib.TOMLDecodeError as error:
        reason = drawable(str(error)).rstrip(".")
        twice = "overwrite a value" in reason or "declare" in reason
        hint = "A key or table is given twice." if twice else "Mend the TOML there; strings need quotes."
        problems.append(Problem(written.name, "", f"is not valid TOML: {reason}.", hint))
    except RecursionError:
        problems.append(Problem(written.name, "", "nests too deeply.", "No table of ours is that deep."))
    except ValueError as error:  # whatever else Python can't convert
        problems.append(Problem(written.name, "", f"is not valid TOML: {drawable(str(error))}.", "Shorten that value."))
    return None


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
