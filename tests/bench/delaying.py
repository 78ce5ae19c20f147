"""A line with a delay: what goes in comes out a given time later, in both directions, as fast as before.

`python -m tests.bench.delaying HOST PORT TO_HOST TO_PORT SECONDS`; says `ready` once it listens. The kernel can do the
same (netem), but not every kernel has it. Threads, since an event loop's clock ticks in whole milliseconds.
"""

from __future__ import annotations

import queue
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, Popen

_PIECE = 1 << 18
_UNDER_WAY = 256  # pieces


def _take(source: socket.socket, under_way: queue.Queue[tuple[float, bytes]], delay: float) -> None:
    piece = b"-"
    while piece:
        try:
            piece = source.recv(_PIECE)
        except OSError:
            piece = b""
        under_way.put((time.monotonic() + delay, piece))


def _give(under_way: queue.Queue[tuple[float, bytes]], to: socket.socket) -> None:
    while True:
        when, piece = under_way.get()
        if (left := when - time.monotonic()) > 0:
            time.sleep(left)
        try:
            if not piece:
                to.shutdown(socket.SHUT_WR)
                return
            to.sendall(piece)
        except OSError:
            return


def _serve(here: tuple[str, int], to: tuple[str, int], delay: float) -> None:
    with socket.create_server(here) as listener:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(to)
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, other in ((near, far), (far, near)):
                under_way: queue.Queue[tuple[float, bytes]] = queue.Queue(_UNDER_WAY)
                threading.Thread(target=_take, args=(source, under_way, delay), daemon=True).start()
                threading.Thread(target=_give, args=(under_way, other), daemon=True).start()


@contextmanager
def delaying(here: tuple[str, int], to: tuple[str, int], seconds: float) -> Iterator[None]:
    """Such a line, in a process of its own, until the block ends. `seconds`: each way."""
    argv = [sys.executable, "-m", "tests.bench.delaying", here[0], str(here[1]), to[0], str(to[1]), str(seconds)]
    root = Path(__file__).resolve().parents[2]
    with Popen(argv, stdout=PIPE, cwd=root) as process:
        try:
            if process.stdout is None or process.stdout.readline() != b"ready\n":
                raise RuntimeError("the delaying line did not come up")
            yield
        finally:
            process.terminate()


if __name__ == "__main__":
    _, host, port, to_host, to_port, each_way = sys.argv
    with suppress(KeyboardInterrupt):
        _serve((host, int(port)), (to_host, int(to_port)), float(each_way))
