"""The tables of forecasting: forecasts, what became of them, model versions and drift.

``target`` is ``price`` (level, quote currency) or ``volatility`` (realized volatility of the next twelve
five-minute bars, a fraction). ``model`` is the model that served, ``naive`` where none has proved better.
"""

from __future__ import annotations

from orderflow_assets.forecasting.backtest.tables import TABLES as BACKTESTS
from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.tables import Column, Table

STATUSES = ("registered", "training", "validated", "deployed", "retired")
SEVERITIES = ("NONE", "LOW", "MEDIUM", "HIGH", "CRITICAL")

_SERIES: tuple[Column, ...] = (
    Column("series", "VARCHAR", "series key, such as BTCUSDT|binance_futures", nullable=False),
    *IDENTITY,
    Column("target", "VARCHAR", "what is forecast: price or volatility", nullable=False),
    Column("model", "VARCHAR", "model that served; naive is the last value", nullable=False),
    Column("version", "INTEGER", "its version in the registry; 0 for naive", nullable=False),
)
_ISSUED = (
    Column("issued_at", "TIMESTAMP", "closing edge of the last bar the forecast knows", "UTC", False),
    Column("target_ts", "TIMESTAMP", "closing edge of the bar it is about", "UTC", False),
    Column("step", "INTEGER", "bars of five minutes from issued_at to target_ts", "bars", False),
)
_LEVEL = "quote or fraction"

FORECASTS = Table(
    "forecasts",
    "forecasts",
    (
        *_SERIES,
        *_ISSUED,
        Column("last_value", "DOUBLE", "the value at issued_at", _LEVEL),
        Column("point", "DOUBLE", "forecast; NULL where none could be made", _LEVEL),
        Column("naive", "DOUBLE", "what the naive forecast says", _LEVEL),
        Column("lower_80", "DOUBLE", "lower bound of the 80 % interval", _LEVEL),
        Column("upper_80", "DOUBLE", "upper bound of the 80 % interval", _LEVEL),
        Column("lower_95", "DOUBLE", "lower bound of the 95 % interval", _LEVEL),
        Column("upper_95", "DOUBLE", "upper bound of the 95 % interval", _LEVEL),
        Column("scale", "DOUBLE", "size of a usual log error at this step, known at issued_at", "log units"),
        Column("made_at", "TIMESTAMP", "clock time when it was computed", "UTC", False),
        Column("reason", "VARCHAR", "why the forecast, its interval or the trained model is absent"),
    ),
    ("series", "target", "issued_at", "step"),
    "issued_at",
    "What was forecast; a row is written once and never rewritten.",
)

SCORES = Table(
    "forecasts",
    "scores",
    (
        *_SERIES,
        *_ISSUED,
        Column("actual", "DOUBLE", "what happened", _LEVEL, False),
        Column("error", "DOUBLE", "actual - point", _LEVEL, False),
        Column("naive_error", "DOUBLE", "actual - naive", _LEVEL, False),
        Column("scaled_error", "DOUBLE", "ln(actual / point) / scale", "ratio", False),
        Column("scaled_naive_error", "DOUBLE", "ln(actual / naive) / scale", "ratio", False),
        Column("inside_80", "BOOLEAN", "the outcome lay in the 80 % interval; NULL without one"),
        Column("inside_95", "BOOLEAN", "the outcome lay in the 95 % interval; NULL without one"),
        Column("scored_at", "TIMESTAMP", "clock time when it was scored", "UTC", False),
    ),
    ("series", "target", "issued_at", "step"),
    "target_ts",
    "Forecasts whose outcome is known, with their errors.",
)

VERSIONS = Table(
    "models",
    "versions",
    (
        *_SERIES,
        Column("status", "VARCHAR", " or ".join(STATUSES), nullable=False),
        Column("alias", "VARCHAR", "champion, challenger or NULL"),
        Column("trained_at", "TIMESTAMP", "clock time of training", "UTC", False),
        Column("data_from", "TIMESTAMP", "first bar trained on", "UTC", False),
        Column("data_to", "TIMESTAMP", "last bar trained on", "UTC", False),
        Column("rows", "INTEGER", "bars trained on", "bars", False),
        Column("data_hash", "VARCHAR", "sha256 of the training frame", nullable=False),
        Column("code_version", "VARCHAR", "hash of what the model declares", nullable=False),
        Column("parameters", "JSON", "hyper-parameters and columns used"),
        Column("metrics", "JSON", "held-out comparison with the champion and with naive"),
        Column("artefact_sha256", "VARCHAR", "hash that names and guards the stored model"),
        Column("reason", "VARCHAR", "why it has its status"),
    ),
    ("series", "target", "version"),
    "trained_at",
    "Every trained model with its evidence; a copy of the registry for analysis.",
)

DRIFT = Table(
    "models",
    "drift",
    (
        *_SERIES,
        Column("checked_at", "TIMESTAMP", "clock time of the check", "UTC", False),
        Column("scores", "INTEGER", "scored forecasts looked at", "forecasts", False),
        Column("last_target_ts", "TIMESTAMP", "newest outcome looked at", "UTC"),
        Column("error_ratio", "DOUBLE", "mean scaled absolute error, recent / reference", "ratio"),
        Column("adwin_at", "TIMESTAMP", "outcome at which ADWIN found larger errors; NULL: not", "UTC"),
        Column("page_hinkley_at", "TIMESTAMP", "outcome at which Page-Hinkley found them; NULL: not", "UTC"),
        Column("hddm_at", "TIMESTAMP", "outcome at which HDDM-A found more interval misses; NULL: not", "UTC"),
        Column("coverage_95", "DOUBLE", "recent share of outcomes inside the 95 % interval", "fraction"),
        Column("ks_statistic", "DOUBLE", "Kolmogorov-Smirnov distance, recent against reference errors"),
        Column("ks_p", "DOUBLE", "its p-value, Benjamini-Hochberg over the series checked together"),
        Column("psi", "DOUBLE", "population stability index of the same two samples"),
        Column("jensen_shannon", "DOUBLE", "Jensen-Shannon distance of the same two samples; reported only"),
        Column("dm_statistic", "DOUBLE", "Diebold-Mariano against naive; positive: the model is worse"),
        Column("dm_p", "DOUBLE", "probability of such a loss if both were equal"),
        Column("severity", "VARCHAR", " or ".join(SEVERITIES), nullable=False),
        Column("detected", "BOOLEAN", "severity above NONE", nullable=False),
        Column("reason", "VARCHAR", "what was found, or why nothing could be checked"),
    ),
    ("series", "target", "checked_at"),
    "checked_at",
    "What the drift detectors said about the errors of the model that serves.",
)

TABLES: tuple[Table, ...] = (FORECASTS, SCORES, VERSIONS, DRIFT, *BACKTESTS)
