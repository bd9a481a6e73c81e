"""An event loop that lets frames gather: sockets are looked at no more often than every few milliseconds.

Waking up for a frame costs more than handling it. With this loop one wake-up takes everything that came on all
sockets since the last, for at most ``interval_s`` more delay; timers keep their time.
"""

from __future__ import annotations

import asyncio
import selectors
import time

INTERVAL_S = 0.01


class GatheringSelector(selectors.DefaultSelector):
    """A selector whose looks at the sockets are ``interval_s`` apart or more."""

    def __init__(self, interval_s: float = INTERVAL_S) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._next_look = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        early = self._next_look - time.monotonic()
        if early > 0:
            if timeout is not None and timeout < early:
                time.sleep(max(0.0, timeout))
                return []
            time.sleep(early)
            timeout = None if timeout is None else timeout - early
        events = super().select(timeout)
        self._next_look = time.monotonic() + self._interval_s
        return events


def gathering_loop() -> asyncio.AbstractEventLoop:
    """For ``asyncio.Runner(loop_factory=gathering_loop)``."""
    return asyncio.SelectorEventLoop(GatheringSelector())
