"""``signals.labels``: what each signal said every quarter of an hour, and whether its event came, told when known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.minutes import BARS_1M
from orderflow_assets.bars.series import DAY, HOUR, MINUTE, SERIES, SERIES_NAMES, closed_window, hours
from orderflow_assets.features.grid import Array, Grid, Identity, epoch_us
from orderflow_assets.features.liquidations.declarations import LIQUIDATIONS
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import alike, columns_of
from orderflow_assets.signals.catalog import SIGNALS
from orderflow_assets.signals.forward import QUARTER_US
from orderflow_assets.signals.layer import SIGNALS_TABLE
from orderflow_assets.signals.outcomes import OUTCOMES, Path, Said
from orderflow_assets.signals.roles import ROLES
from orderflow_streaming.schema import IDENTITY
from orderflow_streaming.store import Store, Window
from orderflow_streaming.tables import Column, Table

LABELS = Table(
    "signals",
    "labels",
    (
        *IDENTITY,
        Column("signal", "VARCHAR", "the signal", nullable=False),
        Column(
            "signal_ts", "TIMESTAMP", "closing edge of the bar it spoke at, a full quarter of an hour", "UTC", False
        ),
        Column("known_at", "TIMESTAMP", "when the outcome was known: signal_ts and the signal's horizon", "UTC", False),
        Column("value", "DOUBLE", "the signal's value", nullable=False),
        Column("vote", "INTEGER", "1 up, -1 down, 0 undecided; NULL without a direction"),
        Column(
            "unweighted", "DOUBLE", "plain mean of the components that are known; NULL where the signal has no mean"
        ),
        Column("outcome", "BOOLEAN", "whether the signal's event came; NULL where it cannot be told"),
    ),
    (*SERIES_NAMES, "signal", "signal_ts"),
    "known_at",
    "What the signals said every quarter of an hour, and whether they were right: "
    + " ".join(f"{item.name}: {item.event.definition}." for item in SIGNALS.values()),
)

_QUARTER = timedelta(microseconds=QUARTER_US)
_LONGEST = max(item.event.minutes for item in SIGNALS.values()) * MINUTE
_PATH_BACK = 34 * HOUR
_MONTH = 30 * DAY
_FORCED = ("long", "short")
_PATH = ("mid_close", "high", "low", "close")
_LATER = ("arbitrage_opportunity", "regime_transition", "execution_quality")


def _whole(side: str) -> str:
    value = f"{side}_liquidation_value"
    return f"CASE WHEN count({value}) = 15 THEN sum({value}) END AS {side}"


_FORCED_SQL = f"""
SELECT {SERIES}, time_bucket(INTERVAL 15 MINUTE, open_time) + INTERVAL 15 MINUTE AS bar_ts,
       {", ".join(_whole(side) for side in _FORCED)}
