"""Streams whose rows are more than appended: candles, funding rates and open interest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa

from orderflow_streaming.schema import STREAMS
from orderflow_streaming.writing.prepared import Prepared
from orderflow_streaming.writing.projection import staged
from orderflow_streaming.writing.series import (
    IDENTITY_NAMES,
    NOTHING_SEEN,
    Identity,
    Numbered,
    hot,
    last_of_each,
    listed,
    microseconds,
    quoted,
)

MARK_TOLERANCE_S = 60
"""A mark price older than this does not value an open interest."""
HOUR_TOLERANCE_S = 300
"""The change over an hour compares with the last value that is an hour old, and at most this much more."""
FUNDING_LOOKBACK_H = 24
"""An unchanged funding rate is stored again when the last stored one is older than this."""
FUNDING_LOOKBACK_US = FUNDING_LOOKBACK_H * 3_600_000_000

_IDENTITY = listed(IDENTITY_NAMES)
_SAME_SERIES = " AND ".join(f'a."{name}" = b."{name}"' for name in IDENTITY_NAMES)

# -- candles ------------------------------------------------------------------------------------------------

_CANDLE_KEY = STREAMS["candles"].table.key
_SAME_CANDLE = " AND ".join(f'a."{name}" = b."{name}"' for name in _CANDLE_KEY)
_CANDLE_VALUES = tuple(name for name in STREAMS["candles"].table.names if name not in ("id", *_CANDLE_KEY))
_CANDLE_FIGURES = tuple(name for name in _CANDLE_VALUES if name not in ("received_at", "source_seq", "is_closed"))
_BAR = tuple(name for name in _CANDLE_KEY if name != "open_time")
_IN_RANGE = (
    "a.open_time >= (SELECT min(open_time) FROM staged_candles) "
    "AND a.open_time <= (SELECT max(open_time) FROM staged_candles)"
)
_CONTRADICTED = " OR ".join(f"a.{quoted(name)} <> b.{quoted(name)}" for name in _CANDLE_FIGURES)
_COMPLETED = " OR ".join(f"(a.{quoted(name)} IS NULL AND b.{quoted(name)} IS NOT NULL)" for name in _CANDLE_FIGURES)
_IS_NEWER_STATE = "(b.is_closed IS TRUE OR a.received_at <= b.received_at)"
_IS_CORRECTION = (
    "a.received_at < b.received_at AND (b.is_closed IS TRUE OR (b.is_closed IS NULL AND b.volume >= a.volume)) "
    f"AND ({_CONTRADICTED} OR {_COMPLETED})"
)
_IS_CHANGE = f"CASE WHEN a.is_closed THEN {_IS_CORRECTION} ELSE {_IS_NEWER_STATE} END"
_UPDATE_CANDLES = (
    f"UPDATE {hot('candles')} a SET is_closed = CASE WHEN a.is_closed THEN true ELSE b.is_closed END, "
    + ", ".join(
        f"{quoted(name)} = CASE WHEN a.is_closed IS NOT TRUE OR {_CONTRADICTED} THEN b.{quoted(name)} "
        f"ELSE coalesce(b.{quoted(name)}, a.{quoted(name)}) END"
        for name in _CANDLE_VALUES
        if name != "is_closed"
    )
    + f" FROM staged_candles b WHERE {_SAME_CANDLE} AND {_IN_RANGE} "
    f"AND {_IS_CHANGE} RETURNING {', '.join(f'a.{quoted(name)}' for name in IDENTITY_NAMES)}"
)
_INSERT_CANDLES = (
    f"INSERT INTO {hot('candles')} (id, {listed((*_CANDLE_KEY, *_CANDLE_VALUES))}) "
    f"SELECT ? + row_number() OVER (), {listed((*_CANDLE_KEY, *_CANDLE_VALUES))} FROM staged_candles b "
    f"WHERE NOT EXISTS (SELECT 1 FROM {{source}} a WHERE {_SAME_CANDLE} AND {_IN_RANGE}) "
    f"RETURNING {listed(IDENTITY_NAMES)}"
)
_CLOSE_CANDLES = (
    f"UPDATE {hot('candles')} a SET is_closed = true FROM ("
    f"SELECT {listed(_BAR)}, max(open_time) AS newest FROM {hot('candles')} WHERE open_time >= make_timestamp($since) "
    f"GROUP BY {listed(_BAR)}) b WHERE {' AND '.join(f'a.{quoted(name)} = b.{quoted(name)}' for name in _BAR)} "
    "AND a.is_closed IS NULL AND a.open_time >= make_timestamp($since) AND a.open_time < b.newest"
)


def newest_candles(rows: pa.Table, codes: np.ndarray, key: Sequence[np.ndarray]) -> np.ndarray:
    """Mask of one row per bar: the closed one, else the one received last."""
    closed = rows["is_closed"].combine_chunks().fill_null(False).to_numpy(zero_copy_only=False)
    return last_of_each(codes, key, [closed, microseconds(rows["received_at"])])


def update_candles(cursor: duckdb.DuckDBPyConnection) -> list[Identity]:
    """Bring stored bars to the staged state; the series of each bar it was done for.

    An open bar takes the state received last, or the closed one. A closed bar takes only a correction: what the venue
    says later of a closed bar and says otherwise, or, of a venue that does not tell whether a bar is closed, what it
    says later and with no less volume. Where a correction contradicts nothing, what it leaves out is kept.
    """
    return cursor.execute(_UPDATE_CANDLES).fetchall()


def insert_candles(cursor: duckdb.DuckDBPyConnection, last_id: int, source: str) -> list[Identity]:
    """Store the staged bars that ``source`` does not have yet; the series of each."""
    return cursor.execute(_INSERT_CANDLES.format(source=source), [last_id]).fetchall()


def hours_of_changed_candles(cursor: duckdb.DuckDBPyConnection, source: str) -> list[datetime]:
    """Hours of the bars in ``source`` that :func:`update_candles` would change."""
    sql = (
        f"SELECT DISTINCT date_trunc('hour', a.open_time) FROM {source} a JOIN staged_candles b ON {_SAME_CANDLE} "
        f"WHERE {_IN_RANGE} AND {_IS_CHANGE}"
    )
    return [hour for (hour,) in cursor.execute(sql).fetchall()]


def close_candles(cursor: duckdb.DuckDBPyConnection, since_us: int) -> None:
    """Close the bars from ``since_us`` on of which the venue does not say whether they are, and that a later bar of
    the same series follows."""
    cursor.execute(_CLOSE_CANDLES, {"since": since_us})


# -- open interest ------------------------------------------------------------------------------------------

INTEREST_LOOKBACK_US = (3600 + HOUR_TOLERANCE_S) * 1_000_000


def open_interest(earlier: str, marks: str) -> str:
    """SQL of the staged rows with their value at the mark price known then, and the change against an hour before.

    ``earlier`` and ``marks`` are the tables that hold open interest and mark prices of the time needed.
    """
    return _OPEN_INTEREST.format(earlier=earlier, marks=marks)


_OPEN_INTEREST = f"""
WITH span AS (SELECT min("timestamp") AS first, max("timestamp") AS last FROM {staged("open_interest")}),
earlier AS (
    SELECT {_IDENTITY}, "timestamp", open_interest FROM {{earlier}}
    WHERE "timestamp" BETWEEN (SELECT first - INTERVAL {3600 + HOUR_TOLERANCE_S} SECOND FROM span)
        AND (SELECT last - INTERVAL 1 HOUR FROM span)
    UNION ALL SELECT {_IDENTITY}, "timestamp", open_interest FROM {staged("open_interest")}
),
marks AS (
    SELECT {_IDENTITY}, "timestamp", mark_price FROM {{marks}}
    WHERE "timestamp" BETWEEN (SELECT first - INTERVAL {MARK_TOLERANCE_S} SECOND FROM span) AND (SELECT last FROM span)
),
valued AS (
    SELECT a.*, CASE WHEN b."timestamp" >= a."timestamp" - INTERVAL {MARK_TOLERANCE_S} SECOND
        THEN b.mark_price END AS mark
    FROM {staged("open_interest")} a
    ASOF LEFT JOIN marks b ON {_SAME_SERIES} AND a."timestamp" >= b."timestamp"
),
compared AS (
    SELECT a.*, CASE WHEN b."timestamp" >= a."timestamp" - INTERVAL {3600 + HOUR_TOLERANCE_S} SECOND
        THEN b.open_interest END AS hour_ago
    FROM valued a
    ASOF LEFT JOIN earlier b ON {_SAME_SERIES} AND a."timestamp" - INTERVAL 1 HOUR >= b."timestamp"
)
SELECT * EXCLUDE (mark, hour_ago) REPLACE (
    coalesce(open_interest_usd, open_interest * mark) AS open_interest_usd,
    open_interest - hour_ago AS oi_change_1h,
    (open_interest - hour_ago) / nullif(hour_ago, 0) * 100 AS oi_change_pct_1h
) FROM compared ORDER BY frame, item
"""

# -- funding rates ------------------------------------------------------------------------------------------

_Value = tuple[int, float, int]
"""Event time, rate and next settlement; times in microseconds, NOTHING_SEEN where there is none."""


class LastFunding:
    """The newest funding rate of each series, so that only changes are stored."""

    def __init__(self) -> None:
        self._known: dict[Identity, _Value] = {}
        self._changed: dict[Identity, _Value] = {}

    def changed(
        self,
        cursor: duckdb.DuckDBPyConnection,
        prepared: Prepared,
        source: str,
        rows: pa.Table,
        numbered: Numbered,
        times: np.ndarray,
        late: np.ndarray,
    ) -> np.ndarray:
        """Mask of the rows whose rate or settlement differs from what held just before them.

        A row that names no settlement says nothing about it: the one that was named last holds on.
        What held before is the row before in ``rows`` or the last one stored, whichever is newer; the store is
        asked only for rows that are ``late`` and for series not met since the start.
        """
        codes, identities = numbered.codes, numbered.identities
        rates = rows["funding_rate"].combine_chunks().to_numpy()
        settlements = rows["next_funding_time"].combine_chunks().cast(pa.int64()).fill_null(NOTHING_SEEN).to_numpy()
        before = self._known_before(codes, identities)
        asked = np.flatnonzero(late | np.array([identity not in self._known for identity in identities])[codes])
        if len(asked):
            for array, found in zip(
                before, self._stored_before(cursor, prepared, source, rows.take(asked)), strict=True
            ):
                array[asked] = found
        order = np.lexsort((times, codes))
        follows = np.append(False, codes[order][1:] == codes[order][:-1])
        follows &= np.roll(times[order], 1) >= before[0][order]
        settlements_known = np.empty_like(settlements)
        settlements_known[order] = _carried(settlements[order], before[2][order], follows)
        newer = order[follows]
        previous = np.empty_like(order)
        previous[order] = np.roll(order, 1)
        for array, values in zip(before, (times, rates, settlements_known), strict=True):
            array[newer] = values[previous[newer]]
        last = order[np.append(codes[order][1:] != codes[order][:-1], True)]
        for row in last[~late[last]].tolist():
            self._changed[identities[codes[row]]] = int(times[row]), float(rates[row]), int(settlements_known[row])
        told = settlements != NOTHING_SEEN
        return (before[0] == NOTHING_SEEN) | (before[1] != rates) | (told & (before[2] != settlements))

    def _known_before(self, codes: np.ndarray, identities: Sequence[Identity]) -> tuple[np.ndarray, ...]:
        """Time, rate and settlement known of the series of each row."""
        nothing = (NOTHING_SEEN, np.nan, NOTHING_SEEN)
        known = [self._known.get(identity, nothing) for identity in identities]
        return tuple(np.array(values)[codes] for values in zip(*known, strict=True))

    def committed(self) -> None:
        self._known |= self._changed
        self._changed = {}

    def rolled_back(self) -> None:
        self._changed = {}

    def _stored_before(
        self, cursor: duckdb.DuckDBPyConnection, prepared: Prepared, source: str, rows: pa.Table
    ) -> tuple[np.ndarray, ...]:
        """Time, rate and settlement stored last at or before each row, within the lookback."""
        numbers = pa.array(np.arange(rows.num_rows))
        prepared.put("asked_funding", rows.append_column("number", numbers))
        found = cursor.sql(
            f"""
            SELECT coalesce(epoch_us(b."timestamp"), {NOTHING_SEEN}), coalesce(b.funding_rate, 'nan'),
                coalesce(epoch_us(b.next_funding_time), {NOTHING_SEEN})
            FROM asked_funding a ASOF LEFT JOIN (
                SELECT {_IDENTITY}, "timestamp", funding_rate, last_value(next_funding_time IGNORE NULLS) OVER (
                    PARTITION BY {_IDENTITY} ORDER BY "timestamp" ROWS UNBOUNDED PRECEDING
                ) AS next_funding_time
                FROM {source}
                WHERE "timestamp" BETWEEN
                    (SELECT min("timestamp") - INTERVAL {FUNDING_LOOKBACK_H} HOUR FROM asked_funding)
                    AND (SELECT max("timestamp") FROM asked_funding)
            ) b ON {_SAME_SERIES} AND a."timestamp" >= b."timestamp"
            ORDER BY a.number
            """
        ).to_arrow_table()
        return tuple(column.combine_chunks().to_numpy(zero_copy_only=False) for column in found.columns)


def _carried(values: np.ndarray, before: np.ndarray, follows: np.ndarray) -> np.ndarray:
    """``values`` with each NOTHING_SEEN replaced by the value of the row before where one ``follows`` it, else by what
    was known ``before``."""
    known = np.where(values == NOTHING_SEEN, before, values)
    source = np.where(follows & (values == NOTHING_SEEN), 0, np.arange(len(values)))
    return known[np.maximum.accumulate(source)]
