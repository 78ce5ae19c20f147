"""A recipe that restores a text file: the session's machinery without a database. Run as a runner by the tests."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from engines.checks import Check, fail, ok
from engines.errors import Refused, RestoreError
from engines.people import Role
from engines.process import Command
from engines.session.events import SessionBegun
from engines.session.main import main
from engines.session.plan import (
    BackupIdentity,
    Gate,
    GateKind,
    Plan,
    PlanKind,
    Step,
    TargetIdentity,
)
from engines.session.recipe import Finding
from engines.session.state import SessionState
from engines.session.work import Work

CONFIRM = Gate(GateKind.CONFIRM, Role.OPERATOR, "run it")


class Toy:
    """Copies `backup` over `target`; files in the target's folder make things fail or wait."""

    def _plan(self, state: SessionState, kind: PlanKind, steps: tuple[Step, ...], *, approval: bool = False) -> Plan:
        assert state.begun is not None
        return Plan(
            kind=kind,
            revision=state.latest_revision + 1,
            session=state.id,
            made_at="2026-11-22T20:00:00.000Z",
            target=TargetIdentity("toy", "text", state.begun.environment, state.begun.address),
            backup=BackupIdentity("b", str(state.backup["path"]), 1, "2026-11-22T19:00:00.000Z", "0" * 64, "VERIFIED"),
            incident="INC-1",
            steps=steps,
            needs_approval=approval,
            nonce=f"{kind}-{state.last_seq}",
        )

    def prepare(self, state: SessionState) -> Plan:
        return self._plan(state, PlanKind.PREPARE, (Step(id="2.1", title="Look", action="look", shows=("look",)),))

    def restore(self, state: SessionState) -> Plan:
        typed = Gate(GateKind.TYPED, Role.OPERATOR, "type the target's name")
        done = Gate(GateKind.SIGN_OFF, Role.OWNER, "the data is right")
        return self._plan(
            state,
            PlanKind.RESTORE,
            (
                Step(id="3.1", title="Stop", action="stop", shows=("stop",), gates=(CONFIRM,), undo="start again"),
                Step(id="3.2", title="Not there", action="none", shows=("not configured",), configured=False),
                Step(
                    id="3.3",
                    title="Replace",
                    action="replace",
                    shows=("cp backup target",),
                    gates=(typed,),
                    destructive=True,
                    undo="the old file",
                ),
                Step(id="5.1", title="Sign off", action="sign", role=Role.OWNER, shows=("sign",), gates=(done,)),
            ),
            approval=True,
        )

    def undo(self, state: SessionState) -> Plan:
        step = Step(
            id="6.1",
            title="Put back",
            action="back",
            shows=("put back",),
            gates=(CONFIRM,),
            params={"puts_right": "replace"},
        )
        return self._plan(state, PlanKind.UNDO, (step,))

    def perform(self, work: Work) -> Mapping[str, object]:
        begun = work.state.begun
        assert begun is not None
        target = Path(begun.address)
        beside = target.parent
        work.say(f"begin {work.step.action}")
        match work.step.action:
            case "look":
                work.check(self.check("ground", work.state))
            case "stop":
                work.must(Command(("sh", "-c", "echo stopped"), timeout=10), "Stopping", "look at the log")
            case "replace":
                while (beside / "wait").exists() and not work.stopped():
                    work.progress(1, 2, "steps")
                    time.sleep(0.01)
                if work.stopped():
                    raise RestoreError("Stopped before anything was replaced.", "Try again (r).")
                if (beside / "not-now").exists():
                    raise Refused("Not now. Nothing was replaced.", "Remove not-now.")
                if (beside / "broken").exists():
                    raise RestoreError("Broken half-way.", "Remove broken.")
                if (beside / "slow-child").exists():
                    work.must(Command(("sleep", "300"), timeout=400), "Sleeping", "look")
                shutil.copy(target, beside / "old")
                shutil.copy(str(work.state.backup["path"]), target)
            case "back":
                if (beside / "old").exists():
                    shutil.copy(beside / "old", target)
        return {"action": work.step.action}

    def quiet(self, _state: SessionState) -> tuple[str, ...]:
        return ()

    def probe(self, step: Step, state: SessionState) -> Finding:
        assert state.begun is not None
        text = Path(state.begun.address).read_text()
        return Finding(False, f"the target says {text.strip()!r}")

    def leave(self, state: SessionState) -> tuple[str, ...]:
        return ()

    def check(self, name: str, state: SessionState) -> Check:
        assert state.begun is not None
        bad = Path(state.begun.address).parent / "bad-ground"
        if bad.exists():
            return fail(name, bad.read_text() or "bad", "remove bad-ground")
        return ok(name, "good")


def lock_for(begun: SessionBegun, _folder: Path) -> Path:
    return Path(begun.address + ".reinstate.lock")


def at(point: str) -> None:
    """Note the point in TOY_POINTS, and die there when it is the one of number TOY_KILL."""
    passed = os.environ.get("TOY_POINTS")
    if passed is None:
        return
    with Path(passed).open("a+") as file:
        file.write(f"{point}\n")
        file.flush()
        file.seek(0)
        number = len(file.readlines())
    if number == int(os.environ.get("TOY_KILL", "0")):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), lambda _begun: Toy(), lock_for, at))
