"""The tables of explanations: what moved a forecast, what a model cannot do without, where forecasts erred, and what
a series is like.
"""

from __future__ import annotations

from typing import Literal, get_args

from orderflow_assets.forecasting.explain.measures import MEASURES
from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.tables import Column, Table

Method = Literal["shap", "mean_abs_shap", "permutation", "attention", "variable_selection"]
METHODS: tuple[Method, ...] = get_args(Method)
GROUPINGS = ("all", "hour", "volatility", "regime")
TERCILES = ("low", "middle", "high")
UNKNOWN = "unknown"
"""Cell of forecasts of which the state at their issue is not known."""

_SERIES: tuple[Column, ...] = (
    Column("series", "VARCHAR", "series key, such as BTCUSDT|binance_futures", nullable=False),
    *IDENTITY,
    Column("target", "VARCHAR", "what is forecast: price, volatility or volume", nullable=False),
    Column("model", "VARCHAR", "model that is explained", nullable=False),
)
EXPLANATIONS = Table(
    "models",
    "explanations",
    (
        *_SERIES,
        Column("version", "INTEGER", "its version in the registry", nullable=False),
        Column("explained_at", "TIMESTAMP", "clock time when it was computed", "UTC", False),
        Column("method", "VARCHAR", " or ".join(METHODS), nullable=False),
        Column("first_issued_at", "TIMESTAMP", "closing edge of the first forecast explained", "UTC"),
        Column("last_issued_at", "TIMESTAMP", "closing edge of the last one; shap explains this one alone", "UTC"),
        Column("origins", "INTEGER", "forecasts it rests on", "count", False),
        Column("step", "INTEGER", "output explained, bars of five minutes ahead; 0: all together", "bars", False),
        Column(
            "feature",
            "VARCHAR",
            "input; history: the target's own past; naive: its share; bar, ahead, all: of no single input",
            nullable=False,
        ),
        Column("lag", "INTEGER", "bars between the input and issued_at; NULL: the input at all its lags", "bars"),
        Column("input", "DOUBLE", "value of the input; of shap alone"),
        Column("value", "DOUBLE", "contribution to the output, its mean size, rmae lost or share; NULL: see reason"),
        Column("low", "DOUBLE", "lower bound of its 95 % interval; of permutation alone", "rmae"),
        Column("high", "DOUBLE", "upper bound of its 95 % interval; of permutation alone", "rmae"),
        Column(
            "base", "DOUBLE", "output expected without knowing the inputs; base + sum of value = output", "see unit"
        ),
        Column("output", "DOUBLE", "what the model put out for this step; of shap alone", "see unit"),
        Column("effect", "DOUBLE", "how far the input moves the forecast of this step; of shap alone", "log units"),
        Column("unit", "VARCHAR", "unit of value, base and output", nullable=False),
        Column("reason", "VARCHAR", "why there is no value"),
    ),
    ("series", "target", "method", "step", "feature", "lag"),
    "explained_at",
    "Why the model that serves forecasts what it forecasts; the newest explanation of every series and target.",
)

ERRORS = Table(
    "forecasts",
    "error_analysis",
    (
        *_SERIES,
        Column("step", "INTEGER", "bars of five minutes ahead", "bars", False),
        Column("grouping", "VARCHAR", " or ".join(GROUPINGS) + "; hour is the UTC hour of issue", nullable=False),
        Column("cell", "VARCHAR", f"hour 00 to 23, {', '.join(TERCILES)}, a regime, {UNKNOWN}, or all", nullable=False),
        Column("analysed_at", "TIMESTAMP", "clock time of the analysis", "UTC", False),
        Column("first_issued_at", "TIMESTAMP", "issue of the first forecast in the cell", "UTC"),
        Column("last_issued_at", "TIMESTAMP", "issue of the last forecast in the cell", "UTC"),
        Column("scores", "INTEGER", "scored forecasts in the cell", "count", False),
        Column("blocks", "INTEGER", "stretches of two hours they lie in; these are drawn again", "count", False),
        Column("rmae", "DOUBLE", "mean scaled absolute error over naive's; below 1 beats naive", "ratio"),
        Column("rmae_low", "DOUBLE", "lower bound of its 95 % interval", "ratio"),
        Column("rmae_high", "DOUBLE", "upper bound of its 95 % interval", "ratio"),
        Column("coverage_80", "DOUBLE", "share of outcomes inside the 80 % interval", "fraction"),
        Column("coverage_95", "DOUBLE", "share of outcomes inside the 95 % interval", "fraction"),
        Column("coverage_95_low", "DOUBLE", "lower bound of its 95 % interval", "fraction"),
        Column("coverage_95_high", "DOUBLE", "upper bound of its 95 % interval", "fraction"),
        Column("reason", "VARCHAR", "why a figure is absent"),
    ),
    ("series", "target", "model", "step", "grouping", "cell"),
    "analysed_at",
    "Where forecasts erred: skill and coverage by hour, volatility and regime as known when they were issued.",
)

PROFILES = Table(
    "models",
    "profiles",
    (
        *_SERIES[:-1],
        Column("profiled_at", "TIMESTAMP", "clock time", "UTC", False),
        Column("data_from", "TIMESTAMP", "closing edge of the first bar", "UTC"),
        Column("data_to", "TIMESTAMP", "closing edge of the last bar", "UTC"),
        *(Column(name, "DOUBLE", text) for name, text in MEASURES.items()),
        Column("reason", "VARCHAR", "why there is no profile"),
    ),
    ("series", "target"),
    "profiled_at",
    "What each series is like, in measured numbers; the newest profile of every series and target.",
)

TABLES: tuple[Table, ...] = (EXPLANATIONS, ERRORS, PROFILES)
