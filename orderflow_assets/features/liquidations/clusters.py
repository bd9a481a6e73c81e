"""Clusters: maximal runs of liquidations of one side, each at most five seconds after the one before.

A run is known closed once five seconds have passed without another. How far the price came back is known a minute
after its end. A run that goes on for more than a day is cut at the day.
"""

from __future__ import annotations

from datetime import timedelta

from orderflow_assets.bars.quotes import QUOTES_1S
from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import DAY, HOUR, SERIES, SERIES_NAMES
from orderflow_assets.lineage import alike, columns_of
from orderflow_streaming.schema import IDENTITY, STREAMS
from orderflow_streaming.tables import Column, Table

GAP = timedelta(seconds=5)
LONGEST = DAY

_GAP, _LONGEST = (f"INTERVAL {round(span.total_seconds())} SECOND" for span in (GAP, LONGEST))

RUNS = f"""
apart AS (
    SELECT {SERIES}, side, timestamp, id, value_usd AS value,
           timestamp - coalesce(lag(timestamp) OVER (PARTITION BY {SERIES}, side ORDER BY timestamp, id),
                                timestamp - INTERVAL 1 DAY) > {_GAP} AS begins
    FROM main.liquidations
    WHERE timestamp >= $start::TIMESTAMP - {_LONGEST} AND timestamp < $end::TIMESTAMP
      AND (timestamp >= $start::TIMESTAMP - {_GAP} OR ({SERIES}, side) IN (
          SELECT ({SERIES}, side) FROM main.liquidations
          WHERE timestamp >= $start::TIMESTAMP - {_GAP} AND timestamp < $start::TIMESTAMP
      ))
), opened AS (
    SELECT {SERIES}, side, max(timestamp) AS since
    FROM apart
    WHERE begins AND timestamp < $start::TIMESTAMP
    GROUP BY ALL
), events AS (
    SELECT apart.*
    FROM apart LEFT JOIN opened USING ({SERIES}, side)
    WHERE timestamp >= coalesce(since, $start::TIMESTAMP)
), numbered AS (
    SELECT *, sum(begins::INTEGER) OVER (PARTITION BY {SERIES}, side ORDER BY timestamp, id) AS run
    FROM events
), runs AS (
    SELECT {SERIES}, side, timestamp, run,
           first_value(timestamp) OVER so_far AS started_at,
           count(*) OVER so_far AS events,
           sum(value) OVER so_far AS value
    FROM numbered
    WINDOW so_far AS (PARTITION BY {SERIES}, side, run ORDER BY timestamp, id ROWS UNBOUNDED PRECEDING)
)"""
"""SQL of every event with the run it belongs to and that run's start, size and value up to it.

It holds the events of ``[$start - GAP, $end)`` and, of runs that reach into them, the earlier ones.
"""

CLUSTERS = Table(
    "bars",
    "liquidation_clusters",
    (
        *IDENTITY,
        Column("side", "VARCHAR", "side of the positions closed: long or short", "", False),
        Column("started_at", "TIMESTAMP", "first event", "UTC", False),
        Column("ended_at", "TIMESTAMP", "last event", "UTC", False),
        Column("closed_at", "TIMESTAMP", "when it was known to have ended: five seconds later", "UTC", False),
        Column("events", "BIGINT", "liquidations", "count", False),
        Column("value", "DOUBLE", "their value", "quote", False),
    ),
    (*SERIES_NAMES, "side", "started_at"),
    "closed_at",
    "Runs of liquidations that have ended.",
)

_CLUSTERS_SQL = f"""
WITH {RUNS}
SELECT {SERIES}, side,
       min(started_at) AS started_at, max(timestamp) AS ended_at, max(timestamp) + {_GAP} AS closed_at,
       max(events) AS events, max(value) AS value
FROM runs
GROUP BY {SERIES}, side, run
HAVING max(timestamp) + {_GAP} >= $start::TIMESTAMP AND max(timestamp) + {_GAP} < $end::TIMESTAMP
"""

