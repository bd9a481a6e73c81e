"""What goes into a deployed model and what comes out of it: when it was trained and judged, and now."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from orderflow_assets.forecasting import fitting
from orderflow_assets.forecasting.drift.errors import RECENT
from orderflow_assets.forecasting.fitting import Fitted
from orderflow_assets.forecasting.frame import STEP, Frame, Series, read_frame
from orderflow_assets.forecasting.registry import Registry, Version
from orderflow_assets.forecasting.tables import FORECASTS
from orderflow_assets.forecasting.targets import TARGETS, Target
from orderflow_streaming.store import Store

LEARNED, PREDICTION = "learned series", "prediction"
"""Besides the covariates: the series the target is learned from, and the first step's scaled log deviation."""

_CALENDAR = {"day_sin", "day_cos"}
_SETTLED = timedelta(days=3)
"""Bars before the recent ones that the averages among the covariates need."""

_PREDICTED_SQL = f"""
SELECT ln(point / naive) / scale AS value FROM {FORECASTS.qualified}
WHERE series = ? AND target = ? AND version = ? AND step = ? AND point IS NOT NULL
ORDER BY issued_at DESC LIMIT {RECENT}
"""

Samples = dict[str, np.ndarray]


def judged_to(version: Version) -> datetime:
    """The last bar it was judged on; where it was not judged, the last it was trained on."""
    judged = (version.metrics or {}).get("judged_to")
    return datetime.fromisoformat(judged) if judged else version.data_to


def at_deployment(store: Store, registry: Registry, version: Version) -> Samples:
    """Values of every input over the bars the version was trained and judged on, of its forecasts over the latter.

    Raises :class:`FrameError`, :class:`RegistryError` or :class:`ModelError` where bars or the model are not there.
    """
    until = judged_to(version)
    frame = read_frame(store, Series.parse(version.series), until, until - version.data_from + STEP)
    fitted = fitting.load(registry.artefact(version))
    held_out = int(np.searchsorted(frame.times, np.datetime64(version.data_to, "us"), "right"))
    inputs = _inputs(frame, fitted.target, fitted.columns)
    return inputs | {PREDICTION: _predictions(frame, fitted, slice(held_out, len(frame)))}


def lately(store: Store, version: Version, columns: tuple[str, ...], frame: Frame) -> Samples:
    """Values of the same inputs over the recent bars of ``frame``, and of the version's recent forecasts."""
    target = TARGETS[version.target]
    inputs = {name: values[-RECENT:] for name, values in _inputs(frame, target, columns).items()}
    predicted = store.query(_PREDICTED_SQL, [version.series, version.target, version.version, target.steps[0]])
    return inputs | {PREDICTION: predicted["value"].to_numpy()[::-1]}


def recent_frame(store: Store, series: str, until: datetime) -> Frame:
    """The frame that ends at ``until`` and is long enough for :func:`lately`. Raises :class:`FrameError`."""
    return read_frame(store, Series.parse(series), until, RECENT * STEP + _SETTLED)


def _inputs(frame: Frame, target: Target, columns: tuple[str, ...]) -> Samples:
    unknown = np.full(len(frame), np.nan)
    covariates = {name: frame.covariates.get(name, unknown) for name in columns if name not in _CALENDAR}
    return {LEARNED: target.learn(frame), **covariates}


def _predictions(frame: Frame, fitted: Fitted, origins: slice) -> np.ndarray:
    if origins.start >= origins.stop:
        return np.array([])
    deviations = fitted.deviations(frame, origins)[:, 0]
    return np.asarray(deviations / fitted.target.scales(frame)[origins, 0])
