"""Asks the venue again for what is missing, gap by gap, and writes down what came of it.

The gaps are those of ``ops.gaps`` about which nothing is settled, so that a restart goes on where it was. Gaps of a
series that lie close together are asked for as one *stretch*. Sequence gaps are asked for by number and counted
afterwards; others by time, a little more than the gap, because its ends are times of receipt.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from orderflow_streaming.exchanges.protocol import Exchange
from orderflow_streaming.past.fetching import Fetched, Fetcher
from orderflow_streaming.reading.rest import RestError
from orderflow_streaming.schema import STREAMS
from orderflow_streaming.store.engine import Engine
from orderflow_streaming.writing.gaps import Gap, Settled, State, open_gaps, settle, unfilled
from orderflow_streaming.writing.series import IDENTITY_NAMES, Identity
from orderflow_streaming.writing.storing import market_of
from orderflow_streaming.writing.writer import consecutive

log = logging.getLogger(__name__)

PAUSE_S = 2.0
"""Between two rounds: what comes meanwhile is asked for together."""
FIRST_RETRY_S, LONGEST_RETRY_S = 30.0, 900.0
SLACK_US = 10_000_000
"""So much before and after a gap is asked for too."""
LONGEST_SKEW_US = 3_600_000_000
"""The venue's clock and ours are no further apart."""
BAR_US = 60_000_000
"""A bar may have been seen in part before the gap, so the one before its start is asked for."""
NUMBERS_AT_ONCE = 50_000
"""Of a long stretch, in one round."""
CLOSE_US = 600_000_000
CLOSE_NUMBERS = 1_000
"""Gaps no further apart are one stretch."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is asked for at once: of ``start`` to ``end``, numbers (both included) or UTC microseconds."""

    gaps: tuple[Gap, ...]
    numbered: bool
    start: int
    end: int


def unfillable(gap: Gap, exchange: Exchange, max_hours: float) -> str:
    """Why the gap is not asked for; empty where it is."""
    history = exchange.histories.get(gap.stream)
    if history is None:
        return f"{exchange.market.name} does not give {gap.stream} again"
    if gap.started_at is None and not _numbered(gap, exchange):
        return "nothing is stored from before it"
    if gap.started_at is not None and gap.ended_at - gap.started_at > max_hours * 3_600e6:
        return f"longer than {max_hours:g} hours (refill_max_hours), see orderflow-stream backfill"
    return ""


def stretches(gaps: Sequence[Gap], exchange: Exchange) -> list[Stretch]:
    """``gaps`` in the order of their series and time, those close together as one."""
    found: list[Stretch] = []
    for stretch in sorted(
        (_alone(gap, exchange) for gap in gaps), key=lambda one: (*_series(one), one.numbered, one.start)
    ):
        last = found[-1] if found else None
        close = CLOSE_NUMBERS if stretch.numbered else CLOSE_US
        if (
            last
            and (_series(last), last.numbered) == (_series(stretch), stretch.numbered)
            and stretch.start <= last.end + close
        ):
            found[-1] = Stretch((*last.gaps, *stretch.gaps), last.numbered, last.start, max(last.end, stretch.end))
        else:
            found.append(stretch)
    return found


def _series(stretch: Stretch) -> tuple[str, ...]:
    return stretch.gaps[0].stream, *stretch.gaps[0].identity


def _numbered(gap: Gap, exchange: Exchange) -> bool:
    return gap.first_missing is not None and exchange.histories[gap.stream].by_id is not None


def _alone(gap: Gap, exchange: Exchange) -> Stretch:
    if _numbered(gap, exchange) and gap.first_missing is not None and gap.last_missing is not None:
        return Stretch((gap,), True, gap.first_missing, gap.last_missing)
    start, end = around(gap)
    return Stretch((gap,), False, start, end)


def around(gap: Gap) -> tuple[int, int]:
    """The time to ask for, ``[start, end)`` in UTC microseconds."""
    started_at = gap.ended_at if gap.started_at is None else gap.started_at
    if gap.stream == "candles":
        return started_at // BAR_US * BAR_US - BAR_US, gap.ended_at + 1
    return started_at - SLACK_US, gap.ended_at + SLACK_US


