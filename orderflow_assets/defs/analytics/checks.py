"""The checks of every table in group analytics."""

from __future__ import annotations

from orderflow_assets.checks import layer_checks
from orderflow_assets.layer_assets import layers_of

checks = [layer_checks(layer) for layer in layers_of("analytics")]
