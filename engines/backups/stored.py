"""Asks a bucket for the checksum that it keeps with an object: evidence that costs no reading.

S3 compares it with the bytes when they are uploaded. Only the SHA-256 of the whole object is one of its bytes: an
upload in parts has a checksum of the parts' checksums. Source: Amazon S3 user guide, "Checking object integrity".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engines.backups.catalogue import Backup, Status
from engines.backups.checksums import Digest, shown
from engines.backups.places import ObjectAt
from engines.backups.s3 import S3, asking
from engines.backups.sources import pinned
from engines.errors import RestoreError

WHERE = "S3's stored checksum"
_IN_PARTS = re.compile(r"-(\d+)$")


@dataclass(frozen=True, slots=True)
class Stored:
    """What the service says of an object's bytes."""

    digest: Digest | None  # SHA-256 of the whole object
    told: str  # what it keeps, for people


def stored(client: S3, place: ObjectAt) -> Stored:
    """The checksum that is kept with the listed version. Raises RestoreError where that can't be asked."""
    with asking(f"{shown(str(place))} can't be asked for its checksum"):
        answer = client.head_object(**pinned(place), ChecksumMode="ENABLED")
    return _meaning(answer, place)


def attested(client: S3, backup: Backup) -> Backup:
    """`backup` with what the service itself says of its bytes, which are not read.

    Equal to what is listed it is VERIFIED, different it is a MISMATCH; where nothing lists the backup, the stored
    checksum becomes what its bytes are compared with. Never raises for what is wrong with the object.
    """
    place = backup.place
    if not isinstance(place, ObjectAt) or backup.contradicted:
        return backup
    try:
        found = stored(client, place)
    except RestoreError as error:
        return replace(backup, evidence=_once(backup.evidence, error.message))
    expected = backup.expected
    if found.digest is None:
        return replace(backup, evidence=_once(backup.evidence, found.told))
    if expected is None:
        evidence = f"Nothing lists it; not compared yet with {WHERE}"
        return replace(backup, expected=found.digest, status=Status.UNCHECKED, evidence=evidence)
    if expected.algorithm != found.digest.algorithm:
        return replace(backup, evidence=_once(backup.evidence, f"{WHERE} is {found.digest}"))
    if expected != found.digest:
        evidence = f"{WHERE} is {found.digest}, {expected.where} says {expected}; its bytes were not read"
        return replace(backup, status=Status.MISMATCH, evidence=evidence)
    evidence = f"{WHERE}, {found.digest}, equals {expected.where}: S3 compared it on upload; its bytes were not read"
    return replace(backup, status=Status.VERIFIED, evidence=evidence)


def _meaning(answer: Mapping[str, Any], place: ObjectAt) -> Stored:
    value, kind = str(answer.get("ChecksumSHA256") or ""), str(answer.get("ChecksumType") or "")
    parts = _IN_PARTS.search(value) or _IN_PARTS.search(place.etag)
    if value and (kind == "COMPOSITE" or parts):
        count = f" {parts[1]}" if parts else ""
        return Stored(None, f"what S3 keeps is a checksum of its{count} parts' checksums, no SHA-256 of its bytes")
    try:
        digest = base64.b64decode(value, validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != 32:
        return Stored(None, "S3 keeps no SHA-256 of it")
    return Stored(Digest("sha256", digest.hex(), WHERE), f"S3 keeps its SHA-256, {digest.hex()[:16]}…")


def _once(evidence: str, more: str) -> str:
    return evidence if more in evidence else f"{evidence}; {more}"
