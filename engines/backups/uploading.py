"""Brings bytes into a bucket, and knows that what lies there is what was sent: they are read back and compared.

They go in parts, so that a broken line costs one of them; until the last is whole, nothing is there under the name. An
attempt that fails is taken back, also where what it sent is whole; parts that a killed one left, the next takes back.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from engines.backups.checksums import shown
from engines.backups.places import BucketFolder, ObjectAt, Service
from engines.backups.s3 import NO_UPLOAD, S3, asking, code_of, connected, denied, gone, of_the_service, passing
from engines.backups.sources import ATTEMPTS, LONGEST_PAUSE, PAUSE, Wait, of_object, steadily
from engines.errors import OtherBytes, Refused, RestoreError
from engines.hooks import At, Progress, Say, Stop, never, nowhere, silent, unmeasured

PART = 16 << 20  # bytes in one part
NEEDS = "s3:PutObject, s3:GetObject and s3:AbortMultipartUpload on its objects (with versions: s3:GetObjectVersion)"
_MOST_PARTS = 9_000  # of 10,000 that S3 takes
_CONNECTIONS = 4
_FEW = 3  # attempts at what costs nothing to ask anew
_ASKED_EVERY = 0.1  # seconds that a part is waited for before the caller looks whether it should stop

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes that are known before they are sent."""

    size: int
    sha256: str
    read: Callable[[int, int], bytes]  # from, up to; from any thread


