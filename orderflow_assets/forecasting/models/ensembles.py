"""Combinations of models."""

from __future__ import annotations

from orderflow_assets.forecasting.models.spec import ModelSpec

MODELS: tuple[ModelSpec, ...] = ()
