"""Execution quality: the cost of trading a stated size now, relative to usual."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import MIN_BASELINE, Array, before
from orderflow_assets.signals.fills import REFERENCE_QUOTE, TOLERATED_BPS
from orderflow_assets.signals.inputs import DAY, LENGTH, NOW, WEEK, Inputs, View
from orderflow_assets.signals.signal import Combined, Component, Conclusion, Event, Field, Signal, words

PARTICIPATION = 0.10
"""Share of what others trade that an order may be without being one of the market's movers."""

HORIZON_HOURS = 1.0

_MILLION = 1e6


def slippage_bps(view: View) -> Array:
    """Mean of what buying and selling the reference size costs against the mid, bps.

    What the stored book holds is exact. The rest pays the deepest level and Kyle's lambda on its own value; NULL where
    that is not positive.
    """
    return (_side(view, "buy") + _side(view, "sell")) / 2


def _side(view: View, side: str) -> Array:
    shown, paid = view[f"fills.{side}_visible"], view[f"fills.{side}_bps"]
    rest = np.maximum(0, REFERENCE_QUOTE - shown)
    impact = view["trades.market_impact_per_volume"]
    beyond = view[f"fills.{side}_deepest_bps"] + np.where(impact > 0, impact, np.nan) * rest / _MILLION
    with_rest = ((REFERENCE_QUOTE - rest) * paid + rest * beyond) / REFERENCE_QUOTE
    return np.where(rest > 0, with_rest, paid)


def _cost(inputs: Inputs) -> Array:
    return 1 - inputs.rank(slippage_bps, WEEK)


def _hourly_value(inputs: Inputs) -> Array:
    past = before(inputs.day["bars.quote_volume"], LENGTH[DAY], inputs.outputs)
    count = np.isfinite(past).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count >= MIN_BASELINE, 60 * np.nansum(past, axis=-1) / count, np.nan)


def _conclude(inputs: Inputs, combined: Combined) -> Conclusion:
    value, expected = combined.value, _hourly_value(inputs) * HORIZON_HOURS
    with np.errstate(invalid="ignore", divide="ignore"):
        splits = np.where(expected > 0, np.ceil(REFERENCE_QUOTE / (PARTICIPATION * expected)), np.nan)
    return Conclusion(
        {
            "quality": words(np.isfinite(value), "POOR", EXCELLENT=value > 0.8, GOOD=value > 0.6, FAIR=value > 0.4),
            "slippage_estimate_bps": slippage_bps(inputs.now),
            "max_size_no_impact_quote": np.minimum(inputs.now["fills.buy_free"], inputs.now["fills.sell_free"]),
            "optimal_order_splits": splits,
        }
    )


EXECUTION_QUALITY = Signal(
    name="execution_quality",
    title="Execution quality",
    kind="score with cost estimate",
    interpretation=f"0 dear to 1 cheap to trade {REFERENCE_QUOTE:,.0f} quote currency now, against the market's usual.",
    interval="[0, 1]",
    inputs={
        **{f"fills.{side}_{what}": WEEK for side in ("buy", "sell") for what in ("visible", "bps", "deepest_bps")},
        "fills.buy_free": NOW,
        "fills.sell_free": NOW,
        "trades.market_impact_per_volume": WEEK,
        "orderbook.replenishment_speed": WEEK,
        "orderbook.liquidity_persistence_score": NOW,
        "ticker.relative_volume_percentile": NOW,
        "bars.quote_volume": DAY,
    },
    components=(
        Component(
            "cost",
            0.45,
            "1 less the percent rank of slippage_estimate_bps in its previous 7 days, by quarters of an hour",
            _cost,
        ),
        Component(
            "resiliency",
            0.20,
            "percent rank of replenishment_speed in its previous 7 days, by quarters of an hour",
            lambda inputs: inputs.rank("orderbook.replenishment_speed", WEEK),
        ),
        Component(
            "persistence",
            0.15,
            "liquidity_persistence_score",
            lambda inputs: inputs.now["orderbook.liquidity_persistence_score"],
        ),
        Component(
            "volume",
            0.20,
            "relative_volume_percentile",
            lambda inputs: inputs.now["ticker.relative_volume_percentile"],
        ),
    ),
    event=Event(5, "five minutes later the reference size costs at most a tenth more than was estimated"),
    fields=(
        Field(
            "quality",
            "label",
            "EXCELLENT above 0.8, GOOD above 0.6, FAIR above 0.4, else POOR",
            ("EXCELLENT", "GOOD", "FAIR", "POOR"),
        ),
        Field(
            "slippage_estimate_bps",
            "bps",
            f"mean of what buying and selling {REFERENCE_QUOTE:,.0f} costs against the mid, walked through the stored "
            "book; what exceeds it pays the deepest level and market_impact_per_volume on top, NULL where that is not "
            "positive",
        ),
        Field(
            "max_size_no_impact_quote",
            "quote ccy",
            f"largest order that pays at most half the spread and {TOLERATED_BPS:g} bp on either side; a lower bound "
            "where the stored book ends before",
        ),
        Field(
            "optimal_order_splits",
            "count",
            f"orders of a tenth of what is traded in {HORIZON_HOURS:g} h, by the mean of the 24 h before, that make up "
            "the reference size",
        ),
    ),
    label="quality",
    conclude=_conclude,
    assumptions=(
        f"reference size {REFERENCE_QUOTE:,.0f} quote currency",
        f"participation {PARTICIPATION:.0%} over {HORIZON_HOURS:g} h",
    ),
)
