"""One-minute bars of trades and quotes: what every later table is aligned to.

Trades count from the opening edge up to, and without, the closing edge, as in the venues' own candles. The quote of a
bar is the one that stands at its closing edge.

A bar without a trade has volume zero only while the feed lives: another symbol of the same market traded in that
minute and no recorded gap of the series' trades overlaps it. Otherwise its trade columns are NULL.
"""

from __future__ import annotations

from datetime import timedelta

from orderflow_assets.bars.parents import PARENT_TRADES
from orderflow_assets.bars.quotes import QUOTES_1S
from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, SERIES
from orderflow_assets.lineage import alike, columns_of
from orderflow_streaming.schema import GAPS
from orderflow_streaming.tables import Column, Table

BARS_1M = Table(
    "bars",
    "bars_1m",
    (
        *BAR_COLUMNS,
        Column("open", "DOUBLE", "first traded price", "quote"),
        Column("high", "DOUBLE", "highest traded price", "quote"),
        Column("low", "DOUBLE", "lowest traded price", "quote"),
        Column("close", "DOUBLE", "last traded price", "quote"),
        Column("volume", "DOUBLE", "traded volume", "base"),
        Column("quote_volume", "DOUBLE", "traded value", "quote"),
        Column("taker_buy_volume", "DOUBLE", "volume bought by takers", "base"),
        Column("taker_buy_quote", "DOUBLE", "value bought by takers", "quote"),
        Column("trade_count", "BIGINT", "prints", "count"),
        Column("vwap", "DOUBLE", "value over volume", "quote"),
        Column("parent_count", "BIGINT", "parent trades", "count"),
        Column("buy_parent_count", "BIGINT", "parent trades that bought", "count"),
        Column("sweep_count", "BIGINT", "parent trades that swept three or more prices", "count"),
        Column("mid_close", "DOUBLE", "mid at bar_ts; NULL without a valid quote of the last 5 s", "quote"),
        Column("bid_price", "DOUBLE", "best bid at bar_ts", "quote"),
        Column("ask_price", "DOUBLE", "best ask at bar_ts", "quote"),
        Column("bid_qty", "DOUBLE", "size at the best bid", "base"),
        Column("ask_qty", "DOUBLE", "size at the best ask", "base"),
        Column("quote_count", "BIGINT", "quotes published in the bar", "count", False),
        Column("quoted_s", "DOUBLE", "time with a valid quote", "s", False),
        Column("spread", "DOUBLE", "ask - bid, time-weighted", "quote"),
        Column("spread_bps", "DOUBLE", "spread over mid x 10,000, time-weighted", "bps"),
        Column("bid_share", "DOUBLE", "bid size over both sizes at the touch, time-weighted", "fraction"),
        Column("log_size_ratio", "DOUBLE", "ln(bid size / ask size) at the touch, time-weighted", "log points"),
    ),
    BAR_KEY,
    "open_time",
    "One row per series and minute that had quotes or trades.",
)


_COUNTED = (
    "volume",
    "quote_volume",
    "taker_buy_volume",
    "taker_buy_quote",
    "trade_count",
    "parent_count",
    "buy_parent_count",
    "sweep_count",
)
_ZERO_WHEN_QUIET = ", ".join(f"CASE WHEN quiet THEN 0 ELSE {name} END AS {name}" for name in _COUNTED)


def _weighted(column: str, seconds: str) -> str:
    return f"sum({column} * {seconds}) / nullif(sum({seconds}), 0) AS {column}"


