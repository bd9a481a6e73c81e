"""What every analysis asks of its input: one dimension, finite or missing, long enough."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.int64]

MISSING_MOST = 0.2
"""Share of missing values above which the rest cannot stand for the whole."""

MAD_TO_SD = 1.4826


def vector(values: npt.ArrayLike) -> Array:
    """``values`` as a float array of one dimension, NaN for missing. Raises ValueError otherwise or on infinity."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"a series has one dimension, not {array.ndim}: pass one column at a time")
    if np.isinf(array).any():
        raise ValueError(f"{int(np.isinf(array).sum())} values are infinite: mark missing values as NaN")
    return array


def require(values: Array, least: int, purpose: str) -> None:
    """Raise ValueError where ``values`` has fewer than ``least`` values that are not missing."""
    known = int(np.isfinite(values).sum())
    if known < least:
        raise ValueError(f"{purpose} needs at least {least} values, here are {known}: take a longer window")


def bridged(values: Array) -> tuple[Array, int]:
    """``values`` without missing ends, gaps inside bridged by straight lines, and how many values that made up.

    Raises ValueError where more than a fifth of what is between the ends is missing.
    """
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return values[:0], 0
    inner = values[known[0] : known[-1] + 1]
    missing = len(inner) - len(known)
    if missing > MISSING_MOST * len(inner):
        raise ValueError(
            f"{missing} of {len(inner)} values are missing, at most {MISSING_MOST:.0%} can be bridged: "
            "take a coarser step or another window"
        )
    return np.interp(np.arange(known[0], known[-1] + 1), known, values[known]), missing


def robust_scale(values: Array) -> tuple[float, float]:
    """Median and 1.4826 times the median absolute deviation; NaN is left out."""
    centre = float(np.nanmedian(values))
    return centre, MAD_TO_SD * float(np.nanmedian(np.abs(values - centre)))


def one_of(value: str, allowed: tuple[str, ...], what: str) -> None:
    """Raise ValueError where ``value`` is not allowed."""
    if value not in allowed:
        raise ValueError(f"{what} {value!r} is unknown: use one of {', '.join(allowed)}")


def log_returns(values: npt.ArrayLike) -> Array:
    """Changes of the logarithm, one fewer than ``values``; NaN where either end is missing.

    Raises ValueError where a value is not positive.
    """
    array = vector(values)
    if (array <= 0).any():
        raise ValueError("log returns need positive values: use differences for series that cross zero")
    return np.diff(np.log(array))
