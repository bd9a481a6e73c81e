"""``signals.aggregate``: the signals of each series and bar as one reading and a recommendation."""

from __future__ import annotations

import json
from datetime import datetime

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.series import BAR_COLUMNS, BAR_KEY, MINUTE, SERIES, SERIES_NAMES, closed_window, hours
from orderflow_assets.features.grid import Array, Grid, epoch_us, windows
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_assets.signals import encoding
from orderflow_assets.signals.aggregator import NAMES, RECENT, Readings
from orderflow_assets.signals.layer import SIGNALS_TABLE
from orderflow_assets.signals.recommendation import Aggregate, aggregate
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

_WORDS = {
    "direction": "BULLISH, BEARISH or NEUTRAL: the side whose votes weigh 1.2 times the other's",
    "strength": "CONFLICTED, STRONG, MODERATE, WEAK or NO_ACTION",
    "entry_bias": "aggressive, conservative or wait",
    "risk_level": "low, medium, high or extreme; NULL where no signal of risk is known",
    "urgency": "immediate, soon or patient",
    "timeframe": "scalp, intraday, swing, or hours",
    "conflict_severity": "MINOR, MODERATE, SEVERE or CRITICAL: the lighter side's share from 0, 0.15, 0.30, 0.45; NULL "
    "without votes both ways",
    "conflict_resolution": "the heavier side of a conflict",
    "posture": "REDUCE_EXPOSURE, BULLISH, BEARISH or NEUTRAL, from composite risk, flow and momentum alone",
    "explanation": "why, in a sentence",
}
_NUMBERS = {
    "confidence": ("|bullish - bearish| over all directional weight; of NEUTRAL 1 less that; less in conflict", "1"),
    "resolution_confidence": ("|bullish - bearish| / (bullish + bearish) of a conflict", "1"),
    "risk_points": ("sum of the points of the risk factors", "1"),
    "bullish_weight": ("sum of score x confidence of the signals that vote up", "1"),
    "bearish_weight": ("the same of those that vote down", "1"),
    "neutral_weight": ("half the same of those that are undecided", "1"),
    "known_signals": ("signals with a value", "count"),
}
_LISTS = {
    "top_signals": "the five of highest score",
    "bullish_signals": "those that vote up, highest score first",
    "bearish_signals": "those that vote down",
    "primary_signals": "the first three that vote with the direction",
    "supporting_signals": "the next five",
    "conflicting_signals": "the first three that vote against it",
    "risk_factors": "what made the risk points",
    "alerts": "what calls for attention",
    "opportunities": "what may be worth a trade",
}

AGGREGATE = Table(
    "signals",
    "aggregate",
    (
        *BAR_COLUMNS,
        *(Column(name, "VARCHAR", doc) for name, doc in _WORDS.items()),
        *(Column(name, "DOUBLE", doc, unit) for name, (doc, unit) in _NUMBERS.items()),
        *(Column(name, "JSON", f"list: {doc}", nullable=False) for name, doc in _LISTS.items()),
        Column("scores", "JSON", "score of each signal, [0, 2], null where it says nothing", nullable=False),
        Column(
            "category_scores",
            "JSON",
            "mean value per category of signals, those with a centre or a sign apart",
            nullable=False,
        ),
    ),
    BAR_KEY,
    "open_time",
    "Ranking, conflict, bias, risk and recommendation over the signals, a row per series and bar.",
)

_QUOTED = ("liquidation_cascade_risk", "arbitrage_opportunity", "institutional_phase", "mean_reversion_signal")
_TIMED = "volatility_breakout"


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(SIGNALS_TABLE, AGGREGATE)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    outputs = round((end - start) / MINUTE)
    first = start + MINUTE - (RECENT - 1) * MINUTE
    grid = _pivoted(store, first, end)
    if not grid.series or not outputs:
        return store.write(AGGREGATE, AGGREGATE.arrow_schema.empty_table(), Window(start, end))
    row, bar = np.nonzero(grid.present[:, -outputs:])
    labels = _labels(store, grid, start, end, outputs)
    value, confidence, vote = (
        np.stack([windows(grid[f"{name}_{what}"], RECENT, outputs)[row, bar] for name in NAMES])
        for what in ("value", "confidence", "vote")
    )
    readings = latest(
        value,
        confidence,
        vote,
        {name: words[row, bar] for name, words in labels.items()},
        grid["timeframe"][:, -outputs:][row, bar],
    )
    opening = epoch_us(start) + bar * 60_000_000
    identities = np.array(grid.series, dtype=object).reshape(-1, len(SERIES_NAMES))
    head = {name: pa.array(identities[row, place], pa.string()) for place, name in enumerate(SERIES_NAMES)}
    head["open_time"] = pa.array(opening).cast(pa.timestamp("us"))
    head["bar_ts"] = pa.array(opening + 60_000_000).cast(pa.timestamp("us"))
    return store.write(AGGREGATE, pa.table(head | _columns(aggregate(readings))), Window(start, end))


