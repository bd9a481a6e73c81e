"""Leverage of a symbol over its futures venues: open interest, forced closures, funding and basis."""

from __future__ import annotations

from orderflow_assets.analytics.symbols import SymbolGroup
from orderflow_assets.features.feature import ANY, BALANCE, NON_NEGATIVE, SHARE, Feature

CONTANGO_BPS = 5.0
_BY_OI = "mean over the futures venues weighted by oi_value"
_CLOSE = "bar close"
_OI, _FUNDING, _MARKS, _LIQUIDATIONS = (
    f"features.{group}" for group in ("oi", "funding", "mark_prices", "liquidations")
)


def _weighted(
    name: str,
    unit: str,
    stream: str,
    window: str,
    what: str,
    source: str,
    columns: tuple[str, ...],
    interval: str = ANY,
) -> Feature:
    return Feature(name, unit, stream, window, f"{what}: {_BY_OI}.", source, interval, inputs=columns)


LEVERAGE = SymbolGroup(
    name="leverage",
    doc="Leverage of a symbol over its futures venues, a row per symbol and minute.",
    observations="futures venues of the symbol that have a bar",
    features=(
        Feature(
            "oi_value",
            "quote ccy",
            "open_interest, futures venues",
            _CLOSE,
            "Open interest at the mark price, summed over the venues that tell it.",
            "definition",
            NON_NEGATIVE,
            inputs=(f"{_OI}.oi_value",),
        ),
        _weighted(
            "oi_change_1h_pct",
            "percent",
            "open_interest",
            "1 h",
            "oi_delta_pct",
            "log change",
            (f"{_OI}.oi_delta_pct", f"{_OI}.oi_value"),
        ),
        _weighted(
            "oi_intent",
            "score",
            "open_interest, mark_prices",
            "15 min against 7 d",
            "position_intent_score",
            "price-OI quadrants (Murphy 1999)",
            (f"{_OI}.position_intent_score", f"{_OI}.oi_value"),
            BALANCE,
        ),
        Feature(
            "leverage_index",
            "ratio",
            "open_interest, ticker_24h",
            "24 h",
            "Sum of oi_value over the sum of 24 h value traded, over the venues that tell both.",
            "OI-to-volume ratio",
            NON_NEGATIVE,
            inputs=(f"{_OI}.leverage_index", f"{_OI}.oi_value"),
        ),
        _weighted(
            "leverage_zscore",
            "sigma",
            "open_interest, ticker_24h",
            "30 d",
            "leverage_zscore, of each venue against its own past",
            "z-score",
            (f"{_OI}.leverage_zscore", f"{_OI}.oi_value"),
        ),
        Feature(
            "long_liquidation_notional",
            "quote ccy",
            "open_interest, mark_prices",
            _CLOSE,
            "Long positions the liquidation map puts within one 1 h sigma below the price, summed over the venues.",
            "margin arithmetic per venue; a model",
            NON_NEGATIVE,
            inputs=(f"{_OI}.long_liquidation_notional",),
        ),
        Feature(
            "short_liquidation_notional",
            "quote ccy",
            "open_interest, mark_prices",
            _CLOSE,
            "Short positions the map puts within one 1 h sigma above the price, summed over the venues.",
            "margin arithmetic per venue; a model",
            NON_NEGATIVE,
            inputs=(f"{_OI}.short_liquidation_notional",),
        ),
        Feature(
            "liquidation_pressure",
            "ratio",
            "open_interest, mark_prices",
            _CLOSE,
            "(long - short) / (long + short) of the two notionals above. Positive = more longs would be closed (sold) "
            "below than shorts (bought) above.",
            "signed share",
            BALANCE,
            inputs=(f"{_OI}.long_liquidation_notional", f"{_OI}.short_liquidation_notional"),
        ),
        _weighted(
            "cascade_risk",
            "score",
            "open_interest, orderbook",
            "30 d of OI",
            "liquidation_cascade_risk",
            "forced-sale-to-depth ratio; a model",
            (f"{_OI}.liquidation_cascade_risk", f"{_OI}.oi_value"),
            "[0, 1)",
        ),
        Feature(
            "liquidated_value_5m",
            "quote ccy",
            "liquidations, futures venues",
            "5 min",
            "Value of the published liquidations of both sides, summed over the venues; venues publish samples, so a "
            "lower bound.",
            "definition",
            NON_NEGATIVE,
            inputs=(f"{_LIQUIDATIONS}.long_liquidation_value", f"{_LIQUIDATIONS}.short_liquidation_value"),
        ),
        Feature(
            "liquidation_imbalance",
            "ratio",
            "liquidations, futures venues",
            "5 min",
            "(longs - shorts) / (longs + shorts) of the liquidated value; NULL without any. Positive = longs closed.",
            "signed share",
            BALANCE,
            inputs=(f"{_LIQUIDATIONS}.long_liquidation_value", f"{_LIQUIDATIONS}.short_liquidation_value"),
        ),
        _weighted(
            "funding_carry",
            "fraction per year",
            "funding",
            _CLOSE,
            "funding_carry_yield",
            "annualised funding",
            (f"{_FUNDING}.funding_carry_yield", f"{_OI}.oi_value"),
        ),
        _weighted(
            "funding_stress",
            "sigma",
            "funding",
            "90 settlements",
            "funding_zscore, of each venue against its own past; positive = longs pay more than they used to",
            "trailing z-score",
            (f"{_FUNDING}.funding_zscore", f"{_OI}.oi_value"),
        ),
        _weighted(
            "basis_bps",
            "bps",
            "mark_prices",
            "bar",
            "100 x mark_spot_basis_pct",
            "relative basis (premium)",
            (f"{_MARKS}.mark_spot_basis_pct", f"{_OI}.oi_value"),
        ),
        _weighted(
            "basis_zscore",
            "sigma",
            "mark_prices",
            "24 h",
            "basis_zscore, of each venue against its own past",
            "z-score",
            (f"{_MARKS}.basis_zscore", f"{_OI}.oi_value"),
        ),
        Feature(
            "basis_dispersion_bps",
            "bps",
            "mark_prices, futures venues",
            "bar",
            "Largest less smallest basis of the venues; NULL under two.",
            "range",
            NON_NEGATIVE,
            inputs=(f"{_MARKS}.mark_spot_basis_pct",),
        ),
        Feature(
            "basis_regime",
            "label",
            "mark_prices",
            "1 h",
            f"By the 1 h mean of basis_bps: above {CONTANGO_BPS:g} contango, below -{CONTANGO_BPS:g} backwardation, "
            "else neutral; NULL under 30 known minutes.",
            "sign of basis",
            "{contango, backwardation, neutral}",
            "label",
            inputs=(f"{_MARKS}.mark_spot_basis_pct", f"{_OI}.oi_value"),
        ),
    ),
    companions=(
        Feature(
            "confidence",
            "fraction",
            "futures venues",
            "bar",
            "Share of the numbers before this one that have a value.",
            "coverage",
            SHARE,
        ),
    ),
)
