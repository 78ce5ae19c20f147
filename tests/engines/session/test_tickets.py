"""Follow-ups become issues, each once: what is not known is looked for and never sent blindly."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from engines import tables
from engines.checks import Verdict
from engines.errors import Refused
from engines.people import Role
from engines.session import commands as c
from engines.session import events as e
from engines.session.credentials import credentials
from engines.session.filer import attempt
from engines.session.followups import follow_ups
from engines.session.moves import AskKind, check_command
from engines.session.plan import PlanKind
from engines.session.record import record
from engines.session.report import report
from engines.session.state import SessionState
from engines.session.tickets import STILL_MAKING, body_of, not_filed, outcome, title_of
from engines.session.verify import verify
from engines.surroundings import Tickets
from tests.engines.session.examples import (
    ANA,
    NOON,
    SIGN_OFF,
    begun,
    check_done,
    plan_made,
    runner_started,
    state_of,
    step,
)
from tests.engines.session.toy_session import ToySession, asks, has_left, sees, work_through
from tests.servers.fake_github import REPOSITORY, TOKEN, Failure, FakeGitHub, fake_github
from tests.servers.waiting import until

TODO = e.NoteAdded(ANA, "todo: alert on `mass` deletes @everyone")
LATER = NOON + timedelta(hours=1)


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGitHub]:
    monkeypatch.setenv("TICKETS_TOKEN", TOKEN)
    with fake_github() as running:
        yield running


def configured(github: FakeGitHub, seconds: float = 5.0) -> dict[str, object]:
    conf = Tickets(
        REPOSITORY,
        token_variable="TICKETS_TOKEN",  # noqa: S106 - a variable's name
        labels=("restore",),
        api=github.address,
        timeout=timedelta(seconds=seconds),
    )
    return tables.write(conf)


def asked(github: FakeGitHub, *more: e.Event, seconds: float = 5.0) -> SessionState:
    """A session with one follow-up of its own that is to be filed."""
    plan = plan_made(PlanKind.RESTORE, step("5.1", gates=(SIGN_OFF,), role=Role.OWNER))
    first = begun(tickets=configured(github, seconds))
    return state_of(first, runner_started(), plan, TODO, e.TicketsAsked(("todo-1",), ANA), *more)


def told(state: SessionState) -> list[str]:
    return [outcome(state, one) for one in state.tickets.values()]


# -- what is sent, and what becomes of it ----------------------------------------------------------------------------


def test_what_is_filed_has_its_number_on_the_page_in_the_record_and_in_the_report(github: FakeGitHub) -> None:
    state = asked(github)
    made = attempt(state, "todo-1", LATER)
    assert (made.result, made.number) == (e.Filing.FILED, 1)
    state = asked(github, made)
    assert follow_ups(state)[0].ticket == f"https://github.com/{REPOSITORY}/issues/1"
    assert record(state)["follow_up"][0]["filing"]["result"] == "filed"  # type: ignore[index]  # a table of tables
    assert "ana filed a ticket for todo-1" in report(state)
    assert [one.name for one in credentials(state)] == [f"GitHub token for {REPOSITORY}"]
    assert TOKEN not in report(state)


def test_a_title_is_one_line_and_a_body_is_no_markup(github: FakeGitHub) -> None:
    attempt(asked(github), "todo-1", LATER)
    (issue,) = github.issues
    assert issue["title"] == "alert on 'mass' deletes @everyone"
    body = str(issue["body"])
    inside = body.split("```")[1]
    assert "@everyone" in inside, "nobody is mentioned by it: it is in a block of code"
    assert "Owner:    nobody yet" in inside
    long = follow_ups(asked(github))[0]
    assert len(title_of(type(long)("k", "remediation", "word " * 200))) <= 200
    fenced = type(long)("k", "remediation", "```\nrm -rf\n```")
    assert body_of(asked(github), fenced).startswith("````text\n"), "its own fence does not end ours"


def test_a_refusal_is_shown_and_may_be_asked_again(github: FakeGitHub) -> None:
    github.fail(Failure(410, message="Issues are disabled for this repo", method="POST"))
    refused = attempt(asked(github), "todo-1", LATER)
    assert refused.result is e.Filing.NOT_FILED
    state = asked(github, refused)
    assert told(state)[0].startswith("NOT FILED: GitHub has that switched off there")
    check_command(state, c.FileTickets(("todo-1",)), ANA, LATER)
    again = asked(github, refused, e.TicketsAsked(("todo-1",), ANA))
    assert attempt(again, "todo-1", LATER).result is e.Filing.FILED
    assert len(github.issues) == 1


def test_one_whose_answer_was_lost_is_found_and_not_made_twice(github: FakeGitHub) -> None:
    github.fail(Failure(0, method="POST", after_effect=True))
    made = attempt(asked(github), "todo-1", LATER)
    assert (made.result, made.found, made.number) == (e.Filing.FILED, True, 1)
    assert len(github.issues) == 1


def test_one_that_may_still_come_true_is_only_looked_for(github: FakeGitHub) -> None:
    github.fail(Failure(0, method="POST"))
    lost = attempt(asked(github), "todo-1", LATER)
    assert (lost.result, lost.sent) == (e.Filing.UNKNOWN, True)
    again = asked(github, lost, e.TicketsAsked(("todo-1",), ANA))
    since = again.tickets["todo-1"].unsure_since
    assert since is not None
    early = attempt(again, "todo-1", since + timedelta(seconds=10))
    assert (early.result, github.issues) == (e.Filing.UNKNOWN, [])
    assert "makes it" in early.hint
    late = attempt(again, "todo-1", since + STILL_MAKING + timedelta(seconds=1))
    assert (late.result, len(github.issues)) == (e.Filing.FILED, 1)


def test_a_token_that_is_not_there_is_said_and_not_sent(github: FakeGitHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TICKETS_TOKEN")
    refused = attempt(asked(github), "todo-1", LATER)
    assert refused.result is e.Filing.NOT_FILED
    assert "TICKETS_TOKEN is not set" in refused.reason
    assert github.requests == []
    assert credentials(asked(github, refused)) == (), "it was not used"


def test_what_was_under_way_when_a_runner_died_is_not_known(github: FakeGitHub) -> None:
    state = asked(github, runner_started("resume"))
    assert told(state) == ["NOT KNOWN to be filed: the runner died while it was being filed"]
    assert [one.key for one, _ in not_filed(state)] == ["todo-1"]


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (("todo-2",), "There is no follow-up 'todo-2'"),
        (("todo-1",), "It has its ticket: https://"),
    ],
)
def test_what_can_not_be_filed_is_refused(github: FakeGitHub, keys: tuple[str, ...], why: str) -> None:
    state = asked(github, attempt(asked(github), "todo-1", LATER))
    with pytest.raises(Refused, match=why):
        check_command(state, c.FileTickets(keys), ANA, LATER)


def test_without_a_repository_nothing_is_filed(github: FakeGitHub) -> None:
    state = state_of(begun(), runner_started(), TODO)
    with pytest.raises(Refused, match="No repository for tickets is configured"):
        check_command(state, c.FileTickets(), ANA, LATER)


# -- with a runner ----------------------------------------------------------------------------------------------------


async def test_a_runner_files_what_is_asked_and_nothing_waits_for_github(
    session: ToySession, github: FakeGitHub
) -> None:
    session.begin(tickets=configured(github))
    console = await session.console()
    await work_through(console, asks(AskKind.SIGN_OFF))
    await console.do(c.Note("todo: alert on mass deletes"))
    github.fail(Failure(503, message="Unicorn", method="GET"))
    await console.do(c.FileTickets(("todo-1",)))
    await sees(console, lambda state: state.tickets["todo-1"].result is e.Filing.NOT_FILED)
    await console.do(c.FileTickets())
    await sees(console, lambda state: all(one.filed for one in state.tickets.values()))
    await console.do(c.FileTickets())  # the token is to be rotated, now that it was used
    await sees(console, lambda state: all(one.filed for one in state.tickets.values()))
    assert len(github.issues) == len(follow_ups(console.state))
    with pytest.raises(Refused, match="Every follow-up has its ticket"):
        await console.do(c.FileTickets())
    await work_through(console)
    until(lambda: has_left(session), "the runner has left")
    assert verify(session.folder).wrong == ""
    written = b"".join(path.read_bytes() for path in session.folder.rglob("*") if path.is_file())
    assert TOKEN.encode() not in written


async def test_one_that_was_cut_off_by_a_kill_is_looked_for_by_the_next(
    session: ToySession, github: FakeGitHub
) -> None:
    session.begin(tickets=configured(github))
    console = await session.console()
    await work_through(console, asks(AskKind.SIGN_OFF))
    await console.do(c.Note("todo: alert on mass deletes"))
    github.fail(Failure(silent=True, method="POST", after_effect=True))
    await console.do(c.FileTickets(("todo-1",)))
    until(lambda: len(github.issues) == 1, "GitHub has made it, and does not say so")
    session.kill()
    await session.close()
    session.resume()
    again = await session.console()
    assert told(again.state) == ["NOT KNOWN to be filed: the runner died while it was being filed"]
    await again.do(c.FileTickets(("todo-1",)))
    await sees(again, lambda state: state.tickets["todo-1"].filed)
    assert again.state.tickets["todo-1"].found
    assert len(github.issues) == 1


# -- credentials to rotate --------------------------------------------------------------------------------------------


def test_what_a_session_used_is_listed_by_name_and_its_key_stays_whatever_is_found_later() -> None:
    hook = {"name": "incidents", "webhook_env": "INCIDENT_WEBHOOK"}
    quiet = {"name": "quiet", "webhook_env": "OTHER", "on": ["closed"]}
    hosts = [{"address": "deploy@web1", "port": 2222, "identity": "/etc/key"}, {"address": "deploy@web2"}]
    first = begun(notify=(hook, quiet), target={"name": "shop", "application": {"host": hosts}})
    plan = plan_made(PlanKind.RESTORE, step("3.1"), approval=True)
    approved = e.Approved(digest=plan.digest, actor=ANA, until="2026-11-22T16:00:00Z")
    events = (
        first,
        runner_started(),
        check_done("host deploy@web1:2222", Verdict.OK),
        plan,
        approved,
        e.NoticeSent(5, "authorised", "incidents", ok=True, reason="", text=""),
    )
    before = {one.name: one.key for one in credentials(state_of(*events))}
    assert set(before) == {"SSH key for deploy@web1:2222", "address of the webhook incidents"}, (
        "what was not used is not"
    )
    user = {"credentials": [{"name": "database user app", "where": "/root/.my.cnf"}]}
    later = state_of(*events, e.StepStarted("3.1", 1), e.FactFound("3.1", user))
    assert next(one.name for one in credentials(later)) == "database user app"
    assert {one.name: one.key for one in credentials(later)}.items() >= before.items()
    tasks = [one.task for one in follow_ups(later) if one.kind == "credential"]
    assert "Rotate address of the webhook incidents ($INCIDENT_WEBHOOK): used in this session" in tasks