def latest(
    value: Array, confidence: Array, vote: Array, words: dict[str, np.ndarray], timeframe_hours: Array
) -> Readings:
    """Readings from the last ``RECENT`` bars, (signals, rows, RECENT): of each signal its latest known value."""
    known = np.isfinite(value)
    age = np.where(known.any(axis=-1), known[..., ::-1].argmax(axis=-1), 0)
    place = (value.shape[-1] - 1 - age)[..., None]
    now, sure, votes = (np.take_along_axis(part, place, axis=-1)[..., 0] for part in (value, confidence, vote))
    return Readings(now, sure, votes, value, age.astype(float), words, timeframe_hours)


def _pivoted(store: Store, first: datetime, last: datetime) -> Grid:
    """Value, confidence and vote of each signal as columns of their own, a row per series and bar."""
    figures = ", ".join(
        f"any_value({what}) FILTER (signal = '{name}')::DOUBLE AS {name}_{what}"
        for name in NAMES
        for what in ("value", "confidence", "vote")
    )
    rows = store.query(
        f"SELECT {SERIES}, bar_ts, {figures}, any_value(CASE signal WHEN '{_TIMED}' THEN "
        "json_extract_string(fields, '$.timeframe_hours')::DOUBLE END) AS timeframe "
        f"FROM {SIGNALS_TABLE.qualified} "
        "WHERE open_time >= ? AND open_time < ? GROUP BY ALL",
        [first - MINUTE, last],
        timeout_s=600,
    )
    return Grid.of(rows, first, last, MINUTE)


def _labels(store: Store, grid: Grid, start: datetime, end: datetime, outputs: int) -> dict[str, np.ndarray]:
    rows = store.query(
        f"SELECT {SERIES}, signal, (epoch_us(open_time) - epoch_us($start::TIMESTAMP)) // 60000000 AS bar, side "
        f"FROM {SIGNALS_TABLE.qualified} WHERE open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP "
        f"AND side IS NOT NULL AND signal IN ({', '.join(repr(name) for name in _QUOTED)})",
        {"start": start, "end": end},
        timeout_s=600,
    )
    place = {identity: index for index, identity in enumerate(grid.series)}
    labels = {name: np.full((len(grid.series), outputs), None, dtype=object) for name in _QUOTED}
    for symbol, exchange, market_type, name, bar, side in zip(*rows.to_pydict().values(), strict=True):
        labels[name][place[symbol, exchange, market_type], bar] = side
    return labels


def _columns(found: Aggregate) -> dict[str, pa.Array]:
    rows = len(found.words["direction"])
    return {
        **{name: pa.array(values, pa.string()) for name, values in found.words.items()},
        **{name: pa.array(values, mask=np.isnan(values)) for name, values in found.numbers.items()},
        **{name: pa.array([json.dumps(row) for row in found.lists[name]], pa.string()) for name in _LISTS},
        "scores": encoding.objects({name: encoding.numbers(row) for name, row in found.scores.items()}, rows),
        "category_scores": encoding.objects(
            {name: encoding.numbers(row) for name, row in found.categories.items()}, rows
        ),
    }


LAYER = Layer(
    AGGREGATE,
    _compute,
    (SIGNALS_TABLE.qualified,),
    RECENT * MINUTE,
    "signals",
    ("duckdb", "python"),
    lineage=dict.fromkeys(
        (name for name in AGGREGATE.names if name not in (*AGGREGATE.key, AGGREGATE.time)),
        columns_of(SIGNALS_TABLE.qualified, "signal", "value", "confidence", "vote", "side", "fields"),
    ),
)
