"""What a series is like, in measured numbers: what a choice of models can be learnt from.

No number here is a verdict of how well the series can be forecast: that is measured, in ``models.leaderboard``.
"""

from __future__ import annotations

import numpy as np

from orderflow_assets.forecasting.explain.measures import EXTRACTED, MEASURES
from orderflow_assets.forecasting.frame import STEP, Frame
from orderflow_assets.forecasting.targets import Target
from orderflow_assets.timeseries.features import extract
from orderflow_assets.timeseries.seasonality import decompose, seasonality

DAY = 288
"""Bars of a day."""
WINDOW = 7 * DAY
"""Newest bars that are described."""


def profile(frame: Frame, target: Target) -> dict[str, float | None]:
    """The numbers of :data:`MEASURES` over the newest :data:`WINDOW` bars of a frame; None where one is not defined.

    Raises ValueError where the frame is too short or has too many gaps to be described.
    """
    frame = frame.between(max(0, len(frame) - WINDOW), len(frame))
    learnt, logs = target.learn(frame), target.anchor(frame)
    seconds = STEP.total_seconds()
    found = extract(learnt, step_seconds=seconds, include_spectral=False)
    dominant = seasonality(learnt, step_seconds=seconds).dominant
    parts = decompose(logs, DAY, robust=False) if len(logs) >= 2 * DAY else None
    measured = {
        "bars": float(np.isfinite(learnt).sum()),
        **{name: found[name] for name in EXTRACTED},
        "trend_strength": parts.trend_strength if parts else None,
        "seasonal_strength": parts.seasonal_strength[DAY] if parts else None,
        "dominant_period_s": dominant.period_seconds if dominant else None,
        "volatility_clustering": _clustering(learnt),
    }
    return {name: measured[name] for name in MEASURES}


def _clustering(values: np.ndarray) -> float | None:
    squares = (values - np.nanmean(values)) ** 2
    centred = squares - np.nanmean(squares)
    variance = np.nanmean(centred**2)
    if not variance > 0:
        return None
    return float(np.mean([np.nanmean(centred[lag:] * centred[:-lag]) for lag in range(1, 6)]) / variance)
