"""Trains a declared model, stores it and loads it, whatever library it comes from.

The adapters in :mod:`orderflow_assets.forecasting.adapters` do the work; only they import a model library.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from orderflow_assets.forecasting.adapters.card import read_card
from orderflow_assets.forecasting.frame import Frame
from orderflow_assets.forecasting.models import ModelError, ModelSpec, missing
from orderflow_assets.forecasting.targets import Target

__all__ = ["Fitted", "ModelError", "fit", "load"]

# Read by the libraries when they are imported: one thread that sleeps while it waits, and no look at the network.
for name, value in {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}.items():
    os.environ.setdefault(name, value)


class Fitted(Protocol):
    """A trained model that can be asked and stored."""

    @property
    def spec(self) -> ModelSpec:
        """The model with the parameters it was trained with."""

    @property
    def target(self) -> Target: ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Covariates it was trained on."""

    def deviations(self, frame: Frame, origins: slice) -> np.ndarray:
        """Log deviations from naive forecast at the bars ``origins``, ``(origins, steps)``.

        ``origins`` may have a step. NaN where fewer than ``spec.lags + 1`` bars up to the origin are without a gap.
        Origin ``t`` uses bars up to ``t``.
        """

    def save(self, folder: Path) -> None:
        """Write the model and its card into an existing folder."""


def fit(spec: ModelSpec, target: Target, frame: Frame, parameters: Mapping[str, Any] | None = None) -> Fitted:
    """Train ``spec`` on all bars of ``frame``; ``parameters`` override the declared ones.

    Raises :class:`ModelError` when the library is not installed, a parameter is not known, or the bars are too few.
    """
    if target.name not in spec.targets:
        raise ModelError(f"{spec.name} forecasts {' and '.join(spec.targets)}, not {target.name}")
    tuned = spec.on(target.name, parameters)
    if reason := missing(tuned):
        raise ModelError(reason)
    fitted: Fitted = _adapter(spec).fit(tuned, target, frame)
    return fitted


def load(folder: Path) -> Fitted:
    """The model stored in ``folder`` by :meth:`Fitted.save`; nothing in it is unpickled without restriction.

    Call it on a folder whose hash the registry has verified. Raises :class:`ModelError`.
    """
    card = read_card(folder)
    if reason := missing(card.spec):
        raise ModelError(reason)
    fitted: Fitted = _adapter(card.spec).load(folder, card)
    return fitted


def _adapter(spec: ModelSpec) -> Any:
    return import_module(f"orderflow_assets.forecasting.adapters.{spec.adapter}")
