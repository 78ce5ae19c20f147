"""A process that restores in place or undoes, and kills itself at the n-th point. Started by the kill tests.

Prints each point that it passes and each connection that it opens. Arguments: the deed, a file with what is asked for
as JSON (it holds a login: 0600), and n (0: live to the end).
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engines.errors import RestoreError
from engines.mysql.client_load import load_by_client
from engines.mysql.dumps.facts import read_facts
from engines.mysql.load.loader import Hooks, Job
from engines.mysql.rebuild import clear, load_in_place
from engines.mysql.undo import PutBack, put_back


@dataclass(frozen=True, slots=True)
class Deed:
    """Everything that the process needs; the job's rows are read from its dump again."""

    asked: PutBack
    dump: Path
    source: str


def written(deed: Deed) -> bytes:
    return msgspec.json.encode(deed, enc_hook=str)


def main() -> int:
    deed, file, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    given = msgspec.json.decode(file.read_bytes(), type=Deed, dec_hook=lambda kind, text: kind(text))
    asked = given.asked
    passed = 0

    def at(point: str) -> None:
        nonlocal passed
        passed += 1
        os.write(1, f"point {point}\n".encode())
        if passed == last:
            os.kill(os.getpid(), signal.SIGKILL)

    hooks = Hooks(at=at, opened=lambda number: print(f"connection {number}", flush=True))  # noqa: T201 - for the test
    facts = read_facts(given.dump)
    job = Job(
        dump=given.dump,
        place=asked.place,
        login=asked.login,
        schema=asked.schema,
        source=given.source,
        rows={table.name: table.rows for table in facts.tables},
    )
    try:
        match deed:
            case "in-place":
                load_in_place(job, facts, rebuild=True, hooks=hooks)
            case "by-client":
                clear(job, facts, None, rebuild=True, hooks=hooks)
                load_by_client(job, facts, asked.client, asked.private, hooks)
            case _:
                put_back(asked, hooks)
    except RestoreError as error:
        os.write(2, f"{type(error).__name__}: {error.message}\n".encode())
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