_SQL = f"""
WITH parents AS (
    SELECT *, date_trunc('minute', timestamp) AS open_time
    FROM bars.parent_trades
    WHERE timestamp >= $start::TIMESTAMP AND timestamp < $end::TIMESTAMP
), traded AS (
    SELECT {SERIES}, open_time,
           arg_min(first_price, struct_pack(t := timestamp, i := first_id)) AS open,
           max(high) AS high,
           min(low) AS low,
           arg_max(last_price, struct_pack(t := timestamp, i := last_id)) AS close,
           sum(quantity) AS volume,
           sum(notional) AS quote_volume,
           coalesce(sum(quantity) FILTER (side = 'buy'), 0) AS taker_buy_volume,
           coalesce(sum(notional) FILTER (side = 'buy'), 0) AS taker_buy_quote,
           sum(prints)::BIGINT AS trade_count,
           count(*) AS parent_count,
           count(*) FILTER (side = 'buy') AS buy_parent_count,
           count(*) FILTER (sweep) AS sweep_count
    FROM parents
    GROUP BY {SERIES}, open_time
), quoted AS (
    SELECT {SERIES}, date_trunc('minute', open_time) AS open_time,
           max(bid_price) FILTER (bar_ts = date_trunc('minute', bar_ts)) AS bid_price,
           max(ask_price) FILTER (bar_ts = date_trunc('minute', bar_ts)) AS ask_price,
           max(bid_qty) FILTER (bar_ts = date_trunc('minute', bar_ts)) AS bid_qty,
           max(ask_qty) FILTER (bar_ts = date_trunc('minute', bar_ts)) AS ask_qty,
           sum(quotes)::BIGINT AS quote_count,
           {_weighted("spread", "quoted_s")},
           {_weighted("spread_bps", "quoted_s")},
           {_weighted("bid_share", "sized_s")},
           {_weighted("log_size_ratio", "sized_s")},
           sum(quoted_s) AS quoted_s
    FROM bars.quotes_1s
    WHERE open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP
    GROUP BY ALL
), alive AS (
    SELECT DISTINCT exchange, market_type, open_time, true AS market_trades FROM parents
), silent AS (
    SELECT {SERIES}, coalesce(started_at, detected_at) AS started_at, coalesce(ended_at, detected_at) AS ended_at
    FROM ops.gaps
    WHERE stream = 'trades'
), spine AS (
    SELECT * FROM traded FULL JOIN quoted USING ({SERIES}, open_time) LEFT JOIN alive
    USING (exchange, market_type, open_time)
), judged AS (
    SELECT *, trade_count IS NULL AND market_trades AND NOT EXISTS (
        FROM silent g
        WHERE g.symbol = s.symbol AND g.exchange = s.exchange AND g.market_type = s.market_type
          AND g.started_at < s.open_time + INTERVAL 1 MINUTE AND g.ended_at > s.open_time
    ) AS quiet
    FROM spine s
)
SELECT {SERIES}, open_time, open_time + INTERVAL 1 MINUTE AS bar_ts, open, high, low, close,
       {_ZERO_WHEN_QUIET},
       judged.quote_volume / nullif(judged.volume, 0) AS vwap,
       (bid_price + ask_price) / 2 AS mid_close,
       bid_price, ask_price, bid_qty, ask_qty,
       coalesce(quote_count, 0) AS quote_count,
       coalesce(quoted_s, 0) AS quoted_s,
       spread, spread_bps, bid_share, log_size_ratio
FROM judged
WHERE quote_count > 0 OR judged.trade_count > 0
"""

_PARENTS, _QUOTES = PARENT_TRADES.qualified, QUOTES_1S.qualified
_LIVED = columns_of(GAPS.qualified, "stream", "started_at", "ended_at", "detected_at")

LAYER = selected(
    BARS_1M,
    _SQL,
    (PARENT_TRADES, QUOTES_1S, GAPS),
    timedelta(0),
    across=(_PARENTS,),
    lineage={
        **alike(_PARENTS, ("high", "low")),
        "open": columns_of(_PARENTS, "first_price", "first_id", "timestamp"),
        "close": columns_of(_PARENTS, "last_price", "last_id", "timestamp"),
        "volume": (*columns_of(_PARENTS, "quantity"), *_LIVED),
        "quote_volume": (*columns_of(_PARENTS, "notional"), *_LIVED),
        "taker_buy_volume": (*columns_of(_PARENTS, "quantity", "side"), *_LIVED),
        "taker_buy_quote": (*columns_of(_PARENTS, "notional", "side"), *_LIVED),
        "trade_count": (*columns_of(_PARENTS, "prints"), *_LIVED),
        "vwap": columns_of(_PARENTS, "notional", "quantity"),
        "parent_count": (*columns_of(_PARENTS, "timestamp"), *_LIVED),
        "buy_parent_count": (*columns_of(_PARENTS, "side"), *_LIVED),
        "sweep_count": (*columns_of(_PARENTS, "sweep"), *_LIVED),
        "mid_close": columns_of(_QUOTES, "bid_price", "ask_price"),
        **alike(_QUOTES, ("bid_price", "ask_price", "bid_qty", "ask_qty", "quoted_s")),
        "quote_count": columns_of(_QUOTES, "quotes"),
        **{name: columns_of(_QUOTES, name, "quoted_s") for name in ("spread", "spread_bps")},
        **{name: columns_of(_QUOTES, name, "sized_s") for name in ("bid_share", "log_size_ratio")},
    },
)
