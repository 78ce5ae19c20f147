"""A session told event by event, as the consoles see one, without a runner: a night in which rows were deleted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engines.backups.catalogue import Backup, Catalogue, Status
from engines.backups.checksums import Digest
from engines.backups.places import FileAt
from engines.checks import Check, Panel, Verdict, fail, ok, unknown, warn
from engines.config import Config, to_table
from engines.people import Person, Role
from engines.recipes.sqlite.facts import Found
from engines.recipes.sqlite.plans import prepare_plan, restore_plan
from engines.session import events as e
from engines.session.plan import (
    BackupIdentity,
    LossWindow,
    Plan,
    PlanKind,
    Step,
    TargetIdentity,
    digest,
)
from engines.session.state import SessionState, after
from engines.sqlite.stage import Staged
from engines.sqlite.swap import Swap
from engines.targets import Application, Environment, SqliteTarget
from engines.text import stamp

NIGHT = datetime(2026, 11, 22, 20, 4, 11, tzinfo=UTC)
SESSION = "2026-11-22T20-04-11Z-production-7f3a"
FOLDER = Path("/var/lib/reinstate/sessions") / SESSION
ANA = e.Actor("ana", "ana", console="c1")
# As Laravel is, without a way to freeze deploys, to stop the scheduler or to run smoke tests.
APPLICATION = Application(
    Path("/srv/shop"),
    env_file=Path("/srv/shop/.env"),
    maintenance_on=("php", "artisan", "down", "--render=errors::503-maintenance"),
    maintenance_off=("php", "artisan", "up"),
    maintenance_check=("test", "-e", "storage/framework/down"),
    workers_stop=("php", "artisan", "queue:restart"),
    workers_start=("supervisorctl", "start", "shop-worker:*"),
    workers_check=("pgrep", "-f", "artisan queue:work"),
    migrations=("php", "artisan", "migrate:status"),
    health_url="http://127.0.0.1:8000/health",
    logs=(Path("/srv/shop/storage/logs/laravel.log"),),
    log_errors=(r"\.(ERROR|CRITICAL|ALERT|EMERGENCY):",),
)
SHOP = SqliteTarget(
    "shop",
    "sqlite",
    Environment.PRODUCTION,
    Path("/srv/shop/database/database.sqlite"),
    Path("/srv/shop/storage/backups/sqlite"),
    application=APPLICATION,
)
STAGING = replace(SHOP, name="shop-staging", environment=Environment.STAGING, database=Path("/srv/staging/db.sqlite"))
PEOPLE = (
    Person("ana", "ana", (Role.OPERATOR,)),
    Person("ines", "ines", (Role.COMMANDER,)),
    Person("omar", "omar", (Role.OWNER,)),
)
CONFIG = Config({"shop": SHOP, "shop-staging": STAGING}, Path("/var/lib/reinstate"), PEOPLE)
BACKUP = {
    "name": "shop-2026-11-22T19-00-00Z.sqlite",
    "path": "/srv/shop/storage/backups/sqlite/shop-2026-11-22T19-00-00Z.sqlite",
    "size": 812_000_000,
    "taken_at": "2026-11-22T19:00:00.000Z",
    "status": "VERIFIED",
}


def _found() -> Found:
    """What preparing found: the plan of the restore is made from it."""
    live = str(SHOP.database)
    staged = Staged(f"{live}.7f3a.staged", 1, 2, 812_000_000, 0, "ab" * 32, (), "", str(BACKUP["path"]))
    kept, undone = f"{live}.7f3a.kept", f"{live}.7f3a.undone"
    swap = Swap("7f3a", live, staged.path, kept, undone, None, "database", "wal", staged, 33, 33, 0o660, "wal")
    return Found(swap, "database", 850_000_000, 90e6)


PREPARE = prepare_plan(SessionState(backup=BACKUP), SHOP).steps
RESTORE = restore_plan(SessionState(backup=BACKUP), SHOP, _found()).steps


CHECKS = (
    Check("staging", Panel.SPACE, Verdict.OK, "statvfs /srv/shop", "", 812_000_000, 120_400_000_000),
    Check("safety snapshot", Panel.SPACE, Verdict.OK, "statvfs /var/lib", "", 1_700_000_000, 120_400_000_000),
    ok("newest verified backup", "shop-2026-11-22T20-00-00Z.sqlite was taken 4 min ago, one is due every 1 h"),
    ok("who else is there", "3 processes have the database open: 2 php, 1 cron"),
    warn("survives the terminal", "in an OS session of its own, but systemd may end it", "Run inside tmux."),
    ok("commands", "9 of 9 configured commands exist"),
)
BLOCKING = fail("write access", "/srv/shop/database can't be written by ana", "Run as root.")
UNSURE = unknown("open files", "the open files of www-data can't be seen by ana", "Run as root.")

GRID = (
    e.GridRow("users", 120_114, "120 000", 119_998, -2, "MISMATCH", "incident.toml"),
    e.GridRow("transactions", 48_210_991, "48 209 377", 48_209_377, 0, "MATCH", "incident.toml"),
    e.GridRow("audit_logs", None, "", 9_114_201, None, "NO EXPECTATION", ""),
)
RIGHT = tuple(replace(row, verdict="MATCH", difference=0) if row.verdict == "MISMATCH" else row for row in GRID)


class Story:
    """Tells events and folds them. Each is two seconds after the one before."""

    target = TargetIdentity("shop", "sqlite", "production", str(SHOP.database), {"inode": "131 on 259:1"})
    bytes = BackupIdentity(
        str(BACKUP["name"]), str(BACKUP["path"]), 812_000_000, str(BACKUP["taken_at"]), "ab" * 32, "VERIFIED"
    )

    def __init__(self) -> None:
        self.state = SessionState()
        self.now = NIGHT
        self.entries: list[e.Entry] = []

    def tell(self, *events: e.Event) -> Story:
        for event in events:
            entry = e.Entry(self.state.last_seq + 1, self.now, "runner", event, "")
            self.entries.append(entry)
            self.state = after(self.state, entry)
            self.now += timedelta(seconds=2)
        return self

    # -- chapters -----------------------------------------------------------------------------------------

    def begun(self, **approval: object) -> Story:
        begun = e.SessionBegun(
            session=SESSION,
            target=to_table(SHOP),
            environment="production",
            engine="sqlite",
            address=str(SHOP.database),
            backup=BACKUP,
            incident={},
            incident_id="INC-2041",
            people=tuple({"name": p.name, "login": p.login, "roles": [str(r) for r in p.roles]} for p in PEOPLE),
            approval=approval,
            operator=ANA,
            host="bastion",
            tool="reinstate 0.1.0",
        )
        runner = e.RunnerStarted(pid=4711, started=1, reason="begin", versions={"tool": "0.1.0"}, survives="tmux")
        return self.tell(begun, runner)

    def planned(self, kind: PlanKind = PlanKind.PREPARE, steps: tuple[Step, ...] = PREPARE) -> Story:
        restoring = kind is PlanKind.RESTORE
        plan = Plan(
            kind=kind,
            revision=self.state.latest_revision + 1,
            session=SESSION,
            made_at=stamp(self.now),
            target=self.target,
            backup=self.bytes,
            incident="INC-2041",
            steps=steps,
            needs_approval=restoring,
            nonce="n",
            loss=LossWindow("2026-11-22T19:00:00.000Z", "2026-11-22T19:41:00.000Z", 2460.0) if restoring else None,
            estimate=94.0 if restoring else None,
            objective=3600.0 if restoring else None,
        )
        return self.tell(e.PlanMade(plan, digest(plan)))

    def checked(self, *checks: Check) -> Story:
        return self.tell(*(e.CheckDone(check) for check in checks or CHECKS))

    def ran(self, *ids: str, message: str = "") -> Story:
        """Each step is given its gates, begun and done."""
        for step_id in ids:
            self.given(step_id).started(step_id).ended(step_id, message=message)
        return self

    def given(self, step_id: str) -> Story:
        known = self.state.step(step_id)
        assert known is not None
        names = {Role.OPERATOR: ANA, Role.OWNER: e.Actor("omar", "ana"), Role.COMMANDER: e.Actor("ines", "ana")}
        return self.tell(*(e.GateGiven(step_id, g.kind, g.role, names[g.role], g.text) for g in known.step.gates))

    def started(self, step_id: str) -> Story:
        known = self.state.step(step_id)
        assert known is not None
        return self.tell(e.StepStarted(step_id, known.attempt + 1))

    def ended(self, step_id: str, result: e.Result = e.Result.DONE, message: str = "", hint: str = "") -> Story:
        ended = e.StepEnded(step=step_id, result=result, message=message, hint=hint, seconds=2.0)
        return self.tell(ended).passed_over()

    def passed_over(self) -> Story:
        """As the runner does: steps that are not configured are recorded as skipped when their turn comes."""
        while (known := self.state.next_step) is not None and not known.step.configured:
            self.tell(e.StepEnded(step=known.id, result=e.Result.SKIPPED, message="not configured"))
        return self

    def prepared(self) -> Story:
        self.begun().planned()
        self.ran("2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7").checked()
        return self.tell(e.GridMade("staged copy", RIGHT))

    def not_staged(self) -> Story:
        """The chosen backup has other bytes than are listed."""
        message = "The backup shop-2026-11-22T19-00-00Z.sqlite has sha256 1f2e3d4c5b6a7988…, and abababababababab…"
        message += " is expected of it. Nothing was changed."
        hint = "It is damaged or another file. Choose another backup."
        self.begun().planned().ran("2.1", "2.2", "2.3").checked().started("2.4")
        return self.checked(fail("backup checksum", message, hint)).ended("2.4", e.Result.FAILED, message, hint)

    def ready(self) -> Story:
        """Prepared, and the restore plan made."""
        return self.prepared().planned(PlanKind.RESTORE, RESTORE)

    def approved(self) -> Story:
        until = stamp(self.now + timedelta(hours=4))
        ines = e.Actor("ines", "ana")
        return self.tell(e.Approved(digest=self.state.plan_digest, actor=ines, until=until)).passed_over()

    def stopped(self) -> Story:
        return self.ready().approved().ran("3.2", "3.3", "3.5", "3.6")

    def replaced(self) -> Story:
        return self.stopped().ran("3.7", "3.8")

    def compared(self, rows: tuple[e.GridRow, ...] = RIGHT) -> Story:
        return self.replaced().ran("4.1").tell(e.GridMade("live database", rows))

    def handed_over(self) -> Story:
        return self.compared().ran("4.2", "4.3", "4.6", "4.7", "4.9", "4.10", "4.11", "4.12")


def backup(hours: int, status: Status, evidence: str = "", **more: object) -> Backup:
    taken = NIGHT.replace(minute=0, second=0) - timedelta(hours=hours)
    name = str(more.pop("name", f"shop-{taken:%Y-%m-%dT%H-%M-%SZ}.sqlite"))
    expected = Digest("sha256", "ab" * 32, "checksums.txt line 3")
    made = Backup(
        name=name,
        place=FileAt(SHOP.backups / name, 812_000_000 - hours * 1_000_000, 0, hours, 1),
        kind="sqlite",
        taken_at=taken,
        taken_at_from="name",
        expected=expected,
        status=status,
        evidence=evidence or f"sha256 {'ab' * 8} equals checksums.txt line 3",
    )
    return replace(made, **more)  # type: ignore[arg-type]  # each test names fields of Backup


def catalogue() -> Catalogue:
    backups = (
        backup(0, Status.CHECKING, "Not compared yet with checksums.txt line 1", done=0.62),
        backup(1, Status.VERIFIED),
        backup(2, Status.MISMATCH, "sha256 is 1f2e3d4c5b6a7988…, checksums.txt line 3 says abababababababab…"),
        backup(3, Status.NOT_LISTED, "Neither checksums.txt nor a .sha256 file names it"),
        backup(4, Status.VERIFIED),
        backup(6, Status.WEAK, "md5 equals checksums.txt line 6"),
        backup(7, Status.MISSING_FILE, "checksums.txt line 7 lists it, but it is not in the folder"),
    )
    return Catalogue(str(SHOP.backups), backups, ("checksums.txt line 9: not a checksum line",))


def hostile_catalogue() -> Catalogue:
    names = (
        "backup[/].sqlite",
        "[red]x[/red].sqlite",
        "\x1b]0;owned\x07\x1b[2J.sqlite",
        "\u202egnp.sqlite",
        "[@click=app.quit]x[/]",
    )
    backups = tuple(backup(n, Status.NOT_LISTED, "[/x] " + name, name=name) for n, name in enumerate(names))
    return Catalogue("/srv/[/x]", backups, ("[/problem]",))


def many(count: int) -> Iterator[Backup]:
    return (backup(n, Status.UNCHECKED, "Not compared yet") for n in range(count))
