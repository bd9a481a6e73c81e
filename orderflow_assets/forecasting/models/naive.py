"""Forecasts that need no learning: what every other model is measured against."""

from __future__ import annotations

from typing import Any

from orderflow_assets.forecasting.models.spec import ModelSpec

NAIVE = "naive"
_HOUR, _DAY = 12, 288


def _model(name: str, doc: str, *aliases: str, **declared: Any) -> ModelSpec:
    """A class of Darts that looks at one series."""
    own: dict[str, Any] = {
        "family": "naive",
        "adapter": "local",
        "path": f"darts.models:{aliases[0]}",
        "extra": "forecast",
        "needs": ("darts",),
        "feed": "logs",
        "lags": _DAY - 1,
        "multivariate": True,
    }
    return ModelSpec(name, doc, aliases=aliases, **(own | declared))


def _global(name: str, doc: str, *aliases: str) -> ModelSpec:
    """A class of Darts that looks at many series at once."""
    needs = ("darts", "torch")
    return _model(name, doc, *aliases, adapter="zero_shot", needs=needs, lags=_HOUR - 1, gpu=True)


MODELS = (
    ModelSpec(
        NAIVE,
        "The last value stays.",
        family="naive",
        adapter="naive",
        aliases=("LastValue",),
        takes_missing=True,
    ),
    _model("naive_mean", "The mean of the last day.", "NaiveMean", "Naive"),
    _model("naive_seasonal", "The value at the same time yesterday.", "NaiveSeasonal", parameters={"K": _DAY}),
    _model("naive_drift", "The line through the first and the last value of the last day.", "NaiveDrift"),
    _model(
        "naive_moving_average",
        "The mean of the last hour, each forecast counting as known for the next.",
        "NaiveMovingAverage",
        lags=_HOUR - 1,
    ),
    _global("global_naive_aggregate", "The mean of the last hour, of many series at once.", "GlobalNaiveAggregate"),
    _global(
        "global_naive_drift",
        "The line through the first and the last value of the last hour, of many series at once.",
        "GlobalNaiveDrift",
    ),
    _global("global_naive_seasonal", "The value of an hour ago, of many series at once.", "GlobalNaiveSeasonal"),
)
