"""Sends what is due, a thread for each channel, so that neither the restore nor another channel waits for one that
hangs. What became of each is journalled."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engines import tables
from engines.errors import Problem
from engines.notify import Channel, NotDeliveredError, deliver
from engines.session.events import Event, NoticeSent, SessionBegun
from engines.session.followers import Follower
from engines.session.notices import Notice, text_of, waiting
from engines.session.state import SessionState


def followers(
    begun: SessionBegun, look: Callable[[], SessionState], record: Callable[[Event], None]
) -> list[Follower[Notice]]:
    """One for each configured channel."""

    def of(name: str, channel: Channel) -> Follower[Notice]:
        return Follower(
            f"notify {name}",
            lambda: next((notice for notice, waits in waiting(look()) if waits == name), None),
            lambda notice: attempt(look(), notice, name, channel),
            record,
            channel.timeout.total_seconds(),
        )

    return [of(name, channel) for name, channel in channels_of(begun).items()]


def channels_of(begun: SessionBegun) -> Mapping[str, Channel]:
    """The channels as they were configured when the session began."""
    problems: list[Problem] = []
    found = (tables.read(Channel, told, "journal", problems, internal=True) for told in begun.notify)
    return {channel.name: channel for channel in found if channel is not None}


def attempt(state: SessionState, notice: Notice, name: str, channel: Channel) -> NoticeSent:
    """Try once, and say what became of it."""
    text = text_of(state, notice)
    reason = ""
    try:
        deliver(channel, text)
    except NotDeliveredError as error:
        reason = str(error)
    except OSError as error:  # of this machine, as too many open files: the next one is to be tried all the same
        reason = error.strerror or type(error).__name__
    return NoticeSent(notice.number, str(notice.about), name, not reason, reason, text)