class Refill:
    """Of one market; runs on the event loop."""

    def __init__(
        self, fetcher: Fetcher, engine: Engine, stored: Callable[[], Awaitable[bool]], *, max_hours: float
    ) -> None:
        """``stored`` has everything read so far stored and says whether it did."""
        self._fetcher, self._engine, self._stored, self._max_hours = fetcher, engine, stored, max_hours
        self._exchange = fetcher.exchange
        self._woken = asyncio.Event()
        self._later: dict[Gap, tuple[int, float]] = {}
        """Gaps the venue did not answer for: failures, and when to ask again (monotonic)."""
        self._reached: dict[Gap, int] = {}
        """Gaps that were asked for up to a number, not included."""
        self.open: dict[str, int] = {}
        """Gaps that are not filled, by stream."""

    def wake(self) -> None:
        """Gaps were written down."""
        self._woken.set()

    async def run(self) -> None:
        """Fill what can be filled until cancelled."""
        while True:
            self._woken.clear()
            try:
                await self.round()
            except duckdb.Error as error:
                log.error("%s: the gaps cannot be looked after: %s", self._exchange.market.name, error)
                await asyncio.sleep(FIRST_RETRY_S)
                continue
            await self._wait()
            await asyncio.sleep(PAUSE_S)

    async def _wait(self) -> None:
        """Until there are new gaps, or it is time to ask again."""
        due = min((when for _, when in self._later.values()), default=None)
        try:
            async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                await self._woken.wait()
        except TimeoutError:
            return

    async def round(self) -> None:
        """Ask for everything that is pending and due, one stretch after the other, and settle it."""
        gaps = await asyncio.to_thread(unfilled, self._engine, self._exchange.market) if self._max_hours else []
        self._later = {gap: later for gap, later in self._later.items() if gap in gaps}
        self._reached = {gap: number for gap, number in self._reached.items() if gap in gaps}
        now = time.monotonic()
        due = [gap for gap in gaps if self._later.get(gap, (0, 0.0))[1] <= now]
        refused = {gap: reason for gap in due if (reason := unfillable(gap, self._exchange, self._max_hours))}
        settled = [Settled(gap, State.GIVEN_UP, reason) for gap, reason in refused.items()]
        fetched: list[tuple[Stretch, Fetched]] = []
        for whole in stretches([gap for gap in due if gap not in refused], self._exchange):
            stretch = await asyncio.to_thread(self._part, whole)
            try:
                fetched.append((stretch, await self._fetch(stretch)))
            except RestError as error:
                settled += self._failed(stretch, error)
        if fetched and await self._stored():
            for stretch, answer in fetched:
                complete = self._complete(stretch)
                settled += await asyncio.to_thread(self._outcomes, complete, answer)
        elif fetched:
            for stretch, _ in fetched:
                self._postpone(stretch)
        await asyncio.to_thread(settle, self._engine, settled)
        self.open = await asyncio.to_thread(open_gaps, self._engine, self._exchange.market)
        self._tell(settled)

    def _part(self, whole: Stretch) -> Stretch:
        """What is asked for in this round: a long stretch of numbers in parts, so that others come in between."""
        if not whole.numbered:
            start, end = event_times(self._engine, whole)
            return replace(whole, start=start, end=end)
        gap = whole.gaps[0]
        start = first_absent(self._engine, gap, max(whole.start, self._reached.get(gap, 0)))
        return replace(whole, start=start, end=min(whole.end, start + NUMBERS_AT_ONCE - 1))

    def _complete(self, part: Stretch) -> list[Gap]:
        """The gaps that were asked for to their end; the others are gone on with in the next round."""
        cut = [gap for gap in part.gaps if part.numbered and (gap.last_missing or 0) > part.end]
        self._reached |= dict.fromkeys(cut, part.end + 1)
        if cut:
            self.wake()
        return [gap for gap in part.gaps if gap not in cut]

    async def _fetch(self, stretch: Stretch) -> Fetched:
        gap = stretch.gaps[0]
        ask = self._fetcher.numbers if stretch.numbered else self._fetcher.span
        return await ask(gap.stream, gap.identity[0], stretch.start, stretch.end)

    def _failed(self, stretch: Stretch, error: RestError) -> Iterator[Settled]:
        """Given up where the venue refuses for good, else asked for again later, also after a restart."""
        if not error.lasting:
            self._postpone(stretch)
        state = State.GIVEN_UP if error.lasting else State.PENDING
        log.warning("%s: %s cannot be filled: %s", self._exchange.market.name, _named(stretch), error)
        return (Settled(gap, state, str(error)) for gap in stretch.gaps)

    def _postpone(self, stretch: Stretch) -> None:
        for gap in stretch.gaps:
            failures = self._later.get(gap, (0, 0.0))[0] + 1
            delay = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** (failures - 1))
            self._later[gap] = failures, time.monotonic() + delay

    def _outcomes(self, gaps: Sequence[Gap], fetched: Fetched) -> list[Settled]:
        return [outcome(self._engine, gap, fetched.received, fetched.missing) for gap in gaps]

    def _tell(self, settled: Sequence[Settled]) -> None:
        filled = [one for one in settled if one.state is State.FILLED]
        if filled:
            rows = sum(one.rows or 0 for one in filled)
            log.info("%s: %d gaps filled, %d rows", self._exchange.market.name, len(filled), rows)


