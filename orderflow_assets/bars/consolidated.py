"""Bars over all venues of a symbol, futures and spot apart, under the exchange ``all``.

Prices of venues differ for long (Makarov & Schoar 2020, Journal of Financial Economics 135:2), and their clocks do
too. The last print over all venues, as a consolidated tape has it, would jump between venues from bar to bar, and the
highest would be that of the dearest venue. So each of open, high, low and close is the mean of the venues' own,
weighted by the volume they traded in the minute, as reference rates weight (Paine & Knottenbelt 2016, CME CF Bitcoin
Reference Rate): a thin venue that strays moves it by its share only. The mid is the median of the venues' mids.
Amounts are sums. Futures and spot stand apart because the basis between them is a price of its own; their amounts add
up, their prices do not mix. Bars coarser than a minute are joined from the minutes, so that a venue which falls
silent leaves no old price behind.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from orderflow_assets.bars.coarser import OHLCV, TIMEFRAMES, coarser
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import alike, columns_of
from orderflow_streaming.tables import Column, Table

EVERY_VENUE = "all"
"""The exchange of what is over all venues."""

_PRICES = ("open", "high", "low", "close")


def _described(column: Column) -> Column:
    if column.name in _PRICES:
        return replace(column, doc=f"{column.doc}, mean of the venues weighted by volume")
    if column.name == "mid_close":
        return replace(column, doc="median of the venues' mids at bar_ts")
    return column


CONSOLIDATED_1M = Table(
    "bars",
    "consolidated_1m",
    (
        *BAR_COLUMNS,
        *map(_described, OHLCV),
        Column("venues", "BIGINT", "venues with a live trade feed; of longer bars the fewest in a minute", "count"),
    ),
    BAR_KEY,
    "open_time",
    "One row per symbol, market type and minute, over all venues.",
)

_WEIGHTED = ", ".join(f"sum({name} * volume) / nullif(sum(volume), 0) AS {name}" for name in _PRICES)
_AMOUNTS = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote")

_SQL = f"""
SELECT symbol, '{EVERY_VENUE}' AS exchange, market_type, open_time, bar_ts, {_WEIGHTED},
       {", ".join(f"sum({name}) AS {name}" for name in _AMOUNTS)},
       sum(trade_count)::BIGINT AS trade_count,
       sum(b.quote_volume) / nullif(sum(b.volume), 0) AS vwap,
       median(mid_close) AS mid_close,
       count(b.volume) AS venues
FROM bars.bars_1m b
WHERE open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP
GROUP BY symbol, market_type, open_time, bar_ts
"""

_BARS = BARS_1M.qualified

MINUTES: Layer = selected(
    CONSOLIDATED_1M,
    _SQL,
    (BARS_1M,),
    timedelta(0),
    lineage={
        **{name: columns_of(_BARS, name, "volume") for name in _PRICES},
        **alike(_BARS, (*_AMOUNTS, "trade_count", "mid_close")),
        "vwap": columns_of(_BARS, "quote_volume", "volume"),
        "venues": columns_of(_BARS, "volume"),
    },
)

LAYERS: tuple[Layer, ...] = (
    MINUTES,
    *(
        coarser(CONSOLIDATED_1M, "consolidated", timeframe, {"venues": "min(nullif(venues, 0))"})
        for timeframe in TIMEFRAMES
    ),
)
