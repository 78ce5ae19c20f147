"""A whole session with a real runner process: its course, its consoles, and every way of interrupting it."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from engines.children import Child, alive
from engines.errors import Refused, RestoreError
from engines.people import Role
from engines.session import commands as c
from engines.session.events import CheckDone, Ending, KeyboardTaken, NoteAdded, Rejected, RunnerStarted, StepEnded
from engines.session.journal import read
from engines.session.moves import AskKind
from engines.session.plan import GateKind
from engines.session.sockets import runtime_folder
from engines.session.state import SessionState, Status
from engines.session.verify import verify
from tests.engines.session.toy_session import (
    Condition,
    RunnerGone,
    ToySession,
    answer,
    asks,
    becomes,
    gone,
    no_runner_left,
    sees,
    toy_session,
    work_through,
)
from tests.servers.waiting import until


def running(step: str) -> Condition:
    return lambda state: state.running is not None and state.running.id == step


def sockets() -> set[str]:
    return {str(path) for path in runtime_folder().glob("*.sock")}


async def finish(session: ToySession, pid: int) -> None:
    """Carry a session to its end from a console, and see its runner go."""
    console = await session.console()
    try:
        await work_through(console)
        await sees(console, lambda _: not console.alive)
    finally:
        await console.close()
    gone(pid)


async def test_a_session_runs_from_start_to_a_record_that_holds(session: ToySession) -> None:
    runner = session.begin()
    await finish(session, runner.pid)
    assert session.target.read_text() == "backup\n"
    assert session.state.ended is not None
    assert session.state.ended.how is Ending.SIGNED_OFF
    found = verify(session.folder / "session.toml")
    assert found.verdict == "CONSISTENT", found
    assert session.mark is None
    assert runner.socket not in sockets()
    assert not (session.ground / "target.reinstate.lock").exists()
    expected = ["journal.jsonl", "logs", "plan.toml", "private", "report.md", "runner.log", "runner.pid"]
    assert sorted(path.name for path in session.folder.iterdir()) == [*expected, "session.toml"]


async def test_everything_in_the_folder_is_its_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        session = toy_session(tmp_path)
        with no_runner_left(session):
            runner = session.begin()
            await finish(session, runner.pid)
    finally:
        os.umask(before)
    for path in (session.folder, *session.folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


async def test_a_second_session_of_the_target_is_refused_and_leaves_no_folder(
    session: ToySession, tmp_path: Path
) -> None:
    session.begin()
    second = toy_session(tmp_path, state=tmp_path / "another-state")
    with pytest.raises(Refused, match="is restoring this target now") as refused:
        second.begin()
    assert f"reinstate attach {session.folder}" in refused.value.hint
    assert not second.folder.exists()
    session.kill()
    third = toy_session(tmp_path, state=tmp_path / "another-state")
    with pytest.raises(Refused, match="is unfinished") as refused:
        third.begin()
    assert f"reinstate resume {session.folder}" in refused.value.hint
    assert not third.folder.exists()


async def test_a_session_has_one_runner_only(session: ToySession) -> None:
    first = session.begin()
    assert session.resume() == first
    assert len([entry for entry in read(session.folder / "journal.jsonl").entries if _started(entry.event)]) == 1


def _started(event: object) -> bool:
    return isinstance(event, RunnerStarted)


async def test_a_console_that_is_killed_loses_nothing_and_the_next_takes_its_keyboard(session: ToySession) -> None:
    (session.ground / "wait").touch()
    runner = session.begin()
    first = await session.console()
    await work_through(first, running("3.3"))
    first._writer.transport.abort()
    await first.close()
    (session.ground / "wait").unlink()
    second = await session.console("bob")
    await sees(second, asks(AskKind.SIGN_OFF))
    assert session.target.read_text() == "backup\n"
    assert second.state.keyboard is not None
    assert second.state.keyboard.console == first.console
    await second.do(c.Undo("to see who holds the keyboard"))
    assert second.state.keyboard.console == second.console
    assert second.state.handovers[-1][1].reason == "the console that held it is gone"
    await second.close()
    await finish(session, runner.pid)
    assert session.state.ended is not None
    assert session.state.ended.how is Ending.UNDONE
    assert session.target.read_text() == "live\n"


async def test_of_two_consoles_one_has_the_keyboard_and_a_takeover_is_recorded(session: ToySession) -> None:
    runner = session.begin()
    ana, bob = await session.console("ana"), await session.console("bob")
    await work_through(ana, asks(AskKind.TYPED))
    await sees(bob, asks(AskKind.TYPED))
    command = answer(bob.state)
    assert command is not None
    with pytest.raises(Refused, match="ana holds the keyboard"):
        await bob.do(command)
    with pytest.raises(Refused, match="needs a reason"):
        await bob.do(c.TakeKeyboard("bob", ""))
    await bob.do(c.Note("a watcher may take notes"))
    await bob.do(c.TakeKeyboard("bob", "ana's line is slow"))
    await sees(ana, lambda state: state.keyboard is not None and state.keyboard.name == "bob")
    with pytest.raises(Refused, match="bob holds the keyboard"):
        await ana.do(command)
    await work_through(bob)
    await ana.close()
    await bob.close()
    gone(runner.pid)
    taken = [entry.event for entry in read(session.folder / "journal.jsonl").entries]
    assert "ana's line is slow" in {event.reason for event in taken if isinstance(event, KeyboardTaken)}
    assert verify(session.folder).verdict == "CONSISTENT"


async def test_a_watchers_note_does_not_take_the_keyboard_of_a_console_that_is_gone(session: ToySession) -> None:
    session.begin()
    ana = await session.console("ana")
    await work_through(ana, asks(AskKind.TYPED))
    await ana.close()
    bob = await session.console("bob")
    await bob.do(c.Note("ana's line is cut"))
    assert bob.state.keyboard is not None
    assert bob.state.keyboard.console == ana.console
    await bob.close()


async def test_two_consoles_that_press_the_same_key_start_the_step_once(session: ToySession) -> None:
    session.begin()
    ana = await session.console("ana")
    await work_through(ana, asks(AskKind.CONFIRM))
    command = answer(ana.state)
    assert command is not None
    answers = await asyncio.gather(*(ana.do(command) for _ in range(20)), return_exceptions=True)
    assert Counter(type(given).__name__ for given in answers) == {"NoneType": 1, "Refused": 19}
    await ana.close()


async def test_a_refused_approval_is_kept_in_the_record(session: ToySession) -> None:
    runner = session.begin(environment="production")
    ana = await session.console("ana")
    await sees(ana, asks(AskKind.APPROVE))
    with pytest.raises(Refused, match="does not approve their own plan"):
        await ana.do(c.Approve(ana.state.plan_digest, "ana"))
    with pytest.raises(Refused, match="names plan"):
        await ana.do(c.Approve("0" * 64, "ines"))
    await ana.do(c.Abandon("nobody to approve"))
    await ana.close()
    gone(runner.pid)
    kept = [entry.event for entry in read(session.folder / "journal.jsonl").entries]
    assert len([event for event in kept if isinstance(event, Rejected)]) == 2
    assert not any(isinstance(event, NoteAdded) for event in kept)  # the end itself has the reason
    assert b"does not approve their own plan" in (session.folder / "session.toml").read_bytes()
    assert verify(session.folder).verdict == "CONSISTENT"


async def test_a_check_that_blocks_is_asked_again_or_overridden(session: ToySession) -> None:
    (session.ground / "bad-ground").touch()
    session.begin()
    ana = await session.console("ana")
    await sees(ana, asks(AskKind.CHECKS))
    await ana.do(c.Recheck("ground"))
    assert ana.state.checks["ground"].blocks
    (session.ground / "bad-ground").unlink()
    await ana.do(c.Recheck("ground"))
    await sees(ana, asks(AskKind.APPROVE))
    await ana.close()


async def test_what_is_said_behind_the_end_does_not_break_the_record(session: ToySession) -> None:
    runner = session.begin()
    ana = await session.console("ana")
    await sees(ana, asks(AskKind.APPROVE))
    flood = [ana.do(c.Recheck("ground")) for _ in range(5)]
    late = [ana.do(c.Abandon("enough")), *(ana.do(c.Note(f"late {number}")) for number in range(20))]
    tried = [ana.do(c.Approve(ana.state.plan_digest, "ana")) for _ in range(5)]
    await asyncio.gather(*flood, *late, *tried, return_exceptions=True)
    await ana.close()
    gone(runner.pid)
    assert session.state.ended is not None
    assert verify(session.folder).verdict == "CONSISTENT", verify(session.folder)
    entries = [entry.event for entry in read(session.folder / "journal.jsonl").entries]
    over = next(number for number, event in enumerate(entries) if type(event).__name__ == "SessionEnded")
    assert not any(isinstance(event, (CheckDone, StepEnded)) for event in entries[over:])


async def test_another_backup_chosen_before_the_restore_is_the_one_restored(session: ToySession) -> None:
    (session.ground / "other").write_text("other backup\n")
    runner = session.begin()
    ana = await session.console("ana")
    await work_through(ana, asks(AskKind.CONFIRM))
    await ana.do(c.Choose({"name": "other", "path": str(session.ground / "other")}))
    await sees(ana, asks(AskKind.APPROVE))
    await ana.close()
    await finish(session, runner.pid)
    assert session.target.read_text() == "other backup\n"
    assert len(list((session.folder / "logs").glob("02-01*"))) == 2
    assert verify(session.folder).verdict == "CONSISTENT"


async def test_a_report_that_people_wrote_on_in_is_left_alone(session: ToySession) -> None:
    runner = session.begin()
    await finish(session, runner.pid)
    report = session.folder / "report.md"
    assert "| Outcome | signed off |" in report.read_text()
    written_on = report.read_text() + "\nThe alert was too late.\n"
    report.write_text(written_on)
    with pytest.raises(Refused, match="is over"):
        session.resume()
    assert report.read_text() == written_on
    assert not verify(session.folder).wrong


async def test_a_defect_in_a_recipe_leaves_a_session_that_can_be_abandoned(session: ToySession) -> None:
    session.begin(backup={"name": "no path"})
    ana = await session.console("ana")
    await sees(ana, asks(AskKind.CHOOSE))
    assert ana.state.plan_refused is not None
    assert "KeyError" in ana.state.plan_refused.message
    await ana.do(c.Abandon("a defect"))
    assert ana.state.ended is not None
    await ana.close()


async def test_a_step_whose_log_is_lost_has_ended_all_the_same(session: ToySession) -> None:
    session.begin()
    console = await session.console()
    await work_through(console, asks(AskKind.TYPED))
    (session.ground / "wait").touch()
    await console.do(c.Give("3.3", GateKind.TYPED, Role.OPERATOR, text="toy"))
    await sees(console, running("3.3"))
    log = session.folder / "logs" / "03-03-replace.log"
    until(log.exists, "the step has its log")
    log.unlink()
    (session.ground / "wait").unlink()
    await sees(console, asks(AskKind.SIGN_OFF))
    replaced = session.state.step("3.3")
    assert replaced is not None
    assert replaced.status is Status.DONE
    assert replaced.log is None
    assert "The step's log could not be kept: No such file or directory." in replaced.message
    await work_through(console)
    assert session.state.ended is not None


async def test_a_refusal_is_journalled_as_one_and_another_failure_is_not(session: ToySession) -> None:
    session.begin()
    console = await session.console()
    await work_through(console, asks(AskKind.TYPED))
    for obstacle in ("not-now", "broken"):
        (session.ground / obstacle).touch()
        await console.do(c.Give("3.3", GateKind.TYPED, Role.OPERATOR, text="toy"))
        await sees(console, asks(AskKind.DECIDE))
        (session.ground / obstacle).unlink()
        await console.do(c.Retry("3.3"))
        await sees(console, asks(AskKind.TYPED))
    events = [entry.event for entry in read(session.folder / "journal.jsonl").entries]
    tried = [event.refused for event in events if isinstance(event, StepEnded) and event.step == "3.3"]
    assert tried == [True, False]


async def test_a_stopped_step_fails_before_it_did_anything_and_can_be_tried_again(session: ToySession) -> None:
    (session.ground / "wait").touch()
    runner = session.begin()
    ana = await session.console("ana")
    await work_through(ana, running("3.3"))
    await ana.do(c.Stop("3.3"))
    await sees(ana, asks(AskKind.DECIDE))
    assert session.target.read_text() == "live\n"
    (session.ground / "wait").unlink()
    await ana.close()
    await finish(session, runner.pid)
    assert session.target.read_text() == "backup\n"
    replaced = session.state.step("3.3")
    assert replaced is not None
    assert replaced.attempt == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_runner_told_to_go_stops_at_a_safe_place_and_the_session_is_resumed(
    number: signal.Signals, session: ToySession
) -> None:
    (session.ground / "wait").touch()
    runner = session.begin()
    ana = await session.console("ana")
    await work_through(ana, running("3.3"))
    os.kill(runner.pid, number)
    await sees(ana, lambda _: not ana.alive)
    await ana.close()
    gone(runner.pid)
    state = session.state
    assert state.ended is None
    assert state.running is None
    assert state.next_step is not None
    assert state.next_step.status is Status.FAILED
    assert session.target.read_text() == "live\n"
    (session.ground / "wait").unlink()
    await finish(session, session.resume().pid)
    assert session.target.read_text() == "backup\n"
    assert session.state.resumes == 1
    assert verify(session.folder).verdict == "CONSISTENT"


async def test_what_a_dead_runner_left_running_is_ended_before_anything_else(session: ToySession) -> None:
    (session.ground / "slow-child").touch()
    session.begin()
    ana = await session.console("ana")
    await work_through(ana, lambda state: any("sleep" in child.command for child in state.children))
    left = ana.state.children[-1]
    becomes(left.pid, "sleep")
    session.kill()
    await ana.close()
    child = Child(left.pid, left.started)
    assert alive(child)
    (session.ground / "slow-child").unlink()
    runner = session.resume()
    assert not alive(child)
    state = session.state
    assert state.children == ()
    cut_off = state.step("3.3")
    assert cut_off is not None
    assert cut_off.status is Status.UNKNOWN
    assert "Probed now: the target says 'live'" in cut_off.message
    await finish(session, runner.pid)
    assert session.target.read_text() == "backup\n"


async def test_a_journal_damaged_while_nobody_looked_is_not_resumed(session: ToySession) -> None:
    session.begin()
    ana = await session.console("ana")
    await sees(ana, asks(AskKind.APPROVE))
    session.kill()
    await ana.close()
    path = session.folder / "journal.jsonl"
    damaged = path.read_bytes().replace(b'"production"', b'"local"', 1).replace(b'"look"', b'"Look"', 1)
    path.write_bytes(damaged)
    with pytest.raises(RestoreError, match=r"Journal line \d+"):
        session.resume()
    assert path.read_bytes() == damaged
    assert session.folder.exists()


async def test_a_session_that_ended_is_not_resumed_and_stays(session: ToySession) -> None:
    runner = session.begin()
    await finish(session, runner.pid)
    with pytest.raises(Refused, match="is over"):
        session.resume()
    assert session.folder.exists()
    assert not (session.ground / "target.reinstate.lock").exists()


@pytest.mark.parametrize("content", [b"", b"garbage", b"[]", b'{"session": 7}', b"\xff"])
async def test_a_beginning_that_can_not_be_read_is_refused_in_a_sentence(content: bytes, session: ToySession) -> None:
    (session.folder / "begin.json").write_bytes(content)
    with pytest.raises(RestoreError, match="Nothing was begun") as error:
        session.resume()
    assert "Traceback" not in error.value.message
    assert "reinstate restore" in error.value.hint


# -- kill -9 of the runner, at each point that a whole session passes ---------------------------------------


async def resumed(session: ToySession, way: str) -> str:
    """Resume it and drive it to its end. Where only the end was missing, its runner may be gone before we look."""
    try:
        runner = session.resume()
        outcome = await drive(session, way)
        gone(runner.pid)
    except (RestoreError, RunnerGone):
        state = await ended_soon(session)
        assert state.ended is not None
        return str(state.ended.how)
    return outcome


async def ended_soon(session: ToySession) -> SessionState:
    async with asyncio.timeout(20):
        while session.state.ended is None or session.mark is not None:  # noqa: ASYNC110 - another process ends it
            await asyncio.sleep(0.01)
    return session.state


async def drive(session: ToySession, way: str) -> str:
    """From a resumed runner to the session's end. The outcome in words."""
    console = await session.console()
    try:
        _assert_nothing_runs_unseen(console.state)
        if way == "abandon":
            await sees(console, lambda state: state.running is None and answer(state) is not None)
            await console.do(c.Abandon("enough"))
        elif way == "undo":
            await sees(console, lambda state: answer(state) is not None or state.ended is not None)
            if console.state.ended is None:
                await console.do(c.Undo("wrong one"))
        await work_through(console)
        await sees(console, lambda _: not console.alive)
        assert console.state.ended is not None
        return str(console.state.ended.how)
    finally:
        await console.close()


