"""Tests for a unit root and for stationarity."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy.typing as npt

from orderflow_assets.timeseries.arrays import bridged, require, vector

LEAST = 20


@dataclass(frozen=True, slots=True)
class UnitRootResult:
    """``p_value`` of ADF is that of a unit root, of KPSS that of stationarity; KPSS tables end at 0.01 and 0.1."""

    statistic: float
    p_value: float
    lags: int


def adf(values: npt.ArrayLike) -> UnitRootResult:
    """Augmented Dickey-Fuller with a constant, lags by AIC. A small p-value speaks against a unit root.

    Gaps are bridged by lines. Raises ValueError under 20 values or where the series never moves.
    """
    from statsmodels.tsa.stattools import adfuller

    found = adfuller(_checked(values), autolag="AIC", result_object=False)
    return UnitRootResult(float(found[0]), float(found[1]), int(found[2]))


def kpss(values: npt.ArrayLike) -> UnitRootResult:
    """Kwiatkowski-Phillips-Schmidt-Shin about a level. A small p-value speaks against stationarity.

    Gaps are bridged by lines. Raises ValueError under 20 values or where the series never moves.
    """
    from statsmodels.tsa.stattools import kpss as test

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = test(_checked(values), regression="c", nlags="auto")
    return UnitRootResult(float(found[0]), float(found[1]), int(found[2]))


def _checked(values: npt.ArrayLike) -> npt.NDArray:
    array = vector(values)
    require(array, LEAST, "a unit root test")
    dense, _ = bridged(array)
    if (dense == dense[0]).all():
        raise ValueError("the series never moves: there is no unit root to test")
    return dense
