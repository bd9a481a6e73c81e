"""From a frame to the series that the libraries take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from orderflow_assets.forecasting.frame import STEP, Frame
from orderflow_assets.forecasting.models import ModelError, ModelSpec

_PRESENT = 0.9
"""Share of bars that must hold a covariate for a model to be trained on it."""


def columns_of(spec: ModelSpec, frame: Frame) -> tuple[str, ...]:
    """The declared covariates that the frame holds in enough bars."""
    return tuple(
        name
        for name in spec.covariates
        if name in frame.covariates and np.mean(~np.isnan(frame.covariates[name])) >= _PRESENT
    )


def covariates_of(frame: Frame, columns: tuple[str, ...]) -> np.ndarray:
    """``(bars, columns)``; a column the frame lacks is unknown throughout."""
    unknown = np.full(len(frame), np.nan)
    return np.column_stack([frame.covariates.get(name, unknown) for name in columns] or [np.empty((len(frame), 0))])


def stretches(learn: np.ndarray, covariates: np.ndarray, spec: ModelSpec) -> Iterator[slice]:
    """Runs of bars in which everything the model cannot do without is known."""
    known = ~np.isnan(learn)
    if not spec.takes_missing:
        known &= ~np.isnan(covariates).any(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], known.astype(np.int8), [0]))))
    for start, stop in edges.reshape(-1, 2):
        yield slice(int(start), int(stop))


def training_stretches(learn: np.ndarray, covariates: np.ndarray, spec: ModelSpec, ahead: int) -> list[slice]:
    """The stretches that hold at least one example of ``lags + 1`` bars and ``ahead`` to come.

    Raises :class:`ModelError` where they are too short in all, or nothing moves in them.
    """
    parts = [part for part in stretches(learn, covariates, spec) if part.stop - part.start > spec.lags + ahead]
    bars = sum(part.stop - part.start for part in parts)
    needed = max(spec.min_bars, spec.lags + ahead + 1)
    if bars < needed:
        raise ModelError(f"{spec.name} needs {needed} bars in stretches without a gap, there are {bars}")
    if np.ptp(np.concatenate([learn[part] for part in parts])) == 0:
        raise ModelError(f"{spec.name} has nothing to learn: the series stands still in all of its {bars} bars")
    return parts


def time_series(times: np.ndarray, values: np.ndarray) -> Any:
    """``values`` ``(bars,)`` or ``(bars, components)`` as a series of Darts."""
    import pandas as pd
    from darts import TimeSeries

    return TimeSeries.from_times_and_values(pd.DatetimeIndex(times, freq=f"{STEP.seconds}s"), values)
