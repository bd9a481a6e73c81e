"""What several venues of a symbol say together. Generated from the declared layers."""

from __future__ import annotations

from orderflow_assets.layer_assets import layer_asset, layers_of

assets = [layer_asset(layer) for layer in layers_of("analytics")]
