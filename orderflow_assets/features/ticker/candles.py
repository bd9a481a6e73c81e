"""Disjoint candles of five minutes and an hour, from what the venues say of each minute.

A minute is the venue's own closed candle, streamed or asked for later, else the bar of the trades recorded here.
Hyperliquid and KuCoin do not say when a candle is closed: it is once the next one begins, and the running hour has the
recorded minute until then. Value and number of trades are the venue's where it tells them: Hyperliquid and KuCoin
futures tell no value, and then it is the volume times the mean price of the recorded trades; only Binance and
Hyperliquid tell numbers of trades, elsewhere they are those recorded. Numbers of the two kinds are never mixed in a
series.

A minute without a trade has volume zero and no price. A minute neither way is unknown and only counted as missing.
"""

from __future__ import annotations

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import HOUR, MINUTE, SERIES
from orderflow_assets.lineage import Sources, alike, columns_of
from orderflow_streaming.schema import IDENTITY, STREAMS
from orderflow_streaming.tables import Column, Table

FIVE = 5 * MINUTE
PRICE_STANDS = HOUR
"""How long the last traded price is the price when nothing trades."""

COUNTED_BY_VENUE = ("binance", "hyperliquid")
"""Exchanges whose candles carry the number of trades."""

_EDGES = (
    *IDENTITY,
    Column("open_time", "TIMESTAMP", "opening edge", "UTC", False),
    Column("bar_ts", "TIMESTAMP", "closing edge", "UTC", False),
    Column("last_minute", "TIMESTAMP", "opening edge of its last minute", "UTC", False),
)
_FIGURES = (
    Column("minutes", "BIGINT", "minutes that are known", "count", False),
    Column("open", "DOUBLE", "first traded price", "quote"),
    Column("high", "DOUBLE", "highest traded price", "quote"),
    Column("low", "DOUBLE", "lowest traded price", "quote"),
    Column("close", "DOUBLE", "last traded price", "quote"),
    Column("volume", "DOUBLE", "traded volume of the known minutes", "base"),
    Column("quote_volume", "DOUBLE", "traded value; NULL unless told of every known minute", "quote"),
    Column("trade_count", "BIGINT", "trades; NULL unless told of every known minute", "count"),
)
_KEY = (*(column.name for column in IDENTITY), "bar_ts")

CANDLES_5M = Table(
    "bars",
    "candles_5m",
    (
        *_EDGES,
        *_FIGURES,
        Column(
            "log_return",
            "DOUBLE",
            "ln(close / last traded price of the hour before the bar); 0 without a trade, NULL with a minute unknown",
            "log points",
        ),
    ),
    _KEY,
    "last_minute",
    "Five-minute candles of the venues, completed by the trades recorded here.",
)

CANDLES_1H = Table(
    "bars",
    "candles_1h",
    (
        *_EDGES,
        *_FIGURES,
        Column("squares", "DOUBLE", "sum of its squared five-minute log returns", "log points squared"),
        Column("returns", "BIGINT", "how many of them are known", "count", False),
    ),
    _KEY,
    "last_minute",
    "Hourly candles, with the realised variance of the hour.",
)


def _all(column: str) -> str:
    return f"CASE WHEN count({column}) = count(*) THEN sum({column}) END"


_TRADED = ", ".join(
    f"CASE WHEN traded THEN CASE WHEN told THEN v.{name} ELSE o.{name} END END AS {name}"
    for name in ("open", "high", "low", "close")
)
_OHLC = (
    "arg_min(open, opened) AS open, max(high) AS high, min(low) AS low, arg_max(close, opened) AS close, "
    f"sum(volume) AS volume, {_all('quote_volume')} AS quote_volume, {_all('trade_count')}::BIGINT AS trade_count"
)
_COUNTED = ", ".join(f"'{exchange}'" for exchange in COUNTED_BY_VENUE)
_STANDS = f"INTERVAL {round(PRICE_STANDS.total_seconds())} SECOND"

