"""Quotes second by second: the state at each second's closing edge and time-weighted means inside it.

A quote stands from its event time until the next one of its series, 5 s at most. A crossed or one-sided quote ends
the one before it and stands for nothing itself. Where a venue's quotes carry no sizes, those of book level 1 are
used, if at most 1 s old.
"""

from __future__ import annotations

from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, NUMBER, SERIES, STALE
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.tables import Column, Table

QUOTES_1S = Table(
    "bars",
    "quotes_1s",
    (
        *BAR_COLUMNS,
        Column("bid_price", "DOUBLE", "best bid at bar_ts; NULL where no valid quote stands", "quote"),
        Column("ask_price", "DOUBLE", "best ask at bar_ts", "quote"),
        Column("bid_qty", "DOUBLE", "size at the best bid", "base"),
        Column("ask_qty", "DOUBLE", "size at the best ask", "base"),
        Column("quotes", "BIGINT", "quotes published in the second, its closing edge included", "count", False),
        Column("quoted_s", "DOUBLE", "time with a valid quote", "s", False),
        Column("spread", "DOUBLE", "ask - bid, time-weighted", "quote"),
        Column("spread_bps", "DOUBLE", "spread over mid x 10,000, time-weighted", "bps"),
        Column("sized_s", "DOUBLE", "time with a valid quote and both sizes", "s", False),
        Column("bid_share", "DOUBLE", "bid size over both sizes, time-weighted", "fraction"),
        Column("log_size_ratio", "DOUBLE", "ln(bid size / ask size), time-weighted", "log points"),
    ),
    BAR_KEY,
    "open_time",
    "Quotes on the 1 s grid; a second without a quote has no row.",
)

_STALE_US = int(STALE.total_seconds() * 1e6)

SELECT = f"""
WITH raw AS (
    SELECT {NUMBER} AS series, timestamp, id, bid_price, ask_price, bid_qty, ask_qty
    FROM main.prices
    WHERE timestamp > $start::TIMESTAMP - INTERVAL {_STALE_US} MICROSECOND AND timestamp <= $end::TIMESTAMP
), sizeless AS (
    SELECT * EXCLUDE (bid_qty, ask_qty) FROM raw WHERE bid_qty IS NULL OR ask_qty IS NULL
), touch AS (
    SELECT {NUMBER} AS series, timestamp, bid_1_qty, ask_1_qty
    FROM main.orderbooks
    WHERE timestamp > $start::TIMESTAMP - INTERVAL {_STALE_US + 1_000_000} MICROSECOND
      AND timestamp <= $end::TIMESTAMP
      AND series IN (SELECT DISTINCT series FROM sizeless)
    QUALIFY row_number() OVER (PARTITION BY series, timestamp ORDER BY id DESC) = 1
), sized AS (
    SELECT * FROM raw WHERE bid_qty IS NOT NULL AND ask_qty IS NOT NULL
    UNION ALL BY NAME
    SELECT q.*,
           CASE WHEN q.timestamp - b.timestamp <= INTERVAL 1 SECOND THEN b.bid_1_qty END AS bid_qty,
           CASE WHEN q.timestamp - b.timestamp <= INTERVAL 1 SECOND THEN b.ask_1_qty END AS ask_qty
    FROM sizeless q ASOF LEFT JOIN touch b ON q.series = b.series AND q.timestamp >= b.timestamp
), standing AS (
    SELECT series, epoch_us(timestamp) AS us, bid_price, ask_price, bid_qty, ask_qty,
           coalesce(bid_price > 0 AND ask_price > bid_price, false) AS valid,
           valid AND coalesce(bid_qty > 0 AND ask_qty > 0, false) AS has_sizes,
           lead(us, 1, epoch_us($end::TIMESTAMP) + 1) OVER (PARTITION BY series ORDER BY timestamp, id) AS next_us,
           least(next_us, us + {_STALE_US}) AS until_us,
           (us + 999999) // 1000000 AS first_second
    FROM sized
), pieces AS (
    SELECT *, unnest(range(first_second, greatest(first_second, (until_us + 999999) // 1000000) + 1)) AS second
    FROM standing
), weighted AS (
    SELECT *,
           greatest(0, least(until_us, second * 1000000) - greatest(us, (second - 1) * 1000000)) / 1e6 AS life,
           next_us > second * 1000000 AND second * 1000000 - us <= {_STALE_US} AND valid AS stands
    FROM pieces
    WHERE second * 1000000 > epoch_us($start::TIMESTAMP) AND second * 1000000 <= epoch_us($end::TIMESTAMP)
), figures AS (
    SELECT series, second,
           max(bid_price) FILTER (stands) AS bid_price,
           max(ask_price) FILTER (stands) AS ask_price,
           max(bid_qty) FILTER (stands) AS bid_qty,
           max(ask_qty) FILTER (stands) AS ask_qty,
           count(*) FILTER (second = first_second) AS quotes,
           coalesce(sum(life) FILTER (valid), 0) AS quoted_s,
           sum(life * (ask_price - bid_price)) FILTER (valid) / nullif(quoted_s, 0) AS spread,
           sum(life * 2e4 * (ask_price - bid_price) / (ask_price + bid_price)) FILTER (valid) / nullif(quoted_s, 0)
               AS spread_bps,
           coalesce(sum(life) FILTER (has_sizes), 0) AS sized_s,
           sum(life * bid_qty / (bid_qty + ask_qty)) FILTER (has_sizes) / nullif(sized_s, 0) AS bid_share,
           sum(life * ln(bid_qty / ask_qty)) FILTER (has_sizes) / nullif(sized_s, 0) AS log_size_ratio
    FROM weighted
    GROUP BY series, second
), named AS (
    SELECT DISTINCT {SERIES}, {NUMBER} AS series
    FROM main.prices
    WHERE timestamp > $start::TIMESTAMP - INTERVAL {_STALE_US} MICROSECOND AND timestamp <= $end::TIMESTAMP
)
SELECT * EXCLUDE (series, second),
       make_timestamp((second - 1) * 1000000) AS open_time,
       make_timestamp(second * 1000000) AS bar_ts
FROM figures JOIN named USING (series)
"""

_TOUCH = columns_of("main.prices", "bid_price", "ask_price")
_SIZED = (
    *columns_of("main.prices", "bid_price", "ask_price", "bid_qty", "ask_qty"),
    *columns_of("main.orderbooks", "bid_1_qty", "ask_1_qty"),
)

LAYER = selected(
    QUOTES_1S,
    SELECT,
    (STREAMS["prices"].table, STREAMS["orderbooks"].table),
    STALE + STALE,
    lineage={
        "quotes": columns_of("main.prices", "timestamp"),
        **dict.fromkeys(("bid_price", "ask_price", "quoted_s", "spread", "spread_bps"), _TOUCH),
        **dict.fromkeys(("bid_qty", "ask_qty", "sized_s", "bid_share", "log_size_ratio"), _SIZED),
    },
)
