"""What the simulated exchange still knows of the past, for REST answers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from orderflow_streaming.simulator.candles import MINUTES, candle, merged
from orderflow_streaming.simulator.crowd import Crowd, Positioning
from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.records import Candle, Minute, Seconds, Settlement, Trades

KEPT_TRADE_MINUTES = 180
KEPT_CANDLES = 7 * 1_440
KEPT_SETTLEMENTS = 1_000
INTEREST_MINUTES = 5
INTEREST_PERIOD_US = INTEREST_MINUTES * MINUTE_US
INTEREST_PERIODS = {name: minutes for name, minutes in MINUTES.items() if minutes >= INTEREST_MINUTES}
"""Minutes between two values of it over REST, by the name most venues give them."""
KEPT_INTERESTS = 30 * 288


@dataclass(frozen=True, slots=True)
class SecondState:
    """Index, mark, funding and open interest at one second."""

    when_us: int
    mark: float
    index: float
    settle: float
    open_interest: int
    rate: float
    next_us: int


@dataclass(frozen=True, slots=True)
class Interest:
    """Open interest in lots, what it is worth and who holds it, at a round five minutes."""

    when_us: int
    lots: int
    mark: float
    positioning: Positioning


class History:
    """One listing. ``now_us`` of every question must lie within the latest minute added, or the one before."""

    def __init__(self) -> None:
        self._minutes: deque[Minute] = deque(maxlen=2)
        self._trades: deque[Trades] = deque(maxlen=KEPT_TRADE_MINUTES)
        self._candles: deque[Candle] = deque(maxlen=KEPT_CANDLES)
        self._settlements: deque[Settlement] = deque(maxlen=KEPT_SETTLEMENTS)
        self._interests: deque[Interest] = deque(maxlen=KEPT_INTERESTS)
        self._crowd = Crowd()

    def add(self, minute: Minute) -> None:
        self._minutes.append(minute)
        self._trades.append(minute.trades)
        self._candles.append(minute.candle)
        if minute.seconds is None:
            return
        if minute.seconds.settlement is not None:
            self._settlements.append(minute.seconds.settlement)
        self._crowd.observe(minute)
        if (minute.start_us + MINUTE_US) % INTEREST_PERIOD_US == 0:
            last = state_at(minute.seconds, minute.start_us + MINUTE_US)
            self._interests.append(Interest(last.when_us, last.open_interest, last.mark, self._crowd.statistic()))

    def minute(self, now_us: int) -> Minute:
        """The minute that ``now_us`` lies in."""
        for minute in reversed(self._minutes):
            if minute.start_us <= now_us:
                return minute
        raise LookupError("the simulated market has not begun yet")

    def candles(self, now_us: int, minutes: int = 1) -> list[Candle]:
        """All that are known, of so many minutes each, the last one still forming."""
        minute = self.minute(now_us)
        done = [past for past in self._candles if past.start_us < minute.start_us]
        return merged([*done, self._forming(minute, now_us)], minutes)

    def _forming(self, minute: Minute, now_us: int) -> Candle:
        until = int(np.searchsorted(minute.trades.when_us, now_us, side="right"))
        return candle(minute.start_us, minute.day.close, minute.trades, 0, until)

    def trades(self, now_us: int) -> Trades:
        """Those of the last three hours up to ``now_us``."""
        columns = [
            np.concatenate([getattr(part, name) for part in self._trades])
            for name in ("when_us", "tick", "lots", "buy", "order_id", "first_id", "last_id")
        ]
        until = int(np.searchsorted(columns[0], now_us, side="right"))
        return Trades(*(column[:until] for column in columns))

    def second(self, now_us: int) -> SecondState:
        """State of a perpetual at the latest whole second; in its very first second that of the end of it."""
        perpetual = [minute.seconds for minute in self._minutes if minute.seconds is not None]
        for seconds in reversed(perpetual):
            if seconds.when_us[0] <= now_us:
                return state_at(seconds, now_us)
        return state_at(perpetual[0], int(perpetual[0].when_us[0]))

    def settlements(self, now_us: int) -> list[Settlement]:
        return [past for past in self._settlements if past.when_us <= now_us]

    def interests(self, now_us: int, minutes: int = INTEREST_MINUTES) -> list[Interest]:
        """At round multiples of so many minutes, with what takers did since the one before."""
        past = [one for one in self._interests if one.when_us <= now_us]
        return past if minutes == INTEREST_MINUTES else sums(past, minutes * MINUTE_US)

    def window(self, now_us: int) -> Candle:
        """Sums of the last 24 hours up to ``now_us`` as one candle, whose start is that of the window."""
        minute = self.minute(now_us)
        return rolling(minute, self._forming(minute, now_us))

    @property
    def end_us(self) -> int:
        """First instant that is not known yet."""
        return self._minutes[-1].start_us + MINUTE_US if self._minutes else 0


def sums(interests: list[Interest], period_us: int) -> list[Interest]:
    """Those at round multiples of a period, with what takers did since the one before."""
    found, bought, sold = [], 0, 0
    for one in interests:
        bought, sold = bought + one.positioning.bought, sold + one.positioning.sold
        if one.when_us % period_us == 0:
            found.append(replace(one, positioning=one.positioning.over(bought, sold)))
            bought = sold = 0
    return found


def rolling(minute: Minute, part: Candle) -> Candle:
    """The 24-hour window that ends within ``minute``: the day before it and ``part``, the minute so far."""
    day = minute.day
    if not day.count and not part.count:
        return Candle(day.open_us, day.open, day.high, day.low, day.close, last_id=day.last_id, last_lots=day.last_lots)
    if not day.count:
        return part
    traded = part.count > 0
    return Candle(
        day.open_us,
        open=day.open,
        high=max(day.high, part.high) if traded else day.high,
        low=min(day.low, part.low) if traded else day.low,
        close=part.close if traded else day.close,
        lots=day.lots + part.lots,
        value=day.value + part.value,
        count=day.count + part.count,
        first_id=day.first_id,
        last_id=part.last_id if traded else day.last_id,
        last_lots=part.last_lots if traded else day.last_lots,
    )


def state_at(seconds: Seconds, now_us: int) -> SecondState:
    """State at the latest whole second of a minute."""
    place = int(np.searchsorted(seconds.when_us, now_us, side="right")) - 1
    return SecondState(
        int(seconds.when_us[place]),
        float(seconds.mark[place]),
        float(seconds.index[place]),
        float(seconds.settle[place]),
        int(seconds.open_interest[place]),
        seconds.rate,
        seconds.next_us,
    )