def _assert_nothing_runs_unseen(state: SessionState) -> None:
    assert state.children == ()
    for known in state.steps:
        if known.status is Status.UNKNOWN:
            assert "Probed now" in known.message


async def killed_at(number: int, way: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Kill the runner at its point of that number, resume it, and take it to an end the given way."""
    session = toy_session(root / f"{way}-{number}")
    with no_runner_left(session):
        points = session.ground / "points"
        monkeypatch.setenv("TOY_POINTS", str(points))
        monkeypatch.setenv("TOY_KILL", str(number))
        mark = None
        with suppress(RestoreError, RunnerGone):  # it died before it answered, or while it was asked
            mark = session.begin()
            await work_through(await session.console())
        await session.close()
        if mark is not None:
            gone(mark.pid)
        assert len(points.read_text().splitlines()) == number
        monkeypatch.setenv("TOY_KILL", "0")
        before = session.target.read_text()
        assert before in ("live\n", "backup\n")
        if (session.folder / "journal.jsonl").exists() and session.state.ended is not None:
            outcome = "over before the kill"
        else:
            outcome = await resumed(session, way)
        expected = {"signed off": "backup\n", "over before the kill": "backup\n"}
        if way == "undo" and outcome == "undone":
            assert session.target.read_text() == "live\n"
        elif way != "abandon":
            assert session.target.read_text() == expected[outcome]
        found = verify(session.folder)
        assert not found.wrong, found
        return f"{way} → {outcome}"


async def points_of_a_whole_session(root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    session = toy_session(root / "whole")
    monkeypatch.setenv("TOY_POINTS", str(session.ground / "points"))
    with no_runner_left(session):
        await finish(session, session.begin().pid)
    return (session.ground / "points").read_text().splitlines()


async def noted(number: int, points: list[str], way: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    try:
        return await killed_at(number, way, root, monkeypatch)
    except BaseException as error:
        error.add_note(f"killed at point {number}, {points[number - 1]}, then {way}")
        raise


WAYS = ("go on", "undo", "abandon")


async def test_killed_at_any_point_a_session_is_resumed_and_ends_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The always-run sample: points spread over the session, each way in turn."""
    points = await points_of_a_whole_session(tmp_path, monkeypatch)
    for turn, number in enumerate(range(1, len(points) + 1, 7)):
        await noted(number, points, WAYS[turn % 3], tmp_path, monkeypatch)


@pytest.mark.torture
async def test_killed_at_every_point_a_session_is_resumed_and_ends_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = await points_of_a_whole_session(tmp_path, monkeypatch)
    outcomes: Counter[str] = Counter()
    for number in range(1, len(points) + 1):
        for way in WAYS:
            outcomes[await noted(number, points, way, tmp_path, monkeypatch)] += 1
    told = ", ".join(f"{outcome} {count}" for outcome, count in sorted(outcomes.items()))
    os.write(2, f"\nrunner killed at {len(points)} points, three ways each: {told}\n".encode())


def test_a_session_that_was_asked_for_and_never_begun_can_be_begun(session: ToySession) -> None:
    session.begin_later()
    assert session.resume().pid
    assert session.state.begun is not None
    assert not (session.folder / "begin.json").exists()


def test_gates_are_known_by_name() -> None:
    assert {gate.value for gate in GateKind} <= {kind.value for kind in AskKind}
