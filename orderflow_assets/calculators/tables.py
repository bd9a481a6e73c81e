"""The stored results of calculators."""

from __future__ import annotations

from orderflow_streaming.tables import Column, Table

_CALL = (
    Column("calculator", "VARCHAR", "name", nullable=False),
    Column("version", "VARCHAR", "version of its declaration", nullable=False),
    Column("symbol", "VARCHAR", "exchange-neutral pair, upper case", nullable=False),
    Column("exchange", "VARCHAR", "exchange or market it was asked for, all where none was named", nullable=False),
    Column("as_of", "TIMESTAMP", "nothing later was looked at", "UTC", nullable=False),
)

RESULTS = Table(
    "calculators",
    "results",
    (
        *_CALL,
        Column("parameters", "JSON", "every parameter with its value", nullable=False),
        Column("data", "JSON", "what was computed; empty where nothing could be", nullable=False),
        Column("metadata", "JSON", "how the figures came about", nullable=False),
        Column("errors", "JSON", "why data or a part of it is absent", nullable=False),
        Column("seconds", "DOUBLE", "how long it took", "s", nullable=False),
    ),
    ("calculator", "symbol", "exchange", "as_of"),
    "as_of",
    "What each calculator answered, a row per symbol and time.",
)

SIGNALS = Table(
    "calculators",
    "signals",
    (
        *_CALL,
        Column("position", "INTEGER", "place among the signals of one answer, from 1", nullable=False),
        Column("type", "VARCHAR", "BULLISH, BEARISH, NEUTRAL, WARNING or INFO", nullable=False),
        Column("strength", "DOUBLE", "0 to 1; a rule's own scale, not a probability", "fraction", False),
        Column("description", "VARCHAR", "what it says", nullable=False),
        Column("timestamp", "TIMESTAMP", "when it happened, not after as_of", "UTC", nullable=False),
        Column("metadata", "JSON", "figures behind it", nullable=False),
    ),
    ("calculator", "symbol", "exchange", "as_of", "position"),
    "as_of",
    "What calculators found worth noticing, a row per signal.",
)

DECLARATIONS = Table(
    "calculators",
    "declarations",
    (
        Column("name", "VARCHAR", "calculator; the file's name for a plugin that could not be used", nullable=False),
        Column("category", "VARCHAR", "kind of question"),
        Column("version", "VARCHAR", "version of its declaration"),
        Column("every", "VARCHAR", "how often Dagster computes it: hour or day"),
        Column("description", "VARCHAR", "what it computes"),
        Column("parameters", "JSON", "name, type, default, allowed values and meaning of each"),
        Column("plugin", "VARCHAR", "plugin file it comes from; NULL for one of the package"),
        Column("problem", "VARCHAR", "why the plugin file is left out; NULL where all is well"),
        Column("declared_at", "TIMESTAMP", "when the code location said so", "UTC", False),
    ),
    ("name", "plugin"),
    "declared_at",
    "The calculators there are, and plugin files that could not be used with the reason.",
)

TABLES = (RESULTS, SIGNALS, DECLARATIONS)
