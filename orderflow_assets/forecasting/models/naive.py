"""Forecasts that need no learning: what every other model is measured against."""

from __future__ import annotations

from orderflow_assets.forecasting.models.spec import ModelSpec

NAIVE = "naive"

MODELS = (
    ModelSpec(
        NAIVE,
        "The last value stays.",
        family="naive",
        adapter="naive",
        takes_missing=True,
    ),
)
