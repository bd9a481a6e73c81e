"""Pretrained models that forecast a series they were never trained on. Their weights are not part of this package.

Of Chronos-2 two sizes are published. The names mini and large belong to the generation before, which Darts cannot
load; they are listed to say so.
"""

from __future__ import annotations

from typing import Any

from orderflow_assets.forecasting.models.spec import ModelSpec


def _pretrained(name: str, doc: str, path: str, *aliases: str, **declared: Any) -> ModelSpec:
    own: dict[str, Any] = {
        "family": "foundation",
        "adapter": "zero_shot",
        "path": f"darts.models:{path}",
        "extra": "forecast",
        "needs": ("darts", "torch", "safetensors", "huggingface_hub"),
        "feed": "logs",
        "lags": 287,
        "probabilistic": True,
        "gpu": True,
        "parameters": {"local_dir": None, "hub_model_revision": None},
    }
    return ModelSpec(name, doc, aliases=aliases, **(own | declared))


_CHRONOS: dict[str, Any] = {"past": True, "future": True, "multivariate": True}
_OWN_PACKAGE = "needs a package of its own and its weights, which no extra of this package brings"

MODELS = (
    _pretrained(
        "chronos2",
        "Chronos-2, 120 million parameters (Ansari et al. 2025).",
        "Chronos2Model",
        "Chronos2",
        "Chronos2Model",
        "chronos2_base",
        hub="amazon/chronos-2",
        **_CHRONOS,
    ),
    _pretrained(
        "chronos2_small",
        "Chronos-2, 28 million parameters.",
        "Chronos2Model",
        "Chronos2Small",
        hub="autogluon/chronos-2-small",
        **_CHRONOS,
    ),
    _pretrained(
        "chronos2_synth",
        "Chronos-2, 120 million parameters, trained on made-up series alone.",
        "Chronos2Model",
        "Chronos2Synth",
        hub="autogluon/chronos-2-synth",
        **_CHRONOS,
    ),
    *(
        _pretrained(
            f"chronos2_{size}",
            f"A {size} Chronos-2, which has not been published.",
            "Chronos2Model",
            f"Chronos2{size.capitalize()}",
            unavailable=(
                f"no {size} Chronos-2 has been published, and amazon/chronos-t5-{size} is of the generation before, "
                f"which Darts cannot load; use {instead}"
            ),
            **_CHRONOS,
        )
        for size, instead in (("mini", "chronos2_small"), ("large", "chronos2"))
    ),
    _pretrained(
        "timesfm2p5",
        "TimesFM 2.5, 200 million parameters (Das et al. 2024).",
        "TimesFM2p5Model",
        "TimesFM2p5Model",
        "TimesFM",
        hub="google/timesfm-2.5-200m-pytorch",
    ),
    _pretrained(
        "patchtst_fm",
        "PatchTST as a foundation model, release 1.",
        "PatchTSTFMModel",
        "PatchTSTFMModel",
        hub="ibm-granite/granite-timeseries-patchtst-fm-r1",
    ),
    _pretrained(
        "timesfm3",
        "TimesFM 3.0.",
        "TimesFM3Model",
        "TimesFM3Model",
        unavailable="the licence of its weights allows neither commercial use nor production",
    ),
    _pretrained(
        "tirex",
        "TiRex, on xLSTM.",
        "TiRexModel",
        "TiRexModel",
        unavailable=f"tirex {_OWN_PACKAGE}",
    ),
    _pretrained(
        "tirex2",
        "TiRex-2.",
        "TiRex2Model",
        "TiRex2Model",
        unavailable=f"tirex2 {_OWN_PACKAGE}",
    ),
    _pretrained(
        "t0",
        "T0.",
        "T0Model",
        "T0Model",
        unavailable=f"t0 {_OWN_PACKAGE}",
    ),
)
