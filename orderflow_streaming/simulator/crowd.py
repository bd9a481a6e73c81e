"""Who holds a simulated contract: many small accounts that follow the price, a few large ones that lean against them.

What venues publish of it every five minutes follows from the market alone: from the trend of the mark price over
about a day, and from what takers bought and sold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, log

from orderflow_streaming.simulator.records import Minute

MEMORY_MINUTES = 1_440
"""Time constant of the trend that the small accounts see."""
USUAL = 0.35
"""Log of the usual ratio of small accounts: they like to be long."""
FOLLOWING = 8.0
"""How much a log return of the trend adds to the log ratio of small accounts."""
AGAINST = -0.5
"""Log ratio of the large accounts for one of the small ones."""
CONCENTRATED = 1.5
"""The same of the size of their positions for one of their number."""
MOST = 2.0
"""Log ratios stay within this."""


@dataclass(frozen=True, slots=True)
class Positioning:
    """Long over short: accounts, accounts and positions of the largest traders, and what takers bought over sold."""

    accounts: float
    top_accounts: float
    top_positions: float
    taker: float
    bought: int
    """Lots that takers bought since the statistic before."""
    sold: int

    def over(self, bought: int, sold: int) -> Positioning:
        """The same where takers bought and sold so much."""
        return replace(self, taker=_takers(bought, sold), bought=bought, sold=sold)


class Crowd:
    """The holders of one contract."""

    def __init__(self) -> None:
        self._mark = 0.0
        self._trend = 0.0
        self._bought = self._sold = 0

    def observe(self, minute: Minute) -> None:
        """A minute of a perpetual contract passes."""
        assert minute.seconds is not None
        mark = float(minute.seconds.mark[-1])
        moved = log(mark / self._mark) if self._mark else 0.0
        self._mark = mark
        self._trend += moved - self._trend / MEMORY_MINUTES
        self._bought += minute.candle.buy_lots
        self._sold += minute.candle.lots - minute.candle.buy_lots

    def statistic(self) -> Positioning:
        """What is published now; the count of what takers did begins anew."""
        small = USUAL + FOLLOWING * self._trend
        large = AGAINST * small
        bought, sold = self._bought, self._sold
        self._bought = self._sold = 0
        return Positioning(
            accounts=_ratio(small),
            top_accounts=_ratio(large),
            top_positions=_ratio(CONCENTRATED * large),
            taker=_takers(bought, sold),
            bought=bought,
            sold=sold,
        )


def _takers(bought: int, sold: int) -> float:
    """Counts one lot more on both sides, so that a side nobody traded leaves a number."""
    return (bought + 1) / (sold + 1)


def _ratio(log_ratio: float) -> float:
    return exp(max(-MOST, min(MOST, log_ratio)))
