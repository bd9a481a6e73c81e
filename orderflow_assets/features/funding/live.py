"""What the venues estimate of the next settlement, minute by minute.

The funding stream holds a row when the rate or the settlement changes, so that the age of a row says nothing of
whether its rate still holds: it does until the next is told, as long as the feed lives. An estimate is heard when its
series brings a row, when a mark price of its series carries the rate, and when any series of its market brings a
funding row or a mark price. The market does not speak for a series whose frames were dropped since its rate was told,
nor in a lost connection; when a connection is back the venue says its rate again, and no row means that it is the one
before. Fifteen minutes after it was heard last an estimate is gone. A record of the closing edge belongs to the next
minute.
"""

from __future__ import annotations

from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, HOUR, SERIES, SERIES_NAMES
from orderflow_assets.features.mark_prices.marks import MARKS_1M
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import GAPS, INSTRUMENTS, STREAMS
from orderflow_streaming.tables import Column, Table
from orderflow_streaming.writing.gaps import DISCONNECTION

LONGEST_INTERVAL = 8 * HOUR
"""Between settlements, on any of the markets."""
LIVE_STALE_MIN = 15
LATE_S = 60
"""A row of a settlement that came of asking for the past arrives at least this long after it."""

SETTLED = (
    f"next_funding_time IS NULL AND timestamp - date_trunc('hour', timestamp) < INTERVAL {LATE_S} SECOND "
    f"AND received_at - timestamp >= INTERVAL {LATE_S} SECOND"
)
"""SQL: a row of ``main.funding_rates`` that looks like a settlement of a venue's history. Live rows name the next
settlement, and where they do not (KuCoin) they arrive at once."""

FUNDING_1M = Table(
    "bars",
    "funding_1m",
    (
        *BAR_COLUMNS,
        Column(
            "live_rate",
            "DOUBLE",
            "the venue's estimate for the next settlement; NULL between a settlement and the first estimate after it",
            "fraction",
        ),
        Column(
            "next_funding_time",
            "TIMESTAMP",
            "first settlement at or after bar_ts: as the venue named it, else whole intervals after the last it named; "
            "NULL where it named none",
            "UTC",
        ),
        Column(
            "interval_hours",
            "DOUBLE",
            "hours between settlements, as the venue stated when the rate was stored, else as it states now",
            "h",
        ),
        Column("rated_at", "TIMESTAMP", "event time of the rate", "UTC", False),
        Column("heard_at", "TIMESTAMP", "last sign that it still holds, of a mark price the minute", "UTC", False),
    ),
    BAR_KEY,
    "open_time",
    f"Running funding estimate per perpetual and minute, while it is at most {LIVE_STALE_MIN} min old.",
)

_SAME_SERIES = " AND ".join(f"g.{name} = r.{name}" for name in SERIES_NAMES)
_SAME_MARK = " AND ".join(f"g.{name} = m.{name}" for name in SERIES_NAMES)
_SINCE = f"$start::TIMESTAMP - INTERVAL {LONGEST_INTERVAL // HOUR + 1} HOUR"

