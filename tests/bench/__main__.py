"""`python -m tests.bench [NAME…]`: measures one, some or all, prints the ratios and keeps them in bench.json.

A missed aim is printed, not failed: how fast a machine is at this moment is no property of a commit.
"""

from __future__ import annotations

import sys
from importlib import import_module

from tests.bench.measure import Ratio, keep

# Imported only when asked for: each starts the parts that it measures.
BENCHES = {
    "sqlite-checksum": "tests.bench.sqlite_checksum:run",
    "sqlite-restore": "tests.bench.sqlite_restore:run",
    "bucket-stage": "tests.bench.bucket_stage:run",
    "growth": "tests.bench.growth:run",
    "startup": "tests.bench.startup:run",
    "console-ready": "tests.bench.console_ready:run",
    "catalogue-10k": "tests.bench.catalogue:run",
    "log-flood": "tests.bench.log_flood:run",
    "console-load": "tests.bench.console_load:run",
    "console-soak": "tests.bench.console_load:soak",
    "mysql-load": "tests.bench.mysql_load:mysql_bulk",
    "mysql-load-insert": "tests.bench.mysql_load:mysql_insert",
    "mariadb-load": "tests.bench.mysql_load:mariadb_bulk",
    "mariadb-load-insert": "tests.bench.mysql_load:mariadb_insert",
    "mariadb-myloader": "tests.bench.mysql_load:myloader",
    "mysql-replay": "tests.bench.mysql_replay:mysql",
    "mysql-replay-1ms": "tests.bench.mysql_replay:mysql_delayed",
    "mariadb-replay": "tests.bench.mysql_replay:mariadb",
    "mysql-memory": "tests.bench.mysql_memory:run",
}


def main(names: list[str]) -> int:
    if unknown := [name for name in names if name not in BENCHES]:
        sys.stderr.write(f"no bench is called {', '.join(unknown)}; there are: {', '.join(BENCHES)}\n")
        return 2
    for name in names or BENCHES:
        module, _, function = BENCHES[name].partition(":")
        found = getattr(import_module(module), function)()
        for ratio in found if isinstance(found, tuple) else (found,):
            if not isinstance(ratio, Ratio):
                raise TypeError(f"{BENCHES[name]} gave no Ratio")
            keep(ratio)
            sys.stdout.write(f"{ratio}{'' if ratio.reached else '  MISSED'}\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
