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
STEADY_COLUMNS = (
    *(name for name in BAR_COLUMNS if name not in {"flow_share", "vwap_gap"}),
    "hour_volume_surprise",
)
"""Those that are known in a bar without trades too, for models that cannot do without any of theirs."""