FROM {LIQUIDATIONS.table.qualified}
WHERE open_time >= $start::TIMESTAMP AND open_time < $end::TIMESTAMP
GROUP BY ALL
"""


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(BARS_1M, LIQUIDATIONS.table, SIGNALS_TABLE, LABELS)
    return sum(_hour(store, *window) for window in hours(*closed_window(start, end)))


def _hour(store: Store, start: datetime, end: datetime) -> int:
    spoken = _spoken(store, start, end)
    if not spoken.num_rows:
        return store.write(LABELS, LABELS.arrow_schema.empty_table(), Window(start, end))
    series = sorted({*zip(*(spoken[name].to_pylist() for name in SERIES_NAMES), strict=True)})
    bars = _bars(store, start, end, series)
    forced = _liquidated(store, start, end, series)
    signal = np.array(spoken["signal"].to_pylist(), dtype=object)
    parts = []
    for name in SIGNALS:
        rows = np.flatnonzero(signal == name)
        if len(rows):
            parts.append(_judged(name, spoken.take(pa.array(rows)), series, bars, forced))
    return store.write(LABELS, pa.concat_tables(parts), Window(start, end))


def _spoken(store: Store, start: datetime, end: datetime) -> pa.Table:
    """Signals with a value at full quarters whose outcome is known in [start, end), and what they say then."""
    horizons = ", ".join(f"('{item.name}', {item.event.minutes})" for item in SIGNALS.values())
    return store.query(
        f"""
        WITH horizons(signal, minutes) AS (VALUES {horizons}), spoken AS (
            SELECT s.*, s.bar_ts + to_minutes(minutes) AS known_at
            FROM {SIGNALS_TABLE.qualified} s JOIN horizons USING (signal)
            WHERE s.open_time >= $first::TIMESTAMP AND s.open_time < $end::TIMESTAMP
              AND epoch_us(s.bar_ts) % {QUARTER_US} = 0 AND value IS NOT NULL
              AND known_at >= $start::TIMESTAMP AND known_at < $end::TIMESTAMP
        ), later AS (
            SELECT {SERIES}, signal, bar_ts AS known_at, fields AS later
            FROM {SIGNALS_TABLE.qualified}
            WHERE open_time >= $start::TIMESTAMP - INTERVAL 1 MINUTE AND open_time < $end::TIMESTAMP
              AND signal IN ({", ".join(repr(name) for name in _LATER)})
        )
        SELECT {SERIES}, signal, bar_ts AS signal_ts, known_at, value, vote, side, components, fields, later
        FROM spoken LEFT JOIN later USING ({SERIES}, signal, known_at)
        ORDER BY ALL
        """,
        {"first": start - _LONGEST - MINUTE, "start": start, "end": end},
        timeout_s=600,
    )


def _bars(store: Store, start: datetime, end: datetime, series: list[Identity]) -> Grid:
    return Grid.read(store, BARS_1M, _PATH, start - _PATH_BACK, end - MINUTE, MINUTE, series)


def _liquidated(store: Store, start: datetime, end: datetime, series: list[Identity]) -> Grid:
    """Values liquidated by quarters of an hour, from 30 days before the oldest signal."""
    first, last = _floor(start) - _MONTH - 8 * HOUR, _floor(end - MINUTE)
    rows = store.query(_FORCED_SQL, {"start": first - _QUARTER, "end": last}, timeout_s=600)
    return Grid.of(rows, first, last, _QUARTER, series)


def _floor(time: datetime) -> datetime:
    return time - (time - datetime(1970, 1, 1)) % _QUARTER  # noqa: DTZ001


def _judged(name: str, spoken: pa.Table, series: list[Identity], bars: Grid, forced: Grid) -> pa.Table:
    place = {identity: index for index, identity in enumerate(series)}
    row = np.array([place[key] for key in zip(*(spoken[part].to_pylist() for part in SERIES_NAMES), strict=True)])
    spoken_us = spoken["signal_ts"].cast(pa.int64()).to_numpy()
    path = Path(
        np.log(bars["mid_close"]),
        bars["high"],
        bars["low"],
        bars["close"],
        {side: forced[side] for side in _FORCED},
        row,
        (spoken_us - epoch_us(bars.first)) // 60_000_000,
        (spoken_us - epoch_us(forced.first)) // QUARTER_US,
    )
    said = Said(
        spoken["vote"].cast(pa.float64()).to_numpy(zero_copy_only=False),
        np.array(spoken["side"].to_pylist(), dtype=object),
        [json.loads(text) for text in spoken["fields"].to_pylist()],
        [json.loads(text) if text else None for text in spoken["later"].to_pylist()],
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        outcome = OUTCOMES[name](path, said)
    plain = unweighted(name, [json.loads(text) for text in spoken["components"].to_pylist()])
    return pa.table(
        {
            **{part: spoken[part] for part in (*SERIES_NAMES, "signal", "signal_ts", "known_at", "value", "vote")},
            "unweighted": pa.array(plain, mask=np.isnan(plain)),
            "outcome": pa.array(outcome, mask=np.isnan(outcome)).cast(pa.bool_()),
        }
    )


def unweighted(name: str, components: Sequence[Mapping[str, Any]]) -> Array:
    """Plain mean of the known components, its size where the signal has no sign; NaN where the signal is no mean."""
    if SIGNALS[name].combine == "own":
        return np.full(len(components), np.nan)
    known = [[value for value in parts.values() if value is not None] for parts in components]
    means = np.array([sum(values) / len(values) if values else np.nan for values in known])
    return means if ROLES[name].scale == "signed" else np.abs(means)


_SIGNALS = SIGNALS_TABLE.qualified

LAYER = Layer(
    LABELS,
    _compute,
    (SIGNALS_TABLE.qualified, BARS_1M.qualified, LIQUIDATIONS.table.qualified),
    _MONTH + 9 * HOUR,
    "signals",
    ("duckdb", "python"),
    backs={SIGNALS_TABLE.qualified: _LONGEST + MINUTE, BARS_1M.qualified: _PATH_BACK + MINUTE},
    lineage={
        **alike(_SIGNALS, ("value", "vote")),
        "unweighted": columns_of(_SIGNALS, "components"),
        "outcome": (
            *columns_of(_SIGNALS, "vote", "side", "fields"),
            *columns_of(BARS_1M.qualified, *_PATH),
            *columns_of(LIQUIDATIONS.table.qualified, *(f"{side}_liquidation_value" for side in _FORCED)),
        ),
    },
)
