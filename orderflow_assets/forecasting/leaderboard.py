"""Measured skill and speed of every model on every series: what the router and people choose by.

Evidence comes from the judgement of the newest version on its held-out bars, from the newest backtest, and from
forecasts in service. Bars of the same stretch count once: of a judgement and a backtest that overlap the one over
more origins stays, and scores in service count where neither looked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import inf
from typing import Any, Literal

import msgspec
import pyarrow as pa

from orderflow_assets.forecasting.backtest.tables import BACKTESTS
from orderflow_assets.forecasting.frame import Series, utc_now
from orderflow_assets.forecasting.models import NAIVE
from orderflow_assets.forecasting.registry import Registry
from orderflow_assets.forecasting.tables import LEADERBOARD, SCORES
from orderflow_streaming.store import Store, Window

PRIOR_ORIGINS = 200
"""Origins at which a model is given naive's errors before any evidence: few origins prove little."""
LIVE = timedelta(days=90)
"""How much older than the newest a score in service may be."""

Source = Literal["held_out", "backtest", "live"]
Place = tuple[str, str, str, int]
"""Series, target, model and step."""

_LIVE_SQL = f"""
WITH looked AS (
    SELECT unnest(from_json($looked, '[{{"series": "VARCHAR", "target": "VARCHAR", "model": "VARCHAR",
        "start": "TIMESTAMP", "end": "TIMESTAMP"}}]'), recursive := true))
SELECT series, target, model, step, min(target_ts) AS "from", max(target_ts) AS "to", count(*) AS origins,
       sum(abs(scaled_error)) / sum(abs(scaled_naive_error)) AS rmae,
       avg(inside_80::INTEGER) AS coverage_80, avg(inside_95::INTEGER) AS coverage_95
FROM {SCORES.qualified} s
WHERE target_ts >= (SELECT max(target_ts) FROM {SCORES.qualified}) - to_days($days) AND NOT EXISTS (
    SELECT 1 FROM looked l WHERE (l.series, l.target, l.model) = (s.series, s.target, s.model)
    AND s.target_ts > l.start AND s.target_ts <= l."end")
GROUP BY ALL HAVING sum(abs(scaled_naive_error)) > 0
"""
_BACKTESTS_SQL = f"""
SELECT series, target, model, step, test_from AS "from", data_to AS "to", origins, rmae, coverage_80, coverage_95
FROM {BACKTESTS.qualified} WHERE rmae IS NOT NULL AND origins > 0
QUALIFY row_number() OVER (PARTITION BY series, target, model, step ORDER BY run_at DESC) = 1
"""


@dataclass(frozen=True, slots=True)
class Evidence:
    """How a model did at a step over one stretch of time. ``rmae`` is its scaled error over naive's."""

    source: Source
    start: datetime
    end: datetime
    origins: int
    rmae: float
    coverage_80: float | None = None
    coverage_95: float | None = None

    def overlaps(self, other: Evidence) -> bool:
        return self.start <= other.end and other.start <= self.end


def shrunk(rmae: float, origins: int) -> float:
    """Error ratio to expect of a model with so much evidence: near naive's 1 where there is little."""
    return (origins * rmae + PRIOR_ORIGINS) / (origins + PRIOR_ORIGINS)


def refresh(store: Store, registry: Registry) -> pa.Table:
    """Measure everything again and replace the table; returns its rows."""
    store.ensure(LEADERBOARD, SCORES, BACKTESTS)
    speeds = {(row["series"], row["target"], row["model"]): row for row in registry.skills()}
    rows = list(_ranked(_gathered(store, registry), speeds, utc_now()))
    board = pa.Table.from_pylist(rows, LEADERBOARD.arrow_schema)
    store.write(LEADERBOARD, board, Window(datetime.min, datetime.max))  # noqa: DTZ901 - naive UTC, as stored
    return board


def _gathered(store: Store, registry: Registry) -> dict[Place, list[Evidence]]:
    """What is known of each model, series, target and step, no stretch of time twice."""
    looked: dict[Place, list[Evidence]] = {}
    judged = [row | {"from": row["judged_from"], "to": row["judged_to"]} for row in registry.skills()]
    for place, evidence in _read("held_out", judged) + _read("backtest", store.query(_BACKTESTS_SQL).to_pylist()):
        looked.setdefault(place, []).append(evidence)
    found = {place: disjoint(evidence) for place, evidence in looked.items()}
    stretches = {
        (*place[:3], one.start.isoformat(), one.end.isoformat()) for place, kept in found.items() for one in kept
    }
    named = [dict(zip(("series", "target", "model", "start", "end"), one, strict=True)) for one in stretches]
    values = {"looked": msgspec.json.encode(named).decode(), "days": LIVE.days}
    for place, evidence in _read("live", store.query(_LIVE_SQL, values).to_pylist()):
        found.setdefault(place, []).append(evidence)
    return found


