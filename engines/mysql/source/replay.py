"""Replays by serving: the target is told to pull what the plan wants, and is watched until it has applied all of it.

    verified logs -> stream -> serving -> the target's receiver -> its relay log -> its own appliers

Nothing is begun again inside: after a cut line the receiver asks from where it was, and the stream is the same. Whoever
is killed leaves the channel to `channel.set_back`, and load and replay are done again from the start.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from engines.checks import Check, ok, warn
from engines.errors import RestoreError
from engines.hooks import Say, silent
from engines.mysql.binlogs.events import opened
from engines.mysql.connect import connected, connection_id
from engines.mysql.errors import meaning
from engines.mysql.flavour import Flavour, Version
from engines.mysql.queries import NotSaid, value_of
from engines.mysql.replay import told
from engines.mysql.replay.pace import EVERY, Pace
from engines.mysql.replay.plan import ReplayPlan
from engines.mysql.replay.ways import Hooks, Into, Replayed
from engines.mysql.source import channel
from engines.mysql.source.certificate import made_context
from engines.mysql.source.channel import Changed, Standing, Wiring
from engines.mysql.source.fit import against
from engines.mysql.source.serving import Credentials, Events, Identity, Source, made_credentials, serving
from engines.mysql.source.stream import Position, Stream
from engines.text import count, drawable, duration, size

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

CHECK: Final = "Replay by the server"
_TICK: Final = 0.1  # seconds between two looks
_FIRST: Final = 20.0  # seconds in which the target has to have connected
_ERRING: Final = 5.0  # seconds that it may go on failing to connect
_GONE: Final = 60.0  # seconds for which its receiver may be without a connection
_DOMAINS: Final = 1 << 30  # MariaDB's GTID domains from here on are hardly anybody's
_AGAIN: Final = "Load and replay again from the start (r), or undo (u)."
_NOT_CRASH_SAFE: Final = (
    "a MariaDB server killed in the instant in which the channel is made or removed may not start before its files are "
    "removed: docs/replay.md"
)
_LOGIN_REFUSED: Final = (1045, 2061, 2059)

Noted = Callable[[Changed | None], None]  # told before anything is changed on the server; None: it is set back


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Where the target finds its source."""

    address: str  # of this machine, as the target reaches it
    bind: str  # which address listens
    allowed: frozenset[str]  # addresses that the target may come from
    channel: str
    port: int = 0  # where it listens; 0: a free one
    encrypted: bool = True
    account: str = ""  # MySQL: with whose rights it is applied; empty: with every right


def _nobody(_changed: Changed | None) -> None:
    """The default: nobody keeps it."""


def replay(
    plan: ReplayPlan, into: Into, hooks: Hooks | None = None, *, reach: Reach, noted: Noted = _nobody
) -> Replayed:
    """Replay the plan. Raises RestoreError: the schema is unfinished then. `into.login` makes the channel."""
    hooks = hooks or Hooks()
    with connected(into.place, into.login) as connection:
        hooks.opened(connection_id(connection))
        why = against(connection, plan)
        if why:
            raise RestoreError(
                f"The target can't pull this replay: {'; '.join(why)}. Nothing was replayed.",
                'Set replay = "client" for this target, and choose the backup again.',
            )
        number, domain = _numbers(connection, plan.flavour)
        stream = Stream(plan, number, domain)

        def events(file: str, position: int) -> Iterator[bytes]:
            hooks.say(f"the target asks for {drawable(file)} from byte {position} on")
            return stream(file, position)

        with _serving(plan, events, number, into.private, reach, hooks.say) as (source, credentials):
            changed = channel.would_change(connection, plan.flavour, reach.channel, domain)
            noted(changed)
            hooks.at("channel: noted")
            try:
                return _Replaying(connection, plan, hooks, stream, source, changed).run(
                    _wiring(connection, plan, reach, source.port, credentials)
                )
            finally:
                _set_back(connection, into, changed, hooks, noted)


def tried(plan: ReplayPlan, into: Into, *, reach: Reach, noted: Noted = _nobody, say: Say = silent) -> Check:
    """Does the target come, log in and ask? Tried with a channel that gets nothing and is removed at once.

    OK, or a warning with the reason for which the client pipeline is taken.
    """
    try:
        with connected(into.place, into.login) as connection:
            if why := against(connection, plan):
                return _instead("; ".join(why))
            number, domain = _numbers(connection, plan.flavour)
            with _serving(plan, _nothing, number, into.private, reach, say) as (source, credentials):
                changed = Changed(plan.flavour, reach.channel, domain)
                noted(changed)
                try:
                    wiring = _wiring(connection, plan, reach, source.port, credentials)
                    channel.make(connection, changed, wiring)
                    _wait_for(connection, changed, source, reach)
                    if name := channel.filtered(connection, changed, wiring):
                        return _instead(f"the server filters what its replicas apply ({name})")
                finally:
                    channel.set_back(connection, changed, say)
                    noted(None)
            workers = _workers(connection, plan.flavour)
    except (RestoreError, NotSaid) as error:
        return _instead(error.message if isinstance(error, RestoreError) else error.why)
    line = "encrypted" if reach.encrypted else "NOT encrypted"
    return ok(CHECK, f"the target reached {reach.address}, {line}, and logged in; it applies with {workers} workers")


