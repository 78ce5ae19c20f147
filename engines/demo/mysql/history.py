"""The past of the demo's shop: nightly dumps, the writes after the last of them, and a DELETE that had no WHERE.

The last night is the moment at which the demo is built, so that everything in the binary logs has its true time. A dump
holds what had happened by the time in its name.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from engines.demo.app import MIGRATIONS, text_of
from engines.demo.history import customer
from engines.demo.mysql.server import SCHEMA, Server
from engines.demo.mysql.shop import TABLES, Shop, audit, number, one, record_payment, run, some_user, transaction
from engines.errors import RestoreError
from engines.hooks import Say, silent
from engines.mysql.binlogs.fetch import flush, listing
from engines.mysql.connect import connected, read_login
from engines.mysql.flavour import Flavour
from engines.mysql.queries import first_that_works, rows_of, value_of
from engines.process import Command, captured
from engines.text import utc_now

CUSTOMERS, PAYMENTS = 900, 9000  # of the days before, in all
NIGHTS = (3, 2, 1)  # days before the last one; with it the dumps that are young
STALE = 26  # days before the last one
UNLISTED = 1  # the night whose dump nobody wrote into checksums.txt
PURGED = "payments.purged"
DAYS = 60
_LATER = 60  # payments in each stretch of the binary logs after the last dump
_BATCH = 500  # rows in a statement
_DUMP_WITHIN = 120.0  # seconds


@dataclass(frozen=True, slots=True)
class Expected:
    """What was counted just before the bad transaction."""

    users: int
    transactions: int
    audit_logs: int
    last_customer: str  # email of the newest customer, who came after the last dump
    last_payment: str  # reference of the newest payment


@dataclass(frozen=True, slots=True)
class Past:
    """When what happened (UTC), and which dump is which."""

    started: datetime  # the bad transaction
    position: str  # FILE:POSITION of its first byte
    gtid: str
    deleted: int  # rows
    later: int  # good writes after it
    good: str  # the last night's
    corrupted: str  # taken by hand before the clean-up: one byte is not as it was
    unlisted: str
    stale: str
    expected: Expected

    def stop(self, flavour: Flavour) -> str:
        """The bad transaction's name, as the restore is told to stop just before it."""
        return self.gtid if flavour is Flavour.MYSQL else self.position


def write_past(server: Server, open_shop: Callable[[], Shop], backups: Path, archive: Path, say: Say = silent) -> Past:
    """Fill the schema, dump it night by night into `backups`, archive logs in `archive`, and lose the payments."""
    with closing(open_shop()) as shop:
        for statement in TABLES:
            run(shop, statement)
        night = utc_now().replace(microsecond=0)
        say("filling a shop, and dumping it night by night")
        names: dict[int, str] = {}
        _begin(shop, night)
        before = DAYS
        for days in (STALE, *NIGHTS, 0):
            _grow(shop, night, before, days)
            before = days
            names[days] = _dump(server, backups, night - timedelta(days=days))
        say("going on with payments, and archiving binary logs")
        _pay_on(shop, night)
        _archive(server, archive)
        by_hand = _dump(server, backups, _next_second(night), "-before-clean-up")
        _pay_on(shop, utc_now())
        _archive(server, archive)
        past = _lose(server, shop, names, by_hand)
    _list(backups, past)
    _spoil(backups / past.corrupted)
    return past


def _begin(shop: Shop, night: datetime) -> None:
    rows = [(name, 1) for name in MIGRATIONS]
    _insert(shop, "migrations (migration, batch)", rows)
    since = night - timedelta(days=DAYS)
    _sign_up(shop, [since] * 30)


def _grow(shop: Shop, night: datetime, first: int, last: int) -> None:
    """What happened between `first` and `last` days before the night."""
    span, begin = timedelta(days=first - last), night - timedelta(days=first)
    share = (first - last) / DAYS
    users, payments = int(CUSTOMERS * share), int(PAYMENTS * share)
    with transaction(shop):
        _sign_up(shop, [begin + (n + 1) * span / (users + 1) for n in range(users)])
        highest = number(shop, "SELECT MAX(id) FROM users")
        made = [begin + (n + 1) * span / (payments + 1) for n in range(payments)]
        references = [f"PAY-{at:%Y%m%d}-{secrets.token_hex(4)}" for at in made]
        _insert(
            shop,
            "transactions (user_id, reference, amount_cents, status, created_at)",
            [
                (n * 7919 % highest + 1, reference, 900 + n * 6271 % 9000, "paid", text_of(at))
                for n, (at, reference) in enumerate(zip(made, references, strict=True))
            ],
        )
        _insert(
            shop,
            "audit_logs (action, subject, created_at)",
            [("payment.recorded", name, text_of(at)) for at, name in zip(made, references, strict=True)],
        )


def _sign_up(shop: Shop, moments: list[datetime]) -> None:
    known = number(shop, "SELECT COUNT(*) FROM users")
    people = [(*customer(known + n), text_of(at)) for n, at in enumerate(moments)]
    _insert(shop, "users (name, email, created_at)", people)
    opened = [("account.opened", email, at) for _, email, at in people]
    _insert(shop, "audit_logs (action, subject, created_at)", opened)


def _insert(shop: Shop, into: str, rows: Sequence[tuple[object, ...]]) -> None:
    with shop.cursor() as cursor:
        for at in range(0, len(rows), _BATCH):
            some = rows[at : at + _BATCH]
            places = ", ".join(["(" + ", ".join(["%s"] * len(some[0])) + ")"] * len(some))
            cursor.execute(f"INSERT INTO {into} VALUES {places}", [value for row in some for value in row])  # noqa: S608 - our own names