@contextmanager
def content_of(path: Path, size: int, sha256: str) -> Iterator[Content]:
    """A file's bytes. Raises RestoreError where it can't be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise RestoreError(
            f"{shown(path.name)} can't be read to be uploaded: {error.strerror}. Nothing was changed.",
            "Look at the disk, then start the step again.",
        ) from error
    try:
        yield Content(size, sha256, lambda begin, end: os.pread(descriptor, end - begin, begin))
    finally:
        os.close(descriptor)


def small(content: bytes) -> Content:
    """A few bytes from memory."""
    return Content(len(content), hashlib.sha256(content).hexdigest(), lambda begin, end: content[begin:end])


@contextmanager
def client_of(service: Service) -> Iterator[S3]:
    """A client for what is in here: what breaks is tried again here, where a stop is noticed meanwhile."""
    with connected(service, connections=_CONNECTIONS, attempts=1) as client:
        yield client


def upload(
    client: S3,
    content: Content,
    folder: BucketFolder,
    name: str,
    *,
    told: Mapping[str, str] | None = None,
    part: int = PART,
    say: Say = silent,
    progress: Progress = unmeasured,
    stop: Stop = never,
    at: At = nowhere,
) -> ObjectAt:
    """Send `content` to `folder`/`name`, read that back, and say which object it is: by version and ETag.

    `told` is kept with it as metadata. `progress`: bytes sent and bytes read back, of twice the size. Raises OtherBytes
    where what comes back differs, RestoreError where it can't be sent or read, or `stop` said so.
    """
    key = folder.prefix + name
    asked = {"Bucket": folder.bucket, "Key": key}
    failed = f"{shown(f'{folder}{name}')} can't be uploaded"
    size = max(part, -(-content.size // _MOST_PARTS))
    about = {"ContentType": "application/octet-stream", "Metadata": {"sha256": content.sha256, **(told or {})}}
    pause = _pausing(stop)
    with asking(failed, NEEDS):
        _again(lambda: _take_back_earlier(client, asked, say), pause)
        began = _again(lambda: client.create_multipart_upload(**asked, **about), pause)
        this = {**asked, "UploadId": began["UploadId"]}
        at("upload.begin.after")
        try:
            parts = _sent(client, this, content, size, progress, stop, at)
            ended = _again(_ending(client, this, parts, content), pause)
        except BaseException:
            _take_back(client, this, say)
            raise
    etag, version = str(ended.get("ETag", "")).strip('"'), str(ended.get("VersionId") or "")
    # What a bucket without versions calls "null" is written over like any object: then the ETag alone tells.
    place = ObjectAt(folder.service, folder.bucket, key, content.size, "" if version == "null" else version, etag)
    try:
        at("upload.end.after")
        _refuse_other(client, place, content, progress, stop)
        at("upload.proof.after")
    except BaseException:
        take_away(client, place, say)
        raise
    return place


def _sent(
    client: S3, this: Mapping[str, object], content: Content, part: int, progress: Progress, stop: Stop, at: At
) -> list[Mapping[str, object]]:
    count = max(1, -(-content.size // part))

    def send(number: int, pause: Wait) -> str:
        piece = content.read(number * part, min((number + 1) * part, content.size))
        # MD5 is what every such service compares a part with; what proves the whole is the reading back.
        md5 = base64.b64encode(hashlib.md5(piece, usedforsecurity=False).digest()).decode()
        one = {**this, "PartNumber": number + 1, "Body": piece, "ContentMD5": md5}
        return str(_again(lambda: client.upload_part(**one), pause)["ETag"])

    parts: list[Mapping[str, object]] = []
    for etag in _in_order(send, count, stop):
        parts.append({"PartNumber": len(parts) + 1, "ETag": etag})
        progress(min(len(parts) * part, content.size), 2 * content.size)
        at("upload.part.after")
    return parts


def _ending(
    client: S3, this: Mapping[str, object], parts: list[Mapping[str, object]], content: Content
) -> Callable[[], Mapping[str, object]]:
    """Makes the parts an object. Asked again, the service may say that there is no such upload: the answer was lost."""
    asked_before = False

    def end() -> Mapping[str, object]:
        nonlocal asked_before
        again, asked_before = asked_before, True
        try:
            return client.complete_multipart_upload(**this, MultipartUpload={"Parts": parts})
        except Exception as error:
            if not again or code_of(error) != NO_UPLOAD:
                raise
            try:
                found = client.head_object(Bucket=this["Bucket"], Key=this["Key"])
            except Exception as unseen:
                if gone(unseen) or denied(unseen):
                    raise error from None
                raise
            # Whether it is what was sent, the reading back proves.
            if (found.get("ContentLength"), found.get("Metadata", {}).get("sha256")) != (content.size, content.sha256):
                raise
            return found

    return end


def _again(ask: Callable[[], T], pause: Wait, attempts: int | None = None) -> T:
    """What may be asked twice, asked again where the line breaks."""
    failed = 0
    while True:
        try:
            return ask()
        except Exception as error:
            failed += 1
            if not of_the_service(error) or not passing(error) or failed >= (attempts or ATTEMPTS):
                raise
        if pause(min(PAUSE * 2 ** (failed - 1), LONGEST_PAUSE)):
            raise _stopped()


def _pausing(stop: Stop) -> Wait:
    never_set = threading.Event()

    def pause(seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if stop():
                return True
            never_set.wait(min(left, _ASKED_EVERY))
        return False

    return pause


def _refuse_other(client: S3, place: ObjectAt, content: Content, progress: Progress, stop: Stop) -> None:
    """Read the object back and compare: pinned, so that it is this one and no other."""
    found = sha256_of(client, place, lambda done, _total: progress(content.size + done, 2 * content.size), stop)
    if found != content.sha256:
        raise OtherBytes(
            f"{shown(str(place))} does not read back as it was sent: its SHA-256 is {found[:12]}…, and "
            f"{content.sha256[:12]}… was sent. Nothing was changed.",
            "Something between here and the bucket changes bytes: try again, or configure a folder.",
            found,
        )


def sha256_of(
    client: S3, place: ObjectAt, progress: Progress = unmeasured, stop: Stop = never, part: int = PART
) -> str:
    """The hash of all bytes of this object and no other. Raises RestoreError."""
    digest, done = hashlib.sha256(), 0
    count = -(-place.size // part)
    found = of_object(place, client)

    def fetch(number: int, pause: Wait) -> bytes:
        begin, end = number * part, min((number + 1) * part, place.size)
        with closing(steadily(found, begin, end, pause)) as pieces:
            return b"".join(pieces)

    for piece in _in_order(fetch, count, stop):
        digest.update(piece)
        done += len(piece)
        progress(done, place.size)
    return digest.hexdigest()


def _in_order(work: Callable[[int, Wait], T], count: int, stop: Stop) -> Iterator[T]:
    """The results of `work` for 0 up to `count`, a few at a time. Raises what it raised; RestoreError when stopped."""
    ended = threading.Event()
    pool = ThreadPoolExecutor(min(_CONNECTIONS, max(count, 1)), thread_name_prefix="bucket")
    waiting: deque[Future[T]] = deque()
    try:
        for number in range(count):
            waiting.append(pool.submit(work, number, ended.wait))
            if len(waiting) > _CONNECTIONS:
                yield _result(waiting.popleft(), stop)
        while waiting:
            yield _result(waiting.popleft(), stop)
    finally:
        ended.set()
        pool.shutdown(wait=True, cancel_futures=True)


def _result(future: Future[T], stop: Stop) -> T:
    while not future.done():
        wait((future,), timeout=_ASKED_EVERY)
        if stop():
            raise _stopped()
    return future.result()


def _stopped() -> RestoreError:
    return RestoreError(
        "Stopped while the bucket was written or read. Nothing was changed.", "Start the step again when ready."
    )


def _take_back_earlier(client: S3, asked: Mapping[str, object], say: Say) -> None:
    """Parts that a killed attempt at this name left: nobody sees them, and they are paid for."""
    pages = client.get_paginator("list_multipart_uploads")
    try:
        found = [
            one["UploadId"]
            for page in pages.paginate(Bucket=asked["Bucket"], Prefix=asked["Key"])
            for one in page.get("Uploads", ())
            if one["Key"] == asked["Key"]
        ]
    except Exception as error:
        if not of_the_service(error) or not denied(error):
            raise
        say("what an earlier attempt may have left can't be listed (s3:ListBucketMultipartUploads)")
        return
    for number in found:
        _take_back(client, {**asked, "UploadId": number}, say)


def _take_back(client: S3, this: Mapping[str, object], say: Say) -> None:
    """Parts that will never be an object. Where the line is gone too, the next attempt takes them back."""
    try:
        client.abort_multipart_upload(**this)
    except Exception as error:
        if not of_the_service(error):
            raise
        if not gone(error):
            say("the parts that were sent could not be taken back; the next attempt does it")


def take_away(client: S3, place: ObjectAt, say: Say) -> None:
    """An object that was sent and will be no part of a snapshot; somebody else's of that name stays."""
    try:
        if is_there(client, place):
            remove(client, place)
            say(f"{place} is removed again")
    except RestoreError as error:  # why it came to this is what has to be told
        say(f"{place} could not be removed again; remove it by hand where it is left: {error.message}")