def shows(plan: ReplayPlan, reach: Reach) -> tuple[str, ...]:
    """The replay in lines for the operator."""
    line = "an encrypted line" if reach.encrypted else "a line that is NOT encrypted"
    renamed = f", renamed to {drawable(plan.schema)}" if plan.staged else ""
    return (
        told.amount(plan),
        f"{told.stretch(plan)}: served to the target alone, at {reach.address}, as a replication source",
        f"the target pulls them over {line}, on channel {reach.channel}; its own appliers execute them{renamed}",
        "made before and taken away after it: the channel, and more appliers where the server has fewer than two",
        *((_NOT_CRASH_SAFE,) if plan.flavour is Flavour.MARIADB else ()),
        *told.rest(plan),
    )


def _instead(why: str) -> Check:
    return warn(
        CHECK,
        f"{why.rstrip('.')}, so mysqlbinlog and the client replay",
        "Nothing has to be done: it is slower, and exact as well. docs/replay.md says what the faster way needs.",
    )


def _nothing(_file: str, _position: int) -> Iterator[bytes]:
    return iter(())


def _numbers(connection: Connection[Cursor], flavour: Flavour) -> tuple[int, int]:
    """A server id that is not the target's, and for MariaDB a domain that it does not know."""
    own = int(value_of(connection, "SELECT @@GLOBAL.server_id"))
    number = next(one for one in iter(lambda: secrets.randbelow(1 << 31) + (1 << 30), None) if one != own)
    if flavour is Flavour.MYSQL:
        return number, 0
    known = str(value_of(connection, "SELECT CONCAT(@@GLOBAL.gtid_binlog_state, ',', @@GLOBAL.gtid_slave_pos)"))
    domains = {one.partition("-")[0] for one in known.split(",")}
    candidates = iter(lambda: secrets.randbelow(_DOMAINS) + _DOMAINS, None)
    return number, next(one for one in candidates if str(one) not in domains)


@contextmanager
def _serving(
    plan: ReplayPlan, events: Events, number: int, private: Path, reach: Reach, say: Say
) -> Iterator[tuple[Source, Credentials]]:
    with opened(Path(plan.parts[-1].path), plan.parts[-1].name) as log:
        version: Version = log.format.version
    credentials = made_credentials()
    identity = Identity(version, number, str(uuid4()))
    tls = made_context(private) if reach.encrypted else None
    with serving(
        identity, credentials, events, bind=reach.bind, allowed=reach.allowed, tls=tls, say=say, port=reach.port
    ) as source:
        yield source, credentials


def _wiring(
    connection: Connection[Cursor], plan: ReplayPlan, reach: Reach, port: int, credentials: Credentials
) -> Wiring:
    mysql = plan.flavour is Flavour.MYSQL
    file, position = plan.start
    return Wiring(
        host=reach.address,
        port=port,
        user=credentials.user,
        password=credentials.password,
        file=file,
        position=position,
        encrypted=reach.encrypted,
        new_gtids=mysql and str(value_of(connection, "SELECT @@GLOBAL.gtid_mode")) == "ON",
        account=reach.account if mysql else "",
        rename=(plan.source, plan.schema) if plan.staged else None,
    )


def _workers(connection: Connection[Cursor], flavour: Flavour) -> int:
    name = "replica_parallel_workers" if flavour is Flavour.MYSQL else "slave_parallel_threads"
    return max(int(value_of(connection, f"SELECT @@GLOBAL.{name}")), channel.WORKERS)


def _wait_for(connection: Connection[Cursor], changed: Changed, source: Source, reach: Reach) -> None:
    """Until the target has asked for the first log."""
    until = time.monotonic() + _FIRST
    while not source.asked:
        now = channel.standing(connection, changed)
        if now.channel.receiver_error:
            until = min(until, time.monotonic() + _ERRING)  # it may have come too early: it tries again each second
        if source.refused or now.channel.receiver_error in _LOGIN_REFUSED or time.monotonic() > until:
            raise RestoreError(_why_not(now, source, reach), "Look at the network between the target and this machine.")
        time.sleep(_TICK)


def _why_not(now: Standing, source: Source, reach: Reach) -> str:
    if source.refused:
        return f"the target came to {reach.address}:{source.port} and was refused: {source.refused[-1]}"
    if now.channel.receiver_error:
        why = meaning(Exception(now.channel.receiver_error))
        return f"the target does not reach {reach.address}:{source.port}: {why}"
    return f"the target did not come to {reach.address}:{source.port} within {duration(_FIRST)}"


