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

    @property
    def errors(self) -> np.ndarray:
        """Scaled absolute errors, ``(origins, steps)``."""
        return np.abs(self.outcomes - self.anchor[:, None] - self.deviations) / self.scales

    @property
    def naive_errors(self) -> np.ndarray:
        return np.abs(self.outcomes - self.anchor[:, None]) / self.scales


def hold_out(fitted: Fitted, frame: Frame, origins: slice) -> HeldOut:
    """Forecasts of a model at ``origins`` beside what happened."""
    target = fitted.target
    return HeldOut(
        origins,
        fitted.deviations(frame, origins),
        target.outcomes(frame)[origins],
        target.anchor(frame)[origins],
        target.scales(frame)[origins],
    )
