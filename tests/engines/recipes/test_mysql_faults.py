"""Servers that die, lines that break, programs that are killed: the session says so, and goes on or back exactly."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from engines.mysql.connect import Login, Place, write_option_file
from engines.mysql.flavour import Flavour
from engines.session import commands as c
from engines.session import store
from engines.session.client import Client
from engines.session.events import Ending
from engines.session.moves import Ask, AskKind, Wait, next_move
from engines.session.state import SessionState
from engines.text import utc_now
from tests.engines.recipes.mysql_ground import PREPARED, Ground, let_in, prepared
from tests.engines.recipes.mysql_world import programs_of
from tests.engines.recipes.world import MOST_SECONDS, answering, say_yes, start_runner
from tests.servers.databases import build_of, running
from tests.servers.proxy import Proxy, proxied
from tests.servers.waiting import until

PAUSING = "tests.engines.recipes.pausing"
LOGIN = Login("ops", "0ps'\"#\\;pass word")
GROUNDS = (
    (Flavour.MARIADB, "in-place"),
    (Flavour.MYSQL, "staged"),
    (Flavour.MARIADB, "staged"),
    (Flavour.MYSQL, "in-place"),
)


def faults_on(usual: int) -> pytest.MarkDecorator:
    """On all four, of which one is no torture: each fault has its own usual one, so that each of two is used by half.

    All tests of a ground are for one worker, since it takes its time to make.
    """
    grounds = []
    for number, (flavour, method) in enumerate(GROUNDS):
        name = f"{flavour.value}-{method}"
        marks = [pytest.mark.xdist_group(f"faults {name}"), *([pytest.mark.torture] if number != usual else [])]
        grounds.append(pytest.param((flavour, method), marks=marks, id=name))
    return pytest.mark.parametrize("_bench", grounds, indirect=True, scope="module")


usually_mariadb_in_place, usually_mysql_staged = faults_on(0), faults_on(1)
REPLAY = {"in-place": "3.9", "staged": "3.2"}
LOAD = {"in-place": "3.8", "staged": "3.1"}
DESTROYS = {"in-place": "3.8", "staged": "3.12"}  # the step that replaces the live schema

Harm = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Bench:
    ground: Ground
    method: str
    proxy: Proxy  # between the session and the server


@pytest.fixture(scope="module")
def _bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    flavour, method = request.param
    folder = tmp_path_factory.mktemp("faults")
    with running(build_of(flavour), "--local-infile=0") as server, programs_of(server), proxied(server.port) as proxy:
        ground = prepared(folder / "world", server, method, port=proxy.port, login=LOGIN)
        yield Bench(ground, method, proxy)


@pytest.fixture
def bench(_bench: Bench) -> Bench:
    """Everything as it was when the session waited for its approval, whatever the test before did."""
    power_back(_bench)()
    _bench.proxy.lead_to(_bench.ground.server.port)
    _bench.proxy.refuse(refusing=False)
    _bench.ground.reset(PREPARED)
    return _bench


def nothing() -> None:
    """No harm is done."""


@dataclass
class Answers:
    """The operator: says yes; where something failed, writes down what was said, mends it, tries again or undoes."""

    mend: Harm = nothing
    undo: bool = False
    at: tuple[str, AskKind] = ("", AskKind.CONFIRM)  # this ask, and
    harm: Harm = nothing  # what happens when it is asked, once
    undo_at: str = ""
    told: list[str] = field(default_factory=list)
    _harmed: bool = False

    async def __call__(self, client: Client) -> bool:
        ask = ask_of(client)
        if ask is None:
            return False
        if (ask.step, ask.kind) == self.at and not self._harmed:
            self._harmed = True
            self.harm()
        if self.undo_at and ask.step == self.undo_at and client.state.undo_asked is None:
            await client.do(c.Undo("the wrong dump"))
            return True
        if ask.kind is AskKind.DECIDE:
            self.told.append(ask.text)
            self.mend()  # in this thread: a server that it starts ends with the thread
            if self.undo and client.state.undo_asked is None:
                await client.do(c.Undo("it failed"))
                return True
        if ask.kind is AskKind.CHECKS:
            await client.do(c.Recheck(ask.checks[0]))
            return True
        return await say_yes(client)


def ask_of(client: Client) -> Ask | None:
    move = next_move(client.state, utc_now())
    return move.ask if isinstance(move, Wait) else None


def run(
    bench: Bench,
    answers: Callable[[Client], Awaitable[bool]],
    point: str = "",
    harm: Harm = nothing,
    patience: float = MOST_SECONDS,
) -> SessionState:
    """The approved session from its first step to its end; at `point` the runner waits until `harm` is done."""
    ground, place = bench.ground, bench.ground.world.folder / "waiting"
    place.unlink(missing_ok=True)
    process = start_runner(ground.session, point or "nowhere", str(place), module=PAUSING)
    harmed = threading.Event()

    def wait_and_harm() -> None:
        until(lambda: place.exists() or process.poll() is not None, f"the runner comes to {point}", patience)
        if place.exists():
            try:
                harm()
                harmed.set()
            finally:
                place.unlink()

    thread = threading.Thread(target=wait_and_harm)
    thread.start()
    try:
        asyncio.run(answering(ground.session, process, answers, seconds=patience))
    finally:
        thread.join()
    assert process.returncode == 0, (ground.session / "runner.log").read_text()[-3000:]
    assert not point or harmed.is_set(), f"never came to {point}"
    return store.open_session(ground.session).state


def ended_as(bench: Bench, state: SessionState, how: Ending) -> None:
    """The restored schema where it was signed off, the old one where it was undone; and nothing is left."""
    assert state.ended is not None
    assert state.ended.how is how
    ground = bench.ground
    assert ground.world.content() == (ground.world.good if how is Ending.SIGNED_OFF else ground.old)
    ground.as_it_should_be()


def without_defects(told: list[str]) -> None:
    for text in told:
        assert "Reinstate failed inside" not in text, text


def power_cut(bench: Bench) -> Harm:
    def cut() -> None:
        bench.ground.server.kill()

    return cut


def power_back(bench: Bench) -> Harm:
    def start() -> None:
        if bench.ground.server.process is None:
            bench.ground.server.start()

    return start


# -- the server dies ----------------------------------------------------------------------------------------------


@usually_mysql_staged
def test_a_server_that_dies_during_the_load_is_waited_for_and_the_load_goes_on(bench: Bench) -> None:
    answers = Answers(mend=power_back(bench))
    state = run(bench, answers, "table loaded", power_cut(bench))
    without_defects(answers.told)
    assert any("lost" in text or "No connection" in text for text in answers.told), answers.told
    ended_as(bench, state, Ending.SIGNED_OFF)


@usually_mariadb_in_place
def test_a_server_that_dies_during_the_replay_means_load_and_replay_from_the_start(bench: Bench) -> None:
    answers = Answers(mend=power_back(bench))
    state = run(bench, answers, "logged in", power_cut(bench))
    without_defects(answers.told)
    log = (bench.ground.session / "logs").glob(f"{REPLAY[bench.method].replace('.', '-')}*")
    assert "the dump is loaded again first" in "".join(path.read_text() for path in log) or answers.told
    ended_as(bench, state, Ending.SIGNED_OFF)


@usually_mysql_staged
def test_a_server_that_dies_during_the_replay_can_be_undone(bench: Bench) -> None:
    answers = Answers(mend=power_back(bench), undo=True)
    state = run(bench, answers, "applied", power_cut(bench))
    without_defects(answers.told)
    ended_as(bench, state, Ending.UNDONE)


@usually_mariadb_in_place
def test_a_server_that_dies_right_before_the_schema_is_replaced(bench: Bench) -> None:
    point = "new: rename the tables: before" if bench.method == "staged" else "drop.table.before"
    answers = Answers(mend=power_back(bench))
    state = run(bench, answers, point, power_cut(bench))
    without_defects(answers.told)
    assert answers.told
    ended_as(bench, state, Ending.SIGNED_OFF)


@usually_mysql_staged
def test_a_server_that_dies_on_the_way_back_is_waited_for_and_the_old_schema_comes_back(bench: Bench) -> None:
    point = "old: rename the tables: before" if bench.method == "staged" else "put-back.load.before"
    answers = Answers(mend=power_back(bench), undo_at="4.1")
    state = run(bench, answers, point, power_cut(bench))
    without_defects(answers.told)
    assert answers.told
    ended_as(bench, state, Ending.UNDONE)


# -- the line, the programs, the login ----------------------------------------------------------------------------


@usually_mariadb_in_place
def test_a_line_that_is_cut_during_the_load_is_taken_up_again(bench: Bench) -> None:
    answers = Answers()
    state = run(bench, answers, "rows sent", bench.proxy.cut)
    without_defects(answers.told)
    ended_as(bench, state, Ending.SIGNED_OFF)


@usually_mysql_staged
def test_a_line_that_stays_cut_is_said_and_nothing_is_left_turned_on_when_it_is_back(bench: Bench) -> None:

    def cut() -> None:
        bench.proxy.refuse()
        bench.proxy.cut()

    answers = Answers(mend=lambda: bench.proxy.refuse(refusing=False))
    state = run(bench, answers, "rows sent", cut)
    without_defects(answers.told)
    assert answers.told
    ended_as(bench, state, Ending.SIGNED_OFF)


@usually_mariadb_in_place
def test_a_line_that_stays_cut_is_said_and_an_undo_leaves_nothing_turned_on(bench: Bench) -> None:

    def cut() -> None:
        bench.proxy.refuse()
        bench.proxy.cut()

    answers = Answers(mend=lambda: bench.proxy.refuse(refusing=False), undo=True)
    state = run(bench, answers, "rows sent", cut)
    without_defects(answers.told)
    assert answers.told
    ended_as(bench, state, Ending.UNDONE)


@usually_mysql_staged
@pytest.mark.parametrize("victim", ["mysqlbinlog", "mysql"])
def test_a_client_program_that_is_killed_during_the_replay_fails_it_and_it_is_done_again(
    bench: Bench, victim: str
) -> None:
    ground = bench.ground

    def kill() -> None:
        children = store.open_session(ground.session).state.children
        assert children
        os.kill(children[-1].pid, signal.SIGKILL)

    answers = Answers()
    # The client is started first; when it has logged in, it is the only one.
    state = run(bench, answers, "logged in" if victim == "mysql" else "after ChildStarted", kill)
    without_defects(answers.told)
    assert answers.told
    ended_as(bench, state, Ending.SIGNED_OFF)


@usually_mariadb_in_place
def test_a_password_that_is_changed_during_the_load_is_asked_for_by_its_file_and_the_load_goes_on(bench: Bench) -> None:
    ground = bench.ground
    file = ground.world.folder / "login.cnf"
    mariadb, place = ground.server.flavour is Flavour.MARIADB, Place("127.0.0.1", bench.proxy.port)
    other = replace(LOGIN, password="an0ther-Pass")  # noqa: S106 - of a throwaway server

    def change() -> None:
        ground.server.sql(f"ALTER USER 'ops'@'127.0.0.1' IDENTIFIED BY '{other.password}'")
        bench.proxy.cut()

    def mend() -> None:
        if "1045" in answers.told[-1]:
            write_option_file(file, place, other, mariadb=mariadb)

    answers = Answers(mend=mend)
    try:
        state = run(bench, answers, "rows sent", change)
    finally:
        write_option_file(file, place, LOGIN, mariadb=mariadb)
    without_defects(answers.told)
    assert any("1045" in text and "login file" in text for text in answers.told), answers.told
    ended_as(bench, state, Ending.SIGNED_OFF)


# -- the wrong server, other bastions, other sessions -------------------------------------------------------------


@usually_mysql_staged
def test_another_server_at_the_address_is_refused_before_anything_is_touched(bench: Bench) -> None:
    ground = bench.ground
    with running(ground.server.build) as other:
        let_in(other, LOGIN)
        other.sql(f"CREATE DATABASE {ground.world.schema}")
        other.script(ground.old, ground.world.schema)
        stood = set(other.sql("SHOW DATABASES"))

        def mend() -> None:
            assert set(other.sql("SHOW DATABASES")) == stood
            kept = other.sql("SELECT COUNT(*) FROM made_later", database=ground.world.schema)
            assert kept == [(0,)]
            bench.proxy.lead_to(ground.server.port)

        step = DESTROYS[bench.method]
        answers = Answers(mend=mend, at=(step, AskKind.TYPED), harm=lambda: bench.proxy.lead_to(other.port))
        state = run(bench, answers)
    assert any("Another server answers" in text for text in answers.told), answers.told
    ended_as(bench, state, Ending.SIGNED_OFF)


@usually_mariadb_in_place
def test_a_second_bastion_is_refused_and_nothing_is_changed_until_it_is_gone(bench: Bench) -> None:
    ground = bench.ground
    other = ground.server.connection()

    def take() -> None:
        with other.cursor() as cursor:
            cursor.execute("SELECT GET_LOCK(%s, 0)", (f"reinstate:{ground.world.schema}",))
            assert cursor.fetchone() == (1,)

    def mend() -> None:
        assert ground.live() == "old"
        other.close()

    take()
    answers = Answers(mend=mend)
    state = run(bench, answers)
    assert "Another session of Reinstate is at work" in answers.told[0]
    assert len(answers.told) == 1
    ended_as(bench, state, Ending.SIGNED_OFF)


@usually_mysql_staged
def test_somebody_who_uses_the_schema_is_named_and_waited_for(bench: Bench) -> None:
    ground = bench.ground
    other = ground.server.connection(ground.world.schema)
    number = other.thread_id()  # type: ignore[no-untyped-call]  # the stubs leave it out

    def mend() -> None:
        assert ground.live() == "old"
        other.close()

    answers = Answers(mend=mend)
    state = run(bench, answers)
    assert "still in use" in answers.told[0]
    assert str(number) in answers.told[0]
    ended_as(bench, state, Ending.SIGNED_OFF)


def write(ground: Ground) -> None:
    ground.server.sql("INSERT INTO notes (told) VALUES ('paid meanwhile')", database=ground.world.schema)


def snapshots_with(ground: Ground, text: bytes) -> list[str]:
    import zstandard

    found = []
    for path in (ground.world.folder / "state" / "snapshots").rglob("*.sql.zst"):
        with path.open("rb") as file:
            if text in zstandard.ZstdDecompressor().stream_reader(file).read():
                found.append(path.name)
    return found


@usually_mariadb_in_place
def test_rows_written_after_the_snapshot_stop_the_destruction_and_are_kept_before_it_goes_on(bench: Bench) -> None:
    ground = bench.ground
    answers = Answers(at=(DESTROYS[bench.method], AskKind.TYPED), harm=lambda: write(ground))
    state = run(bench, answers)
    assert len(answers.told) == 1
    assert "was written to after it was kept" in answers.told[0]
    assert "1 transactions in notes" in answers.told[0]
    assert len(snapshots_with(ground, b"paid meanwhile")) == 1
    ended_as(bench, state, Ending.SIGNED_OFF)


@usually_mysql_staged
def test_rows_written_before_the_way_back_stop_it_and_are_kept_before_it_goes_on(bench: Bench) -> None:
    ground = bench.ground
    answers = Answers(undo_at="4.1", at=("6.7", AskKind.TYPED), harm=lambda: write(ground))
    state = run(bench, answers)
    assert len(answers.told) == 1
    assert "was written to after it was kept" in answers.told[0]
    assert len(snapshots_with(ground, b"paid meanwhile")) == 1
    ended_as(bench, state, Ending.UNDONE)
