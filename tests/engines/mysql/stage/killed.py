"""A process that carries out one deed of a swap and kills itself at the n-th point. Started by the kill tests.

Prints each point it passes. Arguments: the deed, the file with the swap as JSON, the socket, and n (0: live to the
end). The login is read from standard input, as two lines.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import msgspec

from engines.errors import RestoreError
from engines.mysql.connect import Login, Place, connected
from engines.mysql.stage.back import clear, put_back
from engines.mysql.stage.swap import Swap, go_live


def main() -> int:
    deed, plan_file, socket, last = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    user, password = sys.stdin.read().splitlines()
    swap = msgspec.json.decode(plan_file.read_bytes(), type=Swap)
    passed = 0

    def at(point: str) -> None:
        nonlocal passed
        passed += 1
        os.write(1, f"{point}\n".encode())
        if passed == last:
            os.kill(os.getpid(), signal.SIGKILL)

    deeds = {"go_live": go_live, "put_back": put_back, "clear": clear}
    try:
        with connected(Place(socket=socket), Login(user, password)) as connection:
            deeds[deed](connection, swap, at=at)
    except RestoreError as error:
        os.write(2, f"{type(error).__name__}: {error.message}\n".encode())
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
