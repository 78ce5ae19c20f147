"""Sends what is due, a thread for each channel, so that neither the restore nor another channel waits for one that
hangs. What became of each is journalled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from engines import tables
from engines.errors import Problem, RestoreError
from engines.notify import Channel, NotDeliveredError, deliver
from engines.session.events import Event, NoticeSent, SessionBegun
from engines.session.notices import Notice, text_of, waiting
from engines.session.state import SessionState

_LEAVING = 2.0  # seconds beyond a channel's own time that a leaving runner waits for it


class Messenger:
    """Follows the session's state; `wake` is called whenever it may have changed."""

    def __init__(self, look: Callable[[], SessionState], record: Callable[[Event], None]) -> None:
        self._look = look
        self._record = record
        self._changed = threading.Condition()
        self._closing = False  # end once nothing is due any more,
        self._gone = False  # and at once
        self._threads: list[threading.Thread] = []
        self._longest = 0.0

    def begin(self, begun: SessionBegun) -> None:
        """Start a thread for each configured channel; none where there is none."""
        for name, channel in channels_of(begun).items():
            self._longest = max(self._longest, channel.timeout.total_seconds())
            thread = threading.Thread(target=self._follow, args=(name, channel), name=f"notify {name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    @property
    def follows(self) -> bool:
        """Is there any channel?"""
        return bool(self._threads)

    def wake(self) -> None:
        if self._threads:
            with self._changed:
                self._changed.notify_all()

    def close(self, *, wait: bool) -> None:
        """End; let what is due be sent first, no longer than the slowest channel may take, where `wait` says so."""
        with self._changed:
            self._closing, self._gone = True, not wait
            self._changed.notify_all()
        until = time.monotonic() + (self._longest + _LEAVING if wait else 0.0)
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))
        self._gone = True

    def _follow(self, name: str, channel: Channel) -> None:
        while True:
            with self._changed:
                notice = None if self._gone else self._next(name)
                if notice is None:
                    if self._closing:
                        return
                    self._changed.wait()
                    continue
            told = attempt(self._look(), notice, name, channel)
            if self._gone:
                return  # the journal is closed: whoever takes the session up tries it again
            try:
                self._record(told)
            except RestoreError:
                return  # the journal can't be written: the runner itself says so

    def _next(self, name: str) -> Notice | None:
        return next((notice for notice, channel in waiting(self._look()) if channel == name), None)


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
