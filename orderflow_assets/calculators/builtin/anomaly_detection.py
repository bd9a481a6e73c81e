"""Values that do not fit what came before them, by several methods that vote."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from orderflow_assets.calculators import CalculatorSignal, Result, Rows, calculator, strength
from orderflow_assets.calculators.reading import Interval
from orderflow_assets.calculators.subjects import DataType, about, steady, subject_series
from orderflow_assets.timeseries.anomalies import MEMBERS, AnomalyResult, anomalies
from orderflow_assets.timeseries.arrays import Array
from orderflow_assets.timeseries.series import Series

AGREEING = 2
"""Methods that must flag a value for the ensemble."""
NEWEST = 10
Method = Literal["ensemble", "zscore", "mad", "iqr", "isolation_forest", "ecod", "cusum"]


@calculator(category="detection", version="1", reads={"bars.bars_1m": "hours"})
def anomaly_detection(
    store: Rows,
    symbol: str,
    exchange: str | None,
    end: datetime,
    *,
    data_type: Annotated[DataType, Field(description="what is looked at")] = "prices",
    hours: Annotated[int, Field(ge=1, le=720, description="look back")] = 24,
    method: Annotated[Method, Field(description="ensemble: all, by votes")] = "ensemble",
    zscore_threshold: Annotated[float, Field(gt=0, le=20, description="for zscore")] = 3.0,
    rolling_window: Annotated[int, Field(ge=20, le=1440, description="values before each")] = 60,
    interval: Annotated[Interval, Field(description="step")] = "1m",
) -> Result:
    """Outliers of log returns of price or open interest, or of log volume or spread, each judged by the values before
    it. The ensemble flags what two methods flag."""
    try:
        series = subject_series(store, data_type, symbol, exchange, interval, end, hours)
        values = steady(series, data_type)
        found = {
            name: anomalies(values, method=name, threshold=_threshold(name, zscore_threshold), window=rolling_window)
            for name in (MEMBERS if method == "ensemble" else (method,))
        }
    except ValueError as error:
        return Result.nothing(str(error))
    votes = np.sum([result.is_anomaly for result in found.values()], axis=0)
    data: dict[str, Any] = {
        "data_type": data_type,
        "methods": {name: _told(result, series) for name, result in found.items()},
    }
    if method == "ensemble":
        data["ensemble"] = _ensemble(votes, series, values)
    flagged = votes >= (AGREEING if method == "ensemble" else 1)
    return Result(data, _signals(flagged, votes, found, series), about(series, data_type))


def _threshold(name: str, zscore_threshold: float) -> float | None:
    return zscore_threshold if name == "zscore" else None


def _told(result: AnomalyResult, series: Series) -> dict[str, Any]:
    judged = int(np.isfinite(result.scores).sum())
    return {
        "count": len(result.indices),
        "judged": judged,
        "rate": len(result.indices) / judged if judged else None,
        "threshold": result.threshold,
        "times": series.times[result.indices[-NEWEST:]].tolist(),
        "scores": result.scores[result.indices[-NEWEST:]],
    }


def _ensemble(votes: Array, series: Series, values: Array) -> dict[str, Any]:
    agreed = np.flatnonzero(votes >= AGREEING)
    known = int(np.isfinite(values).sum())
    most = int(votes.max(initial=0))
    return {
        "total": len(agreed),
        "rate": len(agreed) / known,
        "consensus": "HIGH" if 2 * most > len(MEMBERS) else "MEDIUM" if most >= AGREEING else "NONE",
        "most_votes": most,
        "methods": len(MEMBERS),
        "times": series.times[agreed[-NEWEST:]].tolist(),
        "votes": votes[agreed[-NEWEST:]],
        "values": values[agreed[-NEWEST:]],
    }


def _signals(flagged: Array, votes: Array, found: dict[str, AnomalyResult], series: Series) -> list[CalculatorSignal]:
    signals = []
    recent = np.flatnonzero(flagged[-NEWEST:]) + max(0, len(flagged) - NEWEST)
    if len(recent):
        last = int(recent[-1])
        text = f"{len(recent)} of the newest {NEWEST} values of {series.name} are outliers"
        share = float(votes[last]) / len(found)
        signals.append(
            CalculatorSignal("WARNING", strength(share), text, series.times[last].item(), {"votes": int(votes[last])})
        )
    if "cusum" in found and found["cusum"].is_anomaly[-NEWEST:].any():
        last = int(found["cusum"].indices[-1])
        text = f"the level of {series.name} has moved (CUSUM)"
        signals.append(CalculatorSignal("WARNING", 0.8, text, series.times[last].item()))
    return signals
