"""No secret gets out: a whole session with canaries for secrets, in which much goes wrong, and every place is searched.

They are in the login file, in the environment that the operator's login has (credentials of the bucket, and settings
that client programs would take a password from), in the application's own settings, and in rows.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engines.mysql.connect import Login
from engines.mysql.flavour import Flavour
from engines.recipes.mysql.until import Kind, Until
from engines.session import commands as c
from engines.session import store
from engines.session.client import Client
from engines.session.events import Ending
from engines.session.moves import AskKind
from engines.session.verify import verify
from tests.engines.recipes.canaries import Canaries, Watch, recorded, recorders, watching
from tests.engines.recipes.mysql_ground import CODE, let_in
from tests.engines.recipes.mysql_world import GOOD, LATER, MysqlWorld, accept_all, build, new_session, programs_of
from tests.engines.recipes.test_mysql_faults import ask_of
from tests.engines.recipes.world import ROOT, answering, start_runner
from tests.servers.databases import Server, build_of, running
from tests.servers.s3 import ACCESS, REGION, S3Server
from tests.servers.waiting import until
from tests.tui.cli_ground import typed
from tests.tui.driving import at_the_console
from tests.tui.outsides import World
from tui.app import Opening
from tui.outside import Outside, real

FAULTY = "tests.engines.recipes.faulty"
GIVEN = frozenset({"S3 secret", "S3 token", "MYSQL_PWD", "DATABASE_URL"})  # in the operator's own environment
KEPT = frozenset({"row"})  # in staged dumps, logs and safety snapshots, and nowhere else
_TOOLS = {"mysql": "mysql", "mysqldump": "mysqldump", "mysqlbinlog": "mysqlbinlog"}


@dataclass(frozen=True, slots=True)
class Case:
    flavour: Flavour
    method: str
    client: str
    load: str  # the step that loads
    dies: str  # the point at which the server is killed
    undo: bool


CASES = (
    Case(Flavour.MARIADB, "in-place", "mysql", "3.8", "client.opened", undo=True),
    Case(Flavour.MYSQL, "staged", "own", "3.1", "rows sent", undo=False),
)


class Eyes(World):
    """The console's outside as it really is."""

    def outside(self) -> Outside:
        return real()


@dataclass
class Operator:
    """Says yes; changes the password before the load; mends what failed; looks at the console's pages each time."""

    world: MysqlWorld
    login: Login
    case: Case
    folder: Path
    frames: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    _locked_out: bool = False

    async def __call__(self, client: Client) -> bool:
        ask = ask_of(client)
        if ask is None:
            return False
        about_to_load = ask.step == self.case.load and ask.kind in (AskKind.CONFIRM, AskKind.TYPED)
        if about_to_load and not self._locked_out:
            self._locked_out = True
            self.world.server.sql("ALTER USER 'ops'@'127.0.0.1' IDENTIFIED BY 'another'")
        if ask.kind is AskKind.DECIDE and client.state.undo_asked is None:
            if self.world.server.process is not None and self.world.server.process.poll() is not None:
                self.world.server.kill()
                self.world.server.start()
            self.told.append(ask.text)
            if "1045" not in ask.text:  # each look takes a second or two
                await self.look()
            let_in(self.world.server, self.login)
        if self.case.undo and ask.step == "4.1" and client.state.undo_asked is None:
            await client.do(c.Undo("the wrong dump"))
            return True
        return await accept_all(client)

    async def look(self, pages: tuple[str, ...] = ("1", "2", "4", "5", "3", "l")) -> None:
        """The console on the session as it is: the page that it opens on, and others."""
        opening = Opening(folder=self.folder, name="eve", read_only=True)
        async with at_the_console(Eyes(), opening=opening, size=(120, 40)) as operator:
            await operator.sees("Restore")
            self.frames.append(operator.screen)
            for page in pages:
                await operator.press(page)
                self.frames.append(operator.screen)


@pytest.fixture(params=CASES, ids=lambda case: f"{case.flavour.value}-{case.method}")
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture
def server(case: Case) -> Iterator[Server]:
    with running(build_of(case.flavour), "--local-infile=0") as server, programs_of(server):
        yield server


@contextmanager
def plain_mode(folder: Path, session: Path) -> Iterator[Path]:
    """Somebody follows the session line by line; what is printed for them."""
    output = folder / "plain"
    command = (sys.executable, "-m", "tui.cli", "attach", session, "--plain")
    with output.open("wb") as file:
        environment = {**os.environ, "TERM": "dumb", "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=file, stderr=file, cwd=folder, env=environment
        )
    try:
        yield output
    finally:
        process.communicate(timeout=60)


def in_a_bucket(world: MysqlWorld, s3: S3Server) -> None:
    """The dumps are in a bucket, and nowhere else."""
    bucket = s3.bucket(f"secrets-{world.schema.replace('_', '-')}-{world.server.flavour.value}")
    client = s3.client()
    for path in (world.folder / "dumps").iterdir():
        client.put_object(Bucket=bucket, Key=f"nightly/{path.name}", Body=path.read_bytes())
    client.close()
    path = world.folder / "reinstate.toml"
    there = f'backups = "s3://{bucket}/nightly"\ns3_endpoint = "{s3.endpoint}"\ns3_region = "{REGION}"'
    path.write_text(path.read_text().replace(f'backups = "{world.folder}/dumps"', there))
    shutil.rmtree(world.folder / "dumps")


