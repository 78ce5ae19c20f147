"""Where the bytes of a backup are: a file, or one version of an object in a bucket.

A place says enough to notice that the bytes are not those that were listed; it opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.errors import UsageError
from engines.text import drawable

SCHEME = "s3://"


@dataclass(frozen=True, slots=True)
class Service:
    """An S3 service and as whom it is asked. Credentials are never in here: boto3 finds them."""

    endpoint: str = ""  # empty: Amazon's
    region: str = ""  # empty: as ~/.aws/config has it
    profile: str = ""  # of ~/.aws/config; empty: as boto3 finds credentials, a role for instance


@dataclass(frozen=True, slots=True)
class FileAt:
    """A file, as it was when it was listed."""

    path: Path
    size: int = 0  # bytes
    mtime_ns: int = 0
    inode: int = 0
    device: int = 0

    @property
    def name(self) -> str:
        return self.path.name

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class ObjectAt:
    """An object, as it was when it was listed. Two versions of one key are two places."""

    service: Service
    bucket: str
    key: str
    size: int  # bytes
    version: str  # its id; empty where the bucket keeps no versions, or does not tell
    etag: str  # without quotes; another one is another object

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


Place = FileAt | ObjectAt


@dataclass(frozen=True, slots=True)
class BucketFolder:
    """A prefix in a bucket, used like a folder: what lies below it, and not in folders of its own."""

    service: Service
    bucket: str
    prefix: str  # empty, or with its final slash

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}"


Location = Path | BucketFolder


def located(written: str, service: Service) -> Location:
    """The folder or bucket that a configuration names. Raises UsageError."""
    if not written.startswith(SCHEME):
        return Path(written)
    bucket, _, prefix = written.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise UsageError(f"{drawable(written)} names no bucket. Nothing was changed.", "Write s3://bucket/prefix.")
    return BucketFolder(service, bucket, prefix if not prefix or prefix.endswith("/") else f"{prefix}/")
