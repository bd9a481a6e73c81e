"""Volatility breakout: compressed range, thin book, stress and clustering before volatility expands."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array
from orderflow_assets.signals.cascade import thin_book
from orderflow_assets.signals.inputs import LENGTH, MONTH, NOW, Inputs, View
from orderflow_assets.signals.signal import Combined, Component, Conclusion, Event, Field, Signal, clip, words

LEAST_LIKE = 20
"""Past hours of the same decile that a median needs."""

_WEIGHTS = {"compression": 0.40, "thin_book": 0.25, "funding_stress": 0.15, "clustering": 0.20}
_AHEAD, _LONGEST, _SIGMAS, _SIGMA_HOURS = 4, 24, 2.0, 24
_DECILES = 10


def _compression(view: View) -> Array:
    return 0.7 * view["ticker.volatility_compression_idx"] + 0.3 * clip(1 - view["ticker.range_vs_atr"], 0, 1)


def _stress(view: View) -> Array:
    return np.minimum(1, np.abs(view["funding.funding_zscore"]) / 3)


def _past_values(view: View) -> Array:
    """The signal itself at the full hours, by the same rule."""
    weaker = np.minimum(view["orderbook.support_strength"], view["orderbook.resistance_strength"])
    parts = {
        "compression": _compression(view),
        "thin_book": clip(1 - weaker, 0, 1),
        "funding_stress": _stress(view),
        "clustering": view["trades.trade_clustering_index"],
    }
    known = sum(np.where(np.isfinite(part), _WEIGHTS[name], 0) for name, part in parts.items())
    total = sum(np.nan_to_num(part) * _WEIGHTS[name] for name, part in parts.items())
    return np.where(known >= 0.5 - 1e-12, total, np.nan)


def hours_to_move(logged: Array) -> Array:
    """Hours from each mark to the first of the next 24 at which the log mid is two standard deviations away.

    The deviation is the root mean square hourly return of the 24 h before; inf where none is that far, NaN where it
    cannot be told. ``logged`` is (series, marks).
    """
    marks = logged.shape[1]
    squares = np.full(logged.shape, np.nan)
    squares[:, 1:] = np.diff(logged, axis=1) ** 2
    hours = np.full(logged.shape, np.nan)
    if marks <= _SIGMA_HOURS + _LONGEST:
        return hours
    sigma = np.sqrt(np.lib.stride_tricks.sliding_window_view(squares, _SIGMA_HOURS, axis=1).mean(axis=-1))
    start = np.arange(_SIGMA_HOURS, marks - _LONGEST)
    ahead = np.lib.stride_tricks.sliding_window_view(logged, _LONGEST + 1, axis=1)[:, start]
    far = np.abs(ahead[..., 1:] - ahead[..., :1]) >= _SIGMAS * sigma[:, start - _SIGMA_HOURS + 1, None]
    first = np.where(far.any(axis=-1), far.argmax(axis=-1) + 1.0, np.inf)
    whole = np.isfinite(ahead).all(axis=-1) & np.isfinite(sigma[:, start - _SIGMA_HOURS + 1])
    hours[:, start] = np.where(whole, first, np.nan)
    return hours


def like_before(value: Array, past: Array, outcome: Array) -> Array:
    """Median outcome of the past marks in the same decile of the past as ``value``; NaN under 20 of them.

    ``value`` is (series, outputs), ``past`` and ``outcome`` (series, marks). The median of times may be inf: more
    than half took longer than was looked.
    """
    usable = np.isfinite(past) & ~np.isnan(outcome)
    count = usable.sum(axis=-1, keepdims=True)
    masked = np.where(usable, past, np.nan)[:, None, :]
    below = (masked < value[..., None]).sum(axis=-1) + 0.5 * (masked == value[..., None]).sum(axis=-1)
    ordered = np.take_along_axis(outcome, np.argsort(np.where(usable, past, np.inf), axis=-1, kind="stable"), axis=-1)
    place = np.arange(past.shape[-1])
    medians = np.full((len(past), _DECILES), np.nan)
    for decile in range(_DECILES):
        inside = (place >= np.ceil(decile * count / _DECILES)) & (place < np.ceil((decile + 1) * count / _DECILES))
        size = inside.sum(axis=-1)
        chosen = np.sort(np.where(inside, ordered, np.nan), axis=-1)
        row, low, high = np.arange(len(past)), np.maximum(size - 1, 0) // 2, np.minimum(size // 2, len(place) - 1)
        lower, upper = chosen[row, low], chosen[row, high]
        with np.errstate(invalid="ignore"):
            middle = np.where(lower == upper, lower, (lower + upper) / 2)
        medians[:, decile] = np.where(size >= LEAST_LIKE, middle, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        place_of = np.minimum(_DECILES - 1, np.floor(_DECILES * below / count))
    known = np.isfinite(value) & np.isfinite(place_of)
    found = np.take_along_axis(medians, np.where(known, place_of, 0).astype(np.int64), axis=1)
    return np.where(known, found, np.nan)


def _conclude(inputs: Inputs, combined: Combined) -> Conclusion:
    logged = np.log(inputs.month["bars.mid_close"])
    moved = np.full(logged.shape, np.nan)
    moved[:, :-_AHEAD] = 100 * np.abs(logged[:, _AHEAD:] - logged[:, :-_AHEAD])
    values, took = _past_values(inputs.month), hours_to_move(logged)
    wait, lean = _by_hour(inputs, combined.value, values, took, _LONGEST), _lean(inputs)
    return Conclusion(
        {
            "direction": words(np.isfinite(lean), "NEUTRAL", UP=lean > 0.3, DOWN=lean < -0.3),
            "lean": lean,
            "expected_magnitude_pct": _by_hour(inputs, combined.value, values, moved, _AHEAD),
            "timeframe_hours": np.where(np.isinf(wait), np.nan, wait),
        },
        vote=np.where(np.abs(lean) > 0.3, np.sign(lean), np.where(np.isfinite(lean), 0.0, np.nan)),
    )


def _by_hour(inputs: Inputs, value: Array, past: Array, outcome: Array, ahead: int) -> Array:
    """:func:`like_before` at each bar, on the 30 days of full hours before it whose ``ahead`` hours are over."""
    marks, length = inputs.marks[MONTH], LENGTH[MONTH]
    found = np.full(value.shape, np.nan)
    for before, through in {*zip(marks.before.tolist(), marks.through.tolist(), strict=True)}:
        bars = (marks.before == before) & (marks.through == through)
        hours = slice(before - length, max(before - length, min(before, through - ahead)))
        found[:, bars] = like_before(value[:, bars], past[:, hours], outcome[:, hours])
    return found


def _lean(inputs: Inputs) -> Array:
    flow = inputs.now["trades.cvd_slope"]
    with np.errstate(invalid="ignore", divide="ignore"):
        wall = np.log(inputs.now["orderbook.resistance_strength"] / inputs.now["orderbook.support_strength"])
    parts = ((0.6, flow), (0.2, -clip(wall, -1, 1)), (0.2, clip(-inputs.now["funding.funding_zscore"] / 3, -1, 1)))
    known = sum(np.where(np.isfinite(part), weight, 0) for weight, part in parts)
    total = sum(weight * np.nan_to_num(part) for weight, part in parts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.isfinite(flow), total / known, np.nan)


VOLATILITY_BREAKOUT = Signal(
    name="volatility_breakout",
    title="Volatility breakout",
    kind="score with direction",
    interpretation="High: volatility is likely to expand. The direction is weak evidence.",
    interval="[0, 1]",
    inputs={
        "ticker.volatility_compression_idx": MONTH,
        "ticker.range_vs_atr": MONTH,
        "orderbook.support_strength": MONTH,
        "orderbook.resistance_strength": MONTH,
        "funding.funding_zscore": MONTH,
        "trades.trade_clustering_index": MONTH,
        "trades.cvd_slope": NOW,
        "bars.mid_close": MONTH,
    },
    components=(
        Component(
            "compression",
            _WEIGHTS["compression"],
            "0.7 volatility_compression_idx + 0.3 (1 - range_vs_atr inside [0, 1])",
            lambda inputs: _compression(inputs.now),
        ),
        Component(
            "thin_book",
            _WEIGHTS["thin_book"],
            "1 - min(support_strength, resistance_strength) inside [0, 1]",
            thin_book,
        ),
        Component(
            "funding_stress",
            _WEIGHTS["funding_stress"],
            "|funding_zscore| / 3, at most 1",
            lambda inputs: _stress(inputs.now),
        ),
        Component(
            "clustering",
            _WEIGHTS["clustering"],
            "trade_clustering_index",
            lambda inputs: inputs.now["trades.trade_clustering_index"],
        ),
    ),
    event=Event(
        240,
        "the realized variance of the 1 min mid over the next 4 h is twice that of the last 4 h or more",
        "expansion",
    ),
    combine="fixed",
    fields=(
        Field("direction", "direction", "UP where lean > 0.3, DOWN where < -0.3", ("UP", "DOWN", "NEUTRAL")),
        Field(
            "lean",
            "1",
            "0.6 cvd_slope - 0.2 ln(resistance / support) - 0.2 funding_zscore / 3, the last two inside [-1, 1], over "
            "the weights that are known; NULL without cvd_slope",
        ),
        Field(
            "expected_magnitude_pct",
            "percent",
            "median |4 h log mid return| after the full hours of the previous 30 days whose value lay in the same "
            "decile; NULL under 20 of them",
        ),
        Field(
            "timeframe_hours",
            "h",
            "median time those hours took to a move of two standard deviations of an hour; NULL under 20 of them, or "
            "where half took more than 24 h",
        ),
    ),
    label="direction",
    vote="direction",
    conclude=_conclude,
)