_FIVE_SQL = f"""
WITH venue AS (
    SELECT {SERIES}, open_time, open, high, low, close, volume, quote_volume, trade_count
    FROM main.candles
    WHERE interval = '1m' AND is_closed
      AND open_time >= $start::TIMESTAMP - {_STANDS} - INTERVAL 5 MINUTE AND open_time < $end::TIMESTAMP
), own AS (
    SELECT {SERIES}, open_time, open, high, low, close, volume, quote_volume, vwap, trade_count
    FROM bars.bars_1m
    WHERE volume IS NOT NULL
      AND open_time >= $start::TIMESTAMP - {_STANDS} - INTERVAL 5 MINUTE AND open_time < $end::TIMESTAMP
), minutes AS (
    SELECT {SERIES}, open_time AS opened, time_bucket(INTERVAL 5 MINUTE, open_time) AS open_time,
           v.volume IS NOT NULL AS told,
           CASE WHEN told THEN v.volume ELSE o.volume END AS volume,
           CASE WHEN told THEN v.volume ELSE o.volume END > 0 AS traded,
           {_TRADED},
           CASE WHEN NOT traded THEN 0 WHEN told THEN coalesce(v.quote_volume, v.volume * o.vwap) ELSE o.quote_volume
           END AS quote_volume,
           CASE WHEN NOT traded THEN 0 WHEN exchange IN ({_COUNTED}) THEN v.trade_count ELSE o.trade_count
           END AS trade_count
    FROM venue v FULL JOIN own o USING ({SERIES}, open_time)
), fives AS (
    SELECT {SERIES}, open_time, count(*) AS minutes, {_OHLC}
    FROM minutes
    GROUP BY {SERIES}, open_time
), followed AS (
    SELECT *, last_value(close IGNORE NULLS) OVER (
        PARTITION BY {SERIES} ORDER BY open_time
        RANGE BETWEEN {_STANDS} PRECEDING AND INTERVAL 5 MINUTE PRECEDING
    ) AS price_before
    FROM fives
)
SELECT {SERIES}, open_time, open_time + INTERVAL 5 MINUTE AS bar_ts, open_time + INTERVAL 4 MINUTE AS last_minute,
       minutes, open, high, low, close, volume, quote_volume, trade_count,
       CASE WHEN minutes = 5 THEN ln(coalesce(close, price_before) / price_before) END AS log_return
FROM followed
WHERE open_time + INTERVAL 4 MINUTE >= $start::TIMESTAMP AND open_time + INTERVAL 4 MINUTE < $end::TIMESTAMP
"""

_HOUR_SQL = f"""
WITH fives AS (
    SELECT *, open_time AS opened, date_trunc('hour', open_time) AS hour
    FROM bars.candles_5m
    WHERE last_minute >= $start::TIMESTAMP - INTERVAL 1 HOUR AND last_minute < $end::TIMESTAMP
)
SELECT {SERIES}, hour AS open_time, hour + INTERVAL 1 HOUR AS bar_ts, hour + INTERVAL 59 MINUTE AS last_minute,
       sum(minutes)::BIGINT AS minutes, {_OHLC},
       sum(log_return * log_return) AS squares, count(log_return) AS returns
FROM fives
WHERE hour + INTERVAL 59 MINUTE >= $start::TIMESTAMP AND hour + INTERVAL 59 MINUTE < $end::TIMESTAMP
GROUP BY {SERIES}, hour
"""

_BOTH = (STREAMS["candles"].table, BARS_1M)


def _told(*names: str) -> Sources:
    """``names`` of the venue's candle and of the recorded minute; volumes say which of them holds and if it traded."""
    wanted = dict.fromkeys((*names, "volume"))
    return (*(source for table in _BOTH for source in columns_of(table.qualified, *wanted)), "main.candles.is_closed")


FIVE_LAYER = selected(
    CANDLES_5M,
    _FIVE_SQL,
    _BOTH,
    PRICE_STANDS + FIVE,
    lineage={
        **{name: _told(name) for name in ("open", "high", "low", "close", "volume", "trade_count")},
        "minutes": _told(),
        "quote_volume": (*_told("quote_volume"), f"{BARS_1M.qualified}.vwap"),
        "log_return": _told("close"),
    },
)
HOUR_LAYER = selected(
    CANDLES_1H,
    _HOUR_SQL,
    (CANDLES_5M,),
    HOUR,
    lineage={
        **alike(CANDLES_5M.qualified, (column.name for column in _FIGURES)),
        **dict.fromkeys(("squares", "returns"), columns_of(CANDLES_5M.qualified, "log_return")),
    },
)
LAYERS = (FIVE_LAYER, HOUR_LAYER)