def _set_back(connection: Connection[Cursor], into: Into, changed: Changed, hooks: Hooks, noted: Noted) -> None:
    """On this connection, or on another one where that is lost. Where neither works, the next step does it."""
    for attempt in range(2):
        with suppress(RestoreError, NotSaid):
            if attempt == 0:
                channel.set_back(connection, changed, hooks.say)
            else:
                with connected(into.place, into.login) as another:
                    channel.set_back(another, changed, hooks.say)
            hooks.at("channel: removed")
            noted(None)
            return
    hooks.say(f"the channel {changed.channel} is still on the target: it is removed by the next step that can")


class _Replaying:
    def __init__(
        self,
        connection: Connection[Cursor],
        plan: ReplayPlan,
        hooks: Hooks,
        stream: Stream,
        source: Source,
        changed: Changed,
    ) -> None:
        self.connection, self.plan, self.hooks = connection, plan, hooks
        self.stream, self.source, self.changed = stream, source, changed
        self.begun = time.monotonic()
        self._heard = self.begun  # when the receiver was last seen connected
        self._told = 0.0
        self._pace = Pace(plan)

    def run(self, wiring: Wiring) -> Replayed:
        self.hooks.say(f"the target pulls from {wiring.host}:{wiring.port} on channel {self.changed.channel}")
        channel.make(self.connection, self.changed, wiring)
        self.hooks.at("channel: started")
        if name := channel.filtered(self.connection, self.changed, wiring):
            raise self._error("", f"the server filters what its replicas apply ({name})")
        while not self._look():
            time.sleep(_TICK)
        channel.stop(self.connection, self.changed)
        self.hooks.at("channel: applied")
        spent = time.monotonic() - self.begun
        done = self.stream.reached(self.stream.sent)
        self.hooks.say(f"replayed {count(done.transactions)} transactions, {size(self.plan.size)} in {duration(spent)}")
        if done.transactions != self.plan.transactions:  # never: plan and stream have one sieve
            raise self._error("", f"{count(done.transactions)} of {count(self.plan.transactions)} were sent")
        return Replayed(done.transactions, self.plan.size, spent, done.at, done.end)

    def _look(self) -> bool:
        """Has the target applied everything? Raises RestoreError where it can't go on, or was asked to stop."""
        try:
            now = channel.standing(self.connection, self.changed)
        except NotSaid as error:
            raise self._error("", f"the server does not tell how far it is: {error.why}") from None
        executed = self._executed(now)
        if self.stream.finished and executed >= self.stream.sent:
            self._tell(self.stream.sent, last=True)
            return True
        if now.channel.applier_error:
            raise self._applier_failed(now)
        self._still_there(now)
        if self.hooks.stop():
            raise self._stopped()
        self._tell(executed)
        return False

    def _executed(self, now: Standing) -> Position:
        return self.stream.position(now.channel.file, now.channel.position) or (0, self.plan.parts[0].begin)

    def _still_there(self, now: Standing) -> None:
        if self.source.failure is not None:
            failure = self.source.failure
            why = failure.message.rstrip(".") if isinstance(failure, RestoreError) else type(failure).__name__
            raise self._error("", why)
        if not now.channel.applying:
            raise self._error("", "the target's applier was stopped by somebody")
        moment = time.monotonic()
        if self.source.connected:
            self._heard = moment
        limit = _GONE if self.source.asked else _FIRST
        if now.channel.receiver_error in _LOGIN_REFUSED or moment - self._heard > limit:
            why = (
                meaning(Exception(now.channel.receiver_error)) if now.channel.receiver_error else "it has no connection"
            )
            raise self._error("", f"the target's receiver does not reach its source: {why}")

    def _applier_failed(self, now: Standing) -> RestoreError:
        place = self.stream.position(*now.failed) if now.failed else None
        found = self.stream.transaction_at(place) if place else None
        where = f" at {drawable(found.name)} ({drawable(found.file)}, byte {found.begin})" if found else ""
        return self._error(where, meaning(Exception(now.channel.applier_error)))

    def _stopped(self) -> RestoreError:
        channel.stop(self.connection, self.changed)
        now = channel.standing(self.connection, self.changed)
        done = self.stream.reached(self._executed(now))
        file, byte = done.end
        return RestoreError(
            f"The replay was stopped after {drawable(file)}, byte {byte}, or a little later: at least "
            f"{count(done.transactions)} of {count(self.plan.transactions)} transactions were applied. "
            "The schema is unfinished.",
            _AGAIN,
        )

    def _error(self, where: str, why: str) -> RestoreError:
        return RestoreError(f"The replay failed{where}: {why}. The schema is unfinished.", _AGAIN)

    def _tell(self, executed: Position, *, last: bool = False) -> None:
        now = time.monotonic()
        if now - self._told < EVERY and not last:
            return
        self._told = now
        reached = self.stream.reached(executed)
        done = self.plan.size if last else reached.done
        self.hooks.progress(self._pace.at(done, reached.transactions, reached.at))
