"""Where forecasts erred: their skill and coverage by hour of day, volatility and regime.

All of it is as known when the forecast was issued: a volatility is low, middle or high among those of the seven days
before it, a regime is that of the last bar closed by then. So a router may act on what is found here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orderflow_assets.analytics.regimes import REGIMES, STATES
from orderflow_assets.forecasting.explain.tables import ERRORS, TERCILES, UNKNOWN
from orderflow_assets.forecasting.frame import utc_now
from orderflow_assets.forecasting.tables import FORECASTS, SCORES
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_streaming.store import Store, Window

LOOKBACK = timedelta(days=30)
BLOCK = timedelta(hours=2)
"""Stretch drawn again as a whole: twice the longest horizon, as errors of overlapping outcomes hang together."""
LEAST_BLOCKS = 8
"""Blocks without which no interval is stated."""
LEAST_PAST = 288
"""Volatilities of the past without which a volatility is called neither low nor high: a day of them."""
_DRAWS = 1_000
_BOUNDS = (0.025, 0.975)

CELLS = {
    "all": ("all",),
    "hour": tuple(f"{hour:02}" for hour in range(24)),
    "volatility": TERCILES,
    "regime": STATES,
}

_STREAM = ("series", "symbol", "exchange", "market_type", "model", "step")
_MARKET = ("symbol", "exchange", "market_type")
_SUMS = ("scores", "error", "naive_error", "inside_80", "with_80", "inside_95", "with_95")


def _regimes(step: str) -> str:
    return (
        f"(SELECT {', '.join(_MARKET)}, bar_ts, state FROM {REGIMES.qualified} WHERE step = '{step}' AND state <> '')"
    )


def _of_same_market(alias: str) -> str:
    return " AND ".join(f"{alias}.{name} = s.{name}" for name in _MARKET)


_BLOCKS_SQL = f"""
WITH volatilities AS (
    SELECT series, issued_at, scale, count(scale) OVER past AS known, quantile_cont(scale, [1/3, 2/3]) OVER past AS cuts
    FROM {FORECASTS.qualified}
    WHERE target = 'price' AND step = 1 AND issued_at >= $since::TIMESTAMP - INTERVAL 7 DAY
    WINDOW past AS (
        PARTITION BY series ORDER BY issued_at
        RANGE BETWEEN INTERVAL 7 DAY PRECEDING AND INTERVAL 1 MICROSECOND PRECEDING
    )
),
terciles AS (
    SELECT series, issued_at,
           CASE WHEN known < {LEAST_PAST} OR scale IS NULL THEN NULL
                WHEN scale <= cuts[1] THEN 'low' WHEN scale <= cuts[2] THEN 'middle' ELSE 'high' END AS tercile
    FROM volatilities
),
placed AS (
    SELECT s.*, 'all' AS "all", strftime(s.issued_at, '%H') AS hour, coalesce(t.tercile, '{UNKNOWN}') AS volatility,
           coalesce(CASE WHEN h.bar_ts > s.issued_at - INTERVAL 2 HOUR THEN h.state END,
                    CASE WHEN m.bar_ts > s.issued_at - INTERVAL 10 MINUTE THEN m.state END, '{UNKNOWN}') AS regime
    FROM {SCORES.qualified} s
    LEFT JOIN terciles t ON t.series = s.series AND t.issued_at = s.issued_at
    ASOF LEFT JOIN {_regimes("1h")} h ON {_of_same_market("h")} AND h.bar_ts <= s.issued_at
    ASOF LEFT JOIN {_regimes("5m")} m ON {_of_same_market("m")} AND m.bar_ts <= s.issued_at
    WHERE s.target = $target AND s.step IN ($first, $last) AND s.issued_at >= $since::TIMESTAMP
),
long AS (UNPIVOT placed ON {", ".join(f'"{grouping}"' for grouping in CELLS)} INTO NAME grouping VALUE cell)
SELECT {", ".join(_STREAM)}, grouping, cell, epoch_us(issued_at) // {BLOCK // timedelta(microseconds=1)} AS block,
       min(issued_at) AS first_issued_at, max(issued_at) AS last_issued_at, count(*) AS scores,
       sum(abs(scaled_error)) AS error, sum(abs(scaled_naive_error)) AS naive_error,
       count(*) FILTER (inside_80) AS inside_80, count(inside_80) AS with_80,
       count(*) FILTER (inside_95) AS inside_95, count(inside_95) AS with_95
