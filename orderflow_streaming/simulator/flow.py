"""When orders arrive: taker orders that excite one another, and quotes that follow them.

The taker orders of a minute are an exact Hawkes process, drawn as clusters: spontaneous orders, their
followers, the followers' followers and so on (Hawkes & Oakes 1974). Followers that fall into a later minute
are carried there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BRANCHING = 0.6
"""Taker orders that one taker order brings on average."""
FOLLOW_SECONDS = 2.0
"""Mean delay of a follower."""
QUOTES_PER_TRADE = 2.0
"""Quote changes that one taker order brings on average."""
QUOTE_SECONDS = 0.15

_NONE: Floats = np.empty(0)


@dataclass(slots=True)
class Arrivals:
    """Arrival times within one minute, in seconds from its start, and what carries over to the next."""

    trades_ahead: Floats = field(default_factory=lambda: _NONE)
    quotes_ahead: Floats = field(default_factory=lambda: _NONE)

    def minute(self, random: np.random.Generator, trade_rate: float, quote_rate: float) -> tuple[Floats, Floats]:
        """Sorted times of taker orders and of quote changes; rates are mean events per second."""
        spontaneous = random.random(random.poisson(trade_rate * (1 - BRANCHING) * 60.0)) * 60.0
        trades, self.trades_ahead = _clusters(random, spontaneous, self.trades_ahead - 60.0)
        quotes = random.random(random.poisson(quote_rate * 60.0)) * 60.0
        reactions = _followers(random, trades, QUOTES_PER_TRADE, QUOTE_SECONDS)
        quotes = np.concatenate([quotes, reactions, self.quotes_ahead - 60.0])
        ahead = quotes >= 60.0
        self.quotes_ahead = quotes[ahead]
        return np.sort(trades), np.sort(quotes[~ahead])


def _followers(random: np.random.Generator, parents: Floats, mean: float, delay: float) -> Floats:
    born = np.repeat(parents, random.poisson(mean, parents.size))
    return born + random.exponential(delay, born.size)


def _clusters(random: np.random.Generator, spontaneous: Floats, carried: Floats) -> tuple[Floats, Floats]:
    generation = np.concatenate([spontaneous, carried])
    inside: list[Floats] = []
    ahead: list[Floats] = []
    while generation.size:
        later = generation >= 60.0
        ahead.append(generation[later])
        generation = generation[~later]
        inside.append(generation)
        generation = _followers(random, generation, BRANCHING, FOLLOW_SECONDS)
    return np.concatenate([_NONE, *inside]), np.concatenate([_NONE, *ahead])
