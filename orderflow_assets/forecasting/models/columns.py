"""Columns of the frame that models are fed."""

from __future__ import annotations

from orderflow_assets.forecasting.frame import FEATURES

BAR_COLUMNS = (
    "range",
    "flow_share",
    "vwap_gap",
    "volume_surprise",
    "momentum_12",
    "momentum_72",
    "volatility_6",
    "volatility_36",
    "volatility_144",
    "day_sin",
    "day_cos",
)
FEATURE_COLUMNS = tuple(column for columns in FEATURES.values() for column in columns)
