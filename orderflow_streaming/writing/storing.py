"""From staged rows to the stream tables: each row once, in one transaction with the journal's mark.

A row is a duplicate when its natural key came before, in the same flush or in the store. Only rows that are not
newer than everything seen of their series are looked up, in the time range they span. Candles are updated while
they form; a funding rate is stored when it changed; open interest is completed from marks and earlier rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import duckdb
import numpy as np
import pyarrow as pa

from orderflow_streaming.archive import continuous, manifest
from orderflow_streaming.recordings.journal import Position
from orderflow_streaming.schema import JOURNAL_MARK, OPERATIONS, STREAMS, Stream
from orderflow_streaming.store.engine import Engine, first_line
from orderflow_streaming.writing import rules
from orderflow_streaming.writing.gaps import Gap, gap_rows, sequence_gaps
from orderflow_streaming.writing.prepared import Prepared
from orderflow_streaming.writing.projection import staged
from orderflow_streaming.writing.series import (
    IDENTITY_NAMES,
    NOTHING_SEEN,
    SERIES,
    Identity,
    Ledger,
    Numbered,
    Series,
    first_of_each,
    hot,
    key_columns,
    listed,
    microseconds,
    quoted,
    same_key,
)

_ORDER = ("mark_prices", *(name for name in STREAMS if name != "mark_prices"))
"""Marks first: open interest of the same flush is valued with them."""
_ALSO_READ = {"candles": ("is_closed",), "funding_rates": ("funding_rate", "next_funding_time")}

COARSEST_CUT_US = 1_000
COARSEST_TIME_US = 1_000_000
"""The same trade may come with a time rounded to the millisecond, or cut to the second."""

_DISCARDED_ROWS = pa.schema([("row", pa.int64())])
_LATE_ROWS = _DISCARDED_ROWS.append(pa.field("position", pa.int64()))

Consecutive = Mapping[tuple[str, str], str]
"""Market and stream to the column whose values rise by one from row to row of a series."""


@dataclass(slots=True)
class Tally:
    """What one flush did for one stream of one market."""

    stored: int = 0
    updated: int = 0
    """States of a forming candle that another state followed, or that changed a stored one."""
    duplicates: int = 0
    unchanged: int = 0
    """Funding rates that had not changed."""
    lag_ms: tuple[float, float] | None = None
    """Median and 99th percentile of receive time minus event time."""


@dataclass(slots=True)
class Stored:
    """What one flush did, by market and stream, and the gaps it wrote down."""

    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Batch:
    """The staged rows of one stream, as far as it takes to tell which are new."""

    stream: Stream
    rows: pa.Table
    numbered: Numbered
    times: np.ndarray
    known: list[Series]
    tallies: list[Tally]

    @property
    def late(self) -> np.ndarray:
        """Mask of the rows that are not newer than everything seen of their series, and so may be stored already."""
        newest = np.array([series.last_time for series in self.known], np.int64)
        margin = COARSEST_CUT_US if self.stream.identifier else 0
        return self.times - margin <= newest[self.numbered.codes]

    def per_series(self, mask: np.ndarray) -> Iterator[tuple[int, Tally, int]]:
        """Number of a series, its tally, and how many rows of it the mask has."""
        counts = np.bincount(self.numbered.codes[mask], minlength=len(self.known))
        return ((code, self.tallies[code], count) for code, count in enumerate(counts.tolist()))


class SealedHourError(duckdb.DataError):
    """Rows reach back into an hour whose file is gone, so that nobody can say whether they are stored."""


class Storage:
    """Moves the staging tables of one connection into the stored ones. Not thread-safe.

    ``cursor`` is the connection the normalizer stages on; nobody else may use it.
    """

    def __init__(
        self,
        engine: Engine,
        cursor: duckdb.DuckDBPyConnection,
        consecutive: Consecutive,
        prepared: Prepared | None = None,
    ) -> None:
        """``prepared`` is the cursor's, where the normalizer uses it too."""
        engine.ensure(*OPERATIONS, SERIES)
        continuous.prepare(engine)
        self._engine, self._cursor = engine, cursor
        self._prepared = prepared or Prepared(cursor)
        self._prepared.put("late_rows", _LATE_ROWS.empty_table())
        self._prepared.put("discarded_rows", _DISCARDED_ROWS.empty_table())
        self._consecutive = consecutive
        self.ledger = Ledger()
        self.ledger.load(cursor)
        self._funding = rules.LastFunding()
        sealed = manifest.last_ids(cursor)
        self._last_ids = {
            name: max(
                cursor.execute(f"SELECT coalesce(max(id), 0) FROM {hot(name)}").fetchall()[0][0], sealed.get(name, 0)
            )
            for name in STREAMS
        }
        self._horizons: dict[str, int] | None = None

    def store(
        self,
        streams: Collection[str],
        mark: Position,
        *,
        quarantine: pa.Table | None = None,
        gaps: Sequence[Gap] = (),
        dry_run: bool = False,
    ) -> Stored:
        """Store what is staged of ``streams`` and move the mark: all of it, or nothing and the error.

        A dry run tells whether it would go through, and keeps nothing. Raises SealedHourError where rows reach back
        into hours whose file is gone.
        """
        cursor, stored, last_ids = self._cursor, Stored(gaps=list(gaps)), dict(self._last_ids)
        self._horizons = None
        cursor.execute("BEGIN")
        try:
            for name in _ORDER:
                if name in streams:
                    self._store_stream(STREAMS[name], stored)
            if quarantine is not None and quarantine.num_rows:
                self._insert("ops.quarantine", quarantine, unless="received_at market raw")
            if stored.gaps:
                self._insert("ops.gaps", gap_rows(stored.gaps, _now()))
            self.ledger.save(self._prepared)
            self._move(mark)
            cursor.execute("ROLLBACK" if dry_run else "COMMIT")
        except BaseException as error:
            self._roll_back(last_ids)
            if self._is_gone(error):
                raise SealedHourError(
                    f"the hour it belongs to is sealed and cannot be read: {first_line(error)}"
                ) from error
            raise
        if dry_run:
            self._roll_back(last_ids)
        else:
            self.ledger.committed()
            self._funding.committed()
        return stored

    def _roll_back(self, last_ids: dict[str, int]) -> None:
        self._last_ids = last_ids
        self.ledger.rolled_back()
        self._funding.rolled_back()
        self._prepared.rolled_back()
        with suppress(duckdb.TransactionException):
            self._cursor.execute("ROLLBACK")

    # -- one stream ------------------------------------------------------------------------------------

    def _store_stream(self, stream: Stream, stored: Stored) -> None:
        batch = self._read(stream, stored)
        if batch is None:
            return
        if stream.name == "candles":
            inserted = self._upsert(batch)
        else:
            keep = self._new(batch)
            self._discard(batch, ~keep)
            inserted = self._append(batch, keep)
            self._measure(batch, keep)
        self._remember(batch, inserted, stored)

    def _read(self, stream: Stream, stored: Stored) -> _Batch | None:
        names = dict.fromkeys((*IDENTITY_NAMES, stream.time, "received_at", *stream.key, *self._extra(stream.name)))
        rows = self._cursor.sql(f"SELECT rowid AS row, {listed(names)} FROM {staged(stream.name)}").to_arrow_table()
        if not rows.num_rows:
            return None
        numbered = Numbered.of(rows)
        known = [self.ledger.get(stream.name, identity) for identity in numbered.identities]
        tallies = [
            stored.tallies.setdefault((market_of(identity), stream.name), Tally()) for identity in numbered.identities
        ]
        return _Batch(stream, rows, numbered, microseconds(rows[stream.time]), known, tallies)

    def _extra(self, stream: str) -> Iterator[str]:
        yield from _ALSO_READ.get(stream, ())
        yield from (column for (_, name), column in self._consecutive.items() if name == stream)

    def _new(self, batch: _Batch) -> np.ndarray:
        """Mask of the rows to append: the first of each key that the store does not have, and changes of funding."""
        late = batch.late
        new = first_of_each(batch.numbered.codes, key_columns(batch.rows, batch.stream))
        new[self._already_stored(batch, new & late)] = False
        for _, tally, count in batch.per_series(~new):
            tally.duplicates += count
        if batch.stream.name == "funding_rates" and new.any():
            changed = new.copy()
            changed[new] = self._funding.changed(
                self._cursor,
                self._prepared,
                self._source(
                    "funding_rates", int(batch.times.min()) - rules.FUNDING_LOOKBACK_US, int(batch.times.max())
                ),
                batch.rows.filter(pa.array(new)),
                Numbered(batch.numbered.codes[new], batch.numbered.identities),
                batch.times[new],
                late[new],
            )
            for _, tally, count in batch.per_series(new & ~changed):
                tally.unchanged += count
            return changed
        return new

    def _already_stored(self, batch: _Batch, candidates: np.ndarray) -> np.ndarray:
        """Positions of the candidates whose key the store has."""
        asked = np.flatnonzero(candidates)
        if not len(asked):
            return asked
        stream = batch.stream
        margin = COARSEST_TIME_US if stream.identifier else 0
        first, last = int(batch.times[asked].min()) - margin, int(batch.times[asked].max()) + margin
        rows = batch.rows.select(["row"]).take(asked).append_column("position", pa.array(asked))
        self._prepared.put("late_rows", rows)
        source = self._source(stream.name, first, last)
        found = self._cursor.sql(
            f"SELECT position FROM late_rows l JOIN {staged(stream.name)} a ON a.rowid = l.row "
            f"WHERE EXISTS (SELECT 1 FROM {source} b WHERE {same_key(stream, 'a', 'b')} "
            f"AND b.{quoted(stream.time)} BETWEEN make_timestamp($first) AND make_timestamp($last))",
            params={"first": first, "last": last},
        ).to_arrow_table()
        return found["position"].to_numpy()

    def _source(self, stream: str, since: int, until: int) -> str:
        """What holds the rows of ``stream`` of a span in UTC microseconds, for SQL: the hot table, unless hours that
        end after the start of the span were dropped.

        The look is part of the transaction: what it is decided on is what the transaction sees. The span is spelled
        out, so that no file outside of it is opened.
        """
        if self._horizons is None:
            ends = manifest.horizons(self._cursor)
            self._horizons = {name: int(end.replace(tzinfo=UTC).timestamp()) * 1_000_000 for name, end in ends.items()}
        if since >= self._horizons.get(stream, NOTHING_SEEN):
            return hot(stream)
        time = quoted(STREAMS[stream].time)
        span = f"{time} BETWEEN make_timestamp({since}) AND make_timestamp({until})"
        return f"(SELECT * FROM {quoted(stream)} WHERE {span})"

    def _is_gone(self, error: BaseException) -> bool:
        """Whether the error is that a sealed file is not there; other errors of the archive may pass."""
        archive = self._engine.archive
        return archive is not None and isinstance(error, duckdb.IOException) and archive.root in str(error)

    def _discard(self, batch: _Batch, mask: np.ndarray) -> None:
        """Take rows out of the staging table."""
        if mask.any():
            self._prepared.put("discarded_rows", batch.rows.select(["row"]).filter(pa.array(mask)))
            self._prepared.execute(
                f"DELETE FROM {staged(batch.stream.name)} WHERE rowid IN (SELECT row FROM discarded_rows)"
            )

    def _append(self, batch: _Batch, new: np.ndarray) -> np.ndarray:
        """Insert what the staging table holds; rows inserted per series."""
        stream = batch.stream
        inserted = np.bincount(batch.numbered.codes[new], minlength=len(batch.known))
        if not inserted.any():
            return inserted
        names = listed(name for name in stream.table.names if name != "id")
        source = staged(stream.name)
        if stream.name == "open_interest":
            span = int(batch.times.min()) - rules.INTEREST_LOOKBACK_US, int(batch.times.max())
            source = f"({rules.open_interest(*(self._source(name, *span) for name in (stream.name, 'mark_prices')))})"
        self._cursor.execute(
            f"INSERT INTO {hot(stream.name)} (id, {names}) SELECT ? + row_number() OVER (), {names} FROM {source}",
            [self._last_ids[stream.name]],
        )
        for tally, count in zip(batch.tallies, inserted.tolist(), strict=True):
            tally.stored += count
        return inserted

    def _upsert(self, batch: _Batch) -> np.ndarray:
        """Insert new candles and update forming ones; rows inserted per series."""
        newest = rules.newest_candles(batch.rows, batch.numbered.codes, key_columns(batch.rows, batch.stream))
        self._discard(batch, ~newest)
        source = self._source("candles", int(batch.times.min()), int(batch.times.max()))
        if source != hot("candles") and (hours := rules.hours_of_changed_candles(self._cursor, source)):
            continuous.recall(self._engine, self._cursor, "candles", hours)
        updated = rules.update_candles(self._cursor) if batch.late.any() else []
        all_known = len(updated) == np.count_nonzero(newest)
        inserted = [] if all_known else rules.insert_candles(self._cursor, self._last_ids["candles"], source)
        if batch.rows["is_closed"].null_count:
            rules.close_candles(self._cursor, min((int(batch.times.min()), *self._bars_left_open(batch))))
        position = {identity: code for code, identity in enumerate(batch.numbered.identities)}
        counts = np.zeros((2, len(position)), np.int64)
        for kind, identities in enumerate((inserted, updated)):
            for identity in identities:
                counts[kind, position[identity]] += 1
        for (code, tally, bars), (_, _, states) in zip(
            batch.per_series(newest), batch.per_series(np.ones_like(newest)), strict=True
        ):
            repeated = bars - int(counts[:, code].sum())
            tally.stored += int(counts[0, code])
            tally.duplicates += repeated
            tally.updated += states - int(counts[0, code]) - repeated
        return counts[0]

    def _bars_left_open(self, batch: _Batch) -> list[int]:
        """Opening times of the bars that were the newest of their series, UTC microseconds."""
        return [series.last_time for series in batch.known if series.last_time != NOTHING_SEEN]

    def _measure(self, batch: _Batch, new: np.ndarray) -> None:
        """Lag between event and receipt, per market; rows asked for later tell nothing about it."""
        new = new & ~batch.late
        lags = (microseconds(batch.rows["received_at"]) - batch.times)[new] / 1000
        markets = np.array([market_of(identity) for identity in batch.numbered.identities])
        for market in np.unique(markets).tolist():
            own = markets == market
            of_market = lags if own.all() else lags[own[batch.numbered.codes[new]]]
            if len(of_market):
                median, high = np.percentile(of_market, (50, 99))
                batch.tallies[int(own.argmax())].lag_ms = float(median), float(high)

    def _remember(self, batch: _Batch, inserted: np.ndarray, stored: Stored) -> None:
        """Move what is known of each series, and write down the gaps in its numbers."""
        stream = batch.stream.name
        self._last_ids[stream] += int(inserted.sum())
        newest = np.array([series.last_time for series in batch.known], np.int64)
        np.maximum.at(newest, batch.numbered.codes, batch.times)
        highest = self._sequences(batch, stored)
        for code, identity in enumerate(batch.numbered.identities):
            known = batch.known[code]
            self.ledger.change(
                stream, identity, Series(int(newest[code]), int(highest[code]), known.rows + int(inserted[code]))
            )

    def _sequences(self, batch: _Batch, stored: Stored) -> np.ndarray:
        """Highest consecutive id per series; gaps on the way are added to ``stored``."""
        highest = np.array([series.last_sequence for series in batch.known], np.int64)
        for (market, stream), column in self._consecutive.items():
            of_market = np.array([market_of(identity) == market for identity in batch.numbered.identities])
            if stream == batch.stream.name and of_market.any():
                rows = np.flatnonzero(of_market[batch.numbered.codes])
                sequence = batch.rows[column].take(pa.array(rows)).combine_chunks().cast(pa.int64())
                there = sequence.is_valid().to_numpy(zero_copy_only=False)
                rows = rows[there]
                gaps, found = sequence_gaps(
                    stream,
                    batch.numbered.identities,
                    batch.numbered.codes[rows],
                    sequence.fill_null(NOTHING_SEEN).to_numpy()[there],
                    batch.times[rows],
                    batch.known,
                )
                stored.gaps += gaps
                highest = np.maximum(highest, found)
        return highest

    # -- beside the streams ----------------------------------------------------------------------------

    def _insert(self, table: str, rows: pa.Table, *, unless: str = "") -> None:
        """Add the rows; but not those that agree with a stored one in the columns ``unless``."""
        same = " AND ".join(f't."{name}" = r."{name}"' for name in unless.split())
        new = f"WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE {same})" if same else ""
        rows_of = f"rows_of_{table.replace('.', '_')}"
        self._prepared.put(rows_of, rows)
        self._prepared.execute(f"INSERT INTO {table} BY NAME SELECT * FROM {rows_of} r {new}")

    def _move(self, mark: Position) -> None:
        values = [mark.segment, mark.offset, _now()]
        changed = self._cursor.execute(
            'UPDATE ops.journal_mark SET segment = ?, "offset" = ?, moved_at = ? RETURNING segment', values
        ).fetchall()
        if not changed:
            self._cursor.execute("INSERT INTO ops.journal_mark VALUES (?, ?, ?)", values)


def stored_mark(engine: Engine) -> Position:
    """How far the journal is stored; the beginning in a new store."""
    engine.ensure(JOURNAL_MARK)
    cursor = engine.cursor()
    try:
        rows = cursor.execute('SELECT segment, "offset" FROM ops.journal_mark').fetchall()
    finally:
        cursor.close()
    return Position(*rows[0]) if rows else Position(0, 0)


def market_of(identity: Identity) -> str:
    return f"{identity[1]}_{identity[2]}"


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
