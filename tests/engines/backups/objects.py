"""A bucket of backups for tests: objects, what lists them, and the catalogue that comes of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from engines.backups.bucket import read
from engines.backups.catalogue import Backup, Catalogue
from engines.backups.places import BucketFolder, ObjectAt, Service
from tests.servers.s3 import REGION, S3Server

_numbers = count(1)


def fresh_name() -> str:
    """A bucket's name that no test had before: the server is shared, and buckets stay."""
    return f"bucket-{os.getpid()}-{next(_numbers)}"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Bucket:
    """A bucket of the test's own, and the folder in it that is listed."""

    s3: S3Server
    name: str
    versioned: bool = False
    prefix: str = "nightly/"
    folder: BucketFolder = field(init=False)

    def __post_init__(self) -> None:
        self.s3.bucket(self.name, versioned=self.versioned)
        self.folder = BucketFolder(self.service(), self.name, self.prefix)

    def service(self, endpoint: str = "") -> Service:
        return Service(endpoint or self.s3.endpoint, REGION)

    def put(self, files: Mapping[str, bytes], *, listed: bool = True, more: Mapping[str, str] = {}) -> None:
        """Uploads them into the folder, and checksums.txt with all of them unless told otherwise."""
        client = self.s3.client()
        for name, content in files.items():
            client.put_object(Bucket=self.name, Key=self.prefix + name, Body=content, **more)
        if listed:
            lines = "".join(f"{sha256(content)}  {name}\n" for name, content in files.items())
            client.put_object(Bucket=self.name, Key=f"{self.prefix}checksums.txt", Body=lines.encode())
        client.close()

    def delete(self, name: str) -> None:
        client = self.s3.client()
        client.delete_object(Bucket=self.name, Key=self.prefix + name)
        client.close()

    def read(self, pattern: str = "*.sql*") -> Catalogue:
        return read(self.folder, pattern)

    def only(self) -> Backup:
        (backup,) = self.read().backups
        return backup

    def place(self, name: str = "") -> ObjectAt:
        """The place of one object as it is listed now, of the only one without a name."""
        found = self.read("*").backups
        (backup,) = [one for one in found if one.name == name] if name else found
        assert isinstance(backup.place, ObjectAt)
        return backup.place

    def through(self, place: ObjectAt, port: int) -> ObjectAt:
        """The same object, reached through a proxy."""
        return replace(place, service=self.service(f"http://127.0.0.1:{port}"))
