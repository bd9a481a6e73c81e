"""The tables of forecasting: forecasts, what became of them, model versions and drift.

``target`` is ``price`` (level, quote currency), ``volatility`` (realized volatility of the next twelve five-minute
bars, a fraction) or ``volume`` (amount traded in them, base units). ``model`` is the model that served, ``naive``
where none has proved better.
"""

from __future__ import annotations

from orderflow_assets.forecasting.backtest.tables import TABLES as BACKTESTS
from orderflow_assets.forecasting.drift.tables import TABLES as DRIFTS
from orderflow_assets.forecasting.explain.tables import TABLES as EXPLANATIONS
from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.tables import Column, Table

STATUSES = ("registered", "training", "validated", "deployed", "retired")
DEVICES = ("cpu", "gpu")

_SERIES: tuple[Column, ...] = (
    Column("series", "VARCHAR", "series key, such as BTCUSDT|binance_futures", nullable=False),
    *IDENTITY,
    Column("target", "VARCHAR", "what is forecast: price, volatility or volume", nullable=False),
    Column("model", "VARCHAR", "model that served; naive is the last value", nullable=False),
    Column("version", "INTEGER", "its version in the registry; 0 for naive", nullable=False),
)
_ISSUED = (
    Column("issued_at", "TIMESTAMP", "closing edge of the last bar the forecast knows", "UTC", False),
    Column("target_ts", "TIMESTAMP", "closing edge of the bar it is about", "UTC", False),
    Column("step", "INTEGER", "bars of five minutes from issued_at to target_ts", "bars", False),
)
_LEVEL = "quote, fraction or base"

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
        Column("frame_hash", "VARCHAR", "sha256 of the frame in models.frames, of which the older part was trained on"),
        Column("source_version", "VARCHAR", "hash of the source that trains and asks the model"),
        Column("library_versions", "JSON", "releases of the libraries it was trained with"),
        Column("fit_s", "DOUBLE", "measured time of training", "s"),
        Column("load_s", "DOUBLE", "measured time of verifying and loading the stored model", "s"),
        Column("predict_s", "DOUBLE", "measured time of one forecast of all steps by the loaded model", "s"),
        Column("device", "VARCHAR", "where these times were measured: " + " or ".join(DEVICES)),
        Column("artefact_sha256", "VARCHAR", "hash that names and guards the stored model"),
        Column("reason", "VARCHAR", "why it has its status"),
    ),
    ("series", "target", "version"),
    "trained_at",
    "Every trained model with its evidence; a copy of the registry for analysis.",
)

EVENTS = Table(
    "models",
    "events",
    (
        Column("id", "BIGINT", "number in the order in which they happened", nullable=False),
        Column("happened_at", "TIMESTAMP", "clock time", "UTC", False),
        *_SERIES,
        Column("event", "VARCHAR", "a status, or an alias that was set or dropped: champion_set", nullable=False),
        Column("by", "VARCHAR", "run or person that did it", nullable=False),
        Column("reason", "VARCHAR", "why", nullable=False),
    ),
    ("id",),
    "happened_at",
    "What happened to model versions and aliases; a copy of the registry, in which events are never changed.",
)

FRAMES = Table(
    "models",
    "frames",
    (
        Column("series", "VARCHAR", "series key, such as BTCUSDT|binance_futures", nullable=False),
        *IDENTITY,
        Column("built_at", "TIMESTAMP", "clock time when it was read", "UTC", False),
        Column("frame_hash", "VARCHAR", "sha256 of times, prices and covariates; NULL where there is none"),
        Column("data_from", "TIMESTAMP", "closing edge of the first bar", "UTC"),
        Column("data_to", "TIMESTAMP", "closing edge of the last bar", "UTC"),
        Column("bars", "INTEGER", "bars of five minutes with a price", "bars"),
        Column("missing", "INTEGER", "bars of the stretch without one", "bars"),
        Column("columns", "JSON", "covariates it holds"),
        Column("seasonality", "JSON", "correlation with the day before, by target; null under two days"),
        Column("reason", "VARCHAR", "why there is no frame"),
    ),
    ("series", "built_at"),
    "built_at",
    "The frames that models were trained on: five-minute bars with what was known at each closing edge.",
)

LEADERBOARD = Table(
    "models",
    "leaderboard",
    (
        Column("series", "VARCHAR", "series key, such as BTCUSDT|binance_futures", nullable=False),
        *IDENTITY,
        Column("target", "VARCHAR", "what is forecast: price, volatility or volume", nullable=False),
        Column("model", "VARCHAR", "model of the catalogue", nullable=False),
        Column("step", "INTEGER", "bars of five minutes ahead", "bars", False),
        Column(
            "rank", "INTEGER", "place by shrunk_rmae among the models of the series, target and step", "place", False
        ),
        Column(
            "shrunk_rmae",
            "DOUBLE",
            "(origins * rmae + 200) / (origins + 200): few origins prove little",
            "ratio",
            False,
        ),
        Column("rmae", "DOUBLE", "mean scaled absolute error over naive's; below 1 beats naive", "ratio", False),
        Column("origins", "INTEGER", "forecasts with a known outcome that it rests on", "count", False),
        Column("held_out_origins", "INTEGER", "of these, judged when the model was trained", "count", False),
        Column("live_origins", "INTEGER", "of these, scored in service", "count", False),
        Column("backtest_origins", "INTEGER", "of these, from the newest backtest", "count", False),
        Column("coverage_80", "DOUBLE", "share of outcomes inside the 80 % interval", "fraction"),
        Column("coverage_95", "DOUBLE", "share of outcomes inside the 95 % interval", "fraction"),
        Column("bars", "INTEGER", "bars trained on when the times were measured", "bars"),
        Column("fit_s", "DOUBLE", "measured time of training", "s"),
        Column("load_s", "DOUBLE", "measured time of loading the stored model", "s"),
        Column("predict_s", "DOUBLE", "measured time of one forecast by the loaded model", "s"),
        Column("device", "VARCHAR", "where these times were measured: " + " or ".join(DEVICES)),
        Column("version", "INTEGER", "newest version that is stored and can be loaded; NULL: none"),
        Column("refreshed_at", "TIMESTAMP", "clock time", "UTC", False),
    ),
    ("series", "target", "step", "model"),
    "refreshed_at",
    "Measured skill and speed of every model that was tried on a series. Origins of one stretch count once.",
)

TABLES: tuple[Table, ...] = (
    FORECASTS,
    SCORES,
    VERSIONS,
    EVENTS,
    FRAMES,
    LEADERBOARD,
    *DRIFTS,
    *BACKTESTS,
    *EXPLANATIONS,
)
