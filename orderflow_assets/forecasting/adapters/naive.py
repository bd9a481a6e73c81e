"""The naive forecast as a model: no deviation from itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orderflow_assets.forecasting.adapters.card import Card, card_of
from orderflow_assets.forecasting.frame import Frame
from orderflow_assets.forecasting.models import ModelSpec
from orderflow_assets.forecasting.targets import TARGETS, Target


@dataclass(frozen=True, slots=True)
class Naive:
    """The last value stays."""

    spec: ModelSpec
    target: Target
    columns: tuple[str, ...] = ()

    def deviations(self, frame: Frame, origins: slice) -> np.ndarray:
        """Zero, ``(origins, steps)``; NaN where there is no naive forecast either."""
        known = ~np.isnan(self.target.anchor(frame)[origins])
        return np.where(known[:, None], np.zeros(len(self.target.steps)), np.nan)

    def save(self, folder: Path) -> None:
        card_of(self.spec, self.target).write(folder)


def fit(spec: ModelSpec, target: Target, frame: Frame) -> Naive:
    return Naive(spec, target)


def load(folder: Path, card: Card) -> Naive:
    return Naive(card.spec, TARGETS[card.target])
