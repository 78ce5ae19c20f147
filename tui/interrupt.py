"""Ctrl-C as a question instead of an end, for as long as something is waited for that goes on by itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Interrupts:
    """Between `catch` and `release` Ctrl-C is noted only; otherwise it ends the program as usual."""

    def __init__(self) -> None:
        self._pressed = asyncio.Event()
        self._usual = signal.getsignal(signal.SIGINT)

    def catch(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._pressed.set)

    def release(self) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, self._usual)

    @contextmanager
    def released(self) -> Iterator[None]:
        """While somebody is asked."""
        self.release()
        try:
            yield
        finally:
            self.catch()

    async def before(self, coming: asyncio.Future[T]) -> bool:
        """Wait until `coming` is there; False where Ctrl-C was pressed first. What is there goes first."""
        waiting = asyncio.ensure_future(self._pressed.wait())
        try:
            await asyncio.wait((coming, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if coming.done():
            return True
        self._pressed.clear()
        return False
