"""From the restored database to the closed session: metrics of a real Prometheus, what the owner tries, follow-ups,
the security checklist, and the record of all that."""

from __future__ import annotations

import tomllib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engines.checklist import proposed
from engines.errors import Refused
from engines.session import commands as c
from engines.session.client import Client
from engines.session.followups import checklist_line, checklist_path, follow_ups
from engines.session.moves import AskKind, Wait, next_move, overriding
from engines.session.report import report
from engines.session.state import SessionState
from engines.session.store import open_session
from engines.session.verify import verify
from engines.text import utc_now
from tests.engines.recipes.world import World, answering, build, new_session, say_yes, start_runner
from tests.servers.prometheus import prometheus
from tests.servers.waiting import until

STARTED = datetime(2026, 11, 22, 20, 30, tzinfo=UTC)  # of the world's incident
CHECKLIST = "# Security\n\n| Date | What | Record |\n|---|---|---|\n| 2026-05-01 | restore drill | - |\n"
MORE = """
security_checklist = "docs/security-checklist.md"
functional_checks = ["authentication", "payment flow"]
[target.box.prometheus]
url = "{url}"
[[target.box.prometheus.metric]]
name = "error rate"
query = "errors"
max_rise_pct = 10
"""


def world_with(folder: Path, url: str) -> World:
    world = build(folder, "delete")
    (world.folder / "reinstate.toml").write_text((world.folder / "reinstate.toml").read_text() + MORE.format(url=url))
    docs = world.folder / "app" / "docs"
    docs.mkdir()
    (docs / "security-checklist.md").write_text(CHECKLIST)
    return world


def asked(state: SessionState) -> tuple[AskKind, tuple[str, ...]]:
    move = next_move(state, utc_now())
    return (move.ask.kind, move.ask.checks) if isinstance(move, Wait) else (AskKind.WORKING, ())


class Evening:
    """An operator, a commander and an owner who meet what comes after the restore."""

    def __init__(self) -> None:
        self.met: list[str] = []

    async def meet(self, client: Client) -> bool:
        kind, blocking = asked(client.state)
        if kind is AskKind.CHECKS and "metric: error rate" in blocking and "rechecked" not in self.met:
            self.met.append("rechecked")
            await client.do(c.Recheck("metric: error rate"))
            return True
        if kind is AskKind.CHECKS and "metric: error rate" in blocking:
            await client.do(overriding(client.state, "metric: error rate", "ivo", "a crawler, not our users"))
            return True
        if kind is AskKind.CHECKS and "functional: payment flow" in blocking:
            failed = client.state.answers.get("functional: payment flow")
            note = "" if failed else "the card form does not open"
            await client.do(c.Answer("functional: payment flow", passed=failed is not None, name="olu", note=note))
            return True
        if kind is AskKind.CHECKS and "functional: authentication" in blocking:
            with pytest.raises(Refused, match="tried by hand"):
                await client.do(c.Recheck("functional: authentication"))
            await client.do(
                overriding(client.state, "functional: authentication", "ivo", "single sign-on is down everywhere")
            )
            return True
        if kind is AskKind.SIGN_OFF and "noted" not in self.met:
            self.met.append("noted")
            await self.note(client)
            return True
        return await say_yes(client)

    async def note(self, client: Client) -> None:
        await client.do(c.Note("TODO: alert when the clean-up deletes more than 100 rows"))
        await client.do(c.Note("the pager was silent"))
        await client.do(c.FollowUp("todo-1", "alert on mass deletes", "bo", "2026-12-04", "OPS-9"))
        await client.do(c.FollowUp("", "document the clean-up", "cy"))
        path, line = Path(checklist_path(client.state)), checklist_line(client.state)
        edit = proposed(path, line)
        with pytest.raises(Refused, match="changed since it was shown"):
            await client.do(c.Checklist("0" * 64, edit.new_sha256))
        assert proposed(path, line) == edit
        await client.do(c.Checklist(edit.old_sha256, edit.new_sha256))
        assert proposed(path, line).old == edit.new


async def _through(world: World, meet: Callable[[Client], Awaitable[bool]]) -> Path:
    folder = new_session(world)
    process = start_runner(folder)
    await answering(folder, process, meet)
    return folder


async def test_what_comes_after_the_restore_is_asked_answered_and_recorded(tmp_path: Path) -> None:
    now = utc_now().replace(microsecond=0)
    minute = timedelta(minutes=1)
    errors = {STARTED - n * minute: 2.0 for n in range(4)} | {now + n * minute: 5.0 for n in range(-4, 5)}
    (tmp_path / "prometheus").mkdir()
    with prometheus(tmp_path / "prometheus", {"errors": errors}) as server:
        world = world_with(tmp_path / "world", server.url)
        evening = Evening()
        folder = await _through(world, evening.meet)
    until(lambda: open_session(folder).state.ended is not None, "it is over")
    state = open_session(folder).state
    record = tomllib.loads((folder / "session.toml").read_text())
    assert record["session"]["state"] == "signed off"

    metric = next(check for check in record["check"] if check["name"] == "metric: error rate")
    assert (metric["before"], metric["now"], metric["verdict"]) == (2.0, 5.0, "FAIL")
    assert metric["overridden_by"] == "ivo"
    tried = {one["tried"]: one for one in record["functional"]}
    assert [one["result"] for one in record["functional"] if one["tried"] == "payment flow"] == ["failed", "passed"]
    assert tried["payment flow"]["result"] == "passed"
    assert tried["payment flow"]["by"] == "olu"
    assert tried["authentication"]["result"] == "not answered"
    assert tried["authentication"]["overridden_by"] == "ivo"
    overridden = {one["what"] for one in record["deviation"] if one["what"].startswith("check overridden")}
    assert {one.split(" was ")[0].removeprefix("check overridden: ") for one in overridden} == {
        "metric: error rate",
        "functional: authentication",
    }

    found = {one["key"]: one for one in record["follow_up"]}
    assert found["todo-1"]["owner"] == "bo"
    assert found["todo-1"]["ticket"] == "OPS-9"
    assert found["added-1"]["task"] == "document the clean-up"
    assert found["review"]["due"] > f"{state.ended_at:%Y-%m-%d}"
    assert "checklist" not in found, "it is entered"
    assert record["checklist"]["old_sha256"] != record["checklist"]["new_sha256"]
    entered = (world.folder / "app" / "docs" / "security-checklist.md").read_text()
    assert entered.count(state.id) == 1
    assert [note["text"] for note in record["note"]][1:] == ["the pager was silent"]
    assert record["measures"]["loss"]["seconds"] > 0

    told = (folder / "report.md").read_text()
    assert told == report(state)
    for words in (
        "## Metrics",
        "| error rate | 2 | 5 | FAIL |",
        "| payment flow | passed | olu |",
        "alert on mass deletes",
    ):
        assert words in told
    assert verify(folder).wrong == ""
    assert [one.key for one in follow_ups(state)] == list(found)


async def test_a_metric_that_can_not_be_asked_bars_the_sign_off(tmp_path: Path) -> None:
    world = world_with(tmp_path / "world", "http://127.0.0.1:1")
    seen: list[str] = []

    async def meet(client: Client) -> bool:
        kind, blocking = asked(client.state)
        if kind is AskKind.CHECKS and "metric: error rate" in blocking:
            check = client.state.checks["metric: error rate"].check
            seen.append(f"{check.verdict} {check.evidence}")
            await client.do(c.Abandon("the test has seen enough"))
            return True
        return await say_yes(client)

    await _through(world, meet)
    assert seen[0].startswith("UNKNOWN not known now: no connection")
