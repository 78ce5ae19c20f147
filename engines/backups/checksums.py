"""Reads checksum listings: which hash a file is said to have, and where that is said.

Knows the forms that sha256sum, md5sum, shasum, `--tag`, BSD md5 and openssl write. What can't be used becomes
a problem with its line number, never a guess. It opens nothing; the catalogue does.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from engines.text import drawable

STRENGTH = ("md5", "sha1", "sha256", "sha512")  # weakest first
WEAK_ALGORITHMS = frozenset({"md5", "sha1"})  # collisions can be made for both, so a match is no proof
SHOWN_DIGITS = 16
# PATH_MAX is 4,096 bytes; each may be escaped to two; a hash and a tag come on top.
LONGEST_LINE = 8_400
MOST_PROBLEMS = 50  # a binary file has millions of bad lines; the first ones tell
MOST_LINES = 200_000  # no folder has so many backups; reading them takes half a second

_BY_LENGTH = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
_BY_TAG = {
    "MD5": "md5",
    "SHA1": "sha1",
    "SHA256": "sha256",
    "SHA2256": "sha256",  # openssl 3 writes SHA2-256
    "SHA512": "sha512",
    "SHA2512": "sha512",
}
# One blank and a name without a flag is what BSD's `md5 -r` writes.
_GNU = re.compile(r"([0-9A-Fa-f]+)[ \t](?:[ *](.+)|([^ *].*))", re.DOTALL)
_BSD = re.compile(r"([A-Za-z0-9/-]+) ?\((.*)\) ?= ?([0-9A-Fa-f]+)[ \t]*", re.DOTALL)
_BARE = re.compile(r"([0-9A-Fa-f]+)[ \t]*")
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_ESCAPED = {"\\": "\\", "n": "\n", "r": "\r"}


@dataclass(frozen=True, slots=True)
class Digest:
    """A hash of a whole file. `where` says who gave it, and is no part of its value."""

    algorithm: str  # md5, sha1, sha256 or sha512
    hex: str  # lower case
    where: str = field(default="", compare=False)  # as in `checksums.txt line 12`

    @property
    def weak(self) -> bool:
        return self.algorithm in WEAK_ALGORITHMS

    def __str__(self) -> str:
        return f"{self.algorithm} {self.hex[:SHOWN_DIGITS]}…"


@dataclass(frozen=True, slots=True)
class Listing:
    """What one listing says. A name is in `entries` or in `rejected`, never in both."""

    entries: Mapping[str, Digest]  # names as the operating system has them (surrogateescape)
    problems: tuple[str, ...]  # each with the file and its line, ready to be shown
    rejected: Mapping[str, str] = field(default_factory=dict)  # name: why what is said of it can't be used


@dataclass(frozen=True, slots=True)
class _Entry:
    line: int
    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class _Problem:
    line: int
    message: str


def shown(name: str) -> str:
    """A file's name as text that any terminal and any UTF-8 file takes; undecodable bytes become U+FFFD."""
    return drawable(os.fsencode(name).decode("utf-8", "replace"))


def stronger(one: Digest, other: Digest) -> Digest:
    """The one that proves more; the first where both prove the same."""
    return max(one, other, key=lambda digest: STRENGTH.index(digest.algorithm))


def parse(content: str | bytes, file: str) -> Listing:
    """What a listing such as checksums.txt says about the files beside it; `file` names it in messages."""
    found: dict[str, dict[str, _Entry]] = {}
    rejected: dict[str, str] = {}
    problems: list[_Problem] = []
    for item in _items(content, file):
        if isinstance(item, _Problem):
            problems.append(item)
            continue
        if unsafe := _unsafe(item.name):
            problems.append(_Problem(item.line, f"{shown(item.name)!r} {unsafe}"))
            continue
        name = _relative(item.name)
        earlier = found.setdefault(name, {}).setdefault(item.digest.algorithm, item)
        if earlier.digest != item.digest:
            reason = f"lines {earlier.line} and {item.line} give different {item.digest.algorithm} hashes"
            rejected.setdefault(name, f"{file} contradicts itself: {reason}")
            problems.append(_Problem(item.line, f"{shown(name)!r}: {reason}"))
    entries = {name: _strongest(items) for name, items in found.items() if name not in rejected}
    return Listing(entries, _told(problems, file), rejected)


