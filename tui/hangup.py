"""Ends the console when its terminal is gone, also where no SIGHUP says so: it has no controlling terminal, or waits.

Textual reads a terminal that is gone over and over, and its loop may be waiting for that terminal to take what it
draws. The session's runner goes on in any case, and nothing of it is kept here.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable

GRACE = 5.0  # seconds in which the console may end by itself
EXIT = 129  # as the shell says of a program that SIGHUP has ended


def watch(descriptor: int, gone: Callable[[], None], grace: float = GRACE) -> Callable[[], None]:
    """Call `gone` from a thread once the terminal is gone, and end the process if the console is still there after.

    What is returned is called when the console has ended: what is cleared up behind it takes the time that it takes.
    """
    ended = threading.Event()
    threading.Thread(target=_wait, args=(descriptor, gone, ended, grace), name="hangup", daemon=True).start()
    return ended.set


def _wait(descriptor: int, gone: Callable[[], None], ended: threading.Event, grace: float) -> None:
    terminal = select.poll()
    terminal.register(descriptor, 0)  # nothing but a hang-up or an error, which poll(2) always tells
    terminal.poll()
    try:
        gone()
    finally:
        if not ended.wait(grace):
            os._exit(EXIT)
