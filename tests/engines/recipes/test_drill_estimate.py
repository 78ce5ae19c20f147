"""How long a restore takes, by the last drill of its target."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from engines.checks import Verdict
from engines.recipes.drills.estimating import by_drill, recovery_time
from engines.recipes.drills.known import all_drilled, last_proven, proofs
from engines.session.events import Ending, Event, Result, SessionEnded, StepEnded, StepStarted
from engines.session.plan import PlanKind
from engines.session.state import SessionState
from tests.engines.recipes.world import build
from tests.engines.session.examples import NOON, begun, content, lines, plan_made, state_of, step

LAST = {"session": "d", "at": "2026-11-20T12:00:00.000Z", "backup": "a.sqlite", "size": 1_000, "seconds": 250.0}


def restoring(size: int, *, drilled: bool = True) -> SessionState:
    return state_of(begun(backup={"name": "b.sqlite", "size": size}, last_drill=LAST if drilled else {}))


def test_a_backup_of_twice_the_size_takes_twice_as_long() -> None:
    assert by_drill(restoring(2_000), 2_000) == 500.0
    assert by_drill(restoring(0), 0) == 250.0
    assert by_drill(restoring(2_000, drilled=False), 2_000) is None


def test_readiness_says_which_drill_it_has_it_from_and_warns_where_the_objective_is_shorter() -> None:
    check = recovery_time(restoring(1_000), NOON, 3600.0)
    assert check is not None
    assert check.verdict is Verdict.OK
    assert "about 4:10" in check.evidence
    assert "by the drill of 2026-11-20 12:00 UTC (2 d ago)" in check.evidence
    late = recovery_time(restoring(1_000), NOON, 60.0)
    assert late is not None
    assert late.verdict is Verdict.WARN
    assert recovery_time(restoring(1_000, drilled=False), NOON, 60.0) is None


def test_what_drills_found_is_read_from_their_journals(tmp_path: Path) -> None:
    world = build(tmp_path / "world", "delete")
    config = world.config()
    assert last_proven(config, "box") == {}
    done: tuple[Event, ...] = (
        plan_made(PlanKind.PREPARE, step("2.1", action="compare-staged")),
        StepStarted("2.1", 1),
        StepEnded(step="2.1", result=Result.DONE),
    )
    backup = {"name": "a.sqlite", "size": 12, "taken_at": "2026-11-22T11:00:00.000Z"}
    for number, how in enumerate((Ending.PROVEN, Ending.FAILED)):
        name = f"2026-11-22T1{number}-00-00Z-drill-000{number}"
        folder = config.state / "drills" / "sessions" / name
        folder.mkdir(parents=True)
        first = begun(session=name, drill=True, target={"name": "box"}, backup={**backup, "name": f"{number}.sqlite"})
        (folder / "journal.jsonl").write_bytes(content(lines(first, *done, SessionEnded(how, "why"))))
    assert [one.session[-4:] for one in all_drilled(config)] == ["0001", "0000"]
    assert all_drilled(config, "another") == ()
    last = last_proven(config, "box")
    assert (last["backup"], last["seconds"], last["size"]) == ("0.sqlite", 3.0, 12)
    assert set(proofs(config, "box")) == {"0.sqlite"}
    (proof,) = proofs(config, "box").values()
    assert proof.at == NOON + timedelta(seconds=1)
