"""Events, journals and states that several tests of the session start from."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engines.checks import Check, Panel, Verdict
from engines.people import Role
from engines.session.events import Actor, CheckDone, Entry, Event, PlanMade, RunnerStarted, SessionBegun, encode
from engines.session.journal import FIRST_PREV, Journal, line_digest, parse
from engines.session.plan import BackupIdentity, Gate, GateKind, Plan, PlanKind, Step, TargetIdentity, digest
from engines.session.state import SessionState, fold

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ANA = Actor("ana", "ana", console="a1")
PEOPLE: tuple[dict[str, object], ...] = (
    {"name": "ana", "login": "ana-op", "roles": ["database operator"]},
    {"name": "Ines Cruz", "login": "ines", "roles": ["incident commander"]},
    {"name": "omar", "login": "omar", "roles": ["application owner"]},
)


def begun(**changed: object) -> SessionBegun:
    usual: dict[str, object] = {
        "session": "2026-11-22T12-00-00Z-production-7f3a",
        "target": {"name": "shop"},
        "environment": "production",
        "engine": "text",
        "address": "/srv/shop.txt",
        "backup": {"name": "b", "path": "/backups/b"},
        "incident": {"id": "INC-1"},
        "people": PEOPLE,
        "approval": {"self_approval": ["local"], "window_seconds": 3600},
        "operator": ANA,
        "host": "bastion",
        "tool": "reinstate 0.1.0",
    }
    return SessionBegun(**{**usual, **changed})  # type: ignore[arg-type]  # the test says what it changes


def runner_started(reason: str = "begin") -> RunnerStarted:
    return RunnerStarted(pid=1, started=1, reason=reason, versions={"tool": "0.1.0"}, survives="itself")


def step(id_: str = "3.1", **changed: object) -> Step:
    usual: dict[str, object] = {"id": id_, "title": f"Step {id_}", "action": f"do-{id_}", "shows": ("true",)}
    return Step(**{**usual, **changed})  # type: ignore[arg-type]  # the test says what it changes


CONFIRM = Gate(GateKind.CONFIRM, Role.OPERATOR, "run it")
TYPED = Gate(GateKind.TYPED, Role.OPERATOR, "type the target's name")
ACCEPT = Gate(GateKind.ACCEPT, Role.COMMANDER, "the loss window is accepted")
SIGN_OFF = Gate(GateKind.SIGN_OFF, Role.OWNER, "the data is right")


def plan_made(kind: PlanKind, *steps: Step, revision: int = 1, approval: bool = False, nonce: str = "n") -> PlanMade:
    plan = Plan(
        kind=kind,
        revision=revision,
        session="s",
        made_at="2026-11-22T12:00:00.000Z",
        target=TargetIdentity("shop", "text", "production", "/srv/shop.txt"),
        backup=BackupIdentity("b", "/backups/b", 1, "2026-11-22T11:00:00.000Z", "0" * 64, "VERIFIED"),
        incident="INC-1",
        steps=steps,
        needs_approval=approval,
        nonce=nonce,
    )
    return PlanMade(plan, digest(plan))


def check_done(name: str, verdict: Verdict = Verdict.FAIL, panel: Panel = Panel.PREREQUISITES) -> CheckDone:
    return CheckDone(Check(name, panel, verdict, "evidence", "mend it"))


def lines(*events: Event) -> list[bytes]:
    """The journal of `events`, a second apart, without line breaks."""
    made: list[bytes] = []
    prev = FIRST_PREV
    for number, event in enumerate(events, 1):
        made.append(encode(Entry(number, NOON + timedelta(seconds=number), "ana", event, prev)))
        prev = line_digest(made[-1])
    return made


def content(journal: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in journal)


def journal_of(*events: Event) -> Journal:
    return parse(content(lines(*events)))


def state_of(*events: Event) -> SessionState:
    return fold(journal_of(*events).entries)


def session_folder(root: Path, *events: Event) -> Path:
    """A session folder with a journal of `events`, as a dead runner leaves it."""
    folder = root / "sessions" / "2026-11-22T12-00-00Z-production-7f3a"
    for part in ("logs", "private"):
        (folder / part).mkdir(parents=True)
    (folder / "journal.jsonl").write_bytes(content(lines(*events)))
    return folder
