"""Bars, features, signals and what several venues say together. Generated from the declared layers."""

from __future__ import annotations

from dagster import AssetSelection, define_asset_job

from orderflow_assets.layer_assets import layer_assets

tables = layer_assets()

hours = define_asset_job(
    "hours",
    selection=AssetSelection.assets(tables),
    description="Bars, features, signals and analytics of one hour, or of a range of hours.",
)