_SQL = f"""
WITH records AS (
    SELECT {SERIES}, timestamp, funding_rate,
           coalesce(f.funding_interval_hours, i.funding_interval_hours) AS interval_hours,
           last_value(next_funding_time IGNORE NULLS) OVER (
               PARTITION BY {SERIES} ORDER BY timestamp, id ROWS UNBOUNDED PRECEDING
           ) AS named
    FROM main.funding_rates f LEFT JOIN ops.instruments i USING ({SERIES})
    WHERE timestamp > {_SINCE} AND timestamp < $end::TIMESTAMP AND NOT ({SETTLED})
), grid AS (
    SELECT {SERIES}, unnest(generate_series($start::TIMESTAMP + INTERVAL 1 MINUTE, $end::TIMESTAMP, INTERVAL 1 MINUTE))
               AS bar_ts
    FROM (SELECT DISTINCT {SERIES} FROM records)
), marks AS (
    SELECT {SERIES}, open_time, bar_ts, n_obs, rated_at FROM bars.marks_1m
    WHERE open_time >= $start::TIMESTAMP - INTERVAL {LIVE_STALE_MIN} MINUTE AND open_time < $end::TIMESTAMP
), markets AS (
    SELECT exchange, market_type, known_at, max(heard_at) AS heard_at
    FROM (
        SELECT exchange, market_type, date_trunc('minute', timestamp) + INTERVAL 1 MINUTE AS known_at,
               timestamp AS heard_at
        FROM records
        UNION ALL
        SELECT exchange, market_type, bar_ts, open_time FROM marks WHERE n_obs > 0
    )
    GROUP BY ALL
), standing AS (
    SELECT g.*, r.timestamp AS rated_at, r.funding_rate, r.interval_hours, r.named
    FROM grid g ASOF JOIN records r ON {_SAME_SERIES} AND g.bar_ts > r.timestamp
), carried AS (
    SELECT {SERIES}, bar_ts, rated_at FROM marks WHERE rated_at IS NOT NULL
), silent AS (
    SELECT {SERIES}, coalesce(started_at, detected_at) AS started_at, coalesce(ended_at, detected_at) AS ended_at,
           reason = '{DISCONNECTION}' AS lost
    FROM ops.gaps
    WHERE stream = 'funding_rates'
), heard AS (
    SELECT g.*, greatest(
        g.rated_at,
        m.rated_at,
        CASE WHEN NOT EXISTS (
            FROM silent r
            WHERE {_SAME_SERIES} AND r.started_at < g.bar_ts
              AND r.ended_at > CASE WHEN lost THEN g.bar_ts - INTERVAL 1 MICROSECOND ELSE g.rated_at END
        ) THEN k.heard_at END
    ) AS heard_at
    FROM standing g
    ASOF LEFT JOIN carried m ON {_SAME_MARK} AND g.bar_ts >= m.bar_ts
    ASOF LEFT JOIN markets k
      ON g.exchange = k.exchange AND g.market_type = k.market_type AND g.bar_ts >= k.known_at
)
SELECT {SERIES}, bar_ts - INTERVAL 1 MINUTE AS open_time, bar_ts,
       CASE WHEN named < bar_ts THEN NULL ELSE funding_rate END AS live_rate,
       CASE WHEN named >= bar_ts THEN named ELSE
           named + to_microseconds(CAST(interval_hours * 3600000000 AS BIGINT) * CAST(ceil(
               (epoch_us(bar_ts) - epoch_us(named)) / (interval_hours * 3600000000)) AS BIGINT)) END
           AS next_funding_time,
       interval_hours, rated_at, heard_at
FROM heard
WHERE bar_ts - heard_at <= INTERVAL {LIVE_STALE_MIN} MINUTE
"""

_RATES = STREAMS["funding_rates"].table.qualified
_HOURS = tuple(f"{table}.funding_interval_hours" for table in (_RATES, INSTRUMENTS.qualified))

LAYER = selected(
    FUNDING_1M,
    _SQL,
    (STREAMS["funding_rates"].table, MARKS_1M, INSTRUMENTS, GAPS),
    LONGEST_INTERVAL + HOUR,
    across=(_RATES, MARKS_1M.qualified),
    lineage={
        "live_rate": columns_of(_RATES, "funding_rate", "next_funding_time"),
        "next_funding_time": (*columns_of(_RATES, "next_funding_time"), *_HOURS),
        "interval_hours": _HOURS,
        "rated_at": columns_of(_RATES, "timestamp"),
        "heard_at": (
            *columns_of(_RATES, "timestamp"),
            *columns_of(MARKS_1M.qualified, "rated_at", "n_obs"),
            *columns_of(GAPS.qualified, "stream", "started_at", "ended_at", "detected_at", "reason"),
        ),
    },
)
