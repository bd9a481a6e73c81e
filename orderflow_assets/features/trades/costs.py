"""What takers paid: each parent against the mid before it and the mid a minute after it (Huang & Stoll 1996).

The mid before a parent is that of the last quote strictly before it, the mid after it that of the last quote 60 s
later at the latest; a quote stands for 5 s, a crossed or one-sided one for nothing. The price of a parent is its value
over its volume. What the minute after must show is stamped when that minute is over, never earlier.
"""

from __future__ import annotations

from datetime import timedelta

from orderflow_assets.bars.parents import PARENT_TRADES
from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, SERIES, SERIES_NAMES, STALE
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.tables import Column, Table

AFTER = timedelta(seconds=60)

COSTS: tuple[str, ...] = ("effective_spread_bps", "realized_spread_bps_60s", "price_impact_bps_60s")

SPREADS_1M = Table(
    "bars",
    "spreads_1m",
    (
        *BAR_COLUMNS,
        Column("parents", "BIGINT", "parents of the bar with a mid before them", "count", False),
        Column("effective_spread_bps", "DOUBLE", "twice their distance from that mid, weighted by value", "bps"),
        Column("settled_parents", "BIGINT", "parents of a minute earlier with both mids", "count", False),
        Column("realized_spread_bps_60s", "DOUBLE", "twice their distance from the mid 60 s later", "bps"),
        Column("price_impact_bps_60s", "DOUBLE", "twice what the mid moved their way in 60 s", "bps"),
    ),
    BAR_KEY,
    "open_time",
    "One row per series and minute in which parents could be compared with the mid.",
)

_STALE, _AFTER = (f"INTERVAL {span.seconds} SECOND" for span in (STALE, AFTER))
_SAME = " AND ".join(f"p.{name} = q.{name}" for name in SERIES_NAMES)

_SQL = f"""
WITH parents AS (
    SELECT {SERIES}, timestamp, timestamp + {_AFTER} AS later, CASE side WHEN 'buy' THEN 1 ELSE -1 END AS sign,
           notional, notional / quantity AS price
    FROM bars.parent_trades
    WHERE timestamp >= $start::TIMESTAMP - {_AFTER} AND timestamp < $end::TIMESTAMP AND quantity > 0
), quotes AS (
    SELECT {SERIES}, timestamp,
           arg_max(struct_pack(mid := CASE WHEN bid_price > 0 AND ask_price > bid_price
                                           THEN (bid_price + ask_price) / 2 END), id).mid AS mid
    FROM main.prices
    WHERE timestamp >= $start::TIMESTAMP - {_AFTER} - {_STALE} AND timestamp < $end::TIMESTAMP
    GROUP BY {SERIES}, timestamp
), valued AS (
    SELECT p.*, CASE WHEN p.timestamp - q.timestamp <= {_STALE} THEN q.mid END AS mid
    FROM parents p ASOF JOIN quotes q ON {_SAME} AND p.timestamp > q.timestamp
), known AS (
    SELECT *, 2e4 * sign * (price - mid) / mid AS effective FROM valued WHERE mid IS NOT NULL
), settled AS (
    SELECT p.*, CASE WHEN p.later - q.timestamp <= {_STALE} THEN 2e4 * sign * (price - q.mid) / p.mid END AS realized
    FROM known p ASOF JOIN quotes q ON {_SAME} AND p.later >= q.timestamp
    WHERE p.later < $end::TIMESTAMP
), paid AS (
    SELECT {SERIES}, date_trunc('minute', timestamp) AS open_time, count(*) AS parents,
           sum(notional * effective) / sum(notional) AS effective_spread_bps
    FROM known
    WHERE timestamp >= $start::TIMESTAMP
    GROUP BY ALL
), kept AS (
    SELECT {SERIES}, date_trunc('minute', later) AS open_time, count(*) AS settled_parents,
           sum(notional * realized) / sum(notional) AS realized_spread_bps_60s,
           sum(notional * (effective - realized)) / sum(notional) AS price_impact_bps_60s
    FROM settled
    WHERE realized IS NOT NULL
    GROUP BY ALL
)
SELECT {SERIES}, open_time, open_time + INTERVAL 1 MINUTE AS bar_ts,
       coalesce(parents, 0) AS parents, effective_spread_bps,
       coalesce(settled_parents, 0) AS settled_parents, realized_spread_bps_60s, price_impact_bps_60s
FROM paid FULL JOIN kept USING ({SERIES}, open_time)
"""

LAYER = selected(SPREADS_1M, _SQL, (PARENT_TRADES, STREAMS["prices"].table), AFTER + STALE)
