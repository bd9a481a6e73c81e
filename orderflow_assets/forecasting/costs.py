"""What training and asking a model takes, from what it took before: a power of the number of bars, fitted in logs.

Only measured seconds of the same model, target and device count. Without any the cost is unknown and is said to be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orderflow_assets.forecasting.versions import Measured

RECENT = 20
"""Newest measurements that a cost rests on."""
_LIKELY = 0.9
"""Share of the measurements that an expected cost covers: a promise on the mean would be broken every other time."""
_ALIKE = 1.25
"""Ratio of bars up to which two trainings are of the same size."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds to expect, None where nothing was measured, and what that rests on."""

    seconds: float | None
    basis: str

    @property
    def known(self) -> bool:
        return self.seconds is not None


UNKNOWN = Cost(None, "never measured on this machine")


def fit_cost(measured: Iterable[Measured], bars: int) -> Cost:
    """Seconds to train on ``bars``, of measurements of one model, target and device."""
    recent = list(measured)[-RECENT:]
    if not recent:
        return UNKNOWN
    lengths = np.array([max(one.rows, 1) for one in recent], dtype=float)
    seconds = np.array([max(one.fit_s, 1e-6) for one in recent])
    if lengths.max() / lengths.min() >= _ALIKE:
        exponent, _ = np.polyfit(np.log(lengths), np.log(seconds), 1)
        exponent = float(np.clip(exponent, 0.0, 3.0))
        basis = f"{len(recent)} trainings, seconds grow with bars^{exponent:.2f}"
    else:
        exponent = 1.0
        basis = f"{len(recent)} trainings of about {lengths.mean():.0f} bars, taken as growing in proportion to bars"
    scaled = seconds * (bars / lengths) ** exponent
    return Cost(float(np.quantile(scaled, _LIKELY)), basis)


def ask_cost(measured: Iterable[Measured]) -> Cost:
    """Seconds to load a stored model and make one forecast, of measurements of one model, target and device."""
    recent = list(measured)[-RECENT:]
    if not recent:
        return UNKNOWN
    seconds = [one.load_s + one.predict_s for one in recent]
    return Cost(float(np.quantile(seconds, _LIKELY)), f"{len(recent)} measurements")


def of_model(measured: Sequence[Measured], model: str, target: str, device: str) -> list[Measured]:
    return [one for one in measured if (one.model, one.target, one.device) == (model, target, device)]


def gpus() -> int:
    """NVIDIA cards that this machine has a driver for, without importing a library that could use them."""
    cards = Path("/proc/driver/nvidia/gpus")
    return len(list(cards.iterdir())) if cards.is_dir() else 0
