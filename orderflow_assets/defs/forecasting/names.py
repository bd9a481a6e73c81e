"""Names that the definitions of forecasting refer to each other by.

A definitions module must not import another's assets, checks or jobs: the loader would find them twice.
"""

from __future__ import annotations

from dagster import AssetCheckKey

from orderflow_assets.forecasting.drift.tables import DRIFT, INPUTS, REFERENCES
from orderflow_assets.forecasting.tables import FORECASTS, FRAMES, LEADERBOARD, SCORES, VERSIONS
from orderflow_assets.forecasting.targets import TARGETS
from orderflow_assets.metadata import asset_key

FRAMES_KEY = asset_key(FRAMES.qualified)
VERSIONS_KEY = asset_key(VERSIONS.qualified)
CHAMPIONS_KEY = asset_key("models.champions")
FORECASTS_KEY = asset_key(FORECASTS.qualified)
SCORES_KEY = asset_key(SCORES.qualified)
LEADERBOARD_KEY = asset_key(LEADERBOARD.qualified)
DRIFT_KEY = asset_key(DRIFT.qualified)
DRIFT_INPUTS_KEY = asset_key(INPUTS.qualified)
DRIFT_REFERENCES_KEY = asset_key(REFERENCES.qualified)

CHALLENGER_CHECKS = {target: AssetCheckKey(VERSIONS_KEY, f"{target}_challenger") for target in TARGETS}
DRIFT_CHECK = AssetCheckKey(CHAMPIONS_KEY, "drift")

RETRAIN_JOB = "retrain"

CAUSE, CAUSED_BY_DRIFT = "orderflow/cause", "drift"
"""Run tag that says who asked for a training."""
