"""Liquidation cascade risk: forced closures that feed on themselves, under leverage and in a thin book."""

from __future__ import annotations

import numpy as np

from orderflow_assets.features.grid import Array
from orderflow_assets.signals.inputs import DAY, NOW, Inputs
from orderflow_assets.signals.signal import Combined, Component, Conclusion, Event, Field, Signal, clip, words

VOTES_ABOVE = 0.6
_ACCELERATION = "liquidations.cascade_acceleration"


def _cluster(inputs: Inputs) -> Array:
    accelerates = np.where(inputs.now[_ACCELERATION] == 0, 0.0, inputs.rank(_ACCELERATION, DAY))
    chain, cluster = (
        inputs.now[f"liquidations.{name}"] for name in ("cascade_probability", "liquidation_cluster_detected")
    )
    known = np.where(np.isfinite(chain), 0.6, 0) + np.where(np.isfinite(accelerates), 0.2, 0) + 0.2
    total = 0.6 * np.nan_to_num(chain) + 0.2 * np.nan_to_num(accelerates) + 0.2 * cluster
    return np.where(np.isfinite(cluster), total / known, np.nan)


def thin_book(inputs: Inputs) -> Array:
    """1 less the weaker of support and resistance against their usual, inside [0, 1]."""
    weaker = np.minimum(inputs.now["orderbook.support_strength"], inputs.now["orderbook.resistance_strength"])
    return clip(1 - weaker, 0, 1)


def _trigger(inputs: Inputs, forced: Array) -> Array:
    longs, shorts = inputs.now["oi.long_trigger_pct"], inputs.now["oi.short_trigger_pct"]
    return np.where(forced > 0, longs, np.where(forced < 0, shorts, np.fmin(longs, shorts)))


def _conclude(inputs: Inputs, combined: Combined) -> Conclusion:
    value, imbalance = combined.value, inputs.now["liquidations.liquidation_imbalance"]
    forced = np.where(np.abs(imbalance) > 0.3, np.sign(imbalance), np.where(np.isfinite(imbalance), 0.0, np.nan))
    known = np.isfinite(forced)
    return Conclusion(
        {
            "severity": words(np.isfinite(value), "LOW", CRITICAL=value >= 0.8, HIGH=value >= 0.6, MEDIUM=value >= 0.4),
            "direction": words(known, "both", long=forced > 0, short=forced < 0),
            "price_direction": words(known, "none", down=forced > 0, up=forced < 0),
            "estimated_trigger_move_pct": _trigger(inputs, forced),
        },
        vote=np.where(value > VOTES_ABOVE, -forced, 0.0),
    )


LIQUIDATION_CASCADE_RISK = Signal(
    name="liquidation_cascade_risk",
    title="Liquidation cascade risk",
    kind="score with side",
    interpretation=(
        "0 none to 1 extreme risk of liquidations that trigger further ones. Longs liquidated means forced selling: "
        "bearish for the price."
    ),
    interval="[0, 1]",
    inputs={
        "liquidations.cascade_probability": NOW,
        "liquidations.liquidation_cluster_detected": NOW,
        _ACCELERATION: DAY,
        "liquidations.liquidation_imbalance": NOW,
        "oi.liquidation_cascade_risk": NOW,
        "oi.leverage_zscore": NOW,
        "oi.long_trigger_pct": NOW,
        "oi.short_trigger_pct": NOW,
        "orderbook.support_strength": NOW,
        "orderbook.resistance_strength": NOW,
        "funding.funding_zscore": NOW,
    },
    components=(
        Component(
            "liquidation_cluster",
            0.35,
            "0.6 cascade_probability + 0.2 liquidation_cluster_detected + 0.2 times the percent rank of "
            "cascade_acceleration in its previous 24 h (0 where nothing accelerates), over the weights that are known",
            _cluster,
        ),
        Component(
            "leverage_stress",
            0.30,
            "0.5 oi.liquidation_cascade_risk + 0.5 (leverage_zscore / 3 inside [0, 1])",
            lambda inputs: (
                0.5 * inputs.now["oi.liquidation_cascade_risk"] + 0.5 * clip(inputs.now["oi.leverage_zscore"] / 3, 0, 1)
            ),
        ),
        Component("thin_liquidity", 0.20, "1 - min(support_strength, resistance_strength) inside [0, 1]", thin_book),
        Component(
            "funding_pressure",
            0.15,
            "|funding_zscore| / 3, at most 1",
            lambda inputs: np.minimum(1, np.abs(inputs.now["funding.funding_zscore"]) / 3),
        ),
    ),
    event=Event(
        60,
        "the value liquidated in the next 60 min exceeds the 99th percentile of such sums of the 7 d before, by "
        "quarters of an hour",
        "cascade",
    ),
    combine="fixed",
    weights="chosen, not estimated; the splits inside components too",
    fields=(
        Field(
            "severity",
            "label",
            "CRITICAL from 0.8, HIGH from 0.6, MEDIUM from 0.4, else LOW",
            ("LOW", "MEDIUM", "HIGH", "CRITICAL"),
        ),
        Field(
            "direction",
            "side",
            "side being liquidated: long where liquidation_imbalance > 0.3, short where < -0.3; NULL without any",
            ("long", "short", "both"),
        ),
        Field(
            "price_direction",
            "direction",
            "down where longs are liquidated, up where shorts are",
            ("down", "up", "none"),
        ),
        Field(
            "estimated_trigger_move_pct",
            "percent",
            "move from the mark to the nearest estimated liquidation level that holds a tenth of the map or more, of "
            "the side being liquidated, else of either: long_trigger_pct, short_trigger_pct",
        ),
    ),
    label="direction",
    vote="price_direction, where the value is above 0.6",
    conclude=_conclude,
)
