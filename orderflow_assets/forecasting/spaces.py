"""Where the hyper-parameters of each model are looked for. Names are those of its class; ``lags`` are the model's own.

Ranges begin low enough to hold what is declared. Widths that attention heads divide are multiples of the largest
number of heads, so that no combination is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

Scalar = None | bool | int | float | str


class Dimension(Protocol):
    """One thing to choose."""

    def suggest(self, name: str, trial: BaseTrial) -> dict[str, Any]:
        """What the trial chooses, as parameters."""

    def grid(self) -> list[Any]:
        """Few values that span it."""


@dataclass(frozen=True, slots=True)
class Whole:
    low: int
    high: int
    step: int = 1

    def suggest(self, name: str, trial: BaseTrial) -> dict[str, Any]:
        return _nested(name, trial.suggest_int(name, self.low, self.high, step=self.step))

    def grid(self) -> list[Any]:
        middle = self.low + (self.high - self.low) // (2 * self.step) * self.step
        return sorted({self.low, middle, self.high - (self.high - self.low) % self.step})


@dataclass(frozen=True, slots=True)
class Real:
    low: float
    high: float
    log: bool = False

    def suggest(self, name: str, trial: BaseTrial) -> dict[str, Any]:
        return _nested(name, trial.suggest_float(name, self.low, self.high, log=self.log))

    def grid(self) -> list[Any]:
        middle = (self.low * self.high) ** 0.5 if self.log else (self.low + self.high) / 2
        return [self.low, middle, self.high]


@dataclass(frozen=True, slots=True)
class Choice:
    options: tuple[Scalar, ...]

    def suggest(self, name: str, trial: BaseTrial) -> dict[str, Any]:
        return _nested(name, trial.suggest_categorical(name, self.options))

    def grid(self) -> list[Any]:
        return list(self.options)


@dataclass(frozen=True, slots=True)
class Cases:
    """Parameters that go together, by the word that chooses them."""

    options: Mapping[str, Mapping[str, Any]]

    def suggest(self, name: str, trial: BaseTrial) -> dict[str, Any]:
        return dict(self.options[trial.suggest_categorical(name, tuple(self.options))])

    def grid(self) -> list[Any]:
        return list(self.options)


Space = Mapping[str, Dimension]


def choose(space: Space, trial: BaseTrial) -> dict[str, Any]:
    """The parameters of a trial."""
    chosen: dict[str, Any] = {}
    for name, dimension in space.items():
        chosen |= dimension.suggest(name, trial)
    return chosen


def _nested(name: str, value: Any) -> dict[str, Any]:
    """``a.b`` is the entry ``b`` of the parameter ``a``."""
    outer, dot, inner = name.partition(".")
    return {outer: {inner: value}} if dot else {name: value}


_SEASON: Mapping[str, Mapping[str, Any]] = {
    "none": {"season_mode": None},
    **{f"additive_{bars}": {"season_mode": "additive", "seasonality_period": bars} for bars in (12, 24, 48, 72, 144)},
}
_SMOOTHED_TREND: Mapping[str, Mapping[str, Any]] = {
    "none": {"trend": None, "damped": False},
    "additive": {"trend": "additive", "damped": False},
    "damped": {"trend": "additive", "damped": True},
}
_SMOOTHED_SEASON: Mapping[str, Mapping[str, Any]] = {
    "none": {"seasonal": None},
    **{f"additive_{bars}": {"seasonal": "additive", "seasonal_periods": bars} for bars in (12, 24, 48, 72, 144)},
}
_LAGS = Whole(1, 168)
_RATE = Real(0.01, 0.3, log=True)
_SHARE = Real(0.5, 1.0)
_PENALTY = Real(1e-8, 10.0, log=True)
_BATCH = Choice((16, 32, 64, 128))
_NETWORK: Space = {
    "lags": Whole(23, 167),
    "n_epochs": Whole(5, 100),
    "optimizer_kwargs.lr": Real(1e-5, 1e-2, log=True),
}

SPACES: Mapping[str, Space] = {
    "arima": {"p": Whole(0, 5), "d": Whole(0, 2), "q": Whole(0, 5)},
    "auto_arima": {"max_p": Whole(3, 8), "max_d": Whole(1, 3), "max_q": Whole(3, 8)},
    "exponential_smoothing": {"trend": Cases(_SMOOTHED_TREND), "seasonal": Cases(_SMOOTHED_SEASON)},
    "theta": {"theta": Real(0.5, 3.0), "season": Cases(_SEASON)},
    "prophet": {
        "changepoint_prior_scale": Real(0.001, 0.5, log=True),
        "seasonality_prior_scale": Real(0.01, 10.0, log=True),
        "seasonality_mode": Choice(("additive", "multiplicative")),
    },
    "ridge": {"lags": _LAGS, "alpha": Real(0.1, 1_000.0, log=True)},
    "har": {"lags": Whole(1, 24), "alpha": Real(0.1, 1_000.0, log=True)},
    "lightgbm": {
        "lags": _LAGS,
        "n_estimators": Whole(20, 500),
        "max_depth": Whole(2, 15),
        "learning_rate": _RATE,
        "num_leaves": Whole(2, 127),
        "min_child_samples": Whole(5, 100),
        "bagging": Cases(
            {
                "none": {"subsample": 1.0, "subsample_freq": 0},
                **{f"{share:.1f}": {"subsample": share, "subsample_freq": 1} for share in (0.5, 0.6, 0.7, 0.8, 0.9)},
            }
        ),
        "colsample_bytree": _SHARE,
    },
    "xgboost": {
        "lags": _LAGS,
        "n_estimators": Whole(20, 500),
        "max_depth": Whole(2, 12),
        "learning_rate": _RATE,
        "subsample": _SHARE,
        "colsample_bytree": _SHARE,
        "reg_alpha": _PENALTY,
        "reg_lambda": _PENALTY,
    },
    "catboost": {
        "lags": _LAGS,
        "iterations": Whole(20, 500),
        "depth": Whole(3, 10),
        "learning_rate": _RATE,
        "l2_leaf_reg": Real(1.0, 10.0),
        "bagging_temperature": Real(0.0, 1.0),
    },
    "random_forest": {
        "lags": _LAGS,
        "n_estimators": Whole(50, 300),
        "max_depth": Whole(5, 30),
        "min_samples_split": Whole(2, 20),
        "min_samples_leaf": Whole(1, 50),
    },
    "nbeats": {
        **_NETWORK,
        "num_stacks": Whole(2, 8),
        "num_blocks": Whole(1, 4),
        "num_layers": Whole(2, 6),
        "layer_widths": Whole(64, 512, step=64),
        "batch_size": _BATCH,
        "dropout": Real(0.0, 0.5),
    },
    "nhits": {
        **_NETWORK,
        "num_stacks": Whole(2, 5),
        "num_blocks": Whole(1, 3),
        "num_layers": Whole(2, 4),
        "layer_widths": Whole(64, 512, step=64),
        "batch_size": _BATCH,
    },
    "tft": {
        **_NETWORK,
        "hidden_size": Whole(8, 128, step=4),
        "num_attention_heads": Choice((1, 2, 4)),
        "lstm_layers": Whole(1, 3),
        "dropout": Real(0.0, 0.3),
        "batch_size": _BATCH,
    },
    "transformer": {
        **_NETWORK,
        "d_model": Whole(16, 128, step=8),
        "nhead": Choice((2, 4, 8)),
        "num_encoder_layers": Whole(1, 4),
        "num_decoder_layers": Whole(1, 4),
        "dim_feedforward": Whole(32, 256, step=32),
        "dropout": Real(0.0, 0.3),
        "batch_size": _BATCH,
    },
}
