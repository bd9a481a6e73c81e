"""The micro-price of Stoikov 2018 (Quantitative Finance 18:12), estimated once a day from the day before.

A state is the queue imbalance I = Qb / (Qb + Qa) in ten equal buckets and the spread in ticks, four and wider
together. From one second to the next the mid either stays, and the state moves by Q, or it moves by K ticks (R) into a
new state (T). With G1 = (1 - Q)^-1 R K and B = (1 - Q)^-1 T the shift of a state is g = sum over k = 0..6 of B^k G1,
in ticks. The data are taken twice, the second time mirrored, so that g(I, S) = -g(1 - I, S). A move of more than one
tick counts as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pyarrow as pa

from orderflow_assets.bars.quotes import QUOTES_1S
from orderflow_assets.bars.series import DAY, SERIES, at, midnights_due
from orderflow_assets.features.grid import Array, Identity, split_series
from orderflow_assets.layer import Layer
from orderflow_assets.lineage import columns_of
from orderflow_streaming.schema import IDENTITY, INSTRUMENTS
from orderflow_streaming.store import Store
from orderflow_streaming.tables import Column, Table

BUCKETS, SPREADS = 10, 4
STATES = BUCKETS * SPREADS
ROUNDS = 7
LEAST_STEPS = 3_600
"""One-second steps an estimate needs: an hour's worth."""

MICROPRICE = Table(
    "bars",
    "microprice",
    (
        *IDENTITY,
        Column("valid_from", "TIMESTAMP", "00:00 UTC of the day it holds for; made of the 24 h before", "UTC", False),
        Column("imbalance_bucket", "BIGINT", "bucket of bid size over both sizes, 0 to 9", "", False),
        Column("spread_ticks", "BIGINT", "spread in ticks, 4 stands for more", "ticks", False),
        Column("shift_ticks", "DOUBLE", "expected shift of the mid", "ticks", False),
        Column("steps", "BIGINT", "one-second steps that started in the state, mirrored ones included", "count", False),
    ),
    (*(column.name for column in IDENTITY), "valid_from", "imbalance_bucket", "spread_ticks"),
    "valid_from",
    "Micro-price shifts per state, day by day.",
)


def states(bid: Array, ask: Array, bid_qty: Array, ask_qty: Array, tick: Array | float) -> Array:
    """State number of quotes, ``bucket * SPREADS + spread - 1``; NaN without a quote, its sizes or a tick."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = bid_qty / (bid_qty + ask_qty)
        bucket = np.minimum(np.floor(share * BUCKETS), BUCKETS - 1)
        spread = np.clip(np.round((ask - bid) / tick), 1, SPREADS)
    return bucket * SPREADS + spread - 1


def mirrored(state: np.ndarray) -> np.ndarray:
    """The state with bid and ask exchanged."""
    return (BUCKETS - 1 - state // SPREADS) * SPREADS + state % SPREADS


def shifts(state: np.ndarray, following: np.ndarray, move: Array) -> tuple[Array, np.ndarray]:
    """Shift of each state in ticks, NaN where none follows from the data, and the steps seen in it.

    ``state``, ``following`` are state numbers one second apart, ``move`` the change of the mid in ticks between.
    """
    origin = np.concatenate([state, mirrored(state)])
    target = np.concatenate([following, mirrored(following)])
    ticks = np.clip(np.round(2 * np.concatenate([move, -move])) / 2, -1, 1)
    seen = np.bincount(origin, minlength=STATES)
    stays = ticks == 0
    share = np.maximum(seen, 1)[:, None]
    still = _transitions(origin[stays], target[stays]) / share
    moving = _transitions(origin[~stays], target[~stays]) / share
    expected = np.bincount(origin, weights=ticks, minlength=STATES) / share[:, 0]

    usable = _leads_to_a_move(still, moving)
    kept = np.ix_(usable, usable)
    inverse = np.linalg.inv(np.eye(usable.sum()) - still[kept])
    first = inverse @ expected[usable]
    following_moves = inverse @ moving[kept]
    total = term = first
    for _ in range(ROUNDS - 1):
        term = following_moves @ term
        total = total + term
    result = np.full(STATES, np.nan)
    result[usable] = total
    return result, seen


def _transitions(origin: np.ndarray, target: np.ndarray) -> Array:
    return np.bincount(origin * STATES + target, minlength=STATES**2).reshape(STATES, STATES).astype(float)


def _leads_to_a_move(still: Array, moving: Array) -> np.ndarray:
    """States from which a move can be reached; in the others the mid was never seen to change."""
    reach = moving.sum(axis=1) > 0
    for _ in range(STATES):
        reach = reach | (still @ reach.astype(float) > 0)
    return reach


_QUOTES_SQL = f"""
SELECT {SERIES}, epoch(q.bar_ts)::BIGINT AS second, bid_price, ask_price, bid_qty, ask_qty, tick_size
FROM bars.quotes_1s q JOIN ops.instruments USING ({SERIES})
WHERE symbol = $symbol AND q.open_time >= $since::TIMESTAMP AND q.open_time < $until::TIMESTAMP
  AND bid_price IS NOT NULL AND bid_qty > 0 AND ask_qty > 0 AND tick_size > 0