RETRACEMENTS = Table(
    "bars",
    "liquidation_retracements",
    (
        *IDENTITY,
        Column("side", "VARCHAR", "side of the positions closed: long or short", "", False),
        Column("started_at", "TIMESTAMP", "first event", "UTC", False),
        Column("ended_at", "TIMESTAMP", "last event", "UTC", False),
        Column("known_at", "TIMESTAMP", "60 s after the first full second at or after its end", "UTC", False),
        Column("value", "DOUBLE", "value of the cluster", "quote", False),
        Column("mid_before", "DOUBLE", "mid at the last full second before it began, or as it began", "quote"),
        Column("mid_end", "DOUBLE", "mid at the first full second at or after its end", "quote"),
        Column("mid_after", "DOUBLE", "mid at known_at", "quote"),
        Column("spread", "DOUBLE", "spread at the first full second at or after its end", "quote"),
        Column(
            "retracement",
            "DOUBLE",
            "(mid_after - mid_end) / (mid_before - mid_end); NULL where the price moved less than the spread",
            "ratio",
        ),
    ),
    (*SERIES_NAMES, "side", "started_at"),
    "known_at",
    "How far the price came back in the minute after a cluster; none of clusters longer than an hour.",
)


def _quote(name: str, edge: str) -> str:
    same = " AND ".join(f"{name}.{column} = c.{column}" for column in SERIES_NAMES)
    return f"LEFT JOIN quotes {name} ON {same} AND {name}.bar_ts = c.{edge}"


_RETRACEMENTS_SQL = f"""
WITH ended AS (
    SELECT *, date_trunc('second', started_at) AS before_at,
           date_trunc('second', ended_at + INTERVAL 999999 MICROSECOND) AS end_at,
           end_at + INTERVAL 60 SECOND AS known_at
    FROM bars.liquidation_clusters
    WHERE closed_at >= $start::TIMESTAMP - INTERVAL 60 SECOND AND closed_at < $end::TIMESTAMP
      AND end_at + INTERVAL 60 SECOND >= $start::TIMESTAMP AND end_at + INTERVAL 60 SECOND < $end::TIMESTAMP
      AND ended_at - started_at <= INTERVAL 1 HOUR
), quotes AS (
    SELECT {SERIES}, bar_ts, (bid_price + ask_price) / 2 AS mid, ask_price - bid_price AS spread
    FROM bars.quotes_1s
    WHERE open_time >= $start::TIMESTAMP - INTERVAL 62 MINUTE AND open_time < $end::TIMESTAMP
      AND bar_ts IN (
          SELECT unnest([before_at, end_at, known_at]) FROM ended
      )
)
SELECT {", ".join(f"c.{name}" for name in SERIES_NAMES)}, side, started_at, ended_at, known_at, value,
       b.mid AS mid_before, e.mid AS mid_end, a.mid AS mid_after, e.spread AS spread,
       CASE WHEN abs(b.mid - e.mid) >= e.spread AND b.mid <> e.mid THEN (a.mid - e.mid) / (b.mid - e.mid)
       END AS retracement
FROM ended c
{_quote("b", "before_at")}
{_quote("e", "end_at")}
{_quote("a", "known_at")}
"""

_MIDS = (
    *columns_of(CLUSTERS.qualified, "started_at", "ended_at"),
    *columns_of(QUOTES_1S.qualified, "bid_price", "ask_price"),
)

CLUSTERS_LAYER = selected(
    CLUSTERS,
    _CLUSTERS_SQL,
    (STREAMS["liquidations"].table,),
    LONGEST,
    lineage={
        **dict.fromkeys(("ended_at", "events"), columns_of("main.liquidations", "timestamp")),
        "value": columns_of("main.liquidations", "value_usd"),
    },
)
RETRACEMENTS_LAYER = selected(
    RETRACEMENTS,
    _RETRACEMENTS_SQL,
    (CLUSTERS, QUOTES_1S),
    HOUR + timedelta(minutes=2),
    lineage={
        **alike(CLUSTERS.qualified, ("ended_at", "value")),
        **dict.fromkeys(("mid_before", "mid_end", "mid_after", "spread", "retracement"), _MIDS),
    },
)
LAYERS = (CLUSTERS_LAYER, RETRACEMENTS_LAYER)
