"""``signals.moves``: how far the mid went after each quarter of an hour, over several horizons, told when known."""

from __future__ import annotations

from datetime import timedelta

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import SERIES, SERIES_NAMES
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.tables import Column, Table

HORIZONS: tuple[int, ...] = (5, 15, 60, 240, 1440)
"""Minutes."""

QUARTER_US = 900_000_000

MOVES = Table(
    "signals",
    "moves",
    (
        *IDENTITY,
        Column("signal_ts", "TIMESTAMP", "full quarter of an hour from which the move counts", "UTC", False),
        Column("horizon_minutes", "INTEGER", f"one of {', '.join(map(str, HORIZONS))}", "min", False),
        Column("known_at", "TIMESTAMP", "closing edge at which the move is over", "UTC", False),
        Column("log_return", "DOUBLE", "log mid return over the horizon", "log points", False),
    ),
    (*SERIES_NAMES, "signal_ts", "horizon_minutes"),
    "known_at",
    "Forward returns of the mid from every full quarter of an hour: what the worth of a signal is measured against.",
)

_SQL = f"""
WITH horizons AS (
    SELECT unnest([{", ".join(map(str, HORIZONS))}])::INTEGER AS horizon_minutes
), later AS (
    SELECT {SERIES}, bar_ts AS known_at, mid_close
    FROM bars.bars_1m
    WHERE open_time >= $start::TIMESTAMP - INTERVAL 1 MINUTE AND open_time < $end::TIMESTAMP
      AND bar_ts >= $start::TIMESTAMP AND bar_ts < $end::TIMESTAMP AND mid_close > 0
), wanted AS (
    SELECT *, known_at - to_minutes(horizon_minutes) AS signal_ts
    FROM later, horizons
    WHERE epoch_us(signal_ts) % {QUARTER_US} = 0
), earlier AS (
    SELECT {SERIES}, bar_ts AS signal_ts, mid_close
    FROM bars.bars_1m
    WHERE open_time >= $start::TIMESTAMP - INTERVAL {max(HORIZONS) + 1} MINUTE AND open_time < $end::TIMESTAMP
      AND epoch_us(bar_ts) % {QUARTER_US} = 0 AND mid_close > 0
)
SELECT {SERIES}, signal_ts, horizon_minutes, known_at, ln(w.mid_close / e.mid_close) AS log_return
FROM wanted w JOIN earlier e USING ({SERIES}, signal_ts)
"""

LAYER = selected(
    MOVES,
    _SQL,
    (BARS_1M,),
    timedelta(minutes=max(HORIZONS) + 1),
    "signals",
    lineage={"log_return": columns_of(BARS_1M.qualified, "mid_close")},
)
