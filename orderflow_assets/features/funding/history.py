"""What a series of settled rates says at one settlement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orderflow_assets.features.funding.declarations import BASELINE, LEAST_SETTLEMENTS, TREND
from orderflow_assets.features.grid import Array

_DAY_US = 86_400_000_000
_RELATIVE_ZERO = 1e-12


@dataclass(frozen=True, slots=True)
class Settlements:
    """Settlements of one perpetual, oldest first; ``f8`` is the rate per 8 h, ``source`` of each row."""

    settled_us: npt.NDArray[np.int64]
    rate: Array
    interval_hours: Array
    source: npt.NDArray[np.object_]

    @property
    def f8(self) -> Array:
        return 8 * self.rate / self.interval_hours

    def last(self, closing_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Place of the settlement in force at each closing edge, -1 where one was missed or none is known."""
        place = np.searchsorted(self.settled_us, closing_us) - 1
        at = np.maximum(place, 0)
        in_force = closing_us - self.settled_us[at] <= self.interval_hours[at] * 3.6e9
        return np.where((place >= 0) & in_force, place, -1)

    def judged(self, place: int) -> dict[str, float]:
        """Baselines, trend and spread at the settlement at ``place``; NaN where there are too few before it."""
        f8 = self.f8[: place + 1]
        baseline = f8[max(0, place - BASELINE) : place]
        last_90 = f8[-BASELINE:]
        values = {
            "n_obs": float(len(baseline)),
            "funding_zscore": np.nan,
            "funding_percentile": np.nan,
            "funding_volatility": sample_sd(last_90) if len(last_90) >= LEAST_SETTLEMENTS else np.nan,
            "funding_momentum": np.nan,
            "funding_acceleration": np.nan,
        }
        now = f8[-1]
        if len(baseline) >= LEAST_SETTLEMENTS:
            spread = sample_sd(baseline)
            if spread > 0:
                values["funding_zscore"] = (now - baseline.mean()) / spread
            values["funding_percentile"] = float(np.mean(baseline < now) + np.mean(baseline == now) / 2)
        if len(f8) >= TREND:
            recent = f8[-TREND:]
            oldest, middle, newest = recent.reshape(3, -1).mean(axis=1)
            days = (self.settled_us[place - TREND + 1 : place + 1] - self.settled_us[place]) / _DAY_US
            days -= days.mean()
            values["funding_momentum"] = float(days @ (recent - recent.mean()) / (days @ days))
            values["funding_acceleration"] = float(newest - 2 * middle + oldest)
        return values


def sample_sd(values: Array) -> float:
    """Standard deviation with n - 1; 0 where the values differ by rounding alone."""
    sd = float(values.std(ddof=1))
    return sd if sd > _RELATIVE_ZERO * float(np.abs(values).max(initial=0.0)) else 0.0
