"""Streams whose rows are more than appended: candles, funding rates and open interest."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa

from orderflow_streaming.projection import staged
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.series import (
    IDENTITY_NAMES,
    NOTHING_SEEN,
    Identity,
    Numbered,
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

_IDENTITY = listed(IDENTITY_NAMES)
_SAME_SERIES = " AND ".join(f'a."{name}" = b."{name}"' for name in IDENTITY_NAMES)

# -- candles ------------------------------------------------------------------------------------------------

_CANDLE_KEY = STREAMS["candles"].table.key
_SAME_CANDLE = " AND ".join(f'a."{name}" = b."{name}"' for name in _CANDLE_KEY)
_CANDLE_VALUES = tuple(name for name in STREAMS["candles"].table.names if name not in ("id", *_CANDLE_KEY))
_IN_RANGE = (
    "a.open_time >= (SELECT min(open_time) FROM staged_candles) "
    "AND a.open_time <= (SELECT max(open_time) FROM staged_candles)"
)
_UPDATE_CANDLES = (
    f"UPDATE candles a SET {', '.join(f'{quoted(name)} = b.{quoted(name)}' for name in _CANDLE_VALUES)} "
    f"FROM staged_candles b WHERE {_SAME_CANDLE} AND {_IN_RANGE} "
    "AND a.is_closed IS NOT TRUE AND a.received_at <= b.received_at "
    f"RETURNING {', '.join(f'a.{quoted(name)}' for name in IDENTITY_NAMES)}"
)
_INSERT_CANDLES = (
    f"INSERT INTO candles (id, {listed((*_CANDLE_KEY, *_CANDLE_VALUES))}) "
    f"SELECT ? + row_number() OVER (), {listed((*_CANDLE_KEY, *_CANDLE_VALUES))} FROM staged_candles b "
    f"WHERE NOT EXISTS (SELECT 1 FROM candles a WHERE {_SAME_CANDLE} AND {_IN_RANGE}) "
    f"RETURNING {listed(IDENTITY_NAMES)}"
)


def newest_candles(rows: pa.Table, codes: np.ndarray, key: Sequence[np.ndarray]) -> np.ndarray:
    """Mask of one row per bar: the closed one, else the one received last."""
    closed = rows["is_closed"].combine_chunks().fill_null(False).to_numpy(zero_copy_only=False)
    return last_of_each(codes, key, [closed, microseconds(rows["received_at"])])


def update_candles(cursor: duckdb.DuckDBPyConnection) -> list[Identity]:
    """Bring stored bars to the staged state; the series of each bar it was done for.

    A bar that is closed stays as it is, and so does one that was received later.
    """
    return cursor.execute(_UPDATE_CANDLES).fetchall()


def insert_candles(cursor: duckdb.DuckDBPyConnection, last_id: int) -> list[Identity]:
    """Store the staged bars that are not stored yet; the series of each."""
    return cursor.execute(_INSERT_CANDLES, [last_id]).fetchall()


# -- open interest ------------------------------------------------------------------------------------------

OPEN_INTEREST = f"""
WITH span AS (SELECT min("timestamp") AS first, max("timestamp") AS last FROM {staged("open_interest")}),
earlier AS (
    SELECT {_IDENTITY}, "timestamp", open_interest FROM open_interest
    WHERE "timestamp" BETWEEN (SELECT first - INTERVAL {3600 + HOUR_TOLERANCE_S} SECOND FROM span)
        AND (SELECT last - INTERVAL 1 HOUR FROM span)
    UNION ALL SELECT {_IDENTITY}, "timestamp", open_interest FROM {staged("open_interest")}
),
marks AS (
    SELECT {_IDENTITY}, "timestamp", mark_price FROM mark_prices
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
"""The staged rows with their value at the mark price known then, and the change against an hour before."""

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
        rows: pa.Table,
        numbered: Numbered,
        times: np.ndarray,
        late: np.ndarray,
    ) -> np.ndarray:
        """Mask of the rows whose rate or settlement differs from what held just before them.

        What held before is the row before in ``rows`` or the last one stored, whichever is newer; the store is
        asked only for rows that are ``late`` and for series not met since the start.
        """
        codes, identities = numbered.codes, numbered.identities
        rates = rows["funding_rate"].combine_chunks().to_numpy()
        settlements = rows["next_funding_time"].combine_chunks().cast(pa.int64()).fill_null(NOTHING_SEEN).to_numpy()
        own = times, rates, settlements
        before = self._known_before(codes, identities)
        asked = np.flatnonzero(late | np.array([identity not in self._known for identity in identities])[codes])
        if len(asked):
            for array, found in zip(before, self._stored_before(cursor, rows.take(asked)), strict=True):
                array[asked] = found
        order = np.lexsort((times, codes))
        follows = np.append(False, codes[order][1:] == codes[order][:-1])
        newer = order[follows & (np.roll(times[order], 1) >= before[0][order])]
        previous = np.empty_like(order)
        previous[order] = np.roll(order, 1)
        for array, values in zip(before, own, strict=True):
            array[newer] = values[previous[newer]]
        last = order[np.append(codes[order][1:] != codes[order][:-1], True)]
        for row in last[~late[last]].tolist():
            self._changed[identities[codes[row]]] = int(times[row]), float(rates[row]), int(settlements[row])
        return (before[0] == NOTHING_SEEN) | (before[1] != rates) | (before[2] != settlements)

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

    def _stored_before(self, cursor: duckdb.DuckDBPyConnection, rows: pa.Table) -> tuple[np.ndarray, ...]:
        """Time, rate and settlement stored last at or before each row, within the lookback."""
        numbers = pa.array(np.arange(rows.num_rows))
        cursor.register("asked_funding", rows.append_column("number", numbers))
        try:
            found = cursor.sql(
                f"""
                SELECT coalesce(epoch_us(b."timestamp"), {NOTHING_SEEN}), coalesce(b.funding_rate, 'nan'),
                    coalesce(epoch_us(b.next_funding_time), {NOTHING_SEEN})
                FROM asked_funding a ASOF LEFT JOIN (
                    SELECT {_IDENTITY}, "timestamp", funding_rate, next_funding_time FROM funding_rates
                    WHERE "timestamp" BETWEEN
                        (SELECT min("timestamp") - INTERVAL {FUNDING_LOOKBACK_H} HOUR FROM asked_funding)
                        AND (SELECT max("timestamp") FROM asked_funding)
                ) b ON {_SAME_SERIES} AND a."timestamp" >= b."timestamp"
                ORDER BY a.number
                """
            ).to_arrow_table()
        finally:
            cursor.unregister("asked_funding")
        return tuple(column.combine_chunks().to_numpy(zero_copy_only=False) for column in found.columns)
