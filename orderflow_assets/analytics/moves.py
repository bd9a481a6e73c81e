"""``analytics.moves_5m``, ``analytics.moves_1h``: mid moves and realised variance, what regimes and volatility read.

A narrow table, so that months of it are cheap to look back on. A row is written in the minute that closes it.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, HOUR, MINUTE, SERIES
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.tables import Column, Table

STEPS: dict[str, timedelta] = {"5m": 5 * MINUTE, "1h": HOUR}

LEAST_SHARE = 0.75
"""Share of the minutes of a bar whose return must be known for its variance to be."""

LAST_MINUTE = Column("last_minute", "TIMESTAMP", "opening edge of the minute that closed the bar", "UTC", False)


def with_last_minute(rows: pa.Table) -> pa.Table:
    """``rows`` with the column that says in which minute each was closed."""
    closing = rows["bar_ts"].to_numpy() - np.timedelta64(1, "m")
    return rows.append_column(LAST_MINUTE.name, pa.array(closing, pa.timestamp("us")))


def _table(step: str) -> Table:
    return Table(
        "analytics",
        f"moves_{step}",
        (
            *BAR_COLUMNS,
            LAST_MINUTE,
            Column("log_return", "DOUBLE", "ln of the mid at the closing over that at the opening edge", "log points"),
            Column(
                "realized_variance",
                "DOUBLE",
                "sum of squared one-minute log mid returns, scaled up to all minutes of the bar; NULL where under "
                f"{LEAST_SHARE:.0%} of them are known. Source: Andersen & Bollerslev 1998",
                "squared log points",
            ),
            Column("returns", "BIGINT", "one-minute returns that are known", "count", False),
        ),
        BAR_KEY,
        LAST_MINUTE.name,
        f"Mid return and realised variance of every series in bars of {step}.",
    )


TABLES: dict[str, Table] = {step: _table(step) for step in STEPS}


def _sql(step: str) -> str:
    minutes = STEPS[step] // MINUTE
    bucket = f"INTERVAL {minutes} MINUTE"
    return f"""
    WITH mids AS (
        SELECT {SERIES}, open_time, bar_ts, mid_close,
               CASE WHEN lag(bar_ts) OVER series = open_time THEN lag(mid_close) OVER series END AS mid_open
        FROM {BARS_1M.qualified}
        WHERE open_time >= time_bucket({bucket}, $start::TIMESTAMP) - INTERVAL 1 MINUTE
          AND open_time < time_bucket({bucket}, $end::TIMESTAMP)
        WINDOW series AS (PARTITION BY {SERIES} ORDER BY open_time)
    ), minutes AS (
        SELECT *, ln(mid_close / mid_open) AS move, time_bucket({bucket}, open_time) AS opening
        FROM mids
        WHERE open_time >= time_bucket({bucket}, $start::TIMESTAMP)
    )
    SELECT {SERIES}, opening AS open_time, opening + {bucket} AS bar_ts,
           opening + {bucket} - INTERVAL 1 MINUTE AS last_minute,
           ln(max(mid_close) FILTER (bar_ts = opening + {bucket}) / max(mid_open) FILTER (minutes.open_time = opening))
               AS log_return,
           CASE WHEN count(move) >= {LEAST_SHARE * minutes} THEN sum(move * move) * {minutes} / count(move) END
               AS realized_variance,
           count(move) AS returns
    FROM minutes
    GROUP BY {SERIES}, opening
    """


def _layer(step: str) -> Layer:
    lookback = STEPS[step] + MINUTE
    mids = dict.fromkeys(("log_return", "realized_variance", "returns"), columns_of(BARS_1M.qualified, "mid_close"))
    return selected(TABLES[step], _sql(step), (BARS_1M,), lookback, "analytics", lineage=mids)


LAYERS: tuple[Layer, ...] = tuple(_layer(step) for step in STEPS)
