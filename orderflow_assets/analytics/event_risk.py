"""``analytics.stress_5m`` and ``analytics.event_risk``: how unusually strained a market is, from six signs of it.

Each sign is ranked among its own seven days before, so that coins and venues compare; only what lies above the usual
counts. The worst sign weighs most, whichever it is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from orderflow_assets.analytics.moves import LAST_MINUTE, with_last_minute
from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.selection import selected
from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, DAY, MINUTE, SERIES, closed_window, hours, midnight
from orderflow_assets.features.funding.declarations import FUNDING
from orderflow_assets.features.grid import Array, Grid, before, current, percent_rank
from orderflow_assets.features.liquidations.minutes import LIQUIDATIONS_1M
from orderflow_assets.features.oi.declarations import OI
from orderflow_assets.features.orderbook.minutes import BOOKS_1M
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

STEP = 5 * MINUTE
BASELINE = 7 * DAY

SIGNS: dict[str, tuple[str, str, int]] = {
    "spread": ("mean quoted spread", "bps", 1),
    "depth": ("mean notional within 25 bps of the mid, both sides", "quote", -1),
    "trading": ("parent trades", "count", 1),
    "liquidations": ("value liquidated", "quote", 1),
    "leverage": ("|leverage_zscore| at the closing edge", "sigma", 1),
    "funding": ("|funding_zscore| at the closing edge", "sigma", 1),
}
"""What each sign is, its unit, and whether much (1) or little (-1) of it is strain."""

WEIGHTS: tuple[float, ...] = (2.0, 1.5, 1.2, 1.0, 1.0, 1.0)
"""Of the signs from the most strained to the least; with signs unknown, of as many as are known."""

LEAST_SIGNS = 3
LEVELS: tuple[tuple[float, str], ...] = (
    (80.0, "EXTREME"),
    (60.0, "HIGH"),
    (40.0, "ELEVATED"),
    (20.0, "MODERATE"),
    (0.0, "LOW"),
)
"""Risk from which a level holds, highest first."""

STRESS_5M = Table(
    "analytics",
    "stress_5m",
    (*BAR_COLUMNS, LAST_MINUTE, *(Column(name, "DOUBLE", text, unit) for name, (text, unit, _) in SIGNS.items())),
    BAR_KEY,
    LAST_MINUTE.name,
    "Signs of strain of every series in bars of five minutes; NULL where a stream is silent or the market has none.",
)

EVENT_RISK = Table(
    "analytics",
    "event_risk",
    (
        *BAR_COLUMNS,
        LAST_MINUTE,
        Column(
            "risk",
            "DOUBLE",
            f"weighted mean of the known strains x 100, weights {', '.join(f'{weight:g}' for weight in WEIGHTS)} from "
            f"the largest on; range [0, 100]; NULL under {LEAST_SIGNS} known strains",
            "points",
        ),
        Column("level", "VARCHAR", ", ".join(f"{name} from {edge:g}" for edge, name in LEVELS) + " of risk"),
        Column("known", "BIGINT", "strains that are known", "count", False),
        Column("worst", "VARCHAR", f"largest strain, one of {', '.join(SIGNS)}; NULL where none is above zero"),
        *(
            Column(
                f"{name}_strain",
                "DOUBLE",
                f"max(0, 2 r - 1), r the percent rank of {'less ' if sign < 0 else ''}{text} in the 7 days before; "
                "range [0, 1]",
                "fraction",
            )
            for name, (text, _, sign) in SIGNS.items()
        ),
    ),
    BAR_KEY,
    LAST_MINUTE.name,
    "Strain of every series every five minutes against its own week.",
)


def _five(table: Table, figures: str) -> str:
    return f"""
        SELECT {SERIES}, time_bucket(INTERVAL 5 MINUTE, open_time) AS opening, {figures}
        FROM {table.qualified}
        WHERE open_time >= time_bucket(INTERVAL 5 MINUTE, $start::TIMESTAMP)
          AND open_time < time_bucket(INTERVAL 5 MINUTE, $end::TIMESTAMP)
        GROUP BY ALL
    """


_CLOSES = "bar_ts = time_bucket(INTERVAL 5 MINUTE, open_time) + INTERVAL 5 MINUTE"

_SQL = f"""
WITH bars AS ({_five(BARS_1M, "avg(spread_bps) AS spread, sum(parent_count) AS trading")}),
books AS ({_five(BOOKS_1M, "avg(bid_depth_25bps + ask_depth_25bps) AS depth")}),
forced AS ({_five(LIQUIDATIONS_1M, "sum(long_value + short_value) AS liquidations")}),
interest AS ({_five(OI.table, f"any_value(abs(leverage_zscore)) FILTER ({_CLOSES}) AS leverage")}),
rates AS ({_five(FUNDING.table, f"any_value(abs(funding_zscore)) FILTER ({_CLOSES}) AS funding")})
SELECT {SERIES}, opening AS open_time, opening + INTERVAL 5 MINUTE AS bar_ts,
       opening + INTERVAL 4 MINUTE AS last_minute, spread, depth, trading, liquidations, leverage, funding
