"""Fills the past over REST: in chunks, each written down in ``ops.backfills`` once its rows are stored.

A chunk that is written down is not asked for again, so that an order that was cut off goes on where it was, and one
given twice does nothing the second time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from orderflow_streaming import markets
from orderflow_streaming.markets import Market
from orderflow_streaming.past.backfill_order import Chunk, Order, chunks, text
from orderflow_streaming.past.fetching import Fetched, Fetcher
from orderflow_streaming.past.refill import outcome, stored_rows
from orderflow_streaming.reading.instruments import refresh, stored_symbols
from orderflow_streaming.reading.rest import RestError
from orderflow_streaming.schema import BACKFILLS
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.writing.gaps import settle, unfilled

log = logging.getLogger(__name__)

FRAMES_AT_ONCE = 50
SECONDS_AT_ONCE = 5.0
"""Chunks are stored together until there are so many frames or so much time has passed."""
MOST_REMARKS = 5
FAILURES_IN_A_ROW = 3
"""After these a market is left alone."""


@dataclass(slots=True)
class Part:
    """How far one stream of one market is; the first ``remarks`` say what the venue does not offer, or why
    it failed."""

    market: str
    stream: str
    chunks: int = 0
    done: int = 0
    known: int = 0
    """Written down before."""
    failed: int = 0
    rows: int = 0
    requests: int = 0
    remarks: list[str] = field(default_factory=list)

    def remark(self, text: str) -> None:
        if text not in self.remarks and len(self.remarks) < MOST_REMARKS:
            self.remarks.append(text)


class Backfill:
    """Carries out one order on an event loop; what it says of itself may be read from any thread."""

    def __init__(
        self,
        order: Order,
        fetchers: Mapping[str, Fetcher],
        engine: Engine,
        stored: Callable[[], Awaitable[bool]],
    ) -> None:
        """``stored`` has everything read so far stored and says whether it did."""
        self.order = order
        self._fetchers, self._engine, self._stored = fetchers, engine, stored
        self._parts = {
            (market, stream): Part(market, stream)
            for market in order.markets
            for stream in order.streams
            if stream in markets.MARKETS[market].streams
        }
        self._now: dict[str, str] = {}
        self.state = "running"

    def progress(self) -> dict[str, Any]:
        """Plain JSON values: ``state``, totals, and a row per market and stream."""
        parts = list(self._parts.values())
        totals = {
            name: sum(getattr(part, name) for part in parts)
            for name in ("chunks", "done", "known", "failed", "rows", "requests")
        }
        names = ("market", "stream", *totals, "remarks")
        return {
            "state": self.state,
            "from": text(self.order.start_us),
            "to": text(self.order.end_us),
            **totals,
            "now": list(self._now.values()),
            "parts": [{name: getattr(part, name) for name in names} for part in parts],
        }

    async def run(self) -> None:
        """Fill all markets side by side, each one request at a time. An unforeseen error is logged and ends it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for market in self._fetchers:
                    tasks.create_task(self._fill_market(market))
            await asyncio.to_thread(self._settle_gaps)
        except asyncio.CancelledError:
            self.state = "stopped"
            raise
        except Exception:
            self.state = "failed"
            log.exception("the backfill ended by an error")
            return
        self.state = "failed" if any(part.failed for part in self._parts.values()) else "done"

    async def _fill_market(self, name: str) -> None:
        fetcher = self._fetchers[name]
        try:
            if not await asyncio.to_thread(stored_symbols, self._engine, fetcher.exchange):
                await refresh(fetcher.exchange, fetcher.client, self._engine)
        except RestError as error:
            for chunk in self._planned(name, self.order.symbols):
                self._failed(chunk, f"the instruments could not be asked for: {error}")
            return
        listed = await asyncio.to_thread(stored_symbols, self._engine, fetcher.exchange)
        await self._fill(name, await asyncio.to_thread(self._planned, name, listed))

    def _of(self, market: str) -> list[Part]:
        return [part for part in self._parts.values() if part.market == market]

    # -- planning --------------------------------------------------------------------------------------

    def _planned(self, name: str, listed: Collection[str]) -> list[Chunk]:
        """What is to be asked of a market: what it offers and lists, and is not written down."""
        exchange = self._fetchers[name].exchange
        finished = {} if self.order.again else self._finished(exchange.market)
        found = []
        for part in self._of(name):
            if part.stream not in exchange.histories:
                part.remark(f"{name} does not give {part.stream} again")
                continue
            for chunk in chunks(self.order, exchange.market, part.stream):
                if chunk.symbol not in listed:
                    part.remark(f"{name} does not list {chunk.symbol}")
                    continue
                part.chunks += 1
                spans = finished.get((chunk.symbol, chunk.stream), ())
                if any(start <= chunk.start_us and chunk.end_us <= end for start, end in spans):
                    part.known += 1
                else:
                    found.append(chunk)
        return found

    def _finished(self, market: Market) -> dict[tuple[str, str], list[tuple[int, int]]]:
        """Spans written down as complete, by symbol and stream, those that touch as one."""
        cursor = self._engine.cursor()
        try:
            rows = cursor.execute(
                "SELECT symbol, stream, epoch_us(started_at), epoch_us(ended_at) FROM ops.backfills "
                "WHERE missing IS NULL AND exchange = ? AND market_type = ? ORDER BY started_at",
                [market.exchange, market.market_type],
            ).fetchall()
        finally:
            cursor.close()
        spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for symbol, stream, start, end in rows:
            own = spans.setdefault((symbol, stream), [])
            if own and start <= own[-1][1]:
                own[-1] = own[-1][0], max(own[-1][1], end)
            else:
                own.append((start, end))
        return spans

    # -- filling ---------------------------------------------------------------------------------------

    async def _fill(self, name: str, planned: Sequence[Chunk]) -> None:
        fetcher = self._fetchers[name]
        waiting: list[tuple[Chunk, Fetched]] = []
        frames, since, failures = 0, time.monotonic(), 0
        for number, chunk in enumerate(planned):
            self._now[name] = str(chunk)
            try:
                fetched = await fetcher.span(chunk.stream, chunk.symbol, chunk.start_us, chunk.end_us)
            except RestError as error:
                failures += 1
                self._failed(chunk, str(error))
                if failures == FAILURES_IN_A_ROW:
                    for left in planned[number + 1 :]:
                        self._failed(left, f"left alone after {failures} failures in a row: {error}")
                    break
                continue
            failures = 0
            waiting.append((chunk, fetched))
            frames += len(fetched.received)
            if frames >= FRAMES_AT_ONCE or time.monotonic() - since >= SECONDS_AT_ONCE:
                await self._finish(waiting)
                waiting, frames, since = [], 0, time.monotonic()
        await self._finish(waiting)
        self._now.pop(name, None)

    def _failed(self, chunk: Chunk, reason: str) -> None:
        part = self._parts[chunk.market.name, chunk.stream]
        part.failed += 1
        part.remark(reason)

    async def _finish(self, fetched: Sequence[tuple[Chunk, Fetched]]) -> None:
        """Have the chunks stored, and write them down."""
        if not fetched:
            return
        if not await self._stored():
            for chunk, _ in fetched:
                self._failed(chunk, "the store did not take the rows in time")
            return
        rows = await asyncio.to_thread(self._write_down, fetched)
        for (chunk, answer), count in zip(fetched, rows, strict=True):
            part = self._parts[chunk.market.name, chunk.stream]
            part.done += 1
            part.rows += count
            part.requests += answer.requests
            if answer.missing:
                part.remark(answer.missing)

    def _write_down(self, fetched: Sequence[tuple[Chunk, Fetched]]) -> list[int]:
        """Rows of ``ops.backfills``; returns the rows stored of each chunk, and beyond it where they came along."""
        counts = [
            stored_rows(self._engine, chunk.stream, chunk.identity, (chunk.start_us, chunk.end_us), answer.received)
            for chunk, answer in fetched
        ]
        now = datetime.now(UTC).replace(tzinfo=None)
        table = pa.table(
            {
                **{
                    name: [chunk.identity[place] for chunk, _ in fetched]
                    for place, name in enumerate(("symbol", "exchange", "market_type"))
                },
                "stream": [chunk.stream for chunk, _ in fetched],
                "started_at": pa.array([chunk.start_us for chunk, _ in fetched], pa.timestamp("us")),
                "ended_at": pa.array([chunk.end_us for chunk, _ in fetched], pa.timestamp("us")),
                "rows": counts,
                "requests": pa.array([answer.requests for _, answer in fetched], pa.int32()),
                "missing": pa.array([answer.missing or None for _, answer in fetched], pa.string()),
                "done_at": pa.array([now] * len(fetched), pa.timestamp("us")),
            },
            schema=BACKFILLS.arrow_schema,
        )
        same = " AND ".join(f'b."{name}" = d."{name}"' for name in BACKFILLS.key)
        with self._engine.transaction() as cursor:
            cursor.register("done_chunks", table)
            cursor.execute(f"DELETE FROM ops.backfills b USING done_chunks d WHERE {same}")
            cursor.execute("INSERT INTO ops.backfills BY NAME SELECT * FROM done_chunks")
        return counts

    def _settle_gaps(self) -> None:
        """Gaps that the order covers are filled now, where nothing of their stream failed or is not offered."""
        for part in self._parts.values():
            if part.failed or part.remarks or part.market not in self._fetchers:
                continue
            covered = [
                gap
                for gap in unfilled(self._engine, markets.MARKETS[part.market], given_up=True)
                if gap.stream == part.stream
                and gap.identity[0] in self.order.symbols
                and gap.started_at is not None
                and self.order.start_us <= gap.started_at
                and gap.ended_at <= self.order.end_us
            ]
            settle(self._engine, [outcome(self._engine, gap, None, "") for gap in covered])
