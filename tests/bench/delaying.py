"""A line with a delay: what goes in comes out a given time later, in both directions, as fast as before.

`python -m tests.bench.delaying HOST PORT TO_HOST TO_PORT SECONDS`; says `ready` once it listens. The kernel can do the
same (netem), but not every kernel has it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, Popen

_PIECE = 1 << 18
_UNDER_WAY = 64  # pieces


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_UNDER_WAY)
    loop = asyncio.get_running_loop()

    async def take() -> None:
        while piece := await reader.read(_PIECE):
            await queue.put((loop.time() + delay, piece))
        await queue.put((loop.time() + delay, b""))

    async def give() -> None:
        while True:
            when, piece = await queue.get()
            if (left := when - loop.time()) > 0:
                await asyncio.sleep(left)
            if not piece:
                return
            writer.write(piece)
            await writer.drain()

    with suppress(OSError):
        await asyncio.gather(take(), give())
    writer.close()


async def _serve(host: str, port: int, to: tuple[str, int], delay: float) -> None:
    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*to)
        await asyncio.gather(_carry(reader, back, delay), _carry(there, writer, delay))

    server = await asyncio.start_server(meet, host, port)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


@contextmanager
def delaying(here: tuple[str, int], to: tuple[str, int], seconds: float) -> Iterator[None]:
    """Such a line, in a process of its own, until the block ends."""
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
    _, host_, port_, to_host, to_port, seconds_ = sys.argv
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(host_, int(port_), (to_host, int(to_port)), float(seconds_)))
