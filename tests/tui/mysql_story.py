"""The same night on a server: rows were deleted, the dump is from the morning, the logs have what came after it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engines.backups.catalogue import Backup, Catalogue, Status
from engines.backups.places import FileAt
from engines.config import Config, to_table
from engines.incident import About, Incident, Objective
from engines.incident import to_table as incident_table
from engines.mysql.binlogs.chain import Coordinates
from engines.mysql.binlogs.events import Kind as EventKind
from engines.mysql.binlogs.logs import logs_in, read_logs
from engines.recipes import points
from engines.recipes.mysql.exploring import Opened, facts_of
from engines.recipes.mysql.exploring import open_logs as opened
from engines.recipes.mysql.exploring import staged as staged_in
from engines.recipes.mysql.facts import Found
from engines.recipes.mysql.plans import prepare_plan, restore_plan
from engines.recipes.mysql.until import Kind, Until, until_of
from engines.session import events as e
from engines.session.plan import BackupIdentity, PlanKind, Step, TargetIdentity
from engines.session.state import SessionState
from engines.targets import Environment, MysqlTarget
from engines.text import stamp
from tests.engines.mysql.binlogs.forge import NOON, Forge
from tests.tui import story
from tests.tui.story import ANA, PEOPLE, SESSION, Story

DB1 = MysqlTarget(
    name="shop",
    engine="mysql",
    environment=Environment.PRODUCTION,
    database="shop",
    login=Path("/etc/reinstate/shop.cnf"),
    backups="s3://shop-db-backups/nightly",
    host="db1",
    snapshots="/var/lib/reinstate/snapshots/shop",
)
CONFIG = Config({"shop": DB1}, Path("/var/lib/reinstate"), PEOPLE)
BEGAN = datetime.fromtimestamp(NOON + 30, UTC)  # the first bad write
NOW = BEGAN + timedelta(minutes=40)
INCIDENT = Incident(
    About("INC-2041", "Accounts deleted", started_at=BEGAN),
    objective=Objective(stop_before=f"{BEGAN - timedelta(seconds=5):%Y-%m-%dT%H:%M:%S}Z"),
)
BAD = "binlog.000002:2772"  # where the bad transaction begins in `logs`
BEFORE = Until(Kind.POSITION, BAD)


def dump(hours: int, status: Status = Status.VERIFIED, evidence: str = "") -> Backup:
    made = story.backup(0, status, evidence)
    taken = BEGAN.replace(minute=0, second=0) - timedelta(hours=hours)
    name = f"shop-{taken:%Y-%m-%dT%H-%M-%SZ}.sql.gz"
    place = FileAt(Path("/srv/dumps") / name, size=1_300_000_000)
    return replace(made, name=name, place=place, taken_at=taken)


def _steps(make: PlanKind) -> tuple[Step, ...]:
    """As the recipe makes them; what is not configured left out."""
    state = SessionState(backup=points.to_table(dump(10), BEFORE))
    found = Found(
        server="MySQL on db1:3306",
        dump=dump(10).name,
        dump_size=1_300_000_000,
        sha256="ab" * 32,
        tables=31,
        way="over 2 connections, indexes afterwards",
        logging="written to the binary log",
        staged=True,
        stage="shop_r7f3a_new",
        parked="shop_r7f3a_old",
        readable=True,
        rebuilds=True,
        logs_kept=True,
        replay=("36 593 transactions, 33 MB of log",),
        details={"version": "9.7.4"},
    )
    plan = prepare_plan(state, DB1) if make is PlanKind.PREPARE else restore_plan(state, DB1, found)
    return tuple(step for step in plan.steps if step.configured)


PREPARE = _steps(PlanKind.PREPARE)
RESTORE = _steps(PlanKind.RESTORE)


def catalogue() -> Catalogue:
    dumps = (dump(10), dump(34), dump(58, Status.MISMATCH, "sha256 is another one"), dump(82))
    return Catalogue("s3://shop-db-backups/nightly", dumps, ())


def logs(folder: Path, statement: str = "DELETE FROM users WHERE closed = 0") -> Path:
    """Three logs: a transaction a second, one of them the bad one, a statement as the log had it, and DDL."""
    made: list[Forge] = []
    number = 0
    for index in range(3):
        log = Forge(at=NOON + index * 20, in_use=index == 2).previous(f"{Forge().uuid}:1-{number}" if number else "")
        for second in range(20):
            number += 1
            log.at = NOON + index * 20 + second
            _transaction(log, number, statement)
        made.append(log.rotate(f"binlog.{index + 2:06}") if index < 2 else log)
    for index, log in enumerate(made, 1):
        log.save(folder / f"binlog.{index:06}")
    return folder


def _transaction(log: Forge, number: int, statement: str) -> None:
    if number == 31:
        log.gtid(number, micros=(NOON + 30) * 1_000_000 + 123_456).query("BEGIN")
        log.event(EventKind.ROWS_QUERY, b"\0" + statement.encode())
        log.table("users").rows(9000, kind=EventKind.DELETE_ROWS).xid()
    elif number == 45:
        log.gtid(number).query("DROP TABLE `audit_logs`")
    else:
        log.transaction(number, ("users", "transactions", "audit_logs")[number % 3], rows=number % 7 + 1)


class ServerStory(Story):
    """Chapters of a session that restores a schema."""

    target = TargetIdentity("shop", "mysql", "production", DB1.address, {"version": "9.7.4"})
    bytes = BackupIdentity(
        dump(10).name, str(dump(10).path), 1_300_000_000, stamp(dump(10).taken_at), "ab" * 32, "VERIFIED"
    )

    def __init__(self, folder: Path | None = None, until: Until = BEFORE) -> None:
        super().__init__()
        self.now = NOW
        self.folder = folder
        self.until = until

    def begun(self, **approval: object) -> ServerStory:
        begun = e.SessionBegun(
            session=SESSION,
            target=to_table(DB1),
            environment="production",
            engine="mysql",
            address=DB1.address,
            backup=points.to_table(dump(10), self.until),
            incident=incident_table(INCIDENT),
            incident_id="INC-2041",
            people=tuple({"name": p.name, "login": p.login, "roles": [str(r) for r in p.roles]} for p in PEOPLE),
            approval=approval,
            operator=ANA,
            host="bastion",
            tool="reinstate 0.1.0",
        )
        self.tell(begun, e.RunnerStarted(pid=4711, started=1, reason="begin", versions={}, survives="tmux"))
        return self

    def prepared(self) -> ServerStory:
        self.begun().planned(steps=PREPARE)
        self.ran("2.1", "2.2", "2.3", "2.4").given("2.5").started("2.5")
        facts: dict[str, object] = {}
        if self.folder is not None:
            facts = facts_of(self.folder, Coordinates("binlog.000001", 4), read_logs(logs_in(self.folder)))
        self.tell(e.StepEnded(step="2.5", result=e.Result.DONE, facts=facts, seconds=2.0))
        self.ran("2.6").checked()
        return self

    def ready(self) -> ServerStory:
        self.prepared().planned(PlanKind.RESTORE, RESTORE)
        return self

    def opened(self) -> Opened:
        """The logs of this session, as the explorer reads them."""
        found = staged_in(self.state)
        assert found is not None
        return opened(found, until_of(self.state))
