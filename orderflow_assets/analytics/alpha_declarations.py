"""Directional scores of a symbol over all its venues: pressure, squeeze, absorption and what they say together.

Weights are priors, nobody estimated them, and no value is a probability.
"""

from __future__ import annotations

from orderflow_assets.analytics.inputs import RANKED
from orderflow_assets.analytics.symbols import SymbolGroup
from orderflow_assets.features.feature import BALANCE, SHARE, Feature
from orderflow_assets.lineage import columns_of

PRESSURE_WEIGHTS: dict[str, float] = {
    "pressure_book": 0.20,
    "pressure_flow": 0.25,
    "pressure_intent": 0.20,
    "pressure_funding": 0.15,
    "pressure_basis": 0.10,
    "pressure_sync": 0.10,
}
SQUEEZE_WEIGHTS: dict[str, float] = {"squeeze_leverage": 0.4, "squeeze_crowding": 0.3, "squeeze_vacuum": 0.3}

LEAST_KNOWN = 0.5
"""Share of the weight that must be known, or a score is NULL."""

SCORE = "[-100, 100]"
BANDS: tuple[tuple[float, str], ...] = ((50, "strong"), (25, "moderate"), (10, "weak"))
"""A score of at least this size is called so; below the last it is neutral."""

BIAS = ("neutral", *(f"{word}_{side}" for side in ("buy", "sell") for _, word in BANDS))
_LABELS = "{" + ", ".join(BIAS) + "}"
_FLOW, _LEVERAGE, _CROSS = "analytics.order_flow", "analytics.leverage", "analytics.cross_exchange"
_PRESSURE = (
    *columns_of(_FLOW, "liquidity_imbalance", "aggression_15m"),
    *columns_of(_LEVERAGE, "oi_intent", "funding_stress", "basis_bps"),
    *columns_of(_CROSS, "flow_synchronization"),
)
_SQUEEZE = (*columns_of(_LEVERAGE, "leverage_index", "funding_stress"), *columns_of(_FLOW, "liquidity_vacuum"))
_ABSORBED = (*columns_of("features.orderbook", "absorption_ratio", "absorbing_side"), "bars.bars_1m.quote_volume")
_ALL = tuple(dict.fromkeys((*_PRESSURE, *_SQUEEZE, *_ABSORBED)))
_WEEK = "bar against the previous 7 d"


def _ranked(name: str, of: str, stream: str, inputs: tuple[str, ...]) -> Feature:
    definition = f"2 x {RANKED} of {of} - 1; positive = upward pressure."
    return Feature(name, "score", stream, _WEEK, definition, "percent rank", BALANCE, inputs=inputs)


def _weighted(weights: dict[str, float]) -> str:
    return ", ".join(f"{weight:.2f} {name}" for name, weight in weights.items())


