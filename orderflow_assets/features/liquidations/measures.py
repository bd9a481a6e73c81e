"""The mathematics of liquidations. Arrays are (series, bars), NaN is NULL; each function gives the last ``outputs``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orderflow_assets.features.grid import MIN_BASELINE, Array, Mask, current, windows

FIVE, QUARTER, HOURS_3 = 5, 15, 180
LEAST_EVENTS = 30
QUIET_BARS = 2
QUIET_SHARE = 0.25
MILD, MODERATE, SEVERE = 0.90, 0.97, 0.995
CLIMAX = 0.99
SELF_EXCITED = 0.5

_LEAST_VARIANCE = 1e-9
"""Below it lies only rounding: one event in a week of minutes gives a variance of 3e-6."""


def summed(values: Array, length: int, outputs: int) -> Array:
    """Sum over the ``length`` bars up to and with the current one; NaN where one of them is."""
    return windows(values, length, outputs).sum(axis=-1)


def long_zscore(values: Array, length: int, outputs: int) -> Array:
    """z-score as :func:`~orderflow_assets.features.grid.zscore`, by running sums: for baselines of many thousand bars.

    ``values`` are logarithms of counts: their variance is zero or well above rounding.
    """
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    count, total, squares = (_before(part, length, outputs) for part in (known.astype(float), filled, filled**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        variance = (squares - total * mean) / (count - 1)
        usable = (count >= MIN_BASELINE) & (variance > _LEAST_VARIANCE)
        return np.where(usable, (current(values, outputs) - mean) / np.sqrt(variance), np.nan)


def _before(values: Array, length: int, outputs: int) -> Array:
    running = np.concatenate([np.zeros((len(values), 1)), values.cumsum(axis=1)], axis=1)
    last = values.shape[1] - outputs + np.arange(outputs)
    return running[:, last] - running[:, last - length]


def branching(counts: Array, outputs: int) -> Array:
    """Branching ratio of a Hawkes process from the counts of 180 bars: 1 - sqrt(mean / variance), held in [0, 1].

    The expected share of events that earlier events set off (Hawkes 1971; Hardiman & Bouchaud 2014, Physical Review E
    90:062807). Excitation that outlasts a bar reads too low. NaN under 30 events or 60 known bars.
    """
    window = windows(counts, HOURS_3, outputs)
    known = np.isfinite(window).sum(axis=-1)
    total = np.nansum(window, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / known
        variance = np.nansum((window - mean[..., None]) ** 2, axis=-1) / (known - 1)
        ratio = np.clip(1 - np.sqrt(mean / variance), 0, 1)
    return np.where((known >= MIN_BASELINE) & (total >= LEAST_EVENTS), ratio, np.nan)


def rank_in_steps(values: Array, steps: Array, last: npt.NDArray[np.int64], length: int) -> Array:
    """Percent rank of ``values`` (series, bars) among the ``length`` steps up to and with ``last`` of each bar.

    ``steps`` (series, n) are mostly zeros: only what is above zero is compared. NaN under 60 known steps.
    """
    known = np.isfinite(steps)
    count, zeros = (_within(part, last, length) for part in (known, known & (steps == 0)))
    below, ties = np.zeros_like(values), np.zeros_like(values)
    for row in np.flatnonzero((values > 0).any(axis=1)):
        bars = np.flatnonzero(values[row] > 0)
        baseline = np.lib.stride_tricks.sliding_window_view(steps[row], length)[last[bars] - length + 1]
        below[row, bars] = (baseline < values[row, bars, None]).sum(axis=-1)
        ties[row, bars] = (baseline == values[row, bars, None]).sum(axis=-1)
    ties = np.where(values == 0, zeros, ties)
    with np.errstate(invalid="ignore", divide="ignore"):
        rank = (below + 0.5 * ties) / count
    return np.where((count >= MIN_BASELINE) & np.isfinite(values), rank, np.nan)


def _within(flags: Mask, last: npt.NDArray[np.int64], length: int) -> Array:
    running = np.concatenate([np.zeros((len(flags), 1)), flags.cumsum(axis=1)], axis=1)
    return running[:, last + 1] - running[:, last + 1 - length]


def severity(rank: Array, probability: Array) -> npt.NDArray[np.object_]:
    """``none`` below 0.90, ``mild`` below 0.97, ``moderate`` below 0.995, ``severe`` from there on if self-excited."""
    with np.errstate(invalid="ignore"):
        severe = (rank >= SEVERE) & (probability >= SELF_EXCITED)
    chosen = np.where(severe, 3, np.searchsorted([MILD, MODERATE], rank, side="right"))
    words = np.array(["none", "mild", "moderate", "severe"], dtype=object)[chosen]
    words[np.isnan(rank)] = None
    return words


def exhaustion(
    rank: Array, counts: Array, long_value: Array, short_value: Array, low: Array, high: Array, outputs: int
) -> Array:
    """1 where a climax of the last 15 bars has died down and the price goes no further, else 0.

    All of: a rank of 0.99 in the 15 bars, events in the last bar at most a quarter of those in the busiest bar, and no
    new low (more longs liquidated) or high (more shorts) in the last two bars against the 13 before. NaN where what is
    not known could decide.
    """
    reached = _any(windows(rank, QUARTER, outputs) >= CLIMAX, np.isfinite(windows(rank, QUARTER, outputs)))
    window = windows(counts, QUARTER, outputs)
    died = np.where(np.isfinite(window).all(axis=-1), window[..., -1] <= QUIET_SHARE * window.max(axis=-1), np.nan)
    forced = summed(long_value, QUARTER, outputs) - summed(short_value, QUARTER, outputs)
    lows, highs = windows(low, QUARTER, outputs), windows(high, QUARTER, outputs)
    held_low = _held(lows[..., -QUIET_BARS:].min(axis=-1), lows[..., :-QUIET_BARS].min(axis=-1))
    held_high = _held(-highs[..., -QUIET_BARS:].max(axis=-1), -highs[..., :-QUIET_BARS].max(axis=-1))
    held = np.where(forced > 0, held_low, np.where(forced < 0, held_high, np.nan))
    return np.where((reached == 0) | (died == 0) | (held == 0), 0.0, reached * died * held)


def _any(true: Mask, known: Mask) -> Array:
    """1 where one is true, 0 where all are known and none is, else NaN."""
    found = true.any(axis=-1)
    return np.where(found, 1.0, np.where(known.all(axis=-1), 0.0, np.nan))


def _held(recent: Array, earlier: Array) -> Array:
    return np.where(np.isfinite(recent) & np.isfinite(earlier), recent >= earlier, np.nan)
