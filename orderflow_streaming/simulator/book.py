"""The order book of one symbol on one venue, played order by order.

Both sides are lists with the best level first. Bid ticks are kept negated, so that "better" is "smaller" on
either side and one piece of code serves both; a book is uncrossed while ``bids[0] + asks[0] > 0``.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orderflow_streaming.simulator.latent import SLOT_US, SLOTS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVELS = 20
"""Depth of the simulated book, per side."""
_KEPT = LEVELS + 6
_MOST = LEVELS + 14

QUOTE, TAKE, LIQUIDATE = 0, 1, 2

REPEAT = 0.45
"""Share of taker orders that take the side of the one before."""
LEAN = 0.42
"""How far the share of buyers moves from a half when the fair price is far away."""
PRESSURE = 0.10
"""The same for one unit of the pressure of orders."""
RETREAT = 0.18
"""Share of quote changes on a side the fair price has passed that withdraw it; others only thin it out."""
IMPROVE = 0.75
"""Share of quote changes that step into an open spread."""
WHOLE_LEVEL = 0.12
"""Share of taker orders sized to what stands at the touch."""
IMPACT = 0.03
"""Move of the fair price by one median order, in units of the reach (see :class:`Tape`)."""
IMPACT_SECONDS = 20.0
LIQUIDATION_MOVE = 2.0
"""Move of one minute, in its standard deviations, from which positions are liquidated."""
LIQUIDATION_RATE = 0.10
"""Chance per second and standard deviation beyond that."""
LIQUIDATION_SIZE = 6.0
"""Of a median taker order."""
_MEMORY_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Tape:
    """What arrives during one minute; lists of equal length, in order of time."""

    when_us: list[int]
    kind: list[int]
    side: list[float]
    """Uniform draw: which side."""
    choice: list[float]
    """Uniform draw: what is done."""
    place: list[float]
    """Uniform draw: where, or whether a liquidation happens."""
    level: list[int]
    lots: list[int]
    fair: list[float]
    """Fair price of the venue in ticks, per slot."""
    pressure: list[float]
    """Excess of buyers, per slot."""
    reach: float
    """Distance in ticks that counts as far: a good part of a typical move of one second."""
    typical_order: float
    typical_level: float
    """Median sizes in lots."""
    spacing: float
    """Mean distance of neighbouring levels deep in the book, in ticks."""
    minute_sigma: float
    """Standard deviation of a one-minute move, in ticks."""
    push_slots: int
    """Slots between two snapshots of the book."""


class Trade(NamedTuple):
    when_us: int
    tick: int
    lots: int
    buy: bool


class Touch(NamedTuple):
    when_us: int
    bid: int
    bid_lots: int
    ask: int
    ask_lots: int


class Liquidation(NamedTuple):
    """``buy`` is the side of the closing order: a short position was liquidated."""

    when_us: int
    buy: bool
    order_tick: int
    lots: int
    filled: int
    value: int
    """Sum of tick x lots over the fills."""
    last: int
    """Lots of the last fill."""


@dataclass(slots=True)
class Played:
    """What one minute brought. Times are microseconds from the start of the minute."""

    trades: list[Trade]
    touches: list[Touch]
    liquidations: list[Liquidation]
    push_us: list[int]
    """Times of the snapshots; the first is the book as the minute begins."""
    bid_ticks: list[list[int]]
    """Negated, as in the book."""
    bid_lots: list[list[int]]
    ask_ticks: list[list[int]]
    ask_lots: list[list[int]]
    second_bid: list[int]
    second_ask: list[int]
    """Touch at the end of each second."""


class Book:
    """Resting orders and the state that outlives a minute."""

    def __init__(self, fair: float, typical_level: float, spacing: float, random: np.random.Generator) -> None:
        self._random = random
        self._typical_level = typical_level
        self._spacing = spacing
        ask = max(2, math.ceil(fair))
        self.asks = [ask]
        self.bids = [1 - ask]
        self.ask_lots = [max(1, round(typical_level))]
        self.bid_lots = [max(1, round(typical_level))]
        self._refill(self.asks, self.ask_lots)
        self._refill(self.bids, self.bid_lots)
        self._last_buy = True
        self._impact = 0.0
        self._mids: deque[float] = deque([fair], maxlen=_MEMORY_SECONDS)

    def play(self, tape: Tape, random: np.random.Generator) -> Played:
        """The minute of ``tape``; changes the book."""
        self._random = random
        self._typical_level, self._spacing = tape.typical_level, tape.spacing
        played = Played([], [], [], [], [], [], [], [], [], [])
        when, kind = tape.when_us, tape.kind
        bids, asks, bid_lots, ask_lots = self.bids, self.asks, self.bid_lots, self.ask_lots
        touches, count, index = played.touches, len(when), 0
        decay = math.exp(-SLOT_US / 1e6 / IMPACT_SECONDS)
        touch = (bids[0], bid_lots[0], asks[0], ask_lots[0])
        self._snapshot(played, 0)
        for slot in range(SLOTS):
            fair = tape.fair[slot]
            self._impact *= decay
            end = (slot + 1) * SLOT_US
            while index < count and when[index] < end:
                if kind[index] == QUOTE:
                    anchor = fair + self._impact
                    if tape.side[index] < 0.5:
                        self._quote(tape, index, bids, bid_lots, asks[0], -anchor)
                    else:
                        self._quote(tape, index, asks, ask_lots, bids[0], anchor)
                elif kind[index] == TAKE:
                    self._order(tape, index, slot, played.trades)
                else:
                    self._liquidation(tape, index, played)
                now = (bids[0], bid_lots[0], asks[0], ask_lots[0])
                if now != touch:
                    touch = now
                    touches.append(Touch(when[index], -now[0], now[1], now[2], now[3]))
                index += 1
            if (slot + 1) % tape.push_slots == 0:
                self._snapshot(played, end)
            if slot % 10 == 9:
                played.second_bid.append(-bids[0])
                played.second_ask.append(asks[0])
                self._mids.append((asks[0] - bids[0]) / 2)
        return played

    def _snapshot(self, played: Played, when_us: int) -> None:
        played.push_us.append(when_us)
        played.bid_ticks.append(self.bids[:LEVELS])
        played.bid_lots.append(self.bid_lots[:LEVELS])
        played.ask_ticks.append(self.asks[:LEVELS])
        played.ask_lots.append(self.ask_lots[:LEVELS])

    def _quote(self, tape: Tape, index: int, own: list[int], lots: list[int], other: int, anchor: float) -> None:
        """One change of resting orders on a side whose best should stay at or beyond ``anchor``."""
        best, choice = own[0], tape.choice[index]
        if best + 0.3 < anchor:
            if choice < RETREAT:
                passed = min(bisect_left(own, anchor), LEVELS // 3)
                del own[:passed], lots[:passed]
                self._refill(own, lots)
            else:
                lots[0] = max(1, lots[0] * 2 // 3)
            return
        if best + other > 1 and choice < IMPROVE:
            better = max(1 - other, math.ceil(anchor + 0.05 * tape.reach * tape.place[index] ** 2))
            if better < best:
                own.insert(0, better)
                lots.insert(0, tape.lots[index])
                del own[_MOST:], lots[_MOST:]
                return
        level = tape.level[index]
        gap = own[level + 1] - own[level]
        if gap > 1 and choice > 0.6:
            own.insert(level + 1, own[level] + 1 + int(tape.place[index] * (gap - 1)))
            lots.insert(level + 1, tape.lots[index])
            del own[_MOST:], lots[_MOST:]
        else:
            lots[level] = tape.lots[index]

    def _order(self, tape: Tape, index: int, slot: int, trades: list[Trade]) -> None:
        mid = (self.asks[0] - self.bids[0]) / 2
        if tape.place[index] < REPEAT:
            buy = self._last_buy
        else:
            gap = max(-1.0, min(1.0, (tape.fair[slot] + self._impact - mid) / tape.reach))
            buy = tape.side[index] < 0.5 + LEAN * gap + PRESSURE * tape.pressure[slot]
        size = tape.lots[index]
        if tape.choice[index] < WHOLE_LEVEL:
            size = self.ask_lots[0] if buy else self.bid_lots[0]
        self._take(tape, tape.when_us[index], buy, size, trades)

    def _take(self, tape: Tape, when_us: int, buy: bool, size: int, trades: list[Trade]) -> None:
        """A taker order walks up to six levels; what is left then is not filled."""
        own, lots = (self.asks, self.ask_lots) if buy else (self.bids, self.bid_lots)
        left, filled_levels = size, 0
        while left and filled_levels < 6:
            fill = min(left, lots[0])
            trades.append(Trade(when_us, own[0] if buy else -own[0], fill, buy))
            left -= fill
            filled_levels += 1
            if fill == lots[0]:
                del own[0], lots[0]
            else:
                lots[0] -= fill
        self._refill(own, lots)
        self._last_buy = buy
        push = IMPACT * tape.reach * min(4.0, math.sqrt((size - left) / tape.typical_order))
        self._impact += push if buy else -push

    def _liquidation(self, tape: Tape, index: int, played: Played) -> None:
        mid = (self.asks[0] - self.bids[0]) / 2
        move = (mid - self._mids[0]) / tape.minute_sigma
        if tape.place[index] >= LIQUIDATION_RATE * (abs(move) - LIQUIDATION_MOVE):
            return
        buy = move > 0
        first = len(played.trades)
        limit = self.asks[5] if buy else -self.bids[5]
        self._take(tape, tape.when_us[index], buy, tape.lots[index], played.trades)
        fills = played.trades[first:]
        played.liquidations.append(
            Liquidation(
                tape.when_us[index],
                buy,
                limit,
                tape.lots[index],
                sum(trade.lots for trade in fills),
                sum(trade.tick * trade.lots for trade in fills),
                fills[-1].lots,
            )
        )

    def _refill(self, own: list[int], lots: list[int]) -> None:
        """Add levels at the far end until the book is deep enough again."""
        missing = _KEPT - len(own)
        if missing <= 0:
            return
        gaps = self._random.geometric(1 / self._spacing, missing).tolist()
        sizes = (self._typical_level * 1.5 * np.exp(0.8 * self._random.standard_normal(missing))).tolist()
        for gap, size in zip(gaps, sizes, strict=True):
            own.append(own[-1] + gap)
            lots.append(max(1, round(size)))
