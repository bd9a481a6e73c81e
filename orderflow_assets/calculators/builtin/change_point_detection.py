"""Where a series began to behave differently."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from orderflow_assets.calculators import CalculatorSignal, Result, Rows, calculator
from orderflow_assets.calculators.reading import Interval
from orderflow_assets.calculators.subjects import DataType, about, steady, subject_series
from orderflow_assets.timeseries.changes import ChangePointResult, Segment, change_points
from orderflow_assets.timeseries.series import Series

RECENT = 24
Method = Literal["both", "pelt", "binseg", "kernel", "cusum"]


@calculator(category="detection", version="1", reads={"bars.bars_1m": "hours"})
def change_point_detection(
    store: Rows,
    symbol: str,
    exchange: str | None,
    end: datetime,
    *,
    data_type: Annotated[DataType, Field(description="what is looked at")] = "prices",
    hours: Annotated[int, Field(ge=24, le=2160, description="hours to look back")] = 168,
    method: Annotated[Method, Field(description="both keeps points of pelt that binseg finds too")] = "both",
    interval: Annotated[Interval, Field(description="step of the series")] = "1h",
) -> Result:
    """Places where mean or variance change, in log returns of price or open interest or in the logarithm of volume
    or spread, with the segments between them. Looks at the whole stretch: a later run may move a point."""
    try:
        series = subject_series(store, data_type, symbol, exchange, interval, end, hours)
        values = steady(series, data_type)
        # The first return is unknown and opens no segment.
        found = change_points(values[1:] if np.isnan(values[0]) else values, method=method)
    except ValueError as error:
        return Result.nothing(str(error))
    shift = len(values) - found.segments[-1].end
    points = _points(found, series, shift)
    segments = [_segment(part, series, shift) for part in found.segments]
    data: dict[str, Any] = {
        "data_type": data_type,
        "change_points": points,
        "segments": segments,
        "largest_change": max(points, key=lambda point: abs(point["mean_change_sd"] or 0), default=None),
        "highest_segment": max(segments, key=lambda part: part["mean"]),
        "lowest_segment": min(segments, key=lambda part: part["mean"]),
    }
    signals = []
    if points and points[-1]["periods_ago"] < RECENT:
        last = points[-1]
        text = f"{series.name} changed its behaviour {last['periods_ago']} periods ago"
        signals.append(CalculatorSignal("WARNING", 0.8, text, last["time"], {"confidence": last["confidence"]}))
    return Result(data, signals, about(series, data_type))


def _points(found: ChangePointResult, series: Series, shift: int) -> list[dict[str, Any]]:
    """``time`` is the closing edge of the first value that behaves differently."""
    return [
        {
            "index": int(point) + shift,
            "time": series.times[point + shift].item(),
            "confidence": float(confidence),
            "periods_ago": len(series) - 1 - int(point) - shift,
            "mean_change_sd": (after.mean - before.mean) / before.sd if before.sd > 0 else None,
            "sd_ratio": after.sd / before.sd if before.sd > 0 else None,
        }
        for point, confidence, before, after in zip(
            found.points, found.confidence, found.segments, found.segments[1:], strict=False
        )
    ]


def _segment(part: Segment, series: Series, shift: int) -> dict[str, Any]:
    return {
        "start": series.times[part.start + shift].item(),
        "end": series.times[part.end + shift - 1].item(),
        "mean": part.mean,
        "sd": part.sd,
        "length": part.length,
    }
