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

hour_so_far = define_asset_job(
    "hour_so_far",
    selection=AssetSelection.assets(tables).without_checks()
    | AssetSelection.checks(*(spec.key for spec in tables.check_specs if spec.blocking)),
    description="The tables of an hour that is still running, without the checks that only warn: those ask for all of "
    "its minutes.",
)
