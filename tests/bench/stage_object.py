"""Stages the one backup of a bucket as a session does it: the process that `bucket-stage` times.

`python -m tests.bench.stage_object ENDPOINT BUCKET SHA256 FOLDER` prints the line that says where the time went.
"""

from __future__ import annotations

import sys
from pathlib import Path

from engines.backups.bucket import read
from engines.backups.checksums import Digest
from engines.backups.places import BucketFolder, Service
from engines.backups.staging import stage


def main(endpoint: str, bucket: str, sha256: str, folder: Path) -> None:
    (backup,) = read(BucketFolder(Service(endpoint), bucket, ""), "*.sql").backups
    said: list[str] = []
    stage(backup.place, folder, Digest("sha256", sha256), say=said.append)
    sys.stdout.write(said[-1])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