FROM long GROUP BY ALL ORDER BY ALL
"""
"""The sums of each block in each cell. The regime is that of hours, else that of five minutes, of the last two bars."""


def analyse(store: Store, lookback: timedelta = LOOKBACK) -> pa.Table:
    """Rows of ``forecasts.error_analysis`` over the forecasts issued in the ``lookback`` up to now; also written.

    Every series, target, model and step that was scored has a row for each cell, an empty cell too.
    """
    store.ensure(FORECASTS, SCORES, REGIMES, ERRORS)
    analysed_at = utc_now()
    rows = []
    for target in TARGETS.values():
        asked = {"target": target.name, "since": analysed_at - lookback}
        blocks = store.query(_BLOCKS_SQL, asked | {"first": target.steps[0], "last": target.steps[-1]}).to_pylist()
        rows += [row | {"target": target.name, "analysed_at": analysed_at} for row in _rows(blocks)]
    table = pa.Table.from_pylist(rows, ERRORS.arrow_schema)
    for key in dict.fromkeys(row["series"] for row in rows):
        store.write(ERRORS, table.filter(pc.equal(table["series"], key)), Window(equals={"series": key}))
    return table


def _rows(blocks: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row per cell of every stream; ``blocks`` are ordered by stream."""
    streams: dict[tuple[Any, ...], dict[tuple[str, str], list[dict[str, Any]]]] = {}
    for block in blocks:
        own = streams.setdefault(tuple(block[name] for name in _STREAM), {})
        own.setdefault((block["grouping"], block["cell"]), []).append(block)
    for stream, found in streams.items():
        for grouping, cells in CELLS.items():
            for cell in (*cells, *((UNKNOWN,) if (grouping, UNKNOWN) in found else ())):
                named = dict(zip(_STREAM, stream, strict=True)) | {"grouping": grouping, "cell": cell}
                yield named | _measured(found.get((grouping, cell), []))


def _measured(blocks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures of one cell, made of the sums of its blocks."""
    if not blocks:
        return {"scores": 0, "blocks": 0, "reason": "no scored forecast was issued in it"}
    sums = {name: np.array([block[name] for block in blocks], float) for name in _SUMS}
    figures = {
        "scores": int(sums["scores"].sum()),
        "blocks": len(blocks),
        "first_issued_at": blocks[0]["first_issued_at"],
        "last_issued_at": blocks[-1]["last_issued_at"],
        "rmae": _ratio(sums["error"].sum(), sums["naive_error"].sum()),
        "coverage_80": _ratio(sums["inside_80"].sum(), sums["with_80"].sum()),
        "coverage_95": _ratio(sums["inside_95"].sum(), sums["with_95"].sum()),
    }
    if len(blocks) < LEAST_BLOCKS:
        return figures | {"reason": f"{len(blocks)} stretches of two hours: no interval under {LEAST_BLOCKS}"}
    for name, part, whole in (("rmae", "error", "naive_error"), ("coverage_95", "inside_95", "with_95")):
        bounds = interval(sums[part], sums[whole])
        figures |= {f"{name}_low": bounds[0], f"{name}_high": bounds[1]} if bounds else {}
    return figures


def interval(part: np.ndarray, whole: np.ndarray, seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of ``part.sum() / whole.sum()`` over blocks drawn again, None where ``whole`` may come out zero."""
    count = len(part)
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), _DRAWS)
    below = weights @ whole
    if not below.all():
        return None
    low, high = np.quantile(weights @ part / below, _BOUNDS)
    return float(low), float(high)


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
