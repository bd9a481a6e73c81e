"""Neural networks, through Darts, in single precision; on the GPU where there is one.

The artefact is the card and the two files of Darts, the network and its weights; both are read with restricted
loaders only. What a network is fed is centred and scaled by figures of its training data, which the card holds.
"""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orderflow_assets.forecasting.adapters.card import Card, card_of
from orderflow_assets.forecasting.adapters.construct import construct, import_class, refusals_explained
from orderflow_assets.forecasting.adapters.series import columns_of, covariates_of, time_series, training_stretches
from orderflow_assets.forecasting.frame import Frame
from orderflow_assets.forecasting.models import ModelError, ModelSpec
from orderflow_assets.forecasting.targets import TARGETS, Target

Window = tuple[np.ndarray, np.ndarray]
"""Times, and values ``(bars, 1 + columns)`` in single precision."""

_MODEL_FILE = "model.pt"
_UNREADABLE = (OSError, EOFError, AttributeError, RuntimeError, ValueError)
"""What torch raises, beside its refusal to unpickle, on a file that is not what it wrote."""
_BATCH = 512
"""Windows that are forecast at once."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scale:
    """Means and standard deviations of the series and of each covariate, in this order."""

    centre: tuple[float, ...]
    spread: tuple[float, ...]

    def apply(self, values: np.ndarray) -> np.ndarray:
        """``(bars, 1 + columns)`` in single precision."""
        return ((values - self.centre) / self.spread).astype(np.float32)

    def restore(self, outputs: np.ndarray) -> np.ndarray:
        return outputs.astype(float) * self.spread[0] + self.centre[0]


@dataclass(frozen=True, slots=True)
class Deep:
    """A trained network. ``device`` is where it was trained: ``cpu`` or the name of a GPU."""

    spec: ModelSpec
    target: Target
    columns: tuple[str, ...]
    model: Any
    scale: Scale
    device: str

    def deviations(self, frame: Frame, origins: slice) -> np.ndarray:
        """See :class:`orderflow_assets.forecasting.fitting.Fitted`."""
        fed = self.target.fed(self.spec.feed)
        values = self.scale.apply(np.column_stack([fed.learn(frame), covariates_of(frame, self.columns)]))
        asked = range(*origins.indices(len(frame)))
        parts = [slice(origin - self.spec.lags, origin + 1) for origin in asked]
        rows = [row for row, part in enumerate(parts) if part.start >= 0 and np.isfinite(values[part]).all()]
        outputs = np.full((len(asked), fed.width), np.nan)
        if rows:
            windows = [(frame.times[parts[row]], values[parts[row]]) for row in rows]
            outputs[rows] = self.scale.restore(ask(self.model, windows, fed))
        return self.spec.share(self.target.name) * fed.deviate(frame, origins, outputs)

    def save(self, folder: Path) -> None:
        self.model.save(str(folder / _MODEL_FILE), clean=True)
        state = {"centre": self.scale.centre, "spread": self.scale.spread, "device": self.device}
        card_of(self.spec, self.target, self.columns, state).write(folder)


def fit(spec: ModelSpec, target: Target, frame: Frame) -> Deep:
    """Train on every stretch of ``frame`` that holds an example."""
    columns, fed = columns_of(spec, frame), target.fed(spec.feed)
    learn, covariates = fed.learn(frame), covariates_of(frame, columns)
    parts = training_stretches(learn, covariates, spec, fed.lead + fed.width)
    values = np.column_stack([learn, covariates])
    scale = _scale(np.concatenate([values[part] for part in parts]))
    scaled = scale.apply(values)
    trainer, device = place()
    from torch.nn import MSELoss

    with refusals_explained(spec), quiet():
        model = construct(
            spec,
            input_chunk_length=spec.lags + 1,
            output_chunk_length=fed.width,
            output_chunk_shift=fed.lead,
            pl_trainer_kwargs=trainer,
            loss_fn=MSELoss(),
        )
        model.fit(
            [time_series(frame.times[part], scaled[part, :1]) for part in parts],
            past_covariates=[time_series(frame.times[part], scaled[part, 1:]) for part in parts] if columns else None,
            verbose=False,
        )
    return Deep(spec, target, columns, model, scale, device)


def load(folder: Path, card: Card) -> Deep:
    from darts.utils.serialization.base import UnpicklingError

    trainer, _ = place()
    try:
        with quiet():
            model = import_class(card.spec.path).load(
                str(folder / _MODEL_FILE), pl_trainer_kwargs=trainer, map_location="cpu"
            )
    except (*_UNREADABLE, pickle.UnpicklingError, UnpicklingError) as error:
        raise ModelError(f"the stored model {folder.name[:12]} cannot be loaded: {error}") from error
    scale = Scale(tuple(card.state["centre"]), tuple(card.state["spread"]))
    return Deep(card.spec, TARGETS[card.target], card.columns, model, scale, card.state["device"])


def place() -> tuple[dict[str, Any], str]:
    """Arguments of the trainer, and where it runs: ``cpu`` where there is no GPU, which is logged."""
    import torch

    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.WARNING)
    found = torch.cuda.is_available()
    if not found:
        logger.info("there is no GPU: networks run on the CPU")
    trainer = {
        "accelerator": "gpu" if found else "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return trainer, torch.cuda.get_device_name() if found else "cpu"


@contextmanager
def quiet() -> Iterator[None]:
    """Without the remarks of the libraries on their own use of each other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def ask(model: Any, windows: Sequence[Window], fed: Target) -> np.ndarray:
    """Forecasts of the first component after each window, ``(windows, width)``; the others are covariates."""
    columns = windows[0][1].shape[1] - 1
    with quiet():
        forecasts = model.predict(
            fed.width if model.output_chunk_shift else fed.lead + fed.width,
            series=[time_series(times, values[:, :1]) for times, values in windows],
            past_covariates=[time_series(times, values[:, 1:]) for times, values in windows] if columns else None,
            batch_size=_BATCH,
            verbose=False,
            show_warnings=False,
        )
    return np.array([forecast.values(copy=False)[-fed.width :, 0] for forecast in forecasts])


def _scale(values: np.ndarray) -> Scale:
    spread = values.std(axis=0)
    return Scale(tuple(values.mean(axis=0).tolist()), tuple(np.where(spread > 0, spread, 1.0).tolist()))
