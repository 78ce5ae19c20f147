"""Replays that the server pulls itself: whether, from where, and what of it is to be taken away again.

What is made on the server is journalled first, so that the next step, the next runner or the clearing up removes it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from engines.hooks import Say, silent
from engines.mysql.replay.plan import ReplayPlan
from engines.mysql.replay.ways import Into
from engines.mysql.source import channel
from engines.mysql.source import replay as pulled
from engines.mysql.source.channel import Changed
from engines.mysql.source.replay import Reach
from engines.recipes.mysql import reach
from engines.recipes.recalling import token
from engines.session.state import SessionState
from engines.session.work import Work
from engines.targets import MysqlTarget, ReplayBy

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

SOURCE = "source"
_LOCAL = "127.0.0.1"


def where(target: MysqlTarget, state: SessionState, connection: Connection[Cursor], *, account: str = "") -> Reach:
    """Where the server finds this machine: as it is reached from here, unless that is configured."""
    line: socket.socket = connection._sock  # type: ignore[attr-defined]  # the stubs leave it out
    over_network = line.family != socket.AF_UNIX
    here = line.getsockname()[0] if over_network else _LOCAL
    there = line.getpeername()[0] if over_network else _LOCAL
    address = target.replay_address or here
    return Reach(
        address=address,
        bind=address,
        allowed=frozenset({there}),
        channel=f"reinstate-{token(state)}",
        port=target.replay_port,
        encrypted=target.replay_encrypted,
        account=account,
    )


def into(work: Work, target: MysqlTarget) -> Into:
    return Into(place=reach.place_of(target), login=reach.login_of(target), private=reach.private(work))


def try_it(work: Work, target: MysqlTarget, plan: ReplayPlan | None) -> Mapping[str, object]:
    """May the server pull this replay? Tried once, and journalled: the plan goes by it."""
    if plan is None or target.replay is not ReplayBy.AUTO:
        return {}
    with reach.reached(target) as connection:
        remove(connection, work.state, say=work.say)
        found = where(target, work.state, connection)
    check = work.check(pulled.tried(plan, into(work, target), reach=found, noted=noted(work), say=work.say))
    return {"pulls": not check.hint, "source": msgspec.to_builtins(found)}


def pulls(state: SessionState) -> bool:
    return bool(state.facts("check-ground").get("pulls"))


def shows(state: SessionState, plan: ReplayPlan) -> tuple[str, ...]:
    return pulled.shows(plan, msgspec.convert(state.facts("check-ground").get("source"), Reach))


def noted(work: Work) -> Callable[[Changed | None], None]:
    """Journals what is about to be made on the server, and that it is gone."""

    def note(changed: Changed | None) -> None:
        work.found(channel=msgspec.to_builtins(changed) if changed else None)

    return note


def left(state: SessionState) -> tuple[Changed, ...]:
    """What this session has made on the server, and not taken away as far as the journal knows."""
    found = (known.facts.get("channel") for known in state.steps)
    return tuple(msgspec.convert(one, Changed) for one in found if one)


def remove(connection: Connection[Cursor], state: SessionState, *, say: Say = silent) -> tuple[str, ...]:
    """Take that away, whoever left it. Raises RestoreError where the server refuses."""
    for changed in left(state):
        channel.set_back(connection, changed, say)
        say(f"channel {changed.channel} of an earlier attempt is removed")
    return tuple(changed.channel for changed in left(state))