ALPHA = SymbolGroup(
    name="alpha",
    doc="Directional scores of a symbol over all its venues, a row per symbol and minute.",
    observations="venues of the symbol that have a bar",
    features=(
        Feature(
            "institutional_pressure",
            "score",
            "all of order flow, leverage and cross-exchange",
            _WEEK,
            f"100 x mean of the known parts, weighted {_weighted(PRESSURE_WEIGHTS)}; NULL where less than half of the "
            "weight is known. Positive = upward pressure. A score, not a probability.",
            "weighted mean of percent ranks; weights are priors",
            SCORE,
            inputs=_PRESSURE,
        ),
        Feature(
            "squeeze",
            "score",
            "open_interest, funding, orderbook",
            _WEEK,
            f"Mean of the known parts, weighted {_weighted(SQUEEZE_WEIGHTS)}; NULL where less than half of the weight "
            "is known. Pressure for a forced move against the crowded side.",
            "weighted mean of percent ranks; weights are priors",
            SHARE,
            inputs=_SQUEEZE,
        ),
        Feature(
            "absorption",
            "fraction",
            "orderbook, trades",
            "bar",
            "absorption_ratio, the share of the usual impact that aggressive flow did not have: mean over the venues "
            "weighted by the value each traded in the last hour.",
            "impact residual, Kyle 1985",
            SHARE,
            inputs=("features.orderbook.absorption_ratio", "bars.bars_1m.quote_volume"),
        ),
        Feature(
            "composite",
            "score",
            "all of them",
            _WEEK,
            "100 x unweighted mean of institutional_pressure / 100, squeeze signed by squeeze_side and absorption "
            "signed by absorbing_side (buy and up positive) where they are known; NULL under two of the three.",
            "unweighted mean",
            SCORE,
            inputs=_ALL,
        ),
        Feature(
            "bias",
            "label",
            "all of them",
            _WEEK,
            "Side and size of composite: "
            + ", ".join(f"{word} from {edge:g}" for edge, word in BANDS)
            + ", else neutral.",
            "bands of the score",
            _LABELS,
            "label",
            inputs=_ALL,
        ),
        Feature(
            "squeeze_side",
            "label",
            "funding",
            _WEEK,
            "Where a squeeze would go: down where funding_stress is above the median of its week (longs crowd), up "
            "where it is below, none at it.",
            "sign of funding",
            "{up, down, none}",
            "label",
            inputs=(f"{_LEVERAGE}.funding_stress",),
        ),
        Feature(
            "absorbing_side",
            "label",
            "orderbook, trades",
            "bar",
            "Who absorbs: sell where heavy buying did not lift the price, buy where heavy selling did not press it; by "
            "the sum over the venues of value traded x absorption_ratio x absorbing_side.",
            "impact residual, Kyle 1985",
            "{buy, sell, none}",
            "label",
            inputs=_ABSORBED,
        ),
        Feature(
            "pressure_trend",
            "score",
            "all of order flow, leverage and cross-exchange",
            "15 min",
            "institutional_pressure less its value 15 minutes before.",
            "first difference",
            "[-200, 200]",
            inputs=_PRESSURE,
        ),
    ),
    companions=(
        _ranked("pressure_book", "liquidity_imbalance", "orderbook", (f"{_FLOW}.liquidity_imbalance",)),
        _ranked("pressure_flow", "aggression_15m", "trades", (f"{_FLOW}.aggression_15m",)),
        _ranked("pressure_intent", "oi_intent", "open_interest", (f"{_LEVERAGE}.oi_intent",)),
        _ranked(
            "pressure_funding",
            "-funding_stress (longs that pay much are to be sold)",
            "funding",
            (f"{_LEVERAGE}.funding_stress",),
        ),
        _ranked("pressure_basis", "basis_bps", "mark_prices", (f"{_LEVERAGE}.basis_bps",)),
        _ranked(
            "pressure_sync",
            "flow_synchronization x sign(aggression_15m)",
            "trades",
            (f"{_CROSS}.flow_synchronization", f"{_FLOW}.aggression_15m"),
        ),
        Feature(
            "squeeze_leverage",
            "fraction",
            "open_interest",
            _WEEK,
            f"{RANKED.capitalize()} of leverage_index.",
            "percent rank",
            SHARE,
            inputs=(f"{_LEVERAGE}.leverage_index",),
        ),
        Feature(
            "squeeze_crowding",
            "fraction",
            "funding",
            _WEEK,
            f"2 x |{RANKED} of funding_stress - 0.5|.",
            "percentile extremity",
            SHARE,
            inputs=(f"{_LEVERAGE}.funding_stress",),
        ),
        Feature(
            "squeeze_vacuum",
            "fraction",
            "orderbook",
            _WEEK,
            "liquidity_vacuum.",
            "percentile of depth",
            SHARE,
            inputs=(f"{_FLOW}.liquidity_vacuum",),
        ),
        Feature(
            "agreement",
            "fraction",
            "all of order flow, leverage and cross-exchange",
            _WEEK,
            "Share of the known parts of institutional_pressure that point its way by more than 0.1.",
            "share of components on one side",
            SHARE,
            inputs=_PRESSURE,
        ),
        Feature(
            "confidence",
            "fraction",
            "all of order flow, leverage and cross-exchange",
            _WEEK,
            "Weight of the known parts of institutional_pressure over all weight.",
            "coverage",
            SHARE,
            inputs=_PRESSURE,
        ),
        Feature(
            "squeeze_confidence",
            "fraction",
            "open_interest, funding, orderbook",
            _WEEK,
            "Weight of the known parts of squeeze over all weight.",
            "coverage",
            SHARE,
            inputs=_SQUEEZE,
        ),
    ),
)
