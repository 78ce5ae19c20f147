"""Compares backups with the hashes that are expected of them.

Nothing is remembered here: what was found is in the `Backup` that comes back, and the caller keeps it.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import replace
from time import monotonic, sleep

from engines.backups import bucket
from engines.backups.bucket import with_sidecar
from engines.backups.catalogue import Backup, Status, unusable
from engines.backups.checksums import Digest, shown
from engines.backups.places import FileAt, ObjectAt, Service
from engines.backups.reading import opened
from engines.backups.s3 import S3, asking, connected
from engines.backups.sources import source, steadily
from engines.backups.stored import attested
from engines.errors import RestoreError
from engines.hooks import Progress, Stop

BUFFER = 1 << 20  # bytes; smaller ones cost system calls, larger ones fall out of the processor's cache
TOLD_EVERY = 0.25  # seconds between two progress reports of one file
ASKED = 50  # objects: of the newest ones the service is asked for the checksum that it keeps
_PENDING = (Status.UNCHECKED, Status.CHECKING)
_ASKABLE = (*_PENDING, Status.NOT_LISTED)


class _Stopped(Exception):
    """Somebody asked to stop."""


class _Changed(Exception):
    """The file is not what it was."""


def verify(backup: Backup, progress: Progress, stop: Stop) -> Backup:
    """`backup` with the status that its bytes earn, and the evidence.

    `progress` gets bytes done and bytes in all, often. When `stop` says so, it comes back UNCHECKED. One that is
    not listed is hashed all the same: its SHA-256 can be compared by eye. Never raises for what is wrong with
    the file: that is UNREADABLE.
    """
    if backup.status is Status.MISSING_FILE:
        return backup
    try:
        if isinstance(backup.place, ObjectAt):
            backup = asked(backup)
            if backup.status in (Status.VERIFIED, Status.MISMATCH, Status.UNREADABLE) and not backup.contradicted:
                return backup
        elif bad := unusable(backup.name, os.lstat(backup.path)):
            return _settled(backup, Status.UNREADABLE, bad)
        algorithm = backup.expected.algorithm if backup.expected else "sha256"
        digits = _hash(backup, algorithm, progress, stop)
    except _Stopped:
        if backup.expected is None:
            return backup
        return _settled(backup, Status.UNCHECKED, f"Stopped before it was compared with {backup.expected.where}")
    except _Changed as change:
        return _settled(backup, Status.UNREADABLE, f"{change}; list the folder again")
    except OSError as error:
        return _settled(backup, Status.UNREADABLE, f"It can't be read: {error.strerror or error}")
    except RestoreError as error:
        return _settled(backup, Status.UNREADABLE, f"{error.message} {error.hint}")
    return judged(backup, Digest(algorithm, digits, "its own bytes"))


def asked(backup: Backup) -> Backup:
    """An object with what its sidecar and the service itself say of it: that may spare the reading.

    A file comes back as it is. Raises RestoreError when the service can't be asked.
    """
    place = backup.place
    if not isinstance(place, ObjectAt):
        return backup
    if bad := bucket.unusable(backup.name, place.size):
        return _settled(backup, Status.UNREADABLE, bad)
    with connected(place.service) as client, asking(f"{shown(str(place))} can't be verified"):
        return attested(client, with_sidecar(client, _anew(backup)))


def _anew(backup: Backup) -> Backup:
    """As it was listed, whatever an earlier look at it found."""
    if backup.contradicted:
        return backup
    if backup.expected is None:
        return replace(backup, status=Status.NOT_LISTED, evidence="Nothing says what its hash should be")
    return replace(backup, status=Status.UNCHECKED, evidence=f"Not compared yet with {backup.expected.where}")


def verify_all(
    backups: Iterable[Backup],
    changed: Callable[[Backup], None],
    stop: Stop,
    workers: int = 2,
) -> tuple[Backup, ...]:
    """Verifies those that are UNCHECKED, newest first, `workers` files at a time; gives all back, in order.

    Objects of a bucket are not read: of the newest ones the service is asked for the checksum that it keeps.

    `changed` gets each new state of a backup: CHECKING with the fraction done, at most four times a second
    for a file, then the verdict. Calls come from other threads but never two at once. What it raises ends the
    run.
    """
    everything = tuple(backups)
    wanted = [one for one in everything if one.status in _PENDING and isinstance(one.place, FileAt)]
    wanted.sort(key=lambda backup: backup.taken_at, reverse=True)
    objects = [one for one in everything if one.status in _ASKABLE and isinstance(one.place, ObjectAt)]
    objects.sort(key=lambda backup: backup.taken_at, reverse=True)
    results: dict[str, Backup] = {}
    abandoned = threading.Event()
    telling = threading.Lock()

    def stopped() -> bool:
        return abandoned.is_set() or stop()

    def tell(backup: Backup) -> None:
        with telling:
            changed(backup)

    def work(backup: Backup) -> None:
        if stopped():
            return
        tell(replace(backup, status=Status.CHECKING, done=0.0))
        told = monotonic()

        def progress(done: int, total: int) -> None:
            nonlocal told
            now = monotonic()
            if now - told >= TOLD_EVERY and done < total:
                told = now
                tell(replace(backup, status=Status.CHECKING, done=done / total))

        result = verify(backup, progress, stopped)
        results[backup.where] = result
        tell(result)

    def ask() -> None:
        for backup in _all_asked(objects[:ASKED], stopped):
            results[backup.where] = backup
            tell(backup)

    with ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="verify") as pool:
        futures = [pool.submit(ask), *(pool.submit(work, backup) for backup in wanted)]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            # After a normal end there is nothing left to abandon; after an error or Ctrl-C there is.
            if not all(future.done() and not future.exception() for future in futures):
                abandoned.set()
                pool.shutdown(wait=True, cancel_futures=True)
        for future in futures:
            future.result()
    return tuple(results.get(backup.where, backup) for backup in everything)


def _all_asked(backups: Iterable[Backup], stopped: Stop) -> Iterator[Backup]:
    """Objects of one or more services, with what those say of them. What can't be asked stays as it was."""
    with ExitStack() as stack:
        clients: dict[Service, S3] = {}
        for backup in backups:
            if stopped() or not isinstance(backup.place, ObjectAt):
                return
            service = backup.place.service
            try:
                if service not in clients:
                    clients[service] = stack.enter_context(connected(service))
            except RestoreError:
                return  # the listing was made with it a moment ago; a backup chosen now says why
            yield attested(clients[service], backup)


