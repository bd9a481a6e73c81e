"""Simulated time: free-running through history, then paced by the wall clock."""

from __future__ import annotations

import time
from collections.abc import Callable

STEP_US = 1_000_000
"""Simulated time sent at once while running free."""


class Clock:
    """Says up to which simulated instant frames may be sent.

    With ``history`` it advances as fast as it is asked until the present is reached; then, or at once without
    history, it runs ``speed`` times as fast as the wall clock.
    """

    def __init__(
        self,
        start_us: int,
        speed: float = 1.0,
        *,
        history: bool = False,
        present: Callable[[], float] = time.time,
        passed: Callable[[], float] = time.monotonic,
    ) -> None:
        if speed <= 0:
            raise ValueError(f"the speed of {speed:g} must be above 0; 1 is real time.")
        self.position_us = start_us
        """Everything before it was sent."""
        self.speed = speed
        self.free = history
        self._present, self._passed = present, passed
        self._anchor_us, self._anchor = start_us, passed()

    def begin(self) -> None:
        """The clock starts to run now."""
        self._anchor_us, self._anchor = self.position_us, self._passed()

    def target_us(self) -> int:
        """The instant up to which frames are due."""
        if self.free:
            present_us, step_us = int(self._present() * 1e6), self.position_us + STEP_US
            if step_us < present_us:
                return step_us
            self.free = False
            self._anchor_us, self._anchor = max(present_us, self.position_us), self._passed()
        return self._anchor_us + int((self._passed() - self._anchor) * 1e6 * self.speed)