FROM bars
LEFT JOIN books USING ({SERIES}, opening)
LEFT JOIN forced USING ({SERIES}, opening)
LEFT JOIN interest USING ({SERIES}, opening)
LEFT JOIN rates USING ({SERIES}, opening)
"""

STRESS_LAYER = selected(
    STRESS_5M,
    _SQL,
    (BARS_1M, BOOKS_1M, LIQUIDATIONS_1M, OI.table, FUNDING.table),
    STEP,
    "analytics",
    lineage={
        "spread": columns_of(BARS_1M.qualified, "spread_bps"),
        "depth": columns_of(BOOKS_1M.qualified, "bid_depth_25bps", "ask_depth_25bps"),
        "trading": columns_of(BARS_1M.qualified, "parent_count"),
        "liquidations": columns_of(LIQUIDATIONS_1M.qualified, "long_value", "short_value"),
        "leverage": columns_of(OI.table.qualified, "leverage_zscore"),
        "funding": columns_of(FUNDING.table.qualified, "funding_zscore"),
    },
)


def strain(values: Array, sign: int, length: int, outputs: int) -> Array:
    """How far the last ``outputs`` values (series, outputs) lie above the usual of the ``length`` before, in [0, 1]."""
    turned = sign * values
    return np.maximum(0.0, 2 * percent_rank(current(turned, outputs), before(turned, length, outputs)) - 1)


def risk(strains: Array) -> Array:
    """Weighted mean x 100 of ``strains`` (signs, ...), the largest weighing most; NaN where too few are known."""
    ordered = -np.sort(-strains, axis=0)
    known = np.isfinite(ordered)
    weights = np.reshape(WEIGHTS, (-1, *[1] * (strains.ndim - 1))) * known
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(weights * np.nan_to_num(ordered), axis=0) / weights.sum(axis=0)
    return np.where(known.sum(axis=0) >= LEAST_SIGNS, 100 * mean, np.nan)


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(STRESS_5M, EVENT_RISK)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    """Rows of the bars whose last minute lies in [start, end), which lies within one hour."""
    day = midnight(start)
    closed = (end - day) // STEP
    outputs = closed - (start - day) // STEP
    last = day + closed * STEP
    length = BASELINE // STEP
    signs = Grid.read(store, STRESS_5M, tuple(SIGNS), last - (outputs + length - 1) * STEP, last, STEP)
    if not outputs or not signs.series:
        return store.write(EVENT_RISK, EVENT_RISK.arrow_schema.empty_table(), Window(start, end))
    strains = np.stack([strain(signs[name], sign, length, outputs) for name, (_, _, sign) in SIGNS.items()])
    measured = risk(strains)
    values: dict[str, npt.NDArray[Any]] = {
        "risk": measured,
        "level": _level(measured),
        "known": np.isfinite(strains).sum(axis=0).astype(float),
        "worst": _worst(strains),
        **{f"{name}_strain": strains[place] for place, name in enumerate(SIGNS)},
    }
    rows = signs.table(EVENT_RISK, values, outputs)
    return store.write(EVENT_RISK, with_last_minute(rows), Window(start, end))


def _level(measured: Array) -> npt.NDArray[Any]:
    names = np.full(measured.shape, None, dtype=object)
    for edge, name in reversed(LEVELS):
        names[measured >= edge] = name
    return names


def _worst(strains: Array) -> npt.NDArray[Any]:
    largest = np.nan_to_num(strains)
    names: npt.NDArray[Any] = np.array(tuple(SIGNS), dtype=object)[largest.argmax(axis=0)]
    names[largest.max(axis=0) == 0] = None
    return names


RISK_LAYER = Layer(
    EVENT_RISK,
    _compute,
    (STRESS_5M.qualified,),
    BASELINE + STEP,
    "analytics",
    ("duckdb", "python"),
    lineage={
        **dict.fromkeys(("risk", "level", "known", "worst"), columns_of(STRESS_5M.qualified, *SIGNS)),
        **{f"{name}_strain": columns_of(STRESS_5M.qualified, name) for name in SIGNS},
    },
)
LAYERS: tuple[Layer, ...] = (STRESS_LAYER, RISK_LAYER)