def parse_sidecar(content: str | bytes, file: str, name: str) -> Listing:
    """What `NAME.sha256` says about `name`: a lone hash, or a listing whose entry ends in that name.

    Sidecars travel with their file, so the folder that they were written for is of no account.
    """
    found: dict[str, _Entry] = {}
    rejected: dict[str, str] = {}
    problems: list[_Problem] = []
    for item in _items(content, file, alone=name):
        if isinstance(item, _Problem):
            problems.append(item)
        elif item.name.rpartition("/")[2] != name:
            problems.append(_Problem(item.line, f"is about {shown(item.name)!r}, not about {shown(name)!r}"))
        else:
            earlier = found.setdefault(item.digest.algorithm, item)
            if earlier.digest != item.digest:
                reason = f"lines {earlier.line} and {item.line} give different {item.digest.algorithm} hashes"
                rejected[name] = f"{file} contradicts itself: {reason}"
                problems.append(_Problem(item.line, reason))
    entries = {name: _strongest(found)} if found and not rejected else {}
    return Listing(entries, _told(problems, file), rejected)


def _strongest(items: Mapping[str, _Entry]) -> Digest:
    return items[max(items, key=STRENGTH.index)].digest


def _told(problems: list[_Problem], file: str) -> tuple[str, ...]:
    told = [f"{file} line {problem.line}: {problem.message}" for problem in problems[:MOST_PROBLEMS]]
    left = len(problems) - MOST_PROBLEMS
    if left > 0:
        told.append(f"{file}: {left:,} more lines can't be used")
    return tuple(told)


def _items(content: str | bytes, file: str, alone: str | None = None) -> Iterator[_Entry | _Problem]:
    """Every line's meaning. `alone` is the name that a line with nothing but a hash is about."""
    if isinstance(content, bytes):
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            yield _Problem(1, "is UTF-16; write it as UTF-8")
            return
        content = content.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    # Only \n ends a line: splitlines() would also cut names at \v, \x85 and U+2028.
    for number, raw in enumerate(content.removeprefix("\ufeff").split("\n", MOST_LINES), start=1):
        if number > MOST_LINES:
            yield _Problem(number, "and all that follow are not read; this is no listing of backups")
            return
        line = raw.removesuffix("\r").lstrip(" \t")
        if not line or line.startswith("#"):
            continue
        yield _entry(number, line, file, alone)


def _entry(number: int, line: str, file: str, alone: str | None) -> _Entry | _Problem:
    if len(line) > LONGEST_LINE:
        return _Problem(number, f"is {len(line):,} characters long; no file name is")
    if "\0" in line:
        return _Problem(number, "holds NUL bytes; this is no text")
    where = f"{file} line {number}"
    escaped = line.startswith("\\")
    line = line.removeprefix("\\")
    tag: str | None = None
    if match := _BSD.fullmatch(line):
        tag, name, digits = match.groups()
    elif match := _GNU.fullmatch(line):
        digits, flagged, bare = match.groups()
        name = bare if flagged is None else flagged
    elif alone is not None and not escaped and (match := _BARE.fullmatch(line)):
        name, digits, where = alone, match[1], file
    else:
        return _Problem(number, "is neither `hash  name` nor `SHA256 (name) = hash`")
    algorithm = _algorithm(tag, digits)
    if algorithm is None:
        return _Problem(number, f"has a hash of {len(digits)} digits that is none of {', '.join(STRENGTH)}")
    if escaped:
        unescaped = _unescaped(name)
        if unescaped is None:
            return _Problem(number, "has an escape in its name other than \\n, \\r and \\\\")
        name = unescaped
    return _Entry(number, name, Digest(algorithm, digits.lower(), where))


def _algorithm(tag: str | None, digits: str) -> str | None:
    by_length = _BY_LENGTH.get(len(digits))
    if tag is None:
        return by_length
    named = _BY_TAG.get(tag.upper().replace("-", ""))
    return named if named == by_length else None


def _unescaped(name: str) -> str | None:
    """The name behind GNU's escapes, or None where there is one that GNU does not write."""
    if any(match[1] not in _ESCAPED for match in _ESCAPE.finditer(name)):
        return None
    return _ESCAPE.sub(lambda match: _ESCAPED[match[1]], name)


def _relative(name: str) -> str:
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


def _unsafe(name: str) -> str | None:
    """Why a listed name can't be one of a file in the listing's own folder."""
    if name.startswith("/"):
        return "is an absolute path; names are taken relative to the folder"
    if ".." in name.split("/"):
        return "leads out of the folder"
    if _relative(name) in ("", "."):
        return "names no file"
    return None