def outcome(engine: Engine, gap: Gap, received: Collection[int] | None, missing: str) -> Settled:
    """What came of asking for a gap, after frames with these receive times were stored and the venue offered all but
    ``missing``: by the numbers that are stored now where the venue numbers rows, else by what it offered. ``received``
    is None where the frames are not known one by one."""
    column = consecutive().get((market_of(gap.identity), gap.stream))
    if column is None or gap.first_missing is None or gap.last_missing is None:
        rows = None if received is None else stored_rows(engine, gap.stream, gap.identity, around(gap), received)
        return Settled(gap, State.GIVEN_UP if missing else State.FILLED, missing, rows)
    found, wanted = stored_numbers(engine, gap, column), gap.last_missing - gap.first_missing + 1
    if found == wanted:
        return Settled(gap, State.FILLED, rows=found)
    return Settled(gap, State.GIVEN_UP, missing or f"the venue gave {found:,} of {wanted:,}", found)


def event_times(engine: Engine, stretch: Stretch) -> tuple[int, int]:
    """The span to ask for by the venue's clock, UTC microseconds: trades from the last one received before the
    stretch on, up to the first one received after it at least. Other streams as they are."""
    first, last = stretch.gaps[0], max(stretch.gaps, key=lambda gap: gap.ended_at)
    if first.stream != "trades" or first.started_at is None:
        return stretch.start, stretch.end
    near = "SELECT {what} FROM {{stream}} WHERE {{series}} AND {{time}} AND received_at {side} make_timestamp($at)"
    span_us = stretch.start - LONGEST_SKEW_US, stretch.end + LONGEST_SKEW_US
    before = near.format(what="coalesce(epoch_us(max(timestamp)), 0)", side="<=")
    after = near.format(what="coalesce(epoch_us(min(timestamp)), 0)", side=">=")
    start = _figure(engine, before, first.stream, first.identity, span_us, {"at": first.started_at})
    end = _figure(engine, after, first.stream, first.identity, span_us, {"at": last.ended_at})
    return start or stretch.start, max(stretch.end, end + 1)


def first_absent(engine: Engine, gap: Gap, first: int) -> int:
    """The first number from ``first`` on that is not stored: there a refill goes on that was cut off."""
    column = consecutive()[market_of(gap.identity), gap.stream]
    return _figure(
        engine,
        "SELECT coalesce(max(number) + 1, $first) FROM (SELECT number, row_number() OVER (ORDER BY number) AS place "
        f"FROM (SELECT DISTINCT TRY_CAST({column} AS BIGINT) AS number FROM {{stream}} WHERE {{series}} AND {{time}}) "
        "WHERE number BETWEEN $first AND $last) WHERE number = $first + place - 1",
        gap.stream,
        gap.identity,
        around(gap),
        {"first": first, "last": gap.last_missing},
    )


def stored_numbers(engine: Engine, gap: Gap, column: str) -> int:
    """How many of the missing numbers ``column`` has now."""
    return _figure(
        engine,
        f"SELECT count(DISTINCT {column}) FROM {{stream}} WHERE {{series}} AND {{time}} "
        f"AND TRY_CAST({column} AS BIGINT) BETWEEN $first AND $last",
        gap.stream,
        gap.identity,
        around(gap),
        {"first": gap.first_missing, "last": gap.last_missing},
    )


def stored_rows(
    engine: Engine, stream: str, identity: Identity, span_us: tuple[int, int], received: Collection[int]
) -> int:
    """Rows about a span that came with the frames of these receive times (UTC microseconds)."""
    return _figure(
        engine,
        "SELECT count(*) FROM {stream} WHERE {series} AND {time} "
        "AND epoch_us(received_at) IN (SELECT unnest($received))",
        stream,
        identity,
        (span_us[0] - LONGEST_SKEW_US, span_us[1] + LONGEST_SKEW_US),
        {"received": list(received)},
    )


def _figure(
    engine: Engine,
    sql: str,
    stream: str,
    identity: tuple[str, str, str],
    span_us: tuple[int, int],
    more: dict[str, Any],
) -> int:
    time_column = STREAMS[stream].time
    statement = sql.format(
        stream=f'"{stream}"',
        series=" AND ".join(f'"{name}" = ${name}' for name in IDENTITY_NAMES),
        time=f'"{time_column}" >= make_timestamp($start) AND "{time_column}" < make_timestamp($end)',
    )
    values = dict(zip(IDENTITY_NAMES, identity, strict=True)) | {"start": span_us[0], "end": span_us[1]} | more
    cursor = engine.cursor()
    try:
        return int(cursor.execute(statement, values).fetchall()[0][0])
    finally:
        cursor.close()


def _named(stretch: Stretch) -> str:
    gap = stretch.gaps[0]
    return f"{len(stretch.gaps)} gaps of {gap.identity[0]} {gap.stream}"
