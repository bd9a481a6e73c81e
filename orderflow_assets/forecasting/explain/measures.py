"""The numbers of a profile, declared apart from what computes them."""

from __future__ import annotations

from collections.abc import Mapping

from orderflow_assets.timeseries.features import FEATURES

EXTRACTED = (
    "mean",
    "std",
    "skewness",
    "kurtosis",
    "missing_share",
    "acf_lag1",
    "acf_lag5",
    "acf_lag10",
    "pacf_lag1",
    "ljung_box_p",
    "adf_pvalue",
    "kpss_pvalue",
    "is_stationary",
    "sample_entropy",
    "permutation_entropy",
    "hurst_exponent",
)
MEASURES: Mapping[str, str] = {
    "bars": "bars of five minutes with a value",
    **{
        item.name: f"of what the target learns from: {item.definition.rstrip('.')}"
        for item in FEATURES
        if item.name in EXTRACTED
    },
    "trend_strength": "strength of the trend of the logs of the target, in [0, 1], after a daily season is taken off",
    "seasonal_strength": "strength of the daily season of the same, in [0, 1]; none under two days",
    "dominant_period_s": "period of the strongest cycle of what the target learns from that is none by chance, s",
    "volatility_clustering": "mean autocorrelation at lags 1 to 5 of its squared values",
}
"""The numbers of a profile by name, with what they are."""
