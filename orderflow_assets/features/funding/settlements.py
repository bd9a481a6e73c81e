"""Funding settlements: one row each, of what was charged.

A settlement is known in one of two ways. ``venue``: the venue's history was asked for over that hour. The stream
holds a row only where a rate changed, so that where the history brought no row of its own the rate is the one that
held before. ``estimate``: the venue's last live estimate before the settlement it named. The history, once it is
asked for, replaces the estimate.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from orderflow_assets.bars.series import DAY, HOUR, SERIES, closed_window, hours
from orderflow_assets.features.funding.live import FUNDING_1M, LATE_S, SETTLED
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import BACKFILLS, GAPS, IDENTITY, INSTRUMENTS, STREAMS
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

UNCHANGED = 30 * DAY
"""How long a rate is carried over settlements that the venue's history confirms without a row."""

SETTLEMENTS = Table(
    "bars",
    "funding_settlements",
    (
        *IDENTITY,
        Column("settled_at", "TIMESTAMP", "settlement, on the full hour", "UTC", False),
        Column("rate", "DOUBLE", "rate per interval; longs pay when positive", "fraction", False),
        Column("interval_hours", "DOUBLE", "hours between settlements, as the venue stated", "h"),
        Column("source", "VARCHAR", "venue: told as settled; estimate: the last live estimate before it", "", False),
    ),
    (*(column.name for column in IDENTITY), "settled_at"),
    "settled_at",
    "Settled funding rates, a row per perpetual and settlement.",
)

_ASKED = f"""
    SELECT {SERIES}, started_at, ended_at FROM ops.backfills
    WHERE stream = 'funding_rates' AND missing IS NULL
    UNION ALL
    SELECT {SERIES}, coalesce(started_at, detected_at), ended_at FROM ops.gaps
    WHERE stream = 'funding_rates' AND filled_at IS NOT NULL
"""

_COVERED_SQL = f"SELECT 1 FROM ({_ASKED}) WHERE started_at < $end AND ended_at > $start LIMIT 1"

_SQL = f"""
WITH asked AS ({_ASKED}), full_hours AS (
    SELECT unnest(generate_series(
        date_trunc('hour', $start::TIMESTAMP + INTERVAL 59 MINUTE), $end::TIMESTAMP - INTERVAL 1 MINUTE, INTERVAL 1 HOUR
    )) AS settled_at
), covered AS (
    SELECT DISTINCT {SERIES}, settled_at
    FROM asked JOIN full_hours ON started_at <= settled_at AND ended_at > settled_at
), records AS (
    SELECT f.* EXCLUDE (funding_interval_hours),
           coalesce(f.funding_interval_hours, i.funding_interval_hours) AS interval_hours,
           CASE WHEN {SETTLED} THEN date_trunc('hour', timestamp) ELSE next_funding_time END AS anchor
    FROM main.funding_rates f LEFT JOIN ops.instruments i USING ({SERIES})
    WHERE timestamp >= $since::TIMESTAMP AND timestamp < $end::TIMESTAMP
), confirmed AS (
    SELECT {SERIES}, settled_at, arg_max(funding_rate, moment) AS rate,
           arg_max(interval_hours, moment) AS interval_hours, arg_max(anchor, moment) AS anchor
    FROM (
        SELECT c.*, funding_rate, interval_hours, anchor, struct_pack(t := timestamp, i := id) AS moment
        FROM covered c JOIN records r USING ({SERIES})
        WHERE (r.timestamp < settled_at AND r.timestamp >= settled_at - INTERVAL {UNCHANGED // DAY} DAY)
           OR (r.anchor = settled_at AND r.next_funding_time IS NULL
               AND r.timestamp < settled_at + INTERVAL {LATE_S} SECOND)
    )
    GROUP BY ALL
), told AS (
    SELECT * FROM confirmed
    WHERE anchor = settled_at
       OR (epoch_us(settled_at) - epoch_us(anchor)) % CAST(interval_hours * 3600000000 AS BIGINT) = 0
), estimated AS (
    SELECT {SERIES}, bar_ts AS settled_at, live_rate AS rate, interval_hours
    FROM bars.funding_1m
    WHERE open_time >= $start::TIMESTAMP - INTERVAL 1 MINUTE AND open_time < $end::TIMESTAMP - INTERVAL 1 MINUTE
      AND bar_ts = next_funding_time AND live_rate IS NOT NULL
)
SELECT {SERIES}, settled_at, rate, interval_hours, 'venue' AS source FROM told
UNION ALL BY NAME
SELECT *, 'estimate' AS source FROM estimated ANTI JOIN told USING ({SERIES}, settled_at)
"""

_INPUTS = (STREAMS["funding_rates"].table, FUNDING_1M, INSTRUMENTS, BACKFILLS, GAPS)


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(*_INPUTS, SETTLEMENTS)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    covered = store.query(_COVERED_SQL, {"start": start, "end": end}).num_rows
    window = {"start": start, "end": end, "since": start - UNCHANGED if covered else end}
    return store.insert_select(SETTLEMENTS, _SQL, window, Window(start, end))


_RATES = STREAMS["funding_rates"].table.qualified
_TOLD = columns_of(_RATES, "funding_rate", "next_funding_time", "timestamp", "received_at")
_ASKED_FOR = (
    *columns_of(BACKFILLS.qualified, "stream", "started_at", "ended_at", "missing"),
    *columns_of(GAPS.qualified, "stream", "started_at", "ended_at", "detected_at", "filled_at"),
)

LAYER = Layer(
    SETTLEMENTS,
    _compute,
    tuple(table.qualified for table in _INPUTS),
    UNCHANGED + timedelta(minutes=1),
    "bars",
    every=HOUR,
    backs={FUNDING_1M.qualified: timedelta(minutes=1)},
    lineage={
        "rate": (*columns_of(FUNDING_1M.qualified, "live_rate", "next_funding_time"), *_TOLD),
        "interval_hours": (
            *columns_of(FUNDING_1M.qualified, "interval_hours"),
            *columns_of(_RATES, "funding_interval_hours"),
            *columns_of(INSTRUMENTS.qualified, "funding_interval_hours"),
        ),
        "source": (*columns_of(_RATES, "next_funding_time", "received_at"), *_ASKED_FOR),
    },
)
