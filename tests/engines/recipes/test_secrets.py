"""No secret gets out of an SQLite session: canaries in the operator's environment and in the application's settings."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest

from engines.session import store
from engines.session.events import Ending
from engines.session.verify import verify
from tests.engines.recipes.canaries import Canaries, Watch, recorded, recorders, watching
from tests.engines.recipes.world import answering, build, new_session, say_yes, start_runner
from tests.servers.waiting import until
from tests.tui.cli_ground import typed

GIVEN = frozenset({"AWS", "DATABASE_URL"})  # in the operator's own environment


def test_no_secret_gets_out_of_an_sqlite_session_with_a_defect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canaries = Canaries("AWS", "DATABASE_URL", ".env", "defect")
    world = build(tmp_path / "world")
    settings = world.folder / "app" / ".env"
    settings.write_text(f"DB_PASSWORD='{canaries['.env'].value}'\nDSN=mysql://app:{canaries['.env'].plain}@db1/shop\n")
    configuration = world.folder / "reinstate.toml"
    configuration.write_text(f'{configuration.read_text()}env_file = "{settings}"\n')
    names = {name: shutil.which(name) or "" for name in ("touch", "rm", "test")}
    monkeypatch.setenv("PATH", f"{recorders(tmp_path, names)}:{Path(sys.executable).parent}:/usr/bin:/bin")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", canaries["AWS"].value)
    monkeypatch.setenv("DATABASE_URL", f"mysql://app:{canaries['DATABASE_URL'].plain}@db1/shop")

    session = new_session(world)
    faults = tmp_path / "faults"
    faults.write_text(json.dumps({"kill": {}, "raise": {"snapshot.create.after": canaries["defect"].value}}))
    process = start_runner(session, str(faults), module="tests.engines.recipes.faulty")
    until(lambda: store.runner_mark(session) is not None, "the runner is there")
    allowed = {process.pid: GIVEN}
    watch = Watch(canaries, {process.pid}, allowed, world.folder / "state", frozenset(), tmp_path / "waiting")
    with watching(watch):
        asyncio.run(answering(session, process, say_yes))
    state = store.open_session(session).state
    assert state.ended is not None
    assert state.ended.how is Ending.SIGNED_OFF
    assert verify(session).wrong == ""
    assert "ValueError" in (session / "runner.log").read_text()
    assert watch.found == set()
    assert watch.private == {"env": "600"}
    ran = recorded(tmp_path)
    assert {int(name.partition(".")[2]) for name in ran} <= watch.looked_at
    assert {name.partition(".")[0] for name in ran} == set(names)
    assert not canaries.in_text(b"".join(ran.values()))
    assert canaries.in_files(world.folder / "state") == set()
    printed = "".join(typed("--config", configuration, *words).all for words in (("show",), ("report",), ("check",)))
    assert printed
    assert not canaries.in_text(printed)
