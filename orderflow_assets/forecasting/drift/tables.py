"""The tables of drift."""

from __future__ import annotations

from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.tables import Column, Table

SEVERITIES = ("NONE", "LOW", "MEDIUM", "HIGH", "CRITICAL")
TYPES = ("none", "data", "performance", "concept", "sudden", "gradual")
STEPS = ("detected", "asked", "refused", "finished", "failed")

_STREAM: tuple[Column, ...] = (
    Column("series", "VARCHAR", "series key, such as BTCUSDT|binance_futures", nullable=False),
    *IDENTITY,
    Column("target", "VARCHAR", "what is forecast: price, volatility or volume", nullable=False),
    Column("model", "VARCHAR", "model that served; naive is the last value", nullable=False),
    Column("version", "INTEGER", "its version in the registry; 0 for naive", nullable=False),
)
_CHECKED = Column("checked_at", "TIMESTAMP", "clock time of the check", "UTC", False)

DRIFT = Table(
    "models",
    "drift",
    (
        *_STREAM,
        _CHECKED,
        Column("severity", "VARCHAR", " or ".join(SEVERITIES), nullable=False),
        Column("detected", "BOOLEAN", "severity above NONE", nullable=False),
        Column("type", "VARCHAR", " or ".join(TYPES) + "; sudden and gradual are concept drift", nullable=False),
        Column("confidence", "DOUBLE", "1 - p of the test that belongs to the type; NULL where nothing was found"),
        Column("reason", "VARCHAR", "what was found, or why nothing could be checked"),
        Column("recommendation", "VARCHAR", "what to do about it"),
        Column("details", "JSON", "each statistic with its value, threshold and whether it speaks"),
        Column("scores", "INTEGER", "scored forecasts looked at", "forecasts", False),
        Column("last_target_ts", "TIMESTAMP", "newest outcome looked at", "UTC"),
        Column("began_at", "TIMESTAMP", "first of the larger errors by the best fit; NULL: none grew", "UTC"),
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
        Column("inputs_compared", "INTEGER", "inputs and forecasts compared with the frozen reference", "count"),
        Column("inputs_shifted", "INTEGER", "of these, shifted", "count"),
    ),
    ("series", "target", "checked_at"),
    "checked_at",
    "What the drift detectors said about the errors and the inputs of the model that serves.",
)

INPUTS = Table(
    "models",
    "drift_inputs",
    (
        *_STREAM,
        _CHECKED,
        Column("input", "VARCHAR", "covariate of the frame, or prediction", nullable=False),
        Column("severity", "VARCHAR", "NONE, LOW (shifted) or MEDIUM (shifted far)", nullable=False),
        Column("recent", "INTEGER", "recent bars with a value", "bars", False),
        Column("recent_effective", "DOUBLE", "independent values they are worth", "count"),
        Column("reference_effective", "DOUBLE", "independent values the reference is worth", "count"),
        Column("recent_median", "DOUBLE", "median of the recent values"),
        Column("reference_median", "DOUBLE", "median of the reference"),
        Column("ks_statistic", "DOUBLE", "Kolmogorov-Smirnov distance"),
        Column("ks_p", "DOUBLE", "its p-value, Benjamini-Hochberg over all inputs checked together"),
        Column("psi", "DOUBLE", "population stability index"),
        Column("jensen_shannon", "DOUBLE", "Jensen-Shannon distance"),
        Column("reason", "VARCHAR", "why it could not be compared"),
    ),
    ("series", "target", "input"),
    "checked_at",
    "The newest comparison of each input of a model with the reference frozen when it began to serve.",
)

REFERENCES = Table(
    "models",
    "drift_references",
    (
        *_STREAM,
        Column("frozen_at", "TIMESTAMP", "clock time", "UTC", False),
        Column("input", "VARCHAR", "covariate of the frame, or prediction", nullable=False),
        Column("data_from", "TIMESTAMP", "first bar of the sample", "UTC", False),
        Column("data_to", "TIMESTAMP", "last bar of the sample", "UTC", False),
        Column("bars", "INTEGER", "bars with a value", "bars", False),
        Column("effective", "DOUBLE", "independent values they are worth", "count", False),
        Column(
            "quantiles", "JSON", "evenly spaced quantiles of the values, smallest and largest among them", "", False
        ),
    ),
    ("series", "target", "version", "input"),
    "frozen_at",
    "The distribution of each input of a deployed version, and of its forecasts, when it was trained and judged.",
)

RETRAININGS = Table(
    "models",
    "retrainings",
    (
        Column("series", "VARCHAR", "series key, such as BTCUSDT|binance_futures", nullable=False),
        *IDENTITY,
        Column("recorded_at", "TIMESTAMP", "clock time", "UTC", False),
        Column("step", "VARCHAR", " or ".join(STEPS), nullable=False),
        Column("severity", "VARCHAR", "severity of the drift that was found", nullable=True),
        Column("run_id", "VARCHAR", "training run that finished or failed"),
        Column("reason", "VARCHAR", "what was found, why it was refused, or what serves now", nullable=False),
    ),
    ("series", "recorded_at", "step"),
    "recorded_at",
    "What drift led to, step by step: detected, asked for a training or refused, finished or failed.",
)

TABLES: tuple[Table, ...] = (DRIFT, INPUTS, REFERENCES, RETRAININGS)