def test_no_secret_gets_out_of_a_session_in_which_much_goes_wrong(
    case: Case, server: Server, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canaries = Canaries("login", "S3 secret", "S3 token", ".env", "MYSQL_PWD", "DATABASE_URL", "row", "defect")
    login = Login("ops", canaries["login"].value)
    more = f'method = "{case.method}"\nclient = "{case.client}"\nlocal_infile = true\nconnections = 2'
    row = f"INSERT INTO notes (told) VALUES ('{canaries['row'].plain}');"
    world = build(tmp_path / "world", server, more=more, script=CODE + row, login=login)
    let_in(server, login)
    in_a_bucket(world, s3)
    settings = world.folder / "app" / ".env"
    settings.write_text(f"DB_PASSWORD='{canaries['.env'].value}'\nDSN=mysql://app:{canaries['.env'].plain}@db1/shop\n")
    configuration = world.folder / "reinstate.toml"
    configuration.write_text(f'{configuration.read_text()}env_file = "{settings}"\n')
    incident = world.folder / "incident.toml"
    incident.write_text(incident.read_text().replace(f"rows = {GOOD}", f"rows = {GOOD + LATER}"))

    names = {server.build.programs.get(name, name): server.build.program(name) for name in _TOOLS}
    names |= {name: shutil.which(name) or "" for name in ("touch", "rm", "test")}
    monkeypatch.setenv("PATH", f"{recorders(tmp_path, names)}:{os.environ['PATH']}")
    monkeypatch.delenv("AWS_SHARED_CREDENTIALS_FILE")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", canaries["S3 secret"].value)
    monkeypatch.setenv("AWS_SESSION_TOKEN", canaries["S3 token"].value)
    monkeypatch.setenv("MYSQL_PWD", canaries["MYSQL_PWD"].value)
    monkeypatch.setenv("DATABASE_URL", f"mysql://app:{canaries['DATABASE_URL'].plain}@db1/shop")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))

    session = new_session(world, Until(Kind.POSITION, world.bad))
    faults = tmp_path / "faults"
    said = f"near '{canaries['defect'].plain}'"
    faults.write_text(json.dumps({"kill": {case.dies: str(server.pid)}, "raise": {"logged in": said}}))
    process = start_runner(session, str(faults), module=FAULTY)
    until(lambda: bool((mark := store.runner_mark(session)) and mark.socket), "the runner is there")
    operator = Operator(world, login, case, session)
    watch = Watch(canaries, {process.pid}, {process.pid: GIVEN}, world.folder / "state", KEPT, tmp_path / "waiting")
    with plain_mode(tmp_path, session) as plain, watching(watch):
        asyncio.run(answering(session, process, operator))
    state = store.open_session(session).state
    assert state.ended is not None, (session / "runner.log").read_text()[-3000:]
    assert state.ended.how is (Ending.UNDONE if case.undo else Ending.SIGNED_OFF)
    assert verify(session).wrong == ""
    asyncio.run(operator.look(pages=("5",)))

    # All of it went wrong, and every kind of program ran.
    told = "\n".join(operator.told)
    assert "1045" in told, told
    assert "Reinstate failed inside this step: ValueError" in told, told
    assert len(operator.told) >= 3, told
    ran = recorded(tmp_path)
    assert {int(name.partition(".")[2]) for name in ran} <= watch.looked_at
    assert {name.partition(".")[0] for name in ran} == set(names)
    assert watch.looks > 50
    assert watch.found == set()
    assert "env" in watch.private
    assert {re.sub(r"-[0-9a-f]{8}", "", name) for name in watch.private} <= {"client.cnf", "replay.cnf", "env"}
    assert {name: canaries.in_text(content) for name, content in ran.items() if canaries.in_text(content)} == {}
    assert canaries.in_files(session) == set()
    assert canaries.in_files(world.folder / "state", but=KEPT) == set()
    assert canaries.in_files(temporary) == set()
    assert not list((session / "private").iterdir())
    assert "4.1" in plain.read_text()
    assert canaries.in_text(plain.read_bytes()) == set()
    assert canaries.in_text("\n".join(operator.frames)) == set()

    # What the commands print of it, and of a login and a bucket that are refused.
    monkeypatch.setenv("AWS_SESSION_TOKEN", canaries["S3 token"].value)
    archive = tmp_path / "export.tar.gz"
    printed = ""
    for words in (
        ("show", "last"), ("show", "last", "--json"), ("report", "last"), ("verify", "last"), ("sessions",),
        ("backups", "--unchecked"), ("plan",), ("check",), ("export", "last", "--to", str(archive), "--logs"),
    ):  # fmt: skip
        printed += typed("--config", configuration, *words).all
    server.sql("ALTER USER 'ops'@'127.0.0.1' IDENTIFIED BY 'another'")
    printed += typed("--config", configuration, "check").all
    assert "1045" in printed
    assert canaries.in_text(printed) == set()
    assert canaries.in_archive(archive) == set()