def _pay_on(shop: Shop, since: datetime) -> None:
    """Single payments and a few new customers, each at its own true time; at least into the next second."""
    for n in range(_LATER):
        _pay(shop)
        if n % 20 == 10:
            with transaction(shop):
                _sign_up(shop, [utc_now()])
    while utc_now() < since + timedelta(seconds=1):
        _pay(shop)


def _pay(shop: Shop) -> str:
    user = some_user(shop)
    if user is None:
        raise RestoreError("The demo's shop has no customer.", "Build it anew.")
    with transaction(shop):
        return record_payment(shop, user, 900 + secrets.randbelow(9000), utc_now())


def _next_second(night: datetime) -> datetime:
    """Now, in whole seconds; `_pay_on` has seen to it that the night's second is over."""
    return max(utc_now().replace(microsecond=0), night + timedelta(seconds=1))


# -- dumps and logs ------------------------------------------------------------------------------------------


def _dump(server: Server, backups: Path, at: datetime, why: str = "") -> str:
    """A dump with its coordinates, packed, with the time in its name. Raises RestoreError."""
    own = {
        Flavour.MYSQL: ("--source-data=2",),
        Flavour.MARIADB: ("--master-data=2",),
    }[server.programs.flavour]
    name = f"{SCHEMA}-{at:%Y-%m-%dT%H-%M-%SZ}{why}.sql.gz"
    plain = backups / f".{name}.new"
    argv = (
        server.programs.dump,
        f"--defaults-file={server.root}",
        "--single-transaction",
        "--routines",
        "--events",
        "--triggers",
        *own,
        f"--result-file={plain}",
        SCHEMA,
    )
    ended, said = captured(Command(argv, timeout=_DUMP_WITHIN))
    if not ended.ok:
        raise RestoreError(
            f"The demo's dump failed: {ended.reason} {said[-300:].decode(errors='replace')}", "Look at the folder."
        )
    path = backups / name
    with plain.open("rb") as source, gzip.open(path, "wb", compresslevel=6) as packed:
        shutil.copyfileobj(source, packed)
    plain.unlink()
    path.chmod(0o640)
    os.utime(path, (at.timestamp(), at.timestamp()))
    return name


def _archive(server: Server, archive: Path) -> None:
    """What a shop's own job does: begin a new log, copy the closed ones away, and let the server forget them."""
    with connected(server.place, read_login(server.root)) as root:
        flush(root)
        *closed, current = [log.name for log in listing(root)]
        for name in closed:
            shutil.copyfile(server.datadir / name, archive / name)
            (archive / name).chmod(0o640)
        rows_of(root, f"PURGE BINARY LOGS TO '{current}'")


# -- the incident ----------------------------------------------------------------------------------------------


def _lose(server: Server, shop: Shop, names: dict[int, str], by_hand: str) -> Past:
    """A clean-up of old payments, run by hand. Its WHERE was left behind."""
    last_payment = _pay(shop)
    expected = _count(shop, last_payment)
    file, position, gtid = _next_transaction(server)
    started = utc_now()
    with transaction(shop):
        deleted = run(shop, "DELETE FROM transactions")
        audit(shop, PURGED, f"{deleted} payments", started)
    later = 0
    until = time.monotonic() + 1.0  # seconds: into the next one
    while later < 8 or time.monotonic() < until:
        _pay(shop)
        later += 1
        time.sleep(0.05)
    return Past(
        started=started,
        position=f"{file}:{position}",
        gtid=gtid,
        deleted=deleted,
        later=later,
        good=names[0],
        corrupted=by_hand,
        unlisted=names[UNLISTED],
        stale=names[STALE],
        expected=expected,
    )


def _next_transaction(server: Server) -> tuple[str, int, str]:
    """Where the next transaction begins, and its GTID: nobody else writes yet."""
    mysql = server.programs.flavour is Flavour.MYSQL
    with connected(server.place, read_login(server.root)) as root:
        status = first_that_works(root, "SHOW BINARY LOG STATUS", "SHOW MASTER STATUS")[0]
        executed = str(value_of(root, f"SELECT @@GLOBAL.{'gtid_executed' if mysql else 'gtid_binlog_pos'}"))
        # "uuid:1-41", and on MariaDB "0-8-41": one server has one domain.
        last = int(re.split("[:-]", executed)[-1])
        before = value_of(root, "SELECT @@GLOBAL.server_uuid") if mysql else executed.rpartition("-")[0]
    return str(status["file"]), int(status["position"]), f"{before}{':' if mysql else '-'}{last + 1}"


def _count(shop: Shop, last_payment: str) -> Expected:
    email = one(shop, "SELECT email FROM users ORDER BY id DESC LIMIT 1")
    return Expected(
        users=number(shop, "SELECT COUNT(*) FROM users"),
        transactions=number(shop, "SELECT COUNT(*) FROM transactions"),
        audit_logs=number(shop, "SELECT COUNT(*) FROM audit_logs"),
        last_customer=str((email or ("",))[0]),
        last_payment=last_payment,
    )


def _list(backups: Path, past: Past) -> None:
    listed = sorted(path for path in backups.iterdir() if path.name != past.unlisted)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in listed]
    (backups / "checksums.txt").write_text("".join(lines))


def _spoil(path: Path) -> None:
    """One byte in the middle, as a copy over a bad line leaves it."""
    facts = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
