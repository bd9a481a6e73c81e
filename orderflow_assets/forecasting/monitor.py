"""Checks every serving model for drift: scored forecasts in, rows of ``models.drift`` out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from orderflow_assets.forecasting.drift.distributions import adjusted
from orderflow_assets.forecasting.drift.errors import Errors, Statistics, measure
from orderflow_assets.forecasting.drift.samples import judged_to
from orderflow_assets.forecasting.drift.steps import detected
from orderflow_assets.forecasting.drift.tables import DRIFT, INPUTS, SEVERITIES
from orderflow_assets.forecasting.drift.verdict import Finding, Inputs, judge, said
from orderflow_assets.forecasting.frame import STEP, Series, utc_now
from orderflow_assets.forecasting.models import NAIVE
from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.forecasting.tables import SCORES
from orderflow_assets.forecasting.targets import TARGETS, Target
from orderflow_streaming.store import Store

LAST = 2_000
"""Scored forecasts of a series and target that are looked at."""

_SCORES_SQL = f"""
SELECT series, version, target_ts, abs(scaled_error) AS model, abs(scaled_naive_error) AS naive,
       CAST(NOT inside_95 AS DOUBLE) AS missed_95
FROM {SCORES.qualified}
WHERE series = coalesce($series, series) AND target = $target AND step = $step AND epoch_us(issued_at) % $apart = 0
  AND target_ts > (SELECT max(target_ts) FROM {SCORES.qualified} WHERE target = $target) - to_microseconds($reach)
QUALIFY row_number() OVER (PARTITION BY series ORDER BY target_ts DESC) <= {LAST}
ORDER BY series, target_ts
"""
"""Of series that are behind the newest by more than as long again, nothing is looked at."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The errors of the model that serves a series and target; ``times`` are of the outcomes, ``datetime64[us]``."""

    identity: dict[str, Any]
    errors: Errors
    times: np.ndarray

    def moment(self, place: int | None) -> datetime | None:
        return None if place is None else self.times[place].item()


def check_drift(store: Store, registry: Registry) -> pa.Table:
    """One row of ``models.drift`` per series and target that has scored forecasts; written to the store too."""
    store.ensure(SCORES, DRIFT, INPUTS)
    found = list(streams(store, registry))
    measured = [measure(stream.errors) for stream in found]
    ks_p = iter(adjusted([one.shift.p for one in measured if isinstance(one, Statistics)]))
    inputs, checked_at, rows = _inputs(store), utc_now(), []
    for stream, statistics in zip(found, measured, strict=True):
        row = stream.identity | {"checked_at": checked_at, "scores": len(stream.times)}
        row["last_target_ts"] = stream.moment(-1) if len(stream.times) else None
        if isinstance(statistics, str):
            rows.append(row | _UNKNOWN | {"reason": statistics})
            continue
        p, of_inputs = next(ks_p), inputs.get(tuple(stream.identity[name] for name in _OF_INPUTS))
        rows.append(row | _figures(stream, statistics, p, of_inputs) | _verdict(judge(statistics, p, of_inputs)))
    table = pa.Table.from_pylist(rows, DRIFT.arrow_schema)
    if rows:
        _tell(store, table.to_pylist())
        store.write(DRIFT, table)
    return table


def _tell(store: Store, rows: list[dict[str, Any]]) -> None:
    """Record findings that are worse than those of the check before, so that one that lasts is told once."""
    before = {
        (row["series"], row["target"]): SEVERITIES.index(row["severity"])
        for row in store.query(
            f"SELECT series, target, severity FROM {DRIFT.qualified} "
            "QUALIFY row_number() OVER (PARTITION BY series, target ORDER BY checked_at DESC) = 1"
        ).to_pylist()
    }
    for row in rows:
        if SEVERITIES.index(row["severity"]) > before.get((row["series"], row["target"]), 0):
            told = {name: row[name] for name in ("target", "model", "version", "type", "confidence", "recommendation")}
            detected(store, row["series"], row["severity"], f"{row['target']}, {row['type']}: {row['reason']}", told)


