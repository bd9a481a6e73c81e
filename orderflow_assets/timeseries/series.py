"""A named series with its times, and coarser series made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orderflow_assets.timeseries.arrays import Array, vector

How = Literal["mean", "sum", "last", "first", "min", "max"]
HOWS: tuple[How, ...] = ("mean", "sum", "last", "first", "min", "max")


@dataclass(frozen=True, eq=False)
class Series:
    """``values[k]`` is what was known at ``times[k]`` (naive UTC, strictly increasing, datetime64[us])."""

    times: npt.NDArray[np.datetime64]
    values: Array
    name: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", np.asarray(self.times, dtype="datetime64[us]"))
        object.__setattr__(self, "values", vector(self.values))
        if self.times.shape != self.values.shape:
            raise ValueError(f"{self.name}: {len(self.times)} times for {len(self.values)} values")
        if (np.diff(self.times) <= np.timedelta64(0)).any():
            raise ValueError(f"{self.name}: times must increase strictly; sort them and keep one value per time")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def step_seconds(self) -> float:
        """The usual (median) distance of neighbours in seconds. Raises ValueError under two values."""
        if len(self) < 2:
            raise ValueError(f"{self.name}: a step needs two values, here are {len(self)}")
        return float(np.median(np.diff(self.times)) / np.timedelta64(1, "s"))

    def resample(self, freq: str, how: How = "mean") -> Series:
        """Values of each stretch ``(edge - freq, edge]``, standing at its closing edge, as on the UTC clock.

        ``freq`` is written as ``5min``, ``1h``, ``1D``. A stretch without a value is NaN; one that had not ended at the
        last time is left out. Missing values are skipped. Raises ValueError for another ``how`` or ``freq``.
        """
        import pandas as pd

        if how not in HOWS:
            raise ValueError(f"how {how!r} is unknown: use one of {', '.join(HOWS)}")
        if not len(self):
            return self
        frame = pd.Series(self.values, index=pd.DatetimeIndex(self.times))
        try:
            bins = frame.resample(freq, closed="right", label="right", origin="epoch")
        except ValueError as error:
            raise ValueError(f"freq {freq!r} is no length of time: write 5min, 1h or 1D") from error
        coarse = bins.sum(min_count=1) if how == "sum" else getattr(bins, how)()
        coarse = coarse[coarse.index <= frame.index[-1]]
        return Series(
            coarse.index.to_numpy(dtype="datetime64[us]"),
            coarse.to_numpy(dtype=np.float64),
            self.name,
            {**self.metadata, "resampled": freq, "how": how},
        )
