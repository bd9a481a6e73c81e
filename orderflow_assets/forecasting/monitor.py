"""Checks every serving model for drift: scored forecasts in, rows of ``models.drift`` out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.forecasting.drift import Errors, Finding, Statistics, benjamini_hochberg, judge, measure
from orderflow_assets.forecasting.frame import STEP, Series, utc_now
from orderflow_assets.forecasting.models import NAIVE
from orderflow_assets.forecasting.registry import Registry, Version
from orderflow_assets.forecasting.tables import DRIFT, SCORES
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_streaming.store import Store

LAST = 2_000
"""Scored forecasts of a series and target that are looked at."""

_SCORES_SQL = f"""
SELECT series, target, model, version, target_ts, scaled_error, scaled_naive_error, inside_95
FROM {SCORES.qualified}
WHERE target = $target AND step = $step AND epoch_us(issued_at) % $apart = 0
QUALIFY row_number() OVER (PARTITION BY series ORDER BY issued_at DESC) <= {LAST}
ORDER BY series, target_ts
"""


def check_drift(store: Store, registry: Registry) -> pa.Table:
    """One row of ``models.drift`` per series and target that has scored forecasts; written to the store too."""
    store.ensure(SCORES, DRIFT)
    streams = [stream for name in TARGETS for stream in _streams(store, registry, name)]
    measured = [measure(errors) for _, errors, _ in streams]
    spoken = [statistics for statistics in measured if isinstance(statistics, Statistics)]
    adjusted = iter(benjamini_hochberg([statistics.ks_p for statistics in spoken]))
    checked_at, rows = utc_now(), []
    for (identity, errors, moments), statistics in zip(streams, measured, strict=True):
        row = identity | {"checked_at": checked_at, "scores": len(errors.model)}
        row["last_target_ts"] = moments[-1] if moments else None
        if isinstance(statistics, str):
            rows.append(row | {"severity": "NONE", "detected": False, "reason": statistics})
        else:
            ks_p = next(adjusted)
            rows.append(row | _figures(statistics, ks_p, moments) | _verdict(judge(statistics, ks_p)))
    table = pa.Table.from_pylist(rows, DRIFT.arrow_schema)
    if rows:
        store.write(DRIFT, table)
    return table


def _streams(store: Store, registry: Registry, target: str) -> list[tuple[dict[str, Any], Errors, list[Any]]]:
    """The errors of the model that serves each series, with its identity and the times of the outcomes."""
    stride = TARGETS[target].stride
    apart = stride * STEP.seconds * 1_000_000
    scores = store.query(_SCORES_SQL, {"target": target, "step": TARGETS[target].steps[0], "apart": apart}).to_pylist()
    streams = []
    for key in dict.fromkeys(row["series"] for row in scores):
        champion, series = registry.champion(key, target), Series.parse(key)
        model, version = (champion.model, champion.version) if champion else (NAIVE, 0)
        identity = {
            "series": key,
            "symbol": series.symbol,
            "exchange": series.exchange,
            "market_type": series.market_type,
            "target": target,
            "model": model,
            "version": version,
        }
        since = _judged_to(champion)
        own = [
            row
            for row in scores
            if row["series"] == key and row["version"] == version and (since is None or row["target_ts"] > since)
        ]
        missed = [np.nan if row["inside_95"] is None else float(not row["inside_95"]) for row in own]
        errors = Errors(
            model=np.abs([row["scaled_error"] for row in own], dtype=float),
            naive=np.abs([row["scaled_naive_error"] for row in own], dtype=float),
            missed_95=np.array(missed, dtype=float),
            reference=np.array((champion.reference if champion else None) or [], dtype=float),
        )
        streams.append((identity, errors, [row["target_ts"] for row in own]))
    return streams


def _judged_to(champion: Version | None) -> datetime | None:
    """The last bar the champion was judged on: errors up to it are its reference already."""
    judged_to = (champion.metrics or {}).get("judged_to") if champion else None
    return datetime.fromisoformat(judged_to) if judged_to else None


def _figures(statistics: Statistics, ks_p: float, moments: list[Any]) -> dict[str, Any]:
    def moment(place: int | None) -> Any:
        return None if place is None else moments[place]

    return {
        "error_ratio": statistics.error_ratio,
        "adwin_at": moment(statistics.adwin_at),
        "page_hinkley_at": moment(statistics.page_hinkley_at),
        "hddm_at": moment(statistics.hddm_at),
        "coverage_95": statistics.coverage_95,
        "ks_statistic": statistics.ks_statistic,
        "ks_p": ks_p,
        "psi": statistics.psi,
        "jensen_shannon": statistics.jensen_shannon,
        "dm_statistic": _number(statistics.dm_statistic),
        "dm_p": _number(statistics.dm_p),
    }


def _verdict(finding: Finding) -> dict[str, Any]:
    return {"severity": finding.severity, "detected": finding.detected, "reason": finding.reason}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
