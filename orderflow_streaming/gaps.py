"""Holes in numbered rows: where consecutive ids jump, the rows between are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from orderflow_streaming.schema import GAPS
from orderflow_streaming.series import NOTHING_SEEN, Identity, Series

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
        },
        schema=GAPS.arrow_schema,
    )
