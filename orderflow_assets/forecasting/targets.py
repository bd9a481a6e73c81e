"""What is forecast. A model says how far, in log units, the outcome lies from the naive forecast.

``anchor`` is the log of the naive forecast at each bar, so a deviation of zero is the naive forecast and
``exp(anchor + deviation)`` is a level. The outcome of step ``h`` is the anchor ``h`` bars later. ``scale`` is the
size of a usual deviation, known at the bar; errors divided by it can be compared over time and between series.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from orderflow_assets.forecasting.frame import HORIZON, HOUR_VOLUME, SIGMA_FLOOR, Frame, rolling_sum

Feed = Literal["learned", "logs", "levels"]
"""What a model is fed: the series that the target learns from, the log of its naive forecast, or that forecast."""

Learn = Callable[[Frame], np.ndarray]
Deviate = Callable[[Frame, slice, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Target:
    """``learn`` is the series a model is trained on, one value per bar; it puts out ``width`` values of it, the first
    ``lead`` bars after the next one; ``deviate`` turns these outputs ``(origins, width)`` into log deviations
    ``(origins, steps)``.
    """

    name: str
    doc: str
    unit: str
    steps: tuple[int, ...]
    width: int
    lead: int
    learn: Learn
    anchor: Learn
    scale: Callable[[Frame, np.ndarray], np.ndarray]
    deviate: Deviate

    def __post_init__(self) -> None:
        if not self.steps or min(self.steps) < 1:
            raise ValueError(f"steps of {self.name} count bars ahead, from 1 up; got {self.steps}")

    def fed(self, feed: Feed) -> Target:
        """The same target, learnt from another series: one value per bar, and ``max(steps)`` of them put out."""
        if feed == "learned":
            return self
        asked = np.array(self.steps) - 1

        def as_logs(outputs: np.ndarray) -> np.ndarray:
            if feed == "logs":
                return outputs
            return np.log(outputs, out=np.full(outputs.shape, np.nan), where=outputs > 0)

        def deviate(frame: Frame, origins: slice, outputs: np.ndarray) -> np.ndarray:
            return as_logs(outputs[:, asked]) - self.anchor(frame)[origins, None]

        def levels(frame: Frame) -> np.ndarray:
            return np.exp(self.anchor(frame))

        learn = self.anchor if feed == "logs" else levels
        return replace(self, width=max(self.steps), lead=0, learn=learn, deviate=deviate)

    @property
    def stride(self) -> int:
        """Bars between origins whose first outcomes do not overlap: their errors can be taken as independent."""
        return self.steps[0]

    def outcomes(self, frame: Frame) -> np.ndarray:
        """Log outcome of each bar and step, ``(bars, steps)``; NaN where it is not known yet or never will be."""
        anchor = self.anchor(frame)
        out = np.full((len(frame), len(self.steps)), np.nan)
        for column, step in enumerate(self.steps):
            if step < len(frame):
                out[:-step, column] = anchor[step:]
        return out

    def scales(self, frame: Frame) -> np.ndarray:
        """Size of a usual log deviation, ``(bars, steps)``."""
        return self.scale(frame, np.array(self.steps))


def _scaled_returns(frame: Frame) -> np.ndarray:
    """Return of each bar over the volatility known when it opened."""
    return np.concatenate(([np.nan], frame.returns[1:] / frame.sigma[:-1]))


def _log_price(frame: Frame) -> np.ndarray:
    return np.log(frame.price)


def _price_scale(frame: Frame, steps: np.ndarray) -> np.ndarray:
    return frame.sigma[:, None] * np.sqrt(steps)


def _price_deviation(frame: Frame, origins: slice, outputs: np.ndarray) -> np.ndarray:
    return frame.sigma[origins, None] * np.cumsum(outputs, axis=1)


def _log_volatility(frame: Frame) -> np.ndarray:
    """Log of the realized volatility of the last twelve bars; NaN when one of their returns is missing."""
    return np.log(np.maximum(np.sqrt(rolling_sum(frame.returns**2, HORIZON)), SIGMA_FLOOR))


def _log_volume(frame: Frame) -> np.ndarray:
    """Log of the volume of the last twelve bars; NaN when one of them is missing or nothing was traded in any."""
    return frame.covariates.get(HOUR_VOLUME, np.full(len(frame), np.nan))


def _volume_change(frame: Frame) -> np.ndarray:
    """Log volume of the last twelve bars over that of the twelve before: volume wanders, its changes do not."""
    volume = _log_volume(frame)
    return np.concatenate((np.full(min(HORIZON, len(frame)), np.nan), volume[HORIZON:] - volume[:-HORIZON]))


def _unit_scale(frame: Frame, steps: np.ndarray) -> np.ndarray:
    return np.ones((len(frame), len(steps)))


def _volatility_deviation(frame: Frame, origins: slice, outputs: np.ndarray) -> np.ndarray:
    return outputs - _log_volatility(frame)[origins, None]


def _volume_deviation(frame: Frame, origins: slice, outputs: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(_log_volume(frame)[origins, None]), np.nan, outputs)


TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target(
            "price",
            "Last traded price, one to twelve bars of five minutes ahead; naive is the last price.",
            "quote",
            steps=tuple(range(1, HORIZON + 1)),
            width=HORIZON,
            lead=0,
            learn=_scaled_returns,
            anchor=_log_price,
            scale=_price_scale,
            deviate=_price_deviation,
        ),
        Target(
            "volatility",
            "Realized volatility (root of summed squared five-minute log returns) of the next hour; naive is the "
            "last hour's.",
            "fraction",
            steps=(HORIZON,),
            width=1,
            lead=HORIZON - 1,
            learn=_log_volatility,
            anchor=_log_volatility,
            scale=_unit_scale,
            deviate=_volatility_deviation,
        ),
        Target(
            "volume",
            "Amount traded in the next hour; naive is the last hour's.",
            "base",
            steps=(HORIZON,),
            width=1,
            lead=HORIZON - 1,
            learn=_volume_change,
            anchor=_log_volume,
            scale=_unit_scale,
            deviate=_volume_deviation,
        ),
    )
}
