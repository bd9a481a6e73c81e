"""A Chronos-2 of a few thousand random weights, in the files that the real one is published as."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "architectures": ["Chronos2Model"],
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "dropout_rate": 0.1,
    "layer_norm_epsilon": 1e-6,
    "feed_forward_proj": "relu",
    "rope_theta": 10_000.0,
    "chronos_config": {
        "context_length": 512,
        "input_patch_size": 16,
        "input_patch_stride": 16,
        "output_patch_size": 16,
        "max_output_patches": 4,
        "quantiles": [0.01, *(round(0.05 * step, 2) for step in range(1, 20)), 0.99],
        "time_encoding_scale": 512,
        "use_arcsinh": True,
        "use_reg_token": True,
    },
}


def write_checkpoint(folder: Path, seed: int = 7) -> Path:
    """Write ``config.json`` and ``model.safetensors`` into ``folder``."""
    import torch
    from darts.models.forecasting.chronos2_model import _Chronos2Module
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    sizes = {key: CONFIG[key] for key in CONFIG if key != "architectures"}
    module = _Chronos2Module(
        **sizes, input_chunk_length=16, output_chunk_length=1, train_sample_shape=[(16, 1), (1, 1)]
    )
    save_file(module.state_dict(), folder / "model.safetensors")
    return folder
