"""Totals over the last minute."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping

WINDOW_S = 60.0


class Rates:
    """What many rising totals gained lately. Sampled by one thread, asked by any."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[Hashable, int]]] = deque()

    def sample(self, totals: Mapping[Hashable, int], now: float) -> None:
        """``now`` in seconds of a monotonic clock."""
        self._samples.append((now, dict(totals)))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW_S:
            self._samples.popleft()

    def gained(self, key: Hashable) -> int:
        """Increase over the window, or since the first sample; 0 where the total fell, as it was counted anew."""
        if len(self._samples) < 2:
            return 0
        return max(0, self._samples[-1][1].get(key, 0) - self._samples[0][1].get(key, 0))

    def per_minute(self, key: Hashable) -> float:
        """0 before the second sample."""
        if len(self._samples) < 2:
            return 0.0
        return self.gained(key) * 60 / (self._samples[-1][0] - self._samples[0][0])
