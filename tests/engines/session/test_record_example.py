"""docs/record.example.toml is a record as the program makes it, with every table that docs/record.md names.

REINSTATE_FRAMES=write, as for the screens' frames, writes it anew; read the difference before you commit it.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import replace
from pathlib import Path

from engines.checks import Check, Panel, Verdict
from engines.people import Role
from engines.session import events as e
from engines.session.plan import BackupIdentity, GateKind, LossWindow, PlanKind, TargetIdentity, digest
from engines.session.record import render
from tests.engines.session.examples import ACCEPT, PEOPLE, SIGN_OFF, TYPED, begun, journal_of, plan_made, step

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "docs/record.example.toml"
PEER = e.How.PEER
ANA = e.Actor("ana", "ana-op", console="a1", connection="192.0.2.7")
IVO = e.Actor("ivo", "ivo", console="b2", connection="192.0.2.9")
OMAR = e.Actor("omar", "omar", how=PEER)
SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
BACKUP = {"name": "2026-11-22T11-00-00Z.sqlite", "path": "/srv/shop/backups/2026-11-22T11-00-00Z.sqlite"}
WINDOW = LossWindow("2026-11-22T11:00:00.000Z", "2026-11-22T11:40:00.000Z", 2400.0)


def story() -> tuple[e.Event, ...]:
    """A restore of the shop in a night without its commander: every kind of thing that a record can have."""
    made = plan_made(
        PlanKind.RESTORE,
        step("3.6", title="Safety snapshot", shows=("take a consistent snapshot, verify it",), gates=(ACCEPT,)),
        step(
            "3.7",
            title="Replace the database",
            shows=("rename the staged copy over /srv/shop/live.sqlite",),
            undo="the old file, kept beside the new one, is renamed back",
            destructive=True,
            gates=(TYPED,),
        ),
        step("4.4", title="Smoke tests", shows=("php artisan test",), optional=True),
        step("4.14", title="Ask the application owner", shows=("sign in; pay",)),
        step("5.1", title="Sign off", shows=("the data is right",), role=Role.OWNER, gates=(SIGN_OFF,)),
        approval=True,
    )
    identity = TargetIdentity("shop", "sqlite", "production", "/srv/shop/live.sqlite", {"file": "inode 812, 12.1 MB"})
    backup = BackupIdentity(**BACKUP, size=12_103_680, taken_at=WINDOW.start, sha256=SHA, status="VERIFIED")
    plan = replace(made.plan, target=identity, backup=backup, loss=WINDOW, estimate=40.0, objective=1800.0)
    kept = {"snapshot": {"path": "/var/lib/reinstate/snapshots/shop/b.sqlite", "sha256": SHA}}
    row = e.GridRow("users", 118_002, "120,114", 120_114, 0, "MATCH", "incident.toml")
    asked = Check(
        "functional: a customer can pay", Panel.PREREQUISITES, Verdict.UNKNOWN, "not tried yet", "Try it (f)."
    )
    return (
        begun(
            target={"name": "shop"},
            engine="sqlite",
            address="/srv/shop/live.sqlite",
            backup=BACKUP,
            incident={"incident": {"id": "INC-2041", "title": "Customers deleted by a clean-up job"}},
            incident_id="INC-2041",
            people=PEOPLE,
            operator=ANA,
            notify=({"name": "incident channel", "on": ["started", "closed"]},),
            review={"business_days": 3},
        ),
        e.RunnerStarted(pid=4711, started=990, reason="begin", versions={"python": "3.11.7"}, survives="systemd unit"),
        e.CheckDone(Check("Open files can be seen", Panel.PREREQUISITES, Verdict.UNKNOWN, "not root", "Run as root.")),
        e.CheckOverridden("Open files can be seen", "UNKNOWN", ANA, "nobody else logs in here", "no commander"),
        e.PlanMade(plan, digest(plan)),
        e.Rejected("approve", IVO, "In production the operator does not approve. Nothing was changed.", "Ask them."),
        e.Reminded(e.Reminder.WAITING, "The approval is waited for.", 600.0),
        e.Approved(digest=digest(plan), actor=ANA, until="2026-11-22T16:00:00.000Z", break_glass="no commander"),
        e.KeyboardTaken(IVO, "ana's line is gone"),
        e.GateGiven("3.6", GateKind.ACCEPT, Role.COMMANDER, ANA, "40 min of writes are lost", "no commander answers"),
        e.StepStarted("3.6", 1),
        e.StepEnded(step="3.6", result=e.Result.DONE, message="kept until 2026-12-22", facts=kept, seconds=2.0),
        e.GateGiven("3.7", GateKind.TYPED, Role.OPERATOR, IVO, "shop"),
        e.StepStarted("3.7", 1),
        e.ChildStarted("3.7", 4720, 995, "/usr/bin/true"),
        e.ChildEnded("3.7", 4720, 0, 0.1),
        e.StepEnded(
            step="3.7", result=e.Result.DONE, message="replaced", log=e.StepLog("3.7.log", 212, SHA), seconds=0.4
        ),
        e.NoticeSent(14, "started", "incident channel", False, "no answer", "The restore has started."),
        e.GridMade("live database", (row,)),
        e.StepSkipped("4.4", IVO, "they need the staging host"),
        e.StepStarted("4.14", 1),
        e.CheckDone(asked),
        e.StepEnded(step="4.14", result=e.Result.DONE, message="asked"),
        e.CheckAnswered("functional: a customer can pay", True, "order 4 of today", OMAR),
        e.NoteAdded(IVO, "todo: let the clean-up job ask before it deletes"),
        e.FollowUpSet("todo-1", "let the clean-up job ask before it deletes", "omar", "2026-11-27", "SHOP-7", IVO),
        e.ChecklistEdited("docs/security-checklist.md", "| 2026-11-22 | INC-2041 |", SHA, SHA[::-1], IVO),
        e.GateGiven("5.1", GateKind.SIGN_OFF, Role.OWNER, OMAR, "the data is right"),
        e.StepStarted("5.1", 1),
        e.StepEnded(step="5.1", result=e.Result.DONE, message="signed off"),
        e.SessionEnded(e.Ending.SIGNED_OFF),
    )


def test_the_example_is_what_the_program_makes() -> None:
    made = render(journal_of(*story()))
    if os.environ.get("REINSTATE_FRAMES") == "write":
        EXAMPLE.write_bytes(made)
    assert made == EXAMPLE.read_bytes()


def test_the_example_has_every_table_that_the_documentation_names() -> None:
    section = (ROOT / "docs/record.md").read_text().split("\n## The record\n")[1].split("\n## ")[0]
    told = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert set(tomllib.loads(EXAMPLE.read_text())) == told