def _read(source: Source, rows: list[dict[str, Any]]) -> list[tuple[Place, Evidence]]:
    return [
        (
            (row["series"], row["target"], row["model"], row["step"]),
            Evidence(
                source, row["from"], row["to"], row["origins"], row["rmae"], row["coverage_80"], row["coverage_95"]
            ),
        )
        for row in rows
    ]


def disjoint(evidence: Iterable[Evidence]) -> list[Evidence]:
    """Those of the evidence that overlap with none of more origins."""
    kept: list[Evidence] = []
    for one in sorted(evidence, key=lambda one: one.origins, reverse=True):
        if not any(one.overlaps(other) for other in kept):
            kept.append(one)
    return kept


def pooled(evidence: list[Evidence]) -> Evidence:
    """Evidence of several stretches as one, each weighed by its origins."""
    origins = sum(one.origins for one in evidence)
    return replace(
        evidence[0],
        origins=origins,
        rmae=sum(one.rmae * one.origins for one in evidence) / origins,
        coverage_80=_mean([(one.coverage_80, one.origins) for one in evidence]),
        coverage_95=_mean([(one.coverage_95, one.origins) for one in evidence]),
    )


def _mean(shares: list[tuple[float | None, int]]) -> float | None:
    known = [(share, origins) for share, origins in shares if share is not None]
    return sum(share * origins for share, origins in known) / sum(origins for _, origins in known) if known else None


def _ranked(
    gathered: dict[Place, list[Evidence]], speeds: dict[tuple[str, str, str], dict[str, Any]], now: datetime
) -> Iterator[dict[str, Any]]:
    """Rows of the table: the models of a series, target and step from the best on, naive among them."""
    boards: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for (series, target, model, step), evidence in gathered.items():
        together, identity = pooled(evidence), Series.parse(series)
        speed = speeds.get((series, target, model), {})
        boards.setdefault((series, target, step), []).append(
            {
                "series": series,
                "symbol": identity.symbol,
                "exchange": identity.exchange,
                "market_type": identity.market_type,
                "target": target,
                "model": model,
                "step": step,
                "shrunk_rmae": shrunk(together.rmae, together.origins),
                "rmae": together.rmae,
                "origins": together.origins,
                **{
                    f"{source}_origins": sum(one.origins for one in evidence if one.source == source)
                    for source in ("held_out", "live", "backtest")
                },
                "coverage_80": together.coverage_80,
                "coverage_95": together.coverage_95,
                **{name: speed.get(name) for name in ("bars", "fit_s", "load_s", "predict_s", "device")},
                "version": speed["version"] if speed.get("stored") else None,
                "refreshed_at": now,
            }
        )
    for rows in boards.values():
        for rank, row in enumerate(sorted(rows, key=lambda row: (row["shrunk_rmae"], row["model"] != NAIVE)), 1):
            yield row | {"rank": rank}


def inconsistencies(rows: list[dict[str, Any]]) -> list[str]:
    """What cannot be true of a leaderboard, in words; nothing where all is well."""
    found = []
    for row in rows:
        named = f"{row['series']} {row['target']} {row['model']} step {row['step']}"
        low, high = sorted((row["rmae"], 1.0))
        if not 0 < row["rmae"] < inf:
            found.append(f"{named}: an error ratio of {row['rmae']}")
        elif not low - _ROUNDING <= row["shrunk_rmae"] <= high + _ROUNDING:
            found.append(f"{named}: {row['shrunk_rmae']} does not lie between {row['rmae']} and 1")
        if row["model"] == NAIVE and abs(row["rmae"] - 1) > _ROUNDING:
            found.append(f"{named}: naive's errors are {row['rmae']} of naive's")
        found += [
            f"{named}: {name} is {row[name]}"
            for name in ("coverage_80", "coverage_95")
            if row[name] is not None and not 0 <= row[name] <= 1
        ]
    return found


_ROUNDING = 1e-9
