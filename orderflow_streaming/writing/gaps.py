"""Holes in what is stored: found where consecutive ids jump, written down, and settled once they are asked for again.

A gap in ``ops.gaps`` is *filled* when the venue gave all of it again, *given up* when it is settled that it does not,
and *pending* before that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import numpy as np
import pyarrow as pa

from orderflow_streaming.markets import Market
from orderflow_streaming.schema import GAPS
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.writing.series import IDENTITY_NAMES, NOTHING_SEEN, Identity, Series, listed

SEQUENCE_JUMP = "sequence jump"
DISCONNECTION = "disconnection"
OVERFLOW = "overflow"


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch the rows of a series do not cover; times in UTC microseconds, of the rows around it.

    The times of a disconnection and of an overflow are receive times.
    """

    stream: str
    identity: Identity
    started_at: int | None
    ended_at: int
    reason: str
    first_missing: int | None = None
    last_missing: int | None = None


class State(StrEnum):
    PENDING = "pending"
    FILLED = "filled"
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of asking for a gap again. ``rows`` is None where nothing was asked for."""

    gap: Gap
    state: State
    reason: str = ""
    rows: int | None = None


def sequence_gaps(
    stream: str,
    identities: Sequence[Identity],
    codes: np.ndarray,
    sequence: np.ndarray,
    times: np.ndarray,
    known: Sequence[Series],
) -> tuple[list[Gap], np.ndarray]:
    """Gaps between consecutive ids, and the highest id per series.

    ``codes`` number the series of each row, ``known`` is what was seen of each before. Ids at or below the highest
    known one are late or repeated and open no gap; the first id of a series opens none either.
    """
    highest = np.array([series.last_sequence for series in known], np.int64)
    before = np.array([series.last_time for series in known], np.int64)
    new = sequence > highest[codes]
    codes, sequence, times = codes[new], sequence[new], times[new]
    if not len(codes):
        return [], highest
    order = np.lexsort((sequence, codes))
    codes, sequence, times = codes[order], sequence[order], times[order]
    first = np.append(True, codes[1:] != codes[:-1])
    previous = np.where(first, highest[codes], np.append(NOTHING_SEEN, sequence[:-1]))
    previous_time = np.where(first, before[codes], np.append(NOTHING_SEEN, times[:-1]))
    jumps = (previous != NOTHING_SEEN) & (sequence > previous + 1)
    gaps = [
        Gap(
            stream,
            identities[codes[row]],
            int(previous_time[row]) if previous_time[row] != NOTHING_SEEN else None,
            int(times[row]),
            SEQUENCE_JUMP,
            int(previous[row]) + 1,
            int(sequence[row]) - 1,
        )
        for row in np.flatnonzero(jumps).tolist()
    ]
    last = np.append(codes[1:] != codes[:-1], True)
    highest[codes[last]] = sequence[last]
    return gaps, highest


def gap_rows(gaps: Sequence[Gap], detected_at: datetime) -> pa.Table:
    """Rows of ``ops.gaps``; ``detected_at`` is naive UTC."""
    return pa.table(
        {
            "detected_at": pa.array([detected_at] * len(gaps), pa.timestamp("us")),
            "symbol": [gap.identity[0] for gap in gaps],
            "exchange": [gap.identity[1] for gap in gaps],
            "market_type": [gap.identity[2] for gap in gaps],
            "stream": [gap.stream for gap in gaps],
            "started_at": pa.array([gap.started_at for gap in gaps], pa.timestamp("us")),
            "ended_at": pa.array([gap.ended_at for gap in gaps], pa.timestamp("us")),
            "first_missing": [None if gap.first_missing is None else str(gap.first_missing) for gap in gaps],
            "last_missing": [None if gap.last_missing is None else str(gap.last_missing) for gap in gaps],
            "reason": [gap.reason for gap in gaps],
            **{name: [None] * len(gaps) for name in _OUTCOME},
        },
        schema=GAPS.arrow_schema,
    )


_OUTCOME = ("filled_at", "filled_rows", "fill_reason", "given_up_at")
_DETECTED = ("stream", *IDENTITY_NAMES, "started_at", "ended_at", "first_missing", "reason")
"""What a gap is told by; an older database may hold one twice, and then both are settled."""


def unfilled(engine: Engine, market: Market, *, given_up: bool = False) -> list[Gap]:
    """Gaps of the market that are pending, oldest first; with those that were given up where they are wanted."""
    cursor = engine.cursor()
    try:
        rows = cursor.execute(
            f"SELECT DISTINCT stream, {listed(IDENTITY_NAMES)}, epoch_us(started_at), epoch_us(ended_at), reason, "
            "TRY_CAST(first_missing AS BIGINT), TRY_CAST(last_missing AS BIGINT) FROM ops.gaps WHERE filled_at IS NULL "
            f"{'' if given_up else 'AND given_up_at IS NULL'} AND exchange = ? AND market_type = ? ORDER BY ALL",
            [market.exchange, market.market_type],
        ).fetchall()
    finally:
        cursor.close()
    return [Gap(stream, (symbol, exchange, kind), *rest) for stream, symbol, exchange, kind, *rest in rows]


def settle(engine: Engine, settled: Sequence[Settled]) -> None:
    """Write down what came of the gaps."""
    if not settled:
        return
    now = datetime.now(UTC).replace(tzinfo=None)

    def when(state: State) -> pa.Array:
        return pa.array([now if one.state is state else None for one in settled], pa.timestamp("us"))

    outcomes = {
        "filled_at": when(State.FILLED),
        "filled_rows": pa.array([one.rows for one in settled], pa.int64()),
        "fill_reason": pa.array([one.reason or None for one in settled], pa.string()),
        "given_up_at": when(State.GIVEN_UP),
    }
    rows = gap_rows([one.gap for one in settled], now).select([*_DETECTED])
    for name, values in outcomes.items():
        rows = rows.append_column(name, values)
    same = " AND ".join(f'g."{name}" IS NOT DISTINCT FROM s."{name}"' for name in _DETECTED)
    with engine.transaction() as cursor:
        cursor.register("settled_gaps", rows)
        cursor.execute(
            f"UPDATE ops.gaps g SET {', '.join(f'{name} = s.{name}' for name in _OUTCOME)} FROM settled_gaps s "
            f"WHERE {same} AND g.filled_at IS NULL"
        )


def open_gaps(engine: Engine, market: Market) -> dict[str, int]:
    """Gaps that are not filled, by stream."""
    cursor = engine.cursor()
    try:
        return dict(
            cursor.execute(
                "SELECT stream, count(*) FROM ops.gaps WHERE filled_at IS NULL AND exchange = ? AND market_type = ? "
                "GROUP BY stream",
                [market.exchange, market.market_type],
            ).fetchall()
        )
    finally:
        cursor.close()
