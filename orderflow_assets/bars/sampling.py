"""Where bars end that are cut by activity (Lopez de Prado 2018, Advances in Financial Machine Learning, ch. 2).

Arrays hold one value per moment: running totals over the trades up to and with it. What happens in one moment has no
order, so a bar ends with a moment, never inside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from orderflow_assets.features.grid import Array

ROUNDING = 1e-9
"""Share of a threshold that may be missing for it to be reached: sums are rounded."""

SPAN = 20
"""Bars whose weights hold most of an expectation; the newest bar weighs 2 / (SPAN + 1)."""

BOUND = 2.0
"""How far a threshold may leave the usual imbalance, as a factor either way."""

_CHUNK = 256


def amount_ends(total: Array, size: float) -> list[int]:
    """Moments at which at least ``size`` has traded since the last of them, or since the start."""
    ends: list[int] = []
    base = 0.0
    while (end := int(np.searchsorted(total, base + size * (1 - ROUNDING)))) < len(total):
        ends.append(end)
        base = total[end]
    return ends


@dataclass(frozen=True, slots=True)
class Expectation:
    """Trades per bar and signed flow per trade that the next bar is expected to bring."""

    ticks: float
    flow: float

    def after(self, ticks: float, imbalance: float) -> Expectation:
        """The exponentially weighted expectation once a bar of ``ticks`` trades has closed with ``imbalance``."""
        weight = 2 / (SPAN + 1)
        return Expectation(
            self.ticks + weight * (ticks - self.ticks), self.flow + weight * (imbalance / ticks - self.flow)
        )

    def threshold(self, usual: float) -> float:
        """Expected imbalance of a bar, held within ``BOUND`` of the ``usual`` one.

        Unheld, balanced flow shrinks bars to single trades and one-sided flow lets them grow without end.
        """
        return float(np.clip(self.ticks * abs(self.flow), usual / BOUND, usual * BOUND))


@dataclass(frozen=True, slots=True)
class Ended:
    """One imbalance bar: the moment it ended, and what it was held against."""

    end: int
    threshold: float
    expected: Expectation


def imbalance_ends(total: Array, ticks: Array, expected: Expectation, usual: float) -> Iterator[Ended]:
    """Bars that end when the flow since the last end is as large, either way, as expected.

    ``total`` is the running signed flow and ``ticks`` the running number of trades, both from the start.
    """
    base, counted, start = 0.0, 0.0, 0
    while True:
        threshold = expected.threshold(usual)
        end = _first_beyond(total, start, base, threshold * (1 - ROUNDING))
        if end == len(total):
            return
        yield Ended(end, threshold, expected)
        expected = expected.after(ticks[end] - counted, total[end] - base)
        base, counted, start = total[end], ticks[end], end + 1


def _first_beyond(total: Array, start: int, base: float, threshold: float) -> int:
    """First place from ``start`` on where ``total`` is ``threshold`` away from ``base``; else its length."""
    step = _CHUNK
    while start < len(total):
        beyond = np.abs(total[start : start + step] - base) >= threshold
        if beyond.any():
            return start + int(beyond.argmax())
        start, step = start + step, 2 * step
    return len(total)
