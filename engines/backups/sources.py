"""Reads any range of a backup's bytes, from a file or a bucket, and only of the bytes that were listed.

Whoever asks for a range gets it whole and from the listed version, or a refusal. A broken line is mended here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Protocol

from engines.backups.checksums import shown
from engines.backups.places import FileAt, ObjectAt, Place
from engines.backups.reading import opened
from engines.backups.s3 import CHANGED, S3, code_of, connected, gone, meaning, of_the_service, passing
from engines.errors import Refused, RestoreError

PIECE = 1 << 20  # bytes in memory at a time, for each connection
ATTEMPTS = 7  # without a byte in between
PAUSE = 0.25  # seconds before the second one, then twice as long each time
LONGEST_PAUSE = 8.0

Wait = Callable[[float], bool]  # waits so many seconds; True when it was told to give up meanwhile


Pieces = Generator[bytes | memoryview, None, None]


class Broken(Exception):
    """The line broke, or the service is busy: what happened, and a hint. Worth another try."""


class Source(Protocol):
    """The listed bytes. Usable from several threads."""

    @property
    def place(self) -> Place: ...

    @property
    def identity(self) -> Mapping[str, str]:
        """What tells these bytes from others: equal only for the same version."""

    def pieces(self, begin: int, end: int) -> Pieces:
        """The bytes from `begin` up to `end`, or fewer.

        Raises Broken, or RestoreError where trying again is of no use.
        """

    def settle(self) -> None:
        """After the last byte: refuse where they changed while they were read."""


@contextmanager
def source(place: Place, connections: int = 1) -> Iterator[Source]:
    """The bytes at `place`. Raises Refused when they are not those that were listed, RestoreError otherwise."""
    match place:
        case FileAt():
            with _file(place) as found:
                yield found
        case ObjectAt():
            with connected(place.service, connections=connections, attempts=1) as client:
                yield _Object(place, client)


def of_object(place: ObjectAt, client: S3) -> Source:
    """This very object, asked for with a client that is there already."""
    return _Object(place, client)


def steadily(found: Source, begin: int, end: int, wait: Wait) -> Pieces:
    """The bytes from `begin` up to `end`, going on where the line broke. Ends early when `wait` gives up.

    Raises RestoreError when nothing comes any more after ATTEMPTS.
    """
    failed = 0
    while begin < end:
        broken = Broken("the line to the service broke", "Try again. What was fetched is kept.")
        try:
            with closing(found.pieces(begin, end)) as pieces:
                for piece in pieces:
                    failed = 0
                    begin += len(piece)
                    yield piece
        except Broken as told:
            broken = told
        if begin == end:
            return
        failed += 1
        if failed >= ATTEMPTS:
            what, hint = broken.args
            raise RestoreError(f"{shown(str(found.place))} can't be read: {what}. Nothing live was changed.", hint)
        if wait(min(PAUSE * 2 ** (failed - 1), LONGEST_PAUSE)):
            return


def changed(place: Place) -> Refused:
    return Refused(
        f"{shown(str(place))} has changed since it was listed. Nothing was changed here.",
        "Something writes it, or put another in its place. List the backups again, and choose anew.",
    )


class _File:
    def __init__(self, place: FileAt, descriptor: int, facts: os.stat_result) -> None:
        self.place: Place = place
        self._place = place
        self._descriptor = descriptor
        self._facts = facts

    @property
    def identity(self) -> Mapping[str, str]:
        facts = self._facts
        told = f"{facts.st_dev} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns}"
        return {"path": str(self._place.path), "file": told}

    def pieces(self, begin: int, end: int) -> Pieces:
        buffer = memoryview(bytearray(min(PIECE, end - begin)))
        while begin < end:
            try:
                length = os.preadv(self._descriptor, [buffer[: end - begin]], begin)
            except OSError as error:
                raise _unreadable(self._place, error) from error
            if not length:
                raise changed(self._place)
            begin += length
            yield buffer[:length]

    def settle(self) -> None:
        try:
            now, named = os.fstat(self._descriptor), os.lstat(self._place.path)
        except OSError:
            raise changed(self._place) from None
        if _moving(now) != _moving(self._facts) or (named.st_dev, named.st_ino) != (now.st_dev, now.st_ino):
            raise changed(self._place)


@contextmanager
def _file(place: FileAt) -> Iterator[_File]:
    with ExitStack() as stack:
        try:
            descriptor, facts = stack.enter_context(opened(place.path))
        except OSError as error:
            raise _unreadable(place, error) from error
        listed = (place.size, place.mtime_ns, place.inode, place.device)
        if (facts.st_size, facts.st_mtime_ns, facts.st_ino, facts.st_dev) != listed:
            raise changed(place)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        yield _File(place, descriptor, facts)


def _moving(facts: os.stat_result) -> tuple[int, int, int]:
    # The change time can't be set back by whoever writes, the modification time can.
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _unreadable(place: FileAt, error: OSError) -> Refused:
    return Refused(
        f"{shown(str(place))} can't be read: {error.strerror or error}. Nothing was changed.",
        "Choose a regular file that this user may read; where it is a link, name the file that it leads to.",
    )


class _Object:
    def __init__(self, place: ObjectAt, client: S3) -> None:
        self.place: Place = place
        self._place = place
        self._client = client

    @property
    def identity(self) -> Mapping[str, str]:
        place = self._place
        return {
            "endpoint": place.service.endpoint,
            "object": str(place),
            "version": place.version,
            "etag": place.etag,
        }

    def pieces(self, begin: int, end: int) -> Pieces:
        try:
            answer = self._client.get_object(**pinned(self._place), Range=f"bytes={begin}-{end - 1}")
            with closing(answer["Body"]) as body:
                self._expect(answer, begin, end)
                while piece := body.read(min(PIECE, end - begin)):
                    begin += len(piece)
                    yield piece
        except Exception as error:
            if isinstance(error, (RestoreError, Broken)) or not of_the_service(error):
                raise
            raise _refusal(self._place, error) from None

    def _expect(self, answer: Mapping[str, Any], begin: int, end: int) -> None:
        """A service that knows nothing of ranges or conditions answers all the same, with other bytes."""
        place = self._place
        if str(answer.get("ETag", "")).strip('"') != place.etag:
            raise changed(place)
        told = str(answer.get("ContentRange") or f"bytes 0-{answer.get('ContentLength', 0) - 1}/{place.size}")
        if told != f"bytes {begin}-{end - 1}/{place.size}":
            raise RestoreError(
                f"{shown(str(place))}: the service was asked for bytes {begin} to {end - 1} of {place.size} and sends "
                "others. Nothing was changed.",
                "It does not answer ranges as S3 does. Fetch the object with its own tools into a folder.",
            )

    def settle(self) -> None:
        """Every range was pinned: there is nothing to ask."""


def _refusal(place: ObjectAt, error: Exception) -> Exception:
    """What a failed request for the listed version means."""
    if code_of(error) in CHANGED:
        return changed(place)
    what, hint = meaning(error)
    if passing(error):
        return Broken(what, hint)
    told = f"{shown(str(place))} can't be read: {what}. Nothing was changed."
    return Refused(told, hint) if gone(error) else RestoreError(told, hint)


def pinned(place: ObjectAt) -> dict[str, str]:
    """What to ask the service with, so that no other version answers.

    The ETag too where there is a version: a version called "null" can be written again.
    """
    asked = {"Bucket": place.bucket, "Key": place.key, "IfMatch": f'"{place.etag}"'}
    return {**asked, "VersionId": place.version} if place.version else asked
