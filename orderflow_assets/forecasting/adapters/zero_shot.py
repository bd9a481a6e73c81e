"""Networks that are not trained on the series they forecast: pretrained ones, and the naive ones that run in batches.

Nothing is learnt, so the artefact is the card alone; of pretrained weights it holds the hash. Every window is fed as
its distance from its last value, which loses nothing in single precision.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from orderflow_assets.forecasting.adapters.card import Card, card_of
from orderflow_assets.forecasting.adapters.construct import construct, refusals_explained
from orderflow_assets.forecasting.adapters.deep import Window, ask, place, quiet
from orderflow_assets.forecasting.adapters.series import time_series, training_stretches
from orderflow_assets.forecasting.frame import STEP, Frame
from orderflow_assets.forecasting.models import ModelError, ModelSpec
from orderflow_assets.forecasting.models.weights import WEIGHTS_FILE, fetch
from orderflow_assets.forecasting.targets import TARGETS, Target


@dataclass(frozen=True, slots=True)
class ZeroShot:
    """A network ready to be asked. ``weights`` is the SHA-256 of its weights, None where it has none."""

    spec: ModelSpec
    target: Target
    model: Any
    weights: str | None
    device: str
    columns: tuple[str, ...] = ()

    def deviations(self, frame: Frame, origins: slice) -> np.ndarray:
        """See :class:`orderflow_assets.forecasting.fitting.Fitted`."""
        fed = self.target.fed(self.spec.feed)
        learn = fed.learn(frame)
        asked = range(*origins.indices(len(frame)))
        parts = {row: slice(origin - self.spec.lags, origin + 1) for row, origin in enumerate(asked)}
        rows = [row for row, part in parts.items() if part.start >= 0 and np.isfinite(learn[part]).all()]
        outputs = np.full((len(asked), fed.width), np.nan)
        if rows:
            last = np.array([learn[asked[row]] for row in rows])
            windows: list[Window] = [
                (frame.times[parts[row]], (learn[parts[row], None] - known).astype(np.float32))
                for row, known in zip(rows, last, strict=True)
            ]
            outputs[rows] = ask(self.model, windows, fed).astype(float) + last[:, None]
        return self.spec.share(self.target.name) * fed.deviate(frame, origins, outputs)

    def save(self, folder: Path) -> None:
        card_of(self.spec, self.target, state={"weights": self.weights, "device": self.device}).write(folder)


def fit(spec: ModelSpec, target: Target, frame: Frame) -> ZeroShot:
    """Make it ready, once ``frame`` is seen to hold a window that it could be asked about."""
    fed = target.fed(spec.feed)
    training_stretches(fed.learn(frame), np.empty((len(frame), 0)), spec, ahead=0)
    return _ready(spec, target)


def load(folder: Path, card: Card) -> ZeroShot:
    """Ready again, with the weights of then. Raises :class:`ModelError` where they have changed or are gone."""
    ready = _ready(card.spec, TARGETS[card.target])
    if ready.weights != card.state["weights"]:
        raise ModelError(f"the weights of {card.model} are not those it was stored with; train it again")
    return ready


def _ready(spec: ModelSpec, target: Target) -> ZeroShot:
    fed, folder = target.fed(spec.feed), fetch(spec) if spec.hub else None
    own = {name: value for name, value in spec.parameters.items() if name not in {"local_dir", "hub_model_revision"}}
    trainer, device = place()
    model = construct(
        replace(spec, parameters=own) if spec.hub else spec,
        input_chunk_length=spec.lags + 1,
        output_chunk_length=fed.width,
        output_chunk_shift=fed.lead,
        pl_trainer_kwargs=trainer,
        local_dir=folder,
    )
    with refusals_explained(spec), quiet():
        model.fit(_shape(spec.lags + 1 + fed.width))
    return ZeroShot(spec, target, model, _sha256(folder / WEIGHTS_FILE) if folder else None, device)


def _shape(bars: int) -> Any:
    """A series of one component: setting a model up asks for one, and nothing is learnt from it."""
    times = np.datetime64("2000-01-01", "us") + np.arange(bars) * np.timedelta64(STEP, "us")
    return time_series(times, np.zeros((bars, 1), np.float32))


def _sha256(file: Path) -> str:
    status = file.stat()
    return _hashed(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _hashed(file: Path, modified_ns: int, size: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
