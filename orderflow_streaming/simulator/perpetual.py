"""What a perpetual contract has beside its book: index, mark price, funding and open interest.

Premium and funding follow the published formulas of Binance ("Introduction to Binance Futures Funding
Rates"), with the touch in place of impact prices: premium = (max(0, bid - index) - max(0, index - ask)) / index;
rate = (average premium + clamp(interest - average premium, -0.05 %, 0.05 %)) / (8 / interval hours).
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from orderflow_streaming.simulator.book import Played
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.records import Seconds, Settlement, Trades
from orderflow_streaming.simulator.symbols import Character
from orderflow_streaming.simulator.venue import Listing

Floats = NDArray[np.float64]

INTEREST = 0.0001
CLAMP = 0.0005
CAP = 0.02
BASIS_SECONDS = 30
"""Moving average of mid - index in the mark price."""
SETTLE_MINUTES = 60
"""Index average that would settle the contract."""
OPEN_INTEREST_SD = 0.001
"""Of its logarithm, per minute."""
OPEN_INTEREST_PULL = 0.0005
"""Per minute, back to the normal level."""


def funding_rate(premium: float, hours: int) -> float:
    """Rate per interval of ``hours`` for an average premium (fraction), capped at 2 %."""
    rate = (premium + min(CLAMP, max(-CLAMP, INTEREST - premium))) / (8 / hours)
    return min(CAP, max(-CAP, rate))


class Perpetual:
    """State of one contract between minutes."""

    def __init__(self, listing: Listing, character: Character, start_us: int) -> None:
        self._listing = listing
        self._interval_us = listing.funding_hours * 3_600_000_000
        self._basis: Floats = np.zeros(BASIS_SECONDS)
        self._weighted = 0.0
        self._weights = 0.0
        self._premium = 0.0
        self._settle: deque[float] = deque(maxlen=SETTLE_MINUTES)
        usd_per_lot = listing.lot * listing.contract_size * character.price
        self._normal_lots = character.open_interest_usd / usd_per_lot
        self._log_interest = 0.0
        self._next_us = start_us - start_us % self._interval_us + self._interval_us

    def minute(
        self, random: np.random.Generator, start_us: int, index: Floats, played: Played, trades: Trades
    ) -> Seconds:
        """``index`` has 60 values, at the end of each second."""
        tick = self._listing.tick
        bid, ask = np.array(played.second_bid) * tick, np.array(played.second_ask) * tick
        rate = funding_rate(self._premium, self._listing.funding_hours)

        basis = np.concatenate([self._basis, (bid + ask) / 2 - index])
        averages = np.convolve(basis[1:], np.full(BASIS_SECONDS, 1 / BASIS_SECONDS), mode="valid")
        self._basis = basis[-BASIS_SECONDS:]
        mark = index + averages
        self._settle.append(float(index.mean()))
        settle = np.full(60, sum(self._settle) / len(self._settle))

        end_us, next_us = start_us + MINUTE_US, self._next_us
        settlement = None
        self._observe(start_us, (np.maximum(0, bid - index) - np.maximum(0, index - ask)) / index)
        if end_us >= next_us:
            settlement = Settlement(next_us, rate, float(mark[-1]))
            self._next_us += self._interval_us
            self._weighted = self._weights = 0.0
        return Seconds(
            start_us + 1_000_000 * np.arange(1, 61),
            mark,
            index,
            settle,
            self._open_interest(random, start_us, played, trades),
            rate,
            next_us,
            settlement,
        )

    def _observe(self, start_us: int, premium: Floats) -> None:
        """Later samples of an interval weigh more: the n-th counts n times."""
        if self._weights == 0.0:
            self._first_us = start_us
        place = (start_us - self._first_us) // 1_000_000 + np.arange(1, 61)
        self._weighted += float((place * premium).sum())
        self._weights += float(place.sum())
        self._premium = self._weighted / self._weights

    def _open_interest(
        self, random: np.random.Generator, start_us: int, played: Played, trades: Trades
    ) -> NDArray[np.int64]:
        steps = OPEN_INTEREST_SD / 60**0.5 * random.standard_normal(60)
        steps -= OPEN_INTEREST_PULL / 60 * self._log_interest
        for closed in played.liquidations:
            steps[closed.when_us // 1_000_000] -= closed.filled / self._normal_lots
        path = self._log_interest + np.cumsum(steps)
        self._log_interest = float(path[-1])
        return np.rint(self._normal_lots * np.exp(path)).astype(np.int64)