ORDER BY {SERIES}, second
"""


def _compute(store: Store, start: datetime, end: datetime) -> int:
    store.ensure(QUOTES_1S, INSTRUMENTS, MICROPRICE)
    return sum(_day(store, day) for day in midnights_due(store, MICROPRICE, start, end))


def _day(store: Store, day: datetime) -> int:
    symbols = store.query("SELECT DISTINCT symbol FROM ops.instruments ORDER BY symbol")["symbol"].to_pylist()
    tables = [table for symbol in symbols for table in _of_symbol(store, symbol, day)]
    data = pa.concat_tables(tables) if tables else MICROPRICE.arrow_schema.empty_table()
    return store.write(MICROPRICE, data, at(day))


def _of_symbol(store: Store, symbol: str, day: datetime) -> Iterator[pa.Table]:
    """Its estimates, venue by venue; a symbol at a time, as a day of seconds of all is large."""
    rows = store.query(_QUOTES_SQL, {"symbol": symbol, "since": day - DAY, "until": day}, timeout_s=600)
    for identity, part in split_series(rows):
        if (table := _estimate(identity, day, part)) is not None:
            yield table


def _estimate(identity: Identity, day: datetime, rows: pa.Table) -> pa.Table | None:
    second, bid, ask, bid_qty, ask_qty, tick = (rows[name].to_numpy() for name in rows.column_names[3:])
    state = states(bid, ask, bid_qty, ask_qty, tick).astype(np.int64)
    mid = (bid + ask) / 2
    step = np.flatnonzero(np.diff(second) == 1)
    if len(step) < LEAST_STEPS:
        return None
    shift, seen = shifts(state[step], state[step + 1], (mid[step + 1] - mid[step]) / tick[step])
    known = np.flatnonzero(np.isfinite(shift))
    columns = {
        **{name: pa.array([part] * len(known)) for name, part in zip(_NAMES, identity, strict=True)},
        "valid_from": pa.array([day] * len(known), pa.timestamp("us")),
        "imbalance_bucket": pa.array(known // SPREADS),
        "spread_ticks": pa.array(known % SPREADS + 1),
        "shift_ticks": pa.array(shift[known]),
        "steps": pa.array(seen[known]),
    }
    return pa.table(columns)


_NAMES = tuple(column.name for column in IDENTITY)

LAYER = Layer(
    MICROPRICE,
    _compute,
    (QUOTES_1S.qualified, INSTRUMENTS.qualified),
    DAY,
    "bars",
    ("duckdb", "python"),
    every=DAY,
    lineage=dict.fromkeys(
        ("shift_ticks", "steps"),
        (
            *columns_of(QUOTES_1S.qualified, "bid_price", "ask_price", "bid_qty", "ask_qty"),
            *columns_of(INSTRUMENTS.qualified, "tick_size"),
        ),
    ),
)
