"""Cycles: which there are beyond chance, and a series taken apart into trend, seasons and rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orderflow_assets.timeseries.arrays import Array, bridged, require, vector

HOUR_S = 3600.0
CANDIDATE_HOURS: tuple[float, ...] = (8.0, 24.0, 168.0)
"""Funding settlement, day, week."""
LEAST = 32
LEAST_CYCLES = 3
"""Cycles that must fit in the series before it can show a period."""
_PERSISTENCE = np.concatenate([np.linspace(-0.9, 0.9, 37), 1 - np.geomspace(0.09, 0.001, 24)])


@dataclass(frozen=True, slots=True)
class Cycle:
    """``share`` of the variance about the trend; ``p_value`` of so strong a cycle in noise of the same colour."""

    period_steps: float
    period_seconds: float
    share: float
    p_value: float


@dataclass(frozen=True, slots=True)
class SeasonalityResult:
    """``cycles`` strongest first, ``candidates`` by name of the period (8h, 24h, 168h) where they fit in the series.

    ``dominant`` is the strongest cycle with p < 0.01, None without one. ``persistence`` is the lag-1
    autocorrelation of the noise they were compared with.
    """

    cycles: tuple[Cycle, ...]
    candidates: Mapping[str, Cycle]
    dominant: Cycle | None
    persistence: float


@dataclass(frozen=True, eq=False)
class Decomposition:
    """``values = trend + sum of seasonal + residual``, all (values,); ``seasonal`` by period in steps.

    Strengths lie in [0, 1]: 1 - Var(residual) / Var(residual + part), not below 0 (Wang, Smith & Hyndman 2006).
    """

    trend: Array
    seasonal: Mapping[int, Array]
    residual: Array
    trend_strength: float
    seasonal_strength: Mapping[int, float]
    method: str


def seasonality(values: npt.ArrayLike, *, step_seconds: float, top: int = 5) -> SeasonalityResult:
    """The ``top`` strongest cycles that fit three times into the series, and the periods crypto markets live by.

    The straight trend is taken off, the periodogram divided by the spectrum of the AR(1) noise that fits it best
    (least absolute deviations, so that a cycle does not bend it), and the largest ordinates judged by Fisher's g-test
    (1929), one after the other as Whittle (1952) extends it. Candidates are single frequencies named beforehand:
    their ordinate is exponential under noise. Gaps are bridged by lines.
    Raises ValueError under 32 values or for a series that never moves.
    """
    if step_seconds <= 0:
        raise ValueError(f"step_seconds must be positive, not {step_seconds}")
    array = vector(values)
    require(array, LEAST, "a search for cycles")
    dense = _detrended(bridged(array)[0])
    if not dense.any():
        raise ValueError("the series is a straight line: it has no cycles")
    count = len(dense)
    ordinate = np.arange(1, (count - 1) // 2 + 1)
    power = np.abs(np.fft.rfft(dense)[ordinate]) ** 2
    phi, noise = _noise(power, 2 * np.pi * ordinate / count)
    whitened = power / noise
    total = float((dense**2).sum()) * count / 2

    allowed = np.where(ordinate >= LEAST_CYCLES, whitened, 0)
    cycles = []
    rest = float(whitened.sum())
    for rank, place in enumerate(np.argsort(-allowed, kind="stable")[:top]):
        p_value = fisher_g(float(whitened[place]) / rest, len(whitened) - rank)
        rest -= float(whitened[place])
        period = count / float(ordinate[place])
        cycles.append(Cycle(period, period * step_seconds, float(power[place]) / total, p_value))

    level = float(np.median(whitened)) / np.log(2)
    candidates = {}
    for hours in CANDIDATE_HOURS:
        period = hours * HOUR_S / step_seconds
        if period > 2 and count >= LEAST_CYCLES * period:
            frequency = 2 * np.pi / period
            strength = float(np.abs(dense @ np.exp(-1j * frequency * np.arange(count))) ** 2)
            chance = float(np.exp(-strength / _ar1(phi, np.array([frequency]))[0] / level))
            candidates[f"{hours:g}h"] = Cycle(period, hours * HOUR_S, strength / total, chance)
    dominant = next((cycle for cycle in cycles if cycle.p_value < 0.01), None)
    return SeasonalityResult(tuple(cycles), candidates, dominant, phi)


def fisher_g(share: float, ordinates: int) -> float:
    """P(largest share of ``ordinates`` periodogram ordinates of white noise > ``share``), exact (Fisher 1929)."""
    from scipy.special import gammaln

    if ordinates < 2 or share <= 0:
        return 1.0
    if ordinates * np.exp(-ordinates * share) > 20:
        return 1.0
    term = np.arange(1, min(int(1 / share), ordinates) + 1)
    term = term[term * share < 1]
    log_choose = gammaln(ordinates + 1) - gammaln(term + 1) - gammaln(ordinates - term + 1)
    parts = np.exp(log_choose + (ordinates - 1) * np.log1p(-term * share))
    return float(np.clip((parts * np.where(term % 2, 1, -1)).sum(), 0, 1))


def _detrended(dense: Array) -> Array:
    time = np.arange(len(dense)) - (len(dense) - 1) / 2
    centred = dense - dense.mean()
    flat = centred - time * (time @ centred) / (time @ time)
    return np.where(np.abs(flat) > 1e-12 * np.abs(dense).max(), flat, 0.0)


def _ar1(phi: float | Array, frequency: Array) -> Array:
    """Shape of the spectrum of AR(1) noise."""
    return 1 / (1 - 2 * phi * np.cos(frequency) + np.square(phi))


def _noise(power: Array, frequency: Array) -> tuple[float, Array]:
    """Persistence and spectrum of the AR(1) noise nearest to ``power`` in mean absolute log distance."""
    shapes = np.log(_ar1(_PERSISTENCE[:, None], frequency))
    distance = np.log(np.maximum(power, 1e-300)) - shapes
    distance = np.abs(distance - np.median(distance, axis=1, keepdims=True)).mean(axis=1)
    best = int(distance.argmin())
    return float(_PERSISTENCE[best]), np.exp(shapes[best])


def decompose(values: npt.ArrayLike, period: int | Sequence[int], *, robust: bool = True) -> Decomposition:
    """STL (Cleveland et al. 1990), MSTL (Bandara et al. 2021) where several periods are given, in steps.

    Looks at the whole series: what it says of a value changes with later ones. Gaps are bridged by lines; missing ends
    stay NaN. Raises ValueError for fewer than two cycles of the longest period.
    """
    from statsmodels.tsa.seasonal import MSTL, STL

    periods = sorted({int(period)} if isinstance(period, int | np.integer) else {int(one) for one in period})
    if not periods or periods[0] < 2:
        raise ValueError(f"a period has at least 2 steps: {periods}")
    array = vector(values)
    require(array, 2 * periods[-1] + 1, f"a decomposition with period {periods[-1]}")
    dense, _ = bridged(array)
    if len(periods) == 1:
        parts = STL(dense, period=periods[0], robust=robust).fit()
        seasons = {periods[0]: np.asarray(parts.seasonal)}
    else:
        parts = MSTL(dense, periods=tuple(periods), stl_kwargs={"robust": robust}).fit()
        seasons = dict(zip(periods, np.asarray(parts.seasonal).T, strict=True))
    trend, residual = np.asarray(parts.trend), np.asarray(parts.resid)
    first = int(np.flatnonzero(np.isfinite(array))[0])

    def placed(part: Array) -> Array:
        whole = np.full(len(array), np.nan)
        whole[first : first + len(part)] = part
        return whole

    return Decomposition(
        placed(trend),
        {length: placed(part) for length, part in seasons.items()},
        placed(residual),
        _strength(trend, residual),
        {length: _strength(part, residual) for length, part in seasons.items()},
        "STL" if len(periods) == 1 else "MSTL",
    )


def _strength(part: Array, residual: Array) -> float:
    whole = float((part + residual).var())
    return max(0.0, 1 - float(residual.var()) / whole) if whole > 0 else 0.0
