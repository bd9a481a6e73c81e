"""Parent trades: the prints one market order left, told by equal side and equal exchange time in milliseconds."""

from __future__ import annotations

from datetime import timedelta

from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import SERIES, SERIES_NAMES
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import IDENTITY, STREAMS
from orderflow_streaming.tables import Column, Table

PARENT_TRADES = Table(
    "bars",
    "parent_trades",
    (
        *IDENTITY,
        Column("timestamp", "TIMESTAMP", "exchange event time, to the millisecond", "UTC", False),
        Column("side", "VARCHAR", "taker side: buy or sell", "", False),
        Column("prints", "BIGINT", "trades it consists of", "count", False),
        Column("quantity", "DOUBLE", "volume", "base", False),
        Column("notional", "DOUBLE", "value", "quote", False),
        Column("first_price", "DOUBLE", "price of its first print", "quote", False),
        Column("last_price", "DOUBLE", "price of its last print", "quote", False),
        Column("low", "DOUBLE", "lowest price", "quote", False),
        Column("high", "DOUBLE", "highest price", "quote", False),
        Column(
            "sweep", "BOOLEAN", "took three or more prices, each worse for the taker than the one before", "", False
        ),
        Column("first_id", "BIGINT", "id of its first print", "", False),
        Column("last_id", "BIGINT", "id of its last print", "", False),
    ),
    (*SERIES_NAMES, "timestamp", "side"),
    "timestamp",
    "Prints joined to the market orders they came from.",
)

SELECT = f"""
WITH prints AS (
    SELECT {SERIES}, date_trunc('millisecond', timestamp) AS timestamp, side, id, price, quantity, quote_value,
           price - lag(price) OVER (
               PARTITION BY {SERIES}, date_trunc('millisecond', timestamp), side ORDER BY id
           ) AS step
    FROM main.trades
    WHERE timestamp >= $start::TIMESTAMP AND timestamp < $end::TIMESTAMP
)
SELECT {SERIES}, timestamp, side,
       count(*) AS prints,
       sum(quantity) AS quantity,
       sum(quote_value) AS notional,
       arg_min(price, id) AS first_price,
       arg_max(price, id) AS last_price,
       min(price) AS low,
       max(price) AS high,
       count(*) FILTER (step <> 0) >= 2
           AND count(*) FILTER (step * CASE side WHEN 'buy' THEN 1 ELSE -1 END < 0) = 0 AS sweep,
       min(id) AS first_id,
       max(id) AS last_id
FROM prints
GROUP BY {SERIES}, timestamp, side
"""

_TRADES = "main.trades"

LAYER = selected(
    PARENT_TRADES,
    SELECT,
    (STREAMS["trades"].table,),
    timedelta(0),
    lineage={
        "quantity": columns_of(_TRADES, "quantity"),
        "notional": columns_of(_TRADES, "quote_value"),
        **dict.fromkeys(("prints", "first_id", "last_id"), columns_of(_TRADES, "id")),
        **dict.fromkeys(("low", "high"), columns_of(_TRADES, "price")),
        **dict.fromkeys(("first_price", "last_price"), columns_of(_TRADES, "price", "id")),
        "sweep": columns_of(_TRADES, "price", "side", "id"),
    },
)
