"""Neural networks, small and trained for a few passes only: sizes that a CPU bears.

All but the recurrent one put out all steps at once, from the last two hours of scaled returns (or of what else the
target learns from) and of bars.
"""

from __future__ import annotations

from typing import Any

from orderflow_assets.forecasting.models.columns import STEADY_COLUMNS
from orderflow_assets.forecasting.models.spec import ModelSpec

_TRAINED: dict[str, Any] = {"n_epochs": 5, "batch_size": 64, "random_state": 42, "optimizer_kwargs": {"lr": 1e-3}}


def _network(name: str, doc: str, path: str, *aliases: str, **declared: Any) -> ModelSpec:
    """A network of Darts. ``parameters`` are added to those of its training."""
    own: dict[str, Any] = {
        "family": "deep",
        "adapter": "deep",
        "estimator": "darts.models.forecasting.pl_forecasting_module:PLForecastingModule",
        "extra": "forecast",
        "needs": ("darts", "torch", "pytorch_lightning"),
        "lags": 23,
        "covariates": STEADY_COLUMNS,
        "past": True,
        "multivariate": True,
        "probabilistic": True,
        "gpu": True,
        "min_bars": 100,
        "weight": 0.5,
    }
    parameters = _TRAINED | declared.pop("parameters", {})
    return ModelSpec(name, doc, path=f"darts.models:{path}", aliases=aliases, **(own | declared), parameters=parameters)


_ALL_COVARIATES = {"future": True, "static": True}

MODELS = (
    _network(
        "nbeats",
        "Stacked blocks that each explain what the ones before left over (Oreshkin et al. 2020).",
        "NBEATSModel",
        "NBEATS",
        "NBEATSModel",
        parameters={"num_stacks": 4, "num_blocks": 1, "num_layers": 2, "layer_widths": 64},
    ),
    _network(
        "nhits",
        "N-BEATS at several sampling rates (Challu et al. 2022).",
        "NHiTSModel",
        "NHiTS",
        "NHiTSModel",
        parameters={"num_stacks": 2, "num_layers": 2, "layer_widths": 64},
    ),
    _network(
        "tcn",
        "Dilated causal convolutions (Bai et al. 2018).",
        "TCNModel",
        "TCN",
        "TCNModel",
        parameters={"num_filters": 8, "kernel_size": 3},
    ),
    _network(
        "transformer",
        "Encoder and decoder with attention (Vaswani et al. 2017).",
        "TransformerModel",
        "Transformer",
        "TransformerModel",
        parameters={
            "d_model": 16,
            "nhead": 2,
            "num_encoder_layers": 1,
            "num_decoder_layers": 1,
            "dim_feedforward": 32,
        },
    ),
    _network(
        "tft",
        "Temporal fusion transformer: variable selection, LSTM and attention that can be read (Lim et al. 2021).",
        "TFTModel",
        "TFT",
        "TFTModel",
        **_ALL_COVARIATES,
        parameters={
            "hidden_size": 8,
            "num_attention_heads": 2,
            "hidden_continuous_size": 4,
            "add_relative_index": True,
        },
    ),
    _network(
        "dlinear",
        "Two linear layers, on the trend and on the rest (Zeng et al. 2023).",
        "DLinearModel",
        "DLinear",
        "DLinearModel",
        **_ALL_COVARIATES,
    ),
    _network(
        "nlinear",
        "One linear layer on the differences to the last value (Zeng et al. 2023).",
        "NLinearModel",
        "NLinear",
        "NLinearModel",
        **_ALL_COVARIATES,
    ),
    _network(
        "tide",
        "Dense encoder and decoder (Das et al. 2023).",
        "TiDEModel",
        "TiDE",
        "TiDEModel",
        **_ALL_COVARIATES,
        parameters={"hidden_size": 32, "temporal_decoder_hidden": 16},
    ),
    _network(
        "tsmixer",
        "Dense layers that mix times and series in turn (Chen et al. 2023).",
        "TSMixerModel",
        "TSMixer",
        "TSMixerModel",
        **_ALL_COVARIATES,
        parameters={"hidden_size": 16, "ff_size": 16, "num_blocks": 2},
    ),
    _network(
        "block_rnn",
        "Recurrent encoder, and one layer that puts out all steps.",
        "BlockRNNModel",
        "BlockRNN",
        "BlockRNNModel",
        **_ALL_COVARIATES,
        parameters={"model": "LSTM", "hidden_dim": 16},
    ),
    *(
        _network(
            kind.lower(),
            doc,
            "RNNModel",
            *aliases,
            covariates=(),
            past=False,
            future=True,
            parameters={"model": kind, "hidden_dim": 16, "training_length": 36},
        )
        for kind, doc, aliases in (
            ("RNN", "Recurrent network, one step at a time (Elman 1990).", ("RNN", "RNNModel")),
            ("LSTM", "Recurrent network with gated memory (Hochreiter and Schmidhuber 1997).", ("LSTM", "LSTMModel")),
            ("GRU", "Recurrent network with fewer gates (Cho et al. 2014).", ("GRU", "GRUModel")),
        )
    ),
)
