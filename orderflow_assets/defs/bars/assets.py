"""One-minute bars and what they are made of. Generated from the declared layers."""

from __future__ import annotations

from orderflow_assets.layer_assets import layer_asset, layers_of

assets = [layer_asset(layer) for layer in layers_of("bars")]
