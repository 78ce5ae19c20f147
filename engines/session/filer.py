"""Files follow-ups as issues, one after the other, in a thread of its own: nothing waits for GitHub."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from engines.errors import RestoreError
from engines.github_api import NotDone, Token, token_of
from engines.issues import Issue, find_issue, make_issue
from engines.session.events import Event, Filing, TicketTried
from engines.session.followers import Follower
from engines.session.followups import FollowUp
from engines.session.state import SessionState
from engines.session.tickets import body_of, due, marker, only_looked_for, tickets_of, title_of, unfiled
from engines.surroundings import Tickets
from engines.text import span


def followers(
    look: Callable[[], SessionState], record: Callable[[Event], None], now: Callable[[], datetime]
) -> list[Follower[str]]:
    """One, where tickets are configured."""
    conf = tickets_of(look().begun)
    if conf is None:
        return []
    seconds = conf.timeout.total_seconds()
    return [Follower("tickets", lambda: due(look()), lambda key: attempt(look(), key, now()), record, seconds)]


def attempt(state: SessionState, key: str, now: datetime) -> TicketTried:
    """File one follow-up that was asked for, unless it is there, and say what became of it."""
    conf = tickets_of(state.begun)
    one = next((one for one in unfiled(state) if one.key == key), None)
    if conf is None or one is None:
        why = "no tickets are configured" if conf is None else "it is done, or has a ticket by now"
        return TicketTried(key=key, result=Filing.NOT_FILED, reason=why)
    try:
        token = token_of(conf)
        there = find_issue(conf, token, marker=marker(state, key))
    except (RestoreError, OSError) as error:  # the latter of this machine, as too many open files
        # One that may be there since an earlier try is no less likely for that.
        unsure = state.tickets[key].unsure_since is not None
        return _failed(key, error, Filing.UNKNOWN if unsure else Filing.NOT_FILED)
    if there is not None:
        return _filed(key, there)
    left = only_looked_for(state.tickets[key], now)
    if left is not None:
        hint = f"It is not there so far. If it is not in {span(left.total_seconds())} either, filing it again makes it."
        return TicketTried(key=key, result=Filing.UNKNOWN, reason="GitHub may still be making it", hint=hint)
    return _made(state, one, conf, token)


def _made(state: SessionState, one: FollowUp, conf: Tickets, token: Token) -> TicketTried:
    named = marker(state, one.key)
    try:
        made = make_issue(conf, token, title_of(one), body_of(state, one), conf.labels, marker=named)
    except OSError as error:
        return _failed(one.key, error, Filing.NOT_FILED)
    except NotDone as error:
        if error.known:
            return _failed(one.key, error, Filing.NOT_FILED)
        try:  # what is true is asked, not guessed
            there = find_issue(conf, token, marker=named)
        except (NotDone, OSError):
            there = None
        return _filed(one.key, there) if there is not None else _failed(one.key, error, Filing.UNKNOWN, sent=True)
    return _filed(one.key, made)


def _failed(key: str, error: RestoreError | OSError, result: Filing, *, sent: bool = False) -> TicketTried:
    if isinstance(error, OSError):
        reason, hint = error.strerror or type(error).__name__, "File it again later."
    else:
        reason, hint = error.message.rstrip("."), error.hint
    return TicketTried(key=key, result=result, reason=reason, hint=hint, sent=sent)


def _filed(key: str, issue: Issue) -> TicketTried:
    return TicketTried(key=key, result=Filing.FILED, number=issue.number, address=issue.address, found=not issue.made)
