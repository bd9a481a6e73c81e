"""Forecasts at bars a model was not trained on, beside what happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orderflow_assets.forecasting.fitting import Fitted
from orderflow_assets.forecasting.frame import Frame


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Forecasts on the bars that were not trained on, one row per origin; log units, NaN where unknown."""

    origins: slice
    deviations: np.ndarray
    outcomes: np.ndarray
    anchor: np.ndarray
    scales: np.ndarray
    stride: int = 1
    """Every how many of the origins the model was asked; the rows between are NaN."""

    @property
    def errors(self) -> np.ndarray:
        """Scaled absolute errors, ``(origins, steps)``."""
        return np.abs(self.outcomes - self.anchor[:, None] - self.deviations) / self.scales

    @property
    def naive_errors(self) -> np.ndarray:
        return np.abs(self.outcomes - self.anchor[:, None]) / self.scales


def hold_out(fitted: Fitted, frame: Frame, origins: slice, stride: int = 1) -> HeldOut:
    """Forecasts of a model at every ``stride``-th of ``origins`` beside what happened."""
    target = fitted.target
    asked = slice(origins.start, origins.stop, stride * (origins.step or 1))
    deviations = np.full((len(frame.times[origins]), len(target.steps)), np.nan)
    deviations[::stride] = fitted.deviations(frame, asked)
    return HeldOut(
        origins,
        deviations,
        target.outcomes(frame)[origins],
        target.anchor(frame)[origins],
        target.scales(frame)[origins],
        stride,
    )
