"""Restores one SQLite backup as a session's steps do it: the process that `sqlite-restore` times.

`python -m tests.bench.restore_sqlite BACKUP LIVE SHA256` stages, proves and replaces, and prints as JSON the seconds
that each took. With `--snapshot FOLDER` first of all it takes the safety snapshot instead, and nothing is replaced.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from itertools import pairwise
from time import perf_counter

from engines.sqlite import snapshot, swap
from engines.sqlite.inspect import look
from engines.sqlite.proof import prove
from engines.sqlite.stage import stage
from engines.text import utc_now

_TOKEN = "bench"  # noqa: S105 - the part of a file's name that tells sessions apart


def restore(backup: str, live: str, sha256: str) -> dict[str, float]:
    """Raises where the bytes are not those of `sha256`, or are no sound database."""
    times = [perf_counter()]
    staged = stage(backup, live, _TOKEN, ("sha256", sha256))
    times.append(perf_counter())
    proof = prove(staged.path)
    if not proof.ok:
        raise AssertionError(proof.problems)
    times.append(perf_counter())
    planned = swap.prepare(look(live), staged, _TOKEN)
    swap.dress(planned)
    swap.replace(planned)
    times.append(perf_counter())
    swap.clear(planned)  # `cp` gives the old bytes free as well
    return dict(zip(("stage", "prove", "replace"), (end - begin for begin, end in pairwise(times)), strict=True))


def keep(folder: str, live: str) -> dict[str, float]:
    """The safety snapshot: the raw files, and a consistent copy that is proven."""
    began = perf_counter()
    raw = snapshot.raw_copy(live, f"{folder}/raw")
    until = utc_now() + timedelta(days=1)
    snapshot.take(live, folder, "bench", until, target="bench", session="bench", raw=raw)
    return {"snapshot": perf_counter() - began}


def main(arguments: list[str]) -> int:
    took = keep(*arguments[1:]) if arguments[0] == "--snapshot" else restore(*arguments)
    sys.stdout.write(json.dumps(took) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
