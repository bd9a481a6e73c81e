"""Executed against displayed: how much of what traded the book had not shown.

Each parent is compared, price by price, with the last snapshot before it, if that is at most 250 ms old. What it
executed at a price beyond the size shown there is hidden size if the price still is the best on that side in the
first snapshot after it. Every print takes the best price of its moment, so all it executed is the measure of that.
A parent is reported when that next snapshot comes, 5 s later at the latest.
"""

from __future__ import annotations

from datetime import timedelta

from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, NUMBER, SERIES, STALE
from orderflow_assets.lineage import book_levels, columns_of
from orderflow_streaming.schema import LEVELS, STREAMS
from orderflow_streaming.tables import Column, Table

EXECUTIONS_1M = Table(
    "bars",
    "executions_1m",
    (
        *BAR_COLUMNS,
        Column("parents", "BIGINT", "parents reported in the bar", "count", False),
        Column("unseen_parents", "BIGINT", "of them, those without a snapshot of the 250 ms before", "count", False),
        Column("executed", "DOUBLE", "size the others executed at prices the snapshot reaches", "base", False),
        Column("hidden", "DOUBLE", "of it, what the book had not shown", "base", False),
    ),
    BAR_KEY,
    "open_time",
    "One row per series and minute in which parent trades were compared with the book.",
)

BOOK_AGE = timedelta(milliseconds=250)
_LOOKBACK = STALE + BOOK_AGE


def _shown(side: str) -> str:
    """Size shown at ``p.price`` on one side of snapshot ``b``; NULL beyond its levels."""
    cases = " ".join(f"WHEN b.{side}_{level}_price THEN b.{side}_{level}_qty" for level in range(1, LEVELS + 1))
    prices = ", ".join(f"b.{side}_{level}_price" for level in range(1, LEVELS + 1))
    reached = f"p.price >= least({prices})" if side == "bid" else f"p.price <= greatest({prices})"
    return f"CASE p.price {cases} ELSE CASE WHEN {reached} THEN 0 END END"


_STALE, _AGE = (f"INTERVAL {round(span.total_seconds() * 1e3)} MILLISECOND" for span in (STALE, BOOK_AGE))

_SQL = f"""
WITH prices AS (
    SELECT {NUMBER} AS series, date_trunc('millisecond', timestamp) AS timestamp, side, price,
           sum(quantity) AS executed
    FROM main.trades
    WHERE timestamp >= $start::TIMESTAMP - {_STALE} AND timestamp < $end::TIMESTAMP
    GROUP BY ALL
), parents AS (
    SELECT DISTINCT series, timestamp FROM prices
), books AS (
    SELECT {NUMBER} AS series, timestamp, max(id) AS id, arg_max(bid_1_price, id) AS bid,
           arg_max(ask_1_price, id) AS ask
    FROM main.orderbooks
    WHERE timestamp >= $start::TIMESTAMP - {_STALE} - {_AGE} AND timestamp < $end::TIMESTAMP
    GROUP BY series, timestamp
), earlier AS (
    SELECT p.*, b.id AS id, b.timestamp AS snapshot
    FROM parents p ASOF LEFT JOIN books b ON p.series = b.series AND p.timestamp > b.timestamp
), between AS (
    SELECT e.*, a.timestamp AS following, a.bid, a.ask,
           least(coalesce(following, e.timestamp + {_STALE}), e.timestamp + {_STALE}) AS reported
    FROM earlier e ASOF LEFT JOIN books a ON e.series = a.series AND e.timestamp < a.timestamp
), priced AS MATERIALIZED (
    SELECT series, timestamp, side, price, executed, reported, id, snapshot,
           coalesce(timestamp - snapshot <= {_AGE}, false) AS seen,
           following <= timestamp + {_STALE} AND price = CASE side WHEN 'buy' THEN ask ELSE bid END AS stays_best
    FROM between JOIN prices USING (series, timestamp)
    WHERE reported >= $start::TIMESTAMP AND reported < $end::TIMESTAMP
), judged AS (
    SELECT p.*, CASE p.side WHEN 'buy' THEN {_shown("ask")} ELSE {_shown("bid")} END AS shown
    FROM priced p LEFT JOIN main.orderbooks b ON b.id = p.id AND b.timestamp = p.snapshot
), sided AS (
    SELECT series, timestamp, side, any_value(reported) AS reported, bool_and(seen) AS seen,
           coalesce(sum(executed) FILTER (seen AND shown IS NOT NULL), 0) AS executed,
           coalesce(sum(greatest(0, executed - shown)) FILTER (seen AND stays_best), 0) AS hidden
    FROM judged
    GROUP BY series, timestamp, side
), named AS (
    SELECT DISTINCT {SERIES}
    FROM main.trades
    WHERE timestamp >= $start::TIMESTAMP - {_STALE} AND timestamp < $end::TIMESTAMP
)
SELECT {SERIES}, date_trunc('minute', reported) AS open_time, open_time + INTERVAL 1 MINUTE AS bar_ts,
       count(*) AS parents,
       count(*) FILTER (NOT seen) AS unseen_parents,
       sum(executed) AS executed,
       sum(hidden) AS hidden
FROM sided JOIN named ON series = {NUMBER}
GROUP BY {SERIES}, date_trunc('minute', reported)
"""

_PARENTS = (*columns_of("main.trades", "timestamp", "side"), "main.orderbooks.timestamp")

LAYER = selected(
    EXECUTIONS_1M,
    _SQL,
    (STREAMS["trades"].table, STREAMS["orderbooks"].table),
    _LOOKBACK,
    lineage={
        **dict.fromkeys(("parents", "unseen_parents"), _PARENTS),
        **dict.fromkeys(
            ("executed", "hidden"), (*_PARENTS, *columns_of("main.trades", "price", "quantity"), *book_levels())
        ),
    },
)