def judged(backup: Backup, actual: Digest) -> Backup:
    """The verdict on a backup whose bytes gave `actual`."""
    expected = backup.expected
    if expected is None:
        status = Status.MISMATCH if backup.status is Status.MISMATCH else Status.NOT_LISTED
        why = backup.evidence if backup.status is status else "Nothing says what its hash should be"
        evidence = why if backup.actual else f"{why}; its {actual.algorithm} is {actual.hex}"
        return replace(_settled(backup, status, evidence), actual=actual)
    if actual != expected:
        found, told = _enough(actual, expected), _enough(expected, actual)
        evidence = f"{actual.algorithm} is {found}, {expected.where} says {told}"
        return replace(_settled(backup, Status.MISMATCH, evidence), actual=actual)
    evidence = f"{actual} equals {expected.where}"
    if actual.weak:
        evidence += f"; {actual.algorithm} can be forged, so this shows only that there was no accident"
        return replace(_settled(backup, Status.WEAK, evidence), actual=actual)
    return replace(_settled(backup, Status.VERIFIED, evidence), actual=actual)


def _hash(backup: Backup, algorithm: str, progress: Progress, stop: Stop) -> str:
    """The hash of the bytes that were listed, or _Changed. Reading and hashing both let other threads run."""
    if isinstance(backup.place, ObjectAt):
        return _hash_object(backup.place, algorithm, progress, stop)
    with opened(backup.path) as (descriptor, facts):
        if FileAt(backup.path, facts.st_size, facts.st_mtime_ns, facts.st_ino, facts.st_dev) != backup.place:
            raise _Changed("It has changed since it was listed")
        digest = hashlib.new(algorithm, usedforsecurity=False)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        buffer = bytearray(min(BUFFER, facts.st_size + 1))
        view = memoryview(buffer)
        done = 0
        while count := os.readv(descriptor, [buffer]):
            if stop():
                raise _Stopped
            digest.update(view[:count])
            done += count
            progress(done, facts.st_size)
            if done > facts.st_size:
                break  # it grows; a file that never ends must not keep us
        after, named_now = os.fstat(descriptor), os.lstat(backup.path)
        if done != facts.st_size or _moving(after) != _moving(facts) or named_now.st_ino != facts.st_ino:
            raise _Changed("It changed while it was read")
    return digest.hexdigest()


def _hash_object(
    place: ObjectAt, algorithm: str, progress: Callable[[int, int], None], stop: Callable[[], bool]
) -> str:
    """The hash of an object that is read once and not kept. Raises RestoreError."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    done = 0

    def wait(seconds: float) -> bool:
        until = monotonic() + seconds
        while monotonic() < until:
            if stop():
                raise _Stopped
            sleep(min(0.1, seconds))
        return False

    with source(place) as found, closing(steadily(found, 0, place.size, wait)) as pieces:
        for piece in pieces:
            if stop():
                raise _Stopped
            digest.update(piece)
            done += len(piece)
            progress(done, place.size)
    return digest.hexdigest()


def _moving(facts: os.stat_result) -> tuple[int, int, int]:
    # The change time can't be set back by whoever writes, the modification time can.
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _settled(backup: Backup, status: Status, evidence: str) -> Backup:
    return replace(backup, status=status, evidence=evidence, done=None)


def _enough(one: Digest, other: Digest) -> str:
    """As many digits of a hash as it takes to see that it is another."""
    short = one.hex[:16]
    return one.hex if other.hex.startswith(short) else f"{short}…"
