"""Minute candles and rolling 24-hour sums, from trades alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import groupby

from orderflow_streaming.simulator.latent import MINUTE_US
from orderflow_streaming.simulator.records import Candle, Day, Trades

DAY_MINUTES = 1_440
MINUTES = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480, "12h": 720,
    "1d": DAY_MINUTES,
}  # fmt: skip
"""Lengths of candles over REST, by the name most venues give them."""


def candle(start_us: int, before: int, trades: Trades, first: int = 0, last: int | None = None) -> Candle:
    """Candle of ``trades[first:last]``; without trades it is flat at ``before``, the close of the candle before."""
    part = slice(first, last)
    tick, lots, buy = trades.tick[part], trades.lots[part], trades.buy[part]
    if tick.size == 0:
        return Candle(start_us, before, before, before, before)
    value = tick * lots
    first_id, last_id = int(trades.first_id[first]), int(trades.last_id[part][-1])
    return Candle(
        start_us,
        open=int(tick[0]),
        high=int(tick.max()),
        low=int(tick.min()),
        close=int(tick[-1]),
        lots=int(lots.sum()),
        value=int(value.sum()),
        buy_lots=int(lots[buy].sum()),
        buy_value=int(value[buy].sum()),
        count=last_id - first_id + 1,
        first_id=first_id,
        last_id=last_id,
        last_lots=int(lots[-1]),
    )


def merged(candles: Iterable[Candle], minutes: int) -> list[Candle]:
    """Minute candles, oldest first, as candles of ``minutes``, each beginning at a multiple of them since 1970."""
    width_us = minutes * MINUTE_US
    if minutes == 1:
        return list(candles)
    return [
        _together(start * width_us, list(part))
        for start, part in groupby(candles, lambda one: one.start_us // width_us)
    ]


def _together(start_us: int, parts: list[Candle]) -> Candle:
    traded = [part for part in parts if part.count]
    if not traded:
        flat = parts[-1].close
        return Candle(start_us, flat, flat, flat, flat)
    return Candle(
        start_us,
        open=traded[0].open,
        high=max(part.high for part in traded),
        low=min(part.low for part in traded),
        close=traded[-1].close,
        lots=sum(part.lots for part in traded),
        value=sum(part.value for part in traded),
        buy_lots=sum(part.buy_lots for part in traded),
        buy_value=sum(part.buy_value for part in traded),
        count=sum(part.count for part in traded),
        first_id=traded[0].first_id,
        last_id=traded[-1].last_id,
        last_lots=traded[-1].last_lots,
    )


class Rolling:
    """The candles of the last 24 hours."""

    def __init__(self, price: int) -> None:
        self._close = price
        self._last = (-1, 0)
        self._candles: deque[Candle] = deque(maxlen=DAY_MINUTES)

    def day(self, start_us: int) -> Day:
        """The window of the minute at ``start_us`` without that minute itself."""
        traded = [past for past in self._candles if past.count]
        last_id, last_lots = self._last
        if not traded:
            flat = self._close
            return Day(start_us, flat, flat, flat, flat, last_id=last_id, last_lots=last_lots)
        return Day(
            open_us=self._candles[0].start_us,
            open=traded[0].open,
            high=max(past.high for past in traded),
            low=min(past.low for past in traded),
            close=self._close,
            lots=sum(past.lots for past in traded),
            value=sum(past.value for past in traded),
            count=sum(past.count for past in traded),
            first_id=traded[0].first_id,
            last_id=last_id,
            last_lots=last_lots,
        )

    def close(self, start_us: int, trades: Trades) -> Candle:
        """Take in a whole minute and return its candle."""
        made = candle(start_us, self._close, trades)
        self._candles.append(made)
        self._close = made.close
        if made.count:
            self._last = (made.last_id, made.last_lots)
        return made
