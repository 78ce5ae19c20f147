"""Brings a dump or a binary log to this machine, and knows that what lies there is what was listed.

The bytes come in parallel ranges of one version and are hashed in their order while they come, once. A broken line
goes on where it was; so does a run that was killed. What the bytes mean is others' question.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from engines.backups.checksums import Digest, shown
from engines.backups.parts import Folder, State, forget, keep, known, part_of
from engines.backups.places import ObjectAt, Place
from engines.backups.receiving import Receiving
from engines.backups.sources import Source, source
from engines.errors import OtherBytes, Refused, RestoreError, UsageError
from engines.hooks import At, Progress, Say, Stop, never, nowhere, silent, unmeasured
from engines.spent import Spent
from engines.text import drawable, size

_FROM_A_FILE = 4  # for a file: more would make a disk seek
# Services limit what a connection gets. Amazon S3's user guide ("Optimizing performance", horizontal scaling) has about
# 15 fill a line of 10 Gb/s; on a longer way it takes more.
_FROM_A_BUCKET = 20
_PARTS = (2 << 20, 16 << 20)  # bytes in one range, at least and at most: few requests, and little to fetch again
_ROUNDS = 4  # parts for each connection, at least: at the end most would wait for the last
SPARE = 16 << 20  # bytes that stay free
_LONGEST_NAME = 200  # bytes
_KEPT_EVERY = 1.0  # seconds between two writings of what is whole; each waits for the disk
_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Staged:
    """A verified copy on this machine."""

    path: str
    size: int  # bytes
    sha256: str
    version: str  # the object's; empty for a file, and where the bucket keeps no versions
    digests: tuple[tuple[str, str], ...]  # every algorithm computed, with its hexadecimal digest
    source: str  # path or URI that the bytes came from


def stage(
    place: Place,
    into: Path,
    expected: Digest | None = None,
    *,
    connections: int | None = None,
    part: int | None = None,
    say: Say = silent,
    progress: Progress = unmeasured,
    stop: Stop = never,
    at: At = nowhere,
) -> Staged:
    """Copies the listed bytes at `place` into the folder `into` (made 0700), under their own name, 0600.

    Safe to begin again after any end: parts that are whole are kept, but for the same version only; a finished copy
    is hashed and used again. Raises Refused, and leaves nothing of it behind, when the bytes are others than listed
    or do not have the expected hash, or there is no room; RestoreError when they can't be fetched or written, or
    `stop` said so: what is whole stays then.
    """
    name = _file_name(place)
    if connections is None:
        connections = _FROM_A_BUCKET if isinstance(place, ObjectAt) else _FROM_A_FILE
    digests = _Digests(expected)
    with _writing(place, into), _opened(into) as folder, source(place, connections) as found:
        wanted = State(found.identity, place.size, part or part_for(place.size))
        if (sha256 := _present(folder, name, wanted, digests, progress, stop)) is None:
            digests = _Digests(expected)
            sha256 = _fetch(folder, name, wanted, found, digests, _Run(connections, say, progress, stop, at))
    version = place.version if isinstance(place, ObjectAt) else ""
    return Staged(str(into / name), place.size, sha256, version, digests.told(), str(place))


def part_for(size: int) -> int:
    """Bytes in a part of a backup of so many. It depends on nothing else: a later run goes on with the same parts."""
    fair = -(-size // (_FROM_A_BUCKET * _ROUNDS) // (1 << 20)) << 20
    return min(max(fair, _PARTS[0]), _PARTS[1])


class _Digests:
    """The hashes of the bytes so far: SHA-256, and the listed one where that is another."""

    def __init__(self, expected: Digest | None) -> None:
        self.expected = expected
        self._hashes = {"sha256": hashlib.sha256()}
        if expected is not None and expected.algorithm not in self._hashes:
            try:
                self._hashes[expected.algorithm] = hashlib.new(expected.algorithm, usedforsecurity=False)
            except ValueError as error:
                raise UsageError(
                    f"{drawable(expected.algorithm)} is no checksum that can be computed here. Nothing was changed.",
                    "Use sha256, sha512, sha1 or md5.",
                ) from error

    def update(self, piece: memoryview) -> None:
        for one in self._hashes.values():
            one.update(piece)

    def told(self) -> tuple[tuple[str, str], ...]:
        return tuple((name, one.hexdigest()) for name, one in self._hashes.items())

    @property
    def sha256(self) -> str:
        return self._hashes["sha256"].hexdigest()

    @property
    def actual(self) -> str:
        """In the listed algorithm."""
        return self._hashes[self.expected.algorithm if self.expected else "sha256"].hexdigest()

    @property
    def equal(self) -> bool:
        return self.expected is None or self.actual == self.expected.hex.strip().lower()


@dataclass(frozen=True, slots=True)
class _Run:
    connections: int
    say: Say
    progress: Progress
    stop: Stop
    at: At
    spent: Spent = field(default_factory=lambda: Spent("download", "hash", "disk"))


def _file_name(place: Place) -> str:
    name = place.name
    if not name or name in (".", "..") or "/" in name or shown(name) != name or len(os.fsencode(name)) > _LONGEST_NAME:
        raise Refused(
            f"{shown(str(place))} has no name that a file can have here. Nothing was staged.",
            "Copy it under another name, without control characters and not longer than 200 bytes.",
        )
    if place.size == 0:
        raise Refused(f"{shown(str(place))} is empty. Nothing was staged.", "Choose another one.")
    return name


@contextmanager
def _opened(into: Path) -> Iterator[Folder]:
    folder = Folder(into)
    try:
        yield folder
    finally:
        folder.close()


@contextmanager
def _writing(place: Place, into: Path) -> Iterator[None]:
    """What the disk says, as an error that an operator can act on. What is whole stays."""
    try:
        yield
    except OSError as error:
        try:
            free = os.statvfs(into)
            told = f"{size(free.f_bavail * free.f_frsize)} are free there. "
        except OSError:
            told = ""
        raise RestoreError(
            f"{shown(str(place))} can't be written to {drawable(str(into))}: {error.strerror or error}. "
            "Nothing live was changed.",
            f"{told}Make room, or mend what the message says; started again, it goes on where it was.",
        ) from error


def _present(folder: Folder, name: str, wanted: State, digests: _Digests, progress: Progress, stop: Stop) -> str | None:
    """The SHA-256 of the copy that an earlier run finished, if its bytes are still those that were fetched."""
    state = known(folder, name)
    if state is None or not state.sha256 or not state.same(wanted):
        return None
    descriptor = folder.open(name)
    if descriptor is None:
        return None
    try:
        if os.fstat(descriptor).st_size != wanted.size:
            return None
        for begin in range(0, wanted.size, wanted.part):
            _hash(descriptor, begin, min(begin + wanted.part, wanted.size), digests)
            progress(min(begin + wanted.part, wanted.size), wanted.size)
            if stop():
                raise _stopped(name)
    finally:
        os.close(descriptor)
    return digests.sha256 if digests.sha256 == state.sha256 and digests.equal else None


def _fetch(folder: Folder, name: str, wanted: State, found: Source, digests: _Digests, run: _Run) -> str:
    """Fetches what is missing, compares, and gives the copy its name."""
    state, descriptor = _begun(folder, name, wanted, run)
    try:
        state = _receive(folder, name, state, descriptor, found, digests, run)
        found.settle()
        if not digests.equal:
            raise _other(found.place, digests)
        with run.spent.on("disk"):
            os.fsync(descriptor)
        run.at("stage.sync.after")
        keep(folder, name, replace(state, sha256=digests.sha256), run.at)
        folder.rename(part_of(name), name)
        run.at("stage.rename.after")
        folder.sync()
        run.at("stage.folder-sync.after")
        run.say(str(run.spent))
    except Refused:
        forget(folder, name)
        raise
    finally:
        os.close(descriptor)
    return digests.sha256


def _begun(folder: Folder, name: str, wanted: State, run: _Run) -> tuple[State, int]:
    """The part file, and what of it can be kept: nothing but what belongs to the same version."""
    state = known(folder, name)
    if state is not None and state.same(wanted):
        descriptor = folder.open(part_of(name), os.O_RDWR)
        if descriptor is not None:
            if os.fstat(descriptor).st_size == wanted.size:
                _refuse_no_room(folder, name, wanted, len(state.parts))
                run.say(f"{name}: {len(state.parts)} of {state.count} parts are here from an earlier run")
                return state, descriptor
            os.close(descriptor)
    forget(folder, name)
    folder.remove(name)  # what an earlier run fetched of another version must not be taken for this one
    _refuse_no_room(folder, name, wanted, 0)
    run.at("stage.create.before")
    descriptor = folder.create(part_of(name))
    try:
        run.at("stage.create.after")
        os.ftruncate(descriptor, wanted.size)
        keep(folder, name, wanted, run.at)
    except BaseException:
        os.close(descriptor)
        raise
    return wanted, descriptor


def _refuse_no_room(folder: Folder, name: str, wanted: State, whole: int) -> None:
    need, free = wanted.size - whole * wanted.part, folder.free()
    if need + SPARE > free:
        raise Refused(
            f"{name} needs {size(need)} more in {drawable(str(folder.path))}, and {size(free)} are free. "
            "Nothing was copied.",
            "Make room there, or let `staging` in the configuration name a larger place.",
        )


def _receive(
    folder: Folder, name: str, state: State, descriptor: int, found: Source, digests: _Digests, run: _Run
) -> State:
    """Fetches the parts that are missing and hashes all of them in order; gives back what is whole."""
    whole = state.parts
    left = [number for number in range(state.count) if number not in whole]
    got = Receiving(state, descriptor, found, left, run.connections, run.spent)
    before = sum(end - begin for begin, end in map(state.bounds, whole))
    hashed, written_down = 0, time.monotonic()
    try:
        while hashed < state.count:
            if hashed in whole:
                with run.spent.on("hash"):
                    _hash(descriptor, *state.bounds(hashed), digests)
                hashed += 1
            elif (number := got.next()) is not None:
                whole.add(number)
                run.at("stage.part.after")
            run.progress(min(before + got.received, state.size), state.size)
            if run.stop():
                raise _stopped(name)
            if time.monotonic() - written_down >= _KEPT_EVERY:
                state = _kept(folder, name, state, whole, descriptor, run)
                written_down = time.monotonic()
    finally:
        got.end()
        whole.update(got.rest())
        state = _kept(folder, name, state, whole, descriptor, run)
    return state


def _kept(folder: Folder, name: str, state: State, whole: set[int], descriptor: int, run: _Run) -> State:
    """Written down only once it is on the disk: after a power cut, what is called whole has to be."""
    if whole == state.parts:
        return state
    with run.spent.on("disk"):
        os.fdatasync(descriptor)
    now = state.having(whole)
    keep(folder, name, now, run.at)
    return now


def _hash(descriptor: int, begin: int, end: int, digests: _Digests) -> None:
    """Adds the file's bytes from `begin` up to `end`; they were written a moment ago and come from memory."""
    buffer = memoryview(bytearray(min(_BUFFER, end - begin)))
    while begin < end:
        length = os.preadv(descriptor, [buffer[: end - begin]], begin)
        if not length:
            raise OSError("the copy became shorter while it was read")
        digests.update(buffer[:length])
        begin += length


def _other(place: Place, digests: _Digests) -> OtherBytes:
    expected = digests.expected or Digest("sha256", "")
    return OtherBytes(
        f"{shown(str(place))} has {expected.algorithm} {digests.actual}, "
        f"{expected.where or 'the catalogue'} says {drawable(expected.hex)}. "
        "Nothing live was changed, and the copy was removed.",
        "It is damaged or another file. Choose another backup.",
        digests.sha256,
    )


def _stopped(name: str) -> RestoreError:
    return RestoreError(
        f"Stopped while {name} was staged. Nothing live was changed.",
        "What is whole is kept: started again, it goes on where it was.",
    )