def streams(store: Store, registry: Registry) -> Iterator[Stream]:
    """Of every series with scores, the errors of what serves it now, by target and series."""
    for target in TARGETS.values():
        scores = _scores(store, target, None)
        keys = scores["series"].to_numpy(zero_copy_only=False)
        edges = np.flatnonzero(keys[1:] != keys[:-1]) + 1
        for start, stop in pairwise([0, *edges.tolist(), len(keys)] if len(keys) else []):
            yield _stream(registry, target, keys[start], scores.slice(start, stop - start))


def stream(store: Store, registry: Registry, series: str, target: str) -> Stream | None:
    """The errors of what serves one series; None where nothing has been scored."""
    scores = _scores(store, TARGETS[target], series)
    return _stream(registry, TARGETS[target], series, scores) if scores.num_rows else None


def _scores(store: Store, target: Target, series: str | None) -> pa.Table:
    apart = target.stride * STEP.seconds * 1_000_000
    named = {"target": target.name, "step": target.steps[0], "apart": apart, "reach": 2 * LAST * apart}
    return store.query(_SCORES_SQL, named | {"series": series})


def _stream(registry: Registry, target: Target, key: str, scores: pa.Table) -> Stream:
    champion, series = registry.champion(key, target.name), Series.parse(key)
    model, version = (champion.model, champion.version) if champion else (NAIVE, 0)
    own = scores["version"].to_numpy() == version
    times = scores["target_ts"].to_numpy().astype("datetime64[us]")
    if champion:  # errors up to the last bar it was judged on are its reference already
        own &= times > np.datetime64(judged_to(champion), "us")
    values = {name: scores[name].to_numpy(zero_copy_only=False)[own] for name in ("model", "naive", "missed_95")}
    return Stream(
        {
            "series": key,
            "symbol": series.symbol,
            "exchange": series.exchange,
            "market_type": series.market_type,
            "target": target.name,
            "model": model,
            "version": version,
        },
        Errors(**values, reference=np.array((champion.reference if champion else None) or [], dtype=float)),
        times[own],
    )


_OF_INPUTS = ("series", "target", "version")


def _inputs(store: Store) -> dict[tuple[Any, ...], Inputs]:
    """What the newest check of inputs found, by series, target and version."""
    rows = store.query(
        f"""
        SELECT series, target, version, count(ks_p) AS compared, min(ks_p) AS smallest_p,
               coalesce(list(input ORDER BY ks_p) FILTER (severity <> 'NONE'), []) AS shifted,
               CASE WHEN bool_or(severity = 'MEDIUM') THEN 'MEDIUM' WHEN bool_or(severity = 'LOW') THEN 'LOW'
                    ELSE 'NONE' END AS severity
        FROM {INPUTS.qualified} GROUP BY ALL HAVING count(ks_p) > 0
        """
    ).to_pylist()
    return {
        tuple(row[name] for name in _OF_INPUTS): Inputs(
            row["compared"], tuple(row["shifted"]), row["severity"], row["smallest_p"]
        )
        for row in rows
    }


_UNKNOWN = {"severity": "NONE", "detected": False, "type": "none", "recommendation": "Wait for outcomes."}


def _figures(stream: Stream, statistics: Statistics, ks_p: float, inputs: Inputs | None) -> dict[str, Any]:
    return {
        "error_ratio": statistics.error_ratio,
        "began_at": stream.moment(statistics.began_at),
        "adwin_at": stream.moment(statistics.adwin_at),
        "page_hinkley_at": stream.moment(statistics.page_hinkley_at),
        "hddm_at": stream.moment(statistics.hddm_at),
        "coverage_95": statistics.coverage_95,
        "ks_statistic": statistics.shift.distance,
        "ks_p": ks_p,
        "psi": statistics.shift.psi,
        "jensen_shannon": statistics.shift.jensen_shannon,
        "dm_statistic": _number(statistics.dm_statistic),
        "dm_p": _number(statistics.dm_p),
        "inputs_compared": inputs.compared if inputs else 0,
        "inputs_shifted": len(inputs.shifted) if inputs else 0,
        "details": msgspec.json.encode(said(statistics, ks_p, inputs)).decode(),
    }


def _verdict(finding: Finding) -> dict[str, Any]:
    return {
        "severity": finding.severity,
        "detected": finding.detected,
        "type": finding.type,
        "confidence": finding.confidence,
        "reason": finding.reason,
        "recommendation": finding.recommendation,
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
