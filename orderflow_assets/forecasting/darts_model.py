"""The only file that imports Darts: trains a declared model, asks it for deviations, stores and loads it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from orderflow_assets.forecasting.frame import STEP, Frame
from orderflow_assets.forecasting.models import SPECS, ModelSpec
from orderflow_assets.forecasting.targets import TARGETS, Target

# Read by the libraries when they are imported: one thread that sleeps while it waits, and no look at the network.
for name, value in {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}.items():
    os.environ.setdefault(name, value)

_MODEL_FILE, _CARD_FILE = "model.pkl", "card.json"
_PRESENT = 0.9
"""Share of bars that must hold a covariate for a model to be trained on it."""


class ModelError(Exception):
    """A model cannot be trained, loaded or asked; the message is the reason recorded."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained model with what it needs to be asked again."""

    spec: ModelSpec
    target: Target
    columns: tuple[str, ...]
    """Covariates it was trained on."""
    model: Any

    def deviations(self, frame: Frame, origins: slice) -> np.ndarray:
        """Log deviations from naive forecast at the bars ``origins``, ``(origins, steps)``.

        NaN where fewer than ``lags + 1`` bars up to the origin are without a gap. Origin ``t`` uses bars up to ``t``.
        """
        outputs = np.full((origins.stop - origins.start, self.target.width), np.nan)
        learn, covariates = self.target.learn(frame), _covariates(frame, self.columns)
        for stretch in _stretches(learn, covariates, self.spec):
            first, stop = max(stretch.start, origins.start - self.spec.lags), min(stretch.stop, origins.stop)
            if stop - first > self.spec.lags:
                produced = self._outputs(frame.times[first:stop], learn[first:stop], covariates[first:stop])
                outputs[stop - origins.start - len(produced) : stop - origins.start] = produced
        return self.spec.weight * self.target.deviate(frame, origins, outputs)

    def _outputs(self, times: np.ndarray, learn: np.ndarray, covariates: np.ndarray) -> np.ndarray:
        """One row per bar but the first ``lags`` of the stretch."""
        series, known = _time_series(times, learn), _time_series(times, covariates) if self.columns else None
        forecasts = self.model.historical_forecasts(
            series,
            past_covariates=known,
            start=self.spec.lags,
            start_format="position",
            forecast_horizon=self.target.width,
            retrain=False,
            overlap_end=True,
            last_points_only=False,
            show_warnings=False,
        )
        return np.array([forecast.values(copy=False)[:, 0] for forecast in forecasts[1:]])

    def save(self, folder: Path) -> None:
        """Write the model and its card into an existing folder."""
        self.model.save(str(folder / _MODEL_FILE), clean=True)
        card = {"model": self.spec.name, "target": self.target.name, "columns": self.columns}
        (folder / _CARD_FILE).write_bytes(msgspec.json.encode(card))


def fit(spec: ModelSpec, target: Target, frame: Frame, parameters: dict[str, Any] | None = None) -> Fitted:
    """Train ``spec`` on all bars of ``frame``; ``parameters`` override the declared ones.

    Raises :class:`ModelError` when no stretch without a gap is long enough or the library is not installed.
    """
    columns = tuple(
        name
        for name in spec.covariates
        if name in frame.covariates and np.mean(~np.isnan(frame.covariates[name])) >= _PRESENT
    )
    learn, covariates = target.learn(frame), _covariates(frame, columns)
    needed = spec.lags + target.lead + target.width
    stretches = [part for part in _stretches(learn, covariates, spec) if part.stop - part.start > needed]
    bars = sum(part.stop - part.start for part in stretches)
    if bars < spec.min_bars:
        raise ModelError(f"{spec.name} needs {spec.min_bars} bars in stretches without a gap, there are {bars}")
    model = _construct(spec, target, columns, dict(spec.parameters) | (parameters or {}))
    model.fit(
        [_time_series(frame.times[part], learn[part]) for part in stretches],
        past_covariates=[_time_series(frame.times[part], covariates[part]) for part in stretches] if columns else None,
    )
    return Fitted(spec, target, columns, model)


def load(folder: Path) -> Fitted:
    """The model stored in ``folder`` by :meth:`Fitted.save`, unpickled with Darts' restricted loader only.

    Call it on a folder whose hash the registry has verified. Raises :class:`ModelError`.
    """
    try:
        card = msgspec.json.decode((folder / _CARD_FILE).read_bytes(), type=dict[str, Any])
        spec, target = SPECS[card["model"]], TARGETS[card["target"]]
    except (OSError, KeyError, msgspec.MsgspecError) as error:
        raise ModelError(f"the card of the stored model {folder.name[:12]} cannot be read: {error!r}") from error
    model_class = _class(spec.path, spec)
    from darts.utils.serialization.base import UnpicklingError

    try:
        model = model_class.load(str(folder / _MODEL_FILE))
    except (OSError, EOFError, pickle.UnpicklingError, UnpicklingError) as error:
        raise ModelError(f"the stored model {folder.name[:12]} cannot be loaded: {error}") from error
    return Fitted(spec, target, tuple(card["columns"]), model)


def _construct(spec: ModelSpec, target: Target, columns: tuple[str, ...], parameters: dict[str, Any]) -> Any:
    if spec.estimator:
        parameters = {"model": _class(spec.estimator, spec)(**parameters)}
    return _class(spec.path, spec)(
        lags=spec.lags,
        lags_past_covariates=[-1] if columns else None,
        output_chunk_length=target.width,
        output_chunk_shift=target.lead,
        **parameters,
    )


def _class(path: str | None, spec: ModelSpec) -> Any:
    """Import a class on use."""
    if path is None:
        raise ModelError(f"{spec.name} is not a trained model")
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise ModelError(
            f"{spec.name} needs {error.name}. Install it with: pip install 'orderflow[{spec.extra}]'"
        ) from error


def _covariates(frame: Frame, columns: tuple[str, ...]) -> np.ndarray:
    """``(bars, columns)``; a column the frame lacks is unknown throughout."""
    unknown = np.full(len(frame), np.nan)
    return np.column_stack([frame.covariates.get(name, unknown) for name in columns] or [np.empty((len(frame), 0))])


def _stretches(learn: np.ndarray, covariates: np.ndarray, spec: ModelSpec) -> Iterator[slice]:
    """Runs of bars in which everything the model cannot do without is known."""
    known = ~np.isnan(learn)
    if not spec.takes_missing:
        known &= ~np.isnan(covariates).any(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], known.astype(np.int8), [0]))))
    for start, stop in edges.reshape(-1, 2):
        yield slice(int(start), int(stop))


def _time_series(times: np.ndarray, values: np.ndarray) -> Any:
    import pandas as pd
    from darts import TimeSeries

    return TimeSeries.from_times_and_values(pd.DatetimeIndex(times, freq=f"{STEP.seconds}s"), values)
