"""Verifies one folder of backups as the console does it: the process that `sqlite-checksum` times."""

from __future__ import annotations

import sys
from pathlib import Path

from engines.backups.catalogue import Backup, read
from engines.backups.verify import verify_all


def main(folder: Path) -> int:
    told: list[Backup] = []
    results = verify_all(read(folder).backups, told.append, lambda: False)
    unproven = [backup for backup in results if not backup.restorable]
    for backup in unproven:
        sys.stderr.write(f"{backup.name!r}: {backup.status}: {backup.evidence}\n")
    return 1 if unproven or not results else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
