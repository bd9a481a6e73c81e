"""Open interest minute by minute beside what it is judged by: mark price, 24 h volume, long/short ratio.

A sample of the open interest stands for twice the pace it came at, ten minutes at most. The pace is the interval at
which the daemon asks the venue, or the time since the sample before where that is longer, as in a history of 5 min
steps. Where a venue pushes changes only, silence is no absence, and a sample stands for the ten minutes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import ARRIVAL, BAR_COLUMNS, BAR_KEY, SERIES, SERIES_NAMES
from orderflow_assets.features.oi import lineage
from orderflow_streaming.exchanges import exchange
from orderflow_streaming.markets import MARKETS
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.tables import Column, Table

OI_STANDS = timedelta(minutes=10)
MARK_STANDS = timedelta(seconds=60)
TICKER_STANDS = timedelta(minutes=5)
POSITIONING_STANDS = timedelta(minutes=20)
"""A statistic of 5 min that is named after its beginning and asked for every 5 min is 15 min old when the next one
comes; the rest is what a late answer may take."""

_OI_SEEN = OI_STANDS + OI_STANDS / 2
"""A sample and, where it matters, the one before it."""

RATIO_KIND = "accounts"
"""The kind of long/short ratio the features read: every venue that tells any tells this one."""

OI_1M = Table(
    "bars",
    "oi_1m",
    (
        *BAR_COLUMNS,
        Column("samples", "BIGINT", "open interest samples of the bar, its closing edge included", "count", False),
        Column("oi", "DOUBLE", "open interest that stands at bar_ts", "base"),
        Column("mark", "DOUBLE", "mark price at bar_ts, 60 s old at most", "quote"),
        Column("mark_low", "DOUBLE", "lowest mark price of the bar", "quote"),
        Column("mark_high", "DOUBLE", "highest mark price of the bar", "quote"),
        Column(
            "volume_24h_quote",
            "DOUBLE",
            "24 h volume by the venue's ticker, 5 min old at most; base volume x last price where it tells no value",
            "quote",
        ),
        Column(
            "long_short_ratio",
            "DOUBLE",
            f"long over short {RATIO_KIND} as the venue last told by 2 s after bar_ts, 20 min old at most",
            "ratio",
        ),
    ),
    BAR_KEY,
    "open_time",
    "Open interest on the minutes of bars_1m, futures only.",
)


def _poll_intervals() -> dict[str, float]:
    """Seconds between two questions for the open interest, for the markets that are asked."""
    found = {}
    for market in MARKETS.values():
        polls = exchange(market.name).polls(market.symbols[:1], ("open_interest",))
        if polls:
            found[market.name] = max(poll.interval_s for poll in polls)
    return found


def _us(span: timedelta) -> int:
    return round(span / timedelta(microseconds=1))


_PERIODS = " ".join(f"WHEN '{market}' THEN {round(seconds * 1e6)}" for market, seconds in _poll_intervals().items())


def _asof(source: str, time: str) -> str:
    same = " AND ".join(f"b.{name} = {source}.{name}" for name in SERIES_NAMES)
    return f"ASOF LEFT JOIN {source} ON {same} AND b.bar_ts >= {source}.{time}"


def _span(stands: timedelta) -> str:
    return f"timestamp >= $start::TIMESTAMP - to_microseconds({_us(stands)}) AND timestamp <= $end::TIMESTAMP"


def _standing(source: str, column: str, stands: timedelta) -> str:
    fresh = f"b.bar_ts - {source}.timestamp <= to_microseconds({_us(stands)})"
    return f"CASE WHEN {fresh} THEN {source}.{column} END"


_SQL = f"""
WITH bar AS (
    SELECT {SERIES}, open_time, bar_ts
    FROM bars.bars_1m
    WHERE market_type = 'futures' AND open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP
), sample AS (
    SELECT {SERIES}, timestamp, open_interest,
           epoch_us(timestamp - lag(timestamp) OVER (PARTITION BY {SERIES} ORDER BY timestamp)) AS gap_us,
           CASE exchange || '_' || market_type {_PERIODS} END AS asked_us,
           CASE WHEN gap_us >= asked_us THEN 2 * gap_us WHEN gap_us < asked_us THEN 2 * asked_us END AS twice_us,
           to_microseconds(least(twice_us, {_us(OI_STANDS)})) AS stands
    FROM main.open_interest
    WHERE {_span(_OI_SEEN)}
), mark AS (
    SELECT {SERIES}, timestamp, mark_price FROM main.mark_prices WHERE {_span(MARK_STANDS)}
), ticker AS (
    SELECT {SERIES}, timestamp, coalesce(quote_volume_24h, volume_24h * last_price) AS volume
    FROM main.ticker_24h
    WHERE market_type = 'futures' AND {_span(TICKER_STANDS)}
), told AS (
    SELECT {SERIES}, greatest(timestamp, received_at - to_microseconds({_us(ARRIVAL)})) AS known_at,
           max(timestamp) AS timestamp, arg_max(long_short_ratio, timestamp) AS ratio
    FROM main.positioning
    WHERE kind = '{RATIO_KIND}' AND {_span(POSITIONING_STANDS)}
    GROUP BY ALL
), sampled AS (
    SELECT {SERIES}, date_trunc('minute', timestamp - INTERVAL 1 MICROSECOND) AS open_time, count(*) AS samples
    FROM sample GROUP BY ALL
), marked AS (
    SELECT {SERIES}, date_trunc('minute', timestamp - INTERVAL 1 MICROSECOND) AS open_time,
           min(mark_price) AS mark_low, max(mark_price) AS mark_high
    FROM mark GROUP BY ALL
)
SELECT {", ".join(f"b.{name}" for name in SERIES_NAMES)}, b.open_time, b.bar_ts,
       coalesce(sampled.samples, 0) AS samples,
       CASE WHEN b.bar_ts - sample.timestamp <= sample.stands THEN sample.open_interest END AS oi,
       {_standing("mark", "mark_price", MARK_STANDS)} AS mark,
       marked.mark_low, marked.mark_high,
       {_standing("ticker", "volume", TICKER_STANDS)} AS volume_24h_quote,
       {_standing("told", "ratio", POSITIONING_STANDS)} AS long_short_ratio
FROM bar b
{_asof("sample", "timestamp")}
{_asof("mark", "timestamp")}
{_asof("ticker", "timestamp")}
{_asof("told", "known_at")}
LEFT JOIN sampled ON {" AND ".join(f"b.{name} = sampled.{name}" for name in (*SERIES_NAMES, "open_time"))}
LEFT JOIN marked ON {" AND ".join(f"b.{name} = marked.{name}" for name in (*SERIES_NAMES, "open_time"))}
"""

_STREAMS = ("open_interest", "mark_prices", "ticker_24h", "positioning")

LAYER = replace(
    selected(OI_1M, _SQL, (BARS_1M, *(STREAMS[name].table for name in _STREAMS)), POSITIONING_STANDS),
    lineage=lineage.MINUTES,
    backs={
        BARS_1M.qualified: timedelta(0),
        "main.open_interest": _OI_SEEN,
        "main.mark_prices": MARK_STANDS,
        "main.ticker_24h": TICKER_STANDS,
    },
)
