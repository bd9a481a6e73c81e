"""Bars, features, signals and what several venues say together. Generated from the declared layers."""

from __future__ import annotations

from orderflow_assets.layer_assets import layer_assets

tables = layer_assets()
