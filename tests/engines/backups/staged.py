"""A process that stages one backup and kills itself at the n-th point. Started by the kill tests.

Prints each point it passes. Arguments: where it is listed (a folder, or s3://bucket/prefix), the S3 endpoint, the
backup's name, the folder to stage into, and n (0: live to the end).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from engines.backups import staging
from engines.backups.listed import backups
from engines.backups.places import Service, located
from engines.errors import RestoreError
from tests.servers.s3 import REGION


def main() -> int:
    where, endpoint, name, into, last = sys.argv[1:]
    (backup,) = backups(located(where, Service(endpoint, REGION)), name).backups
    staging._KEPT_EVERY = 0.0  # each part is written down, so that there are many points
    passed = 0

    def at(point: str) -> None:
        nonlocal passed
        passed += 1
        os.write(1, f"{point}\n".encode())
        if passed == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        staged = staging.stage(backup.place, Path(into), backup.expected, connections=2, part=1 << 18, at=at)
    except RestoreError as error:
        os.write(2, f"{type(error).__name__}: {error.message}\n".encode())
        return 3
    os.write(1, f"sha256 {staged.sha256}\n".encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
