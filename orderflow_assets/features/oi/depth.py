"""How far the price moves in an hour, and what the book holds out to there, minute by minute."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, HOUR, MINUTE, SERIES, SERIES_NAMES, STALE
from orderflow_assets.features.oi import lineage
from orderflow_assets.features.oi.minutes import OI_1M
from orderflow_streaming.schema import LEVELS, STREAMS
from orderflow_streaming.tables import Column, Table

LEAST_RETURNS = 45
"""Of the 60 one-minute returns of the hour; with fewer there is no sigma."""

DEPTH_1M = Table(
    "bars",
    "depth_sigma_1m",
    (
        *BAR_COLUMNS,
        Column(
            "sigma_1h", "DOUBLE", "sqrt(60 x mean squared 1 min log return of the mark) over the hour", "log points"
        ),
        Column("bid_depth", "DOUBLE", "bid notional no further than sigma_1h below the mid, as far as stored", "quote"),
        Column("ask_depth", "DOUBLE", "ask notional no further than sigma_1h above the mid, as far as stored", "quote"),
        Column("bid_covered", "DOUBLE", "share of sigma_1h that the stored bids reach out to, 1 at most", "fraction"),
        Column("ask_covered", "DOUBLE", "share of sigma_1h that the stored asks reach out to, 1 at most", "fraction"),
    ),
    BAR_KEY,
    "open_time",
    "Displayed size within one hourly sigma at the closing edge of each minute of bars.oi_1m.",
)


def _levels(side: str) -> str:
    columns = ", ".join(f"[{side}_{level}_price, {side}_{level}_qty]" for level in range(1, LEVELS + 1))
    return f"list_concat([{columns}], coalesce({side}_tail, []))"


def _sided(side: str, sign: str) -> str:
    """Distance from the mid as a fraction and value of each level of a side."""
    return (
        f"list_transform(list_filter({_levels(side)}, lambda l: l[1] IS NOT NULL AND l[2] IS NOT NULL), "
        f"lambda l: [{sign}(l[1] / mid_price - 1), l[1] * l[2]]) AS {side}s"
    )


def _within(side: str) -> str:
    values = f"list_transform(list_filter({side}s, lambda l: l[1] <= sigma_1h), lambda l: l[2])"
    reach = f"list_max(list_transform({side}s, lambda l: l[1]))"
    known = f"sigma_1h > 0 AND len({side}s) > 0"
    return (
        f"CASE WHEN {known} THEN coalesce(list_sum({values}), 0) END AS {side}_depth, "
        f"CASE WHEN {known} THEN least(1, {reach} / sigma_1h) END AS {side}_covered"
    )


_SAME = " AND ".join(f"b.{name} = l.{name}" for name in SERIES_NAMES)
_STALE_US = int(STALE.total_seconds() * 1e6)
_MINUTE_US = int(MINUTE.total_seconds() * 1e6)

_SQL = f"""
WITH marked AS (
    SELECT {SERIES}, open_time, bar_ts, ln(mark / lag(mark) OVER series) AS r,
           lag(bar_ts) OVER series = open_time AS follows
    FROM bars.oi_1m
    WHERE open_time >= $start::TIMESTAMP - INTERVAL 61 MINUTE AND open_time < $end::TIMESTAMP
    WINDOW series AS (PARTITION BY {SERIES} ORDER BY bar_ts)
), moved AS (
    SELECT {SERIES}, open_time, bar_ts,
           CASE WHEN count(r) FILTER (follows) OVER hour >= {LEAST_RETURNS}
                THEN sqrt(60 * avg(r * r) FILTER (follows) OVER hour) END AS sigma_1h
    FROM marked
    WINDOW hour AS (
        PARTITION BY {SERIES} ORDER BY bar_ts RANGE BETWEEN INTERVAL 59 MINUTE PRECEDING AND CURRENT ROW
    )
), last AS (
    SELECT {SERIES}, date_trunc('minute', timestamp - INTERVAL 1 MICROSECOND) AS open_time,
           max(struct_pack(t := timestamp, i := id)) AS row
    FROM main.orderbooks
    WHERE market_type = 'futures' AND timestamp > $start::TIMESTAMP AND timestamp <= $end::TIMESTAMP
      AND (epoch_us(timestamp) - 1) % {_MINUTE_US} >= {_MINUTE_US - _STALE_US - 1}
    GROUP BY ALL
), book AS (
    SELECT {", ".join(f"l.{name}" for name in SERIES_NAMES)}, l.open_time, {_sided("bid", "-")}, {_sided("ask", "")}
    FROM last l JOIN main.orderbooks b ON b.id = l.row.i AND b.timestamp = l.row.t AND {_SAME}
    WHERE b.timestamp > $start::TIMESTAMP AND b.timestamp <= $end::TIMESTAMP AND b.bid_1_price < b.ask_1_price
)
SELECT {SERIES}, open_time, bar_ts, sigma_1h, {_within("bid")}, {_within("ask")}
FROM moved LEFT JOIN book USING ({SERIES}, open_time)
WHERE open_time >= $start::TIMESTAMP
"""

LAYER = replace(
    selected(DEPTH_1M, _SQL, (OI_1M, STREAMS["orderbooks"].table), HOUR + MINUTE),
    lineage=lineage.DEPTH,
    backs={"main.orderbooks": timedelta(0)},
)