def any_there(client: S3, place: ObjectAt) -> bool:
    """Is there an object of this name? Raises RestoreError where the service does not tell."""
    return _looked_at(client, replace(place, version="")) is not None


def is_there(client: S3, place: ObjectAt) -> bool:
    """Is this very object there? Raises Refused where another is, RestoreError where the service does not tell."""
    found = _looked_at(client, place)
    if found is None:
        return False
    etag, size = str(found.get("ETag", "")).strip('"'), found.get("ContentLength")
    if etag != place.etag or size != place.size:
        raise Refused(
            f"{shown(str(place))} is no longer the object that was kept. It was not touched.",
            "Find out who wrote it; remove it by hand where it is not wanted.",
        )
    return True


def _looked_at(client: S3, place: ObjectAt) -> Mapping[str, object] | None:
    with asking(f"{shown(str(place))} can't be looked at"):
        try:
            return _again(lambda: client.head_object(**_named(place)), _pausing(never), _FEW)
        except Exception as error:
            if gone(error):
                return None
            raise


def remove(client: S3, place: ObjectAt) -> None:
    """Remove this object: of a bucket with versions, this version for good. Raises RestoreError."""
    needs = "s3:DeleteObject on its objects (with versions: s3:DeleteObjectVersion)"
    with asking(f"{shown(str(place))} can't be removed", needs):
        _again(lambda: client.delete_object(**_named(place)), _pausing(never), _FEW)


def _named(place: ObjectAt) -> dict[str, str]:
    asked = {"Bucket": place.bucket, "Key": place.key}
    return {**asked, "VersionId": place.version} if place.version else asked
