"""Peak memory of a whole session on a dump of more than 2 GB: the runner and a console that shows it.

The kernel's own high-water marks of the two processes (VmHWM, proc(5)), added up, as a share of what is allowed.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from engines.mysql.flavour import Flavour
from engines.session.client import Client
from engines.session.store import open_session
from engines.text import duration, size
from tests.bench.measure import Ratio
from tests.bench.memory import peak
from tests.bench.mysql_load import ROOM
from tests.engines.recipes.mysql_world import accept_all, build, new_session, programs_of
from tests.engines.recipes.world import answering, start_runner
from tests.servers.databases import build_of, running
from tests.servers.tmux import Terminal

ALLOWED = 200_000_000  # bytes
_DOUBLED = 21  # times: two million rows
_LONGEST = 3600.0  # seconds
_BULK = (
    "CREATE TABLE bulk (id INT PRIMARY KEY AUTO_INCREMENT, customer INT, body TEXT, KEY (customer));"
    "INSERT INTO bulk (customer, body) VALUES (1, REPEAT('it''s a long text ', 60));"
)
_DOUBLE = "INSERT INTO bulk (customer, body) SELECT customer + 1, body FROM bulk;"


def run(flavour: Flavour = Flavour.MYSQL, doubled: int = _DOUBLED) -> Ratio:
    with (
        tempfile.TemporaryDirectory(prefix="reinstate-bench-") as name,
        running(build_of(flavour), *ROOM[flavour], "--max-binlog-size=1G") as server,
        programs_of(server),
        Terminal((120, 40)) as terminal,
    ):
        server.sql("SET GLOBAL local_infile = 1")
        world = build(Path(name) / "world", server, script=_BULK + _DOUBLE * doubled)
        dump = (world.folder / "dumps" / world.dump).stat().st_size
        session = new_session(world)
        runner = start_runner(session)
        peaks = {"runner": 0, "console": 0}
        console = 0

        async def met(client: Client) -> bool:
            nonlocal console
            if not console:
                attach = (sys.executable, "-m", "tui.cli", "--config", str(world.folder / "reinstate.toml"), "attach")
                terminal.start(attach, cwd=Path(__file__).parents[2])
                console = terminal.pid
            for who, pid in (("runner", runner.pid), ("console", console)):
                peaks[who] = max(peaks[who], peak(pid))
            return await accept_all(client)

        asyncio.run(answering(session, runner, met, seconds=_LONGEST))
        state = open_session(session).state
        if state.ended is None or state.begun_at is None or state.ended_at is None or not peaks["console"]:
            raise AssertionError(f"the session did not end: {(session / 'runner.log').read_text()[-3000:]}")
        took = duration((state.ended_at - state.begun_at).total_seconds())
    both = sum(peaks.values())
    on = f"a dump of {size(dump)}; runner {size(peaks['runner'])}, console {size(peaks['console'])}; session of {took}"
    return Ratio(f"{flavour}-memory", both / ALLOWED, 1.0, {}, 1, on)
