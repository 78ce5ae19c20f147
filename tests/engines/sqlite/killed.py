"""A process that carries out one deed of a swap and kills itself at the n-th point. Started by the kill tests.

Prints each point it passes. Arguments: the deed, the file with the swap as JSON, and n (0: live to the end).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import msgspec

from engines.errors import RestoreError
from engines.sqlite import swap


def main() -> int:
    deed, plan_file, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    plan = msgspec.json.decode(plan_file.read_bytes(), type=swap.Swap)
    passed = 0

    def at(point: str) -> None:
        nonlocal passed
        passed += 1
        os.write(1, f"{point}\n".encode())
        if passed == last:
            os.kill(os.getpid(), signal.SIGKILL)

    unseen = os.geteuid() != 0
    try:
        if deed == "replace":
            swap.dress(plan, at=at)
            swap.quiesce(plan.live, timeout=0.2, at=at) if plan.lockable else None
            swap.replace(plan, timeout=0.2, accept_unseen=unseen, at=at)
        else:
            swap.put_back(plan, timeout=0.2, accept_unseen=unseen, at=at)
    except RestoreError as error:
        os.write(2, f"{type(error).__name__}: {error.message}\n".encode())
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
