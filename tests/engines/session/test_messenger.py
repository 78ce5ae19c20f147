"""People are told what the session is at; a channel that hangs or refuses holds nothing up and is not forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from engines import tables
from engines.notify import About, Channel
from engines.people import Role
from engines.session import commands as c
from engines.session import events as e
from engines.session.moves import AskKind
from engines.session.notices import text_of, unsent
from engines.session.plan import GateKind, LossWindow, PlanKind
from engines.session.report import report
from engines.session.state import SessionState
from engines.session.verify import verify
from tests.engines.session.examples import (
    ANA,
    CONFIRM,
    SIGN_OFF,
    TYPED,
    begun,
    plan_made,
    runner_started,
    state_of,
    step,
)
from tests.engines.session.toy_session import ToySession, asks, has_left, sees, work_through
from tests.servers.fake_slack import FakeSlack, fake_slack
from tests.servers.waiting import until


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with fake_slack() as running:
        yield running


def channel(folder: Path, name: str, address: str, seconds: float = 10.0) -> dict[str, object]:
    file = folder / f"webhook-{name}"
    file.write_text(address)
    file.chmod(0o600)
    return tables.write(Channel(name, webhook_file=file, timeout=timedelta(seconds=seconds)))


def sent(state: SessionState, name: str) -> list[str]:
    return [str(notice.about) for notice in state.notices if name in notice.attempts and notice.attempts[name].ok]


async def test_each_stage_is_told_and_what_was_told_is_in_the_record(session: ToySession, slack: FakeSlack) -> None:
    kept = session.ground / "kept"
    command = tables.write(Channel("mail", command=("sh", "-c", f"cat >> {kept}"), on=(About.CLOSED,)))
    session.begin(notify=(channel(session.ground, "slack", slack.url), command))
    console = await session.console()
    await work_through(console)
    until(lambda: has_left(session), "the runner has left")
    state = session.state
    assert sent(state, "slack") == ["authorised", "started", "done", "closed"]
    assert sent(state, "mail") == ["closed"]
    assert unsent(state) == ()
    assert len(slack.texts) == 4
    assert "LOCAL toy" in slack.texts[0]
    assert "authorised by ana" in slack.texts[0]
    assert "CLOSED".lower() in kept.read_text()
    assert verify(session.folder).wrong == ""
    written = b"".join(path.read_bytes() for path in session.folder.rglob("*") if path.is_file())
    assert slack.secret.encode() not in written


async def test_a_channel_that_hangs_holds_nothing_up_and_is_shown_as_not_sent(
    session: ToySession, slack: FakeSlack
) -> None:
    slack.hangs = True
    session.begin(notify=(channel(session.ground, "slack", slack.url, seconds=3.0),))
    console = await session.console()
    await work_through(console)
    assert console.state.ended is not None
    assert not any(notice.attempts for notice in console.state.notices if notice.about is About.DONE), (
        "the restore was over before the first message had been given up"
    )
    until(lambda: has_left(session), "the runner has left")
    state = session.state
    assert sent(state, "slack") == []
    assert {why for _, _, why in unsent(state)} <= {"no answer within 3 s", "not tried yet"}
    assert "## Not sent" in report(state)
    assert "NOT SENT" not in slack.texts


async def test_what_did_not_arrive_is_sent_again_when_it_is_asked_for(session: ToySession, slack: FakeSlack) -> None:
    slack.answers = 503
    session.begin(notify=(channel(session.ground, "slack", slack.url),))
    console = await session.console()
    await work_through(console, asks(AskKind.SIGN_OFF))
    await sees(console, lambda state: all(notice.attempts for notice in state.notices))
    assert {why for _, _, why in unsent(console.state)} == {"the webhook answered 503"}
    slack.answers = 200
    await console.do(c.SendAgain())
    await sees(console, lambda state: unsent(state) == ())
    before = len(slack.texts)
    await work_through(console)
    until(lambda: has_left(session), "the runner has left")
    assert len(slack.texts) > before, "and what comes after it is told as well"
    assert unsent(session.state) == ()


async def test_one_that_a_dead_runner_did_not_send_is_sent_by_the_next(session: ToySession, slack: FakeSlack) -> None:
    slack.hangs = True
    session.begin(notify=(channel(session.ground, "slack", slack.url, seconds=60.0),))
    console = await session.console()
    await work_through(console, lambda state: bool(state.notices))
    until(lambda: slack.asked > 0, "it is under way")
    session.kill()
    await session.close()
    assert unsent(session.state)[0][2] == "not tried yet"
    slack.hangs = False
    slack.let_go.set()
    session.resume()
    again = await session.console()
    await sees(again, lambda state: unsent(state) == ())
    assert slack.texts


# -- what is told, without a runner -----------------------------------------------------------------------------

PLAN = plan_made(
    PlanKind.RESTORE,
    step("3.1", title="Stop", gates=(CONFIRM,)),
    step("3.2", title="Replace", gates=(TYPED,), destructive=True),
    step("5.1", gates=(SIGN_OFF,), role=Role.OWNER),
    approval=True,
)
BEFORE = (begun(incident={"incident": {"title": "Orders deleted"}}), runner_started(), PLAN)


def about(*events: e.Event) -> list[About]:
    return [notice.about for notice in state_of(*events).notices]


def test_break_glass_is_told_whatever_a_channel_is_told_of() -> None:
    alone = e.Approved(digest=PLAN.digest, actor=ANA, until="2026-11-22T16:00:00Z", break_glass="nobody answers")
    first = begun(notify=({"name": "quiet", "on": ["closed"]},))
    state = state_of(first, runner_started(), PLAN, alone)
    assert [(notice.about, name) for notice, name, _ in unsent(state)] == [(About.BREAK_GLASS, "quiet")]
    text = text_of(state, state.notices[0])
    assert "BREAK-GLASS" in text.splitlines()[0]
    assert "ALONE: nobody answers" in text
    risk = e.GateGiven("3.2", GateKind.ACCEPT, Role.COMMANDER, ANA, "", "nobody answers")
    let_pass = e.CheckOverridden("space", "FAIL", ANA, "x", "nobody answers")
    assert about(*BEFORE, risk, let_pass) == [About.BREAK_GLASS, About.BREAK_GLASS]


def test_a_failure_is_told_once_the_restore_has_begun_and_not_before() -> None:
    prepare = plan_made(PlanKind.PREPARE, step("2.4"))
    failed = (e.StepStarted("2.4", 1), e.StepEnded(step="2.4", result=e.Result.FAILED, message="other bytes"))
    assert about(begun(), runner_started(), prepare, *failed) == []
    failed = (e.StepStarted("3.1", 1), e.StepEnded(step="3.1", result=e.Result.UNKNOWN, message="no idea"))
    assert about(*BEFORE, *failed) == [About.STARTED, About.FAILED]
    assert "no idea" in state_of(*BEFORE, *failed).notices[1].what


def test_it_says_what_why_when_how_long_and_what_is_lost() -> None:
    lost = LossWindow("2026-11-22T11:00:00.000Z", "2026-11-22T11:41:00.000Z", 2460.0)
    told = e.PlanMade(replace(PLAN.plan, loss=lost, estimate=94.0), PLAN.digest)
    approved = e.Approved(digest=PLAN.digest, actor=ANA, until="2026-11-22T16:00:00Z")
    state = state_of(BEFORE[0], runner_started(), told, approved)
    assert text_of(state, state.notices[0]).splitlines() == [
        "[PRODUCTION shop] authorised",
        "The restore is authorised by ana, to start before 2026-11-22 16:00 UTC.",
        "Why: Orders deleted",
        "When: 2026-11-22 12:00 UTC",
        "From: b, VERIFIED, taken 2026-11-22 11:00 UTC",
        "Expected duration: 1:34 of work, people's waiting apart",
        "Data loss: 41 min of writes, from 2026-11-22 11:00 UTC to 2026-11-22 11:41 UTC",
        "Session: 2026-11-22T12-00-00Z-production-7f3a",
    ]


def test_what_is_typed_is_drawn_as_text_and_kept_short() -> None:
    state = state_of(*BEFORE, e.SessionEnded(e.Ending.ABANDONED, "\x1b]0;x\x07 " + "long " * 500))
    text = text_of(state, state.notices[-1])
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 400
